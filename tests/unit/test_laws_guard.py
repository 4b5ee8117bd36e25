"""The guard: never more harm an hour than its limit, whoever asks (lifecycle.md section 8)."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from world import (
    BETA,
    DAY,
    DAY_0,
    ENTITLEMENT,
    HOUR,
    World,
    asked,
    commitment,
    created,
    link,
    note,
    notified,
    released,
    tripped,
)

from examples import examples
from marketplace_worker.lifecycle.cancellation import Cancellation, Notice
from marketplace_worker.lifecycle.decide import deadline_of
from marketplace_worker.lifecycle.events import (
    Event,
    EventKind,
)
from marketplace_worker.lifecycle.facts import ClockMoved, GuardReleased, GuardTripped
from marketplace_worker.lifecycle.guard import (
    GuardAnswers,
    GuardSession,
)
from marketplace_worker.lifecycle.limits import control_plane_limit, destructive_step_limit
from marketplace_worker.lifecycle.notes import Ended
from marketplace_worker.lifecycle.policy import Guard, Policies, Policy
from marketplace_worker.lifecycle.safeguards import Safeguards, Trip
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.verdicts import Allowed, RequestVerdict
from marketplace_worker.lifecycle.vocabulary import (
    EmailHash,
    GuardSide,
    Identity,
    Initiator,
    OrganizationId,
    PlanEndReason,
    PlanType,
    RequestLimit,
    SupportRequestKind,
)
from marketplace_worker.lifecycle.worker_details import (
    GuardReleasedDetails,
    GuardTrippedDetails,
)

GUARD = Guard(minimum=3, fraction=0.1, control_plane_fraction=0.2)
MINUTE = timedelta(minutes=1)
WORDS: st.SearchStrategy[GuardTripped | GuardReleased] = st.sampled_from(
    [tripped(), released(), released(steps=2)]
)
CUSTOMER, GAMMA = Initiator.CUSTOMER, OrganizationId("gamma")


@pytest.mark.parametrize(
    ("minimum", "fraction", "population", "most"),
    [
        (50, 0.01, 0, 50),
        (50, 0.01, 5_000, 50),
        (50, 0.01, 5_099, 50),
        (50, 0.01, 5_100, 51),
        (50, 0.01, 100_000, 1_000),
        (0, 0.0, 1_000, 0),
        (0, 0.29, 100, 29),
        (0, 1.0, 7, 7),
    ],
)
def test_the_limit_is_the_larger_of_a_number_and_a_share(
    minimum: int, fraction: float, population: int, most: int
) -> None:
    """Section 8; a share is rounded down, and as it is written: 0.29 of 100 are 29.  That of
    entries into `control_plane_loss` is a share of its own.
    """
    apart = Guard(minimum, 0.5, fraction)
    assert destructive_step_limit(Guard(minimum, fraction, 0.5), population) == most
    assert control_plane_limit(apart, population) == most


# --- asked one by one -----------------------------------------------------------------------------


def request_step(guard: GuardSession, step: State, population: int, now: datetime) -> bool:
    """Ask the guard for one step and act on its verdict; whether it was allowed.

    Asking alone changes nothing.
    """
    before = replace(guard)
    verdict = guard.judge_step(step, GUARD, population, now=now)
    assert guard == before
    guard.act_on_step(verdict, causation_id="x")
    return isinstance(verdict, Allowed)


def request_deactivation(
    guard: GuardSession, requested_by: str, now: datetime, request_id: str
) -> RequestVerdict:
    """Ask the guard for one deactivation and act on its verdict.

    Asking alone changes nothing.
    """
    before = replace(guard)
    verdict = guard.judge_request(requested_by, FEW, now=now, request_id=request_id)
    assert guard == before
    guard.act_on_request(verdict, request_id=request_id)
    return RequestVerdict.GRANTED if isinstance(verdict, Allowed) else verdict.reason


STEPS = st.sampled_from([State.CONTROL_PLANE_LOSS, State.SUSPENDED, State.DEACTIVATED])


@dataclass(frozen=True, slots=True)
class Asked:
    """A step that somebody wants to take, or (None) an operator's word."""

    at: datetime
    population: int
    step: State
    operator: GuardTripped | GuardReleased | None = None

    @property
    def most(self) -> int:
        """How many such steps an hour may hold."""
        if self.step is State.CONTROL_PLANE_LOSS:
            return control_plane_limit(GUARD, self.population)
        return destructive_step_limit(GUARD, self.population)

    def permitted(self, watch: GuardSession) -> bool:
        """What the guard says."""
        return request_step(watch, self.step, self.population, self.at)


@dataclass(slots=True)
class Counted:
    """What was taken, by kind: an independent count."""

    harmful: list[datetime] = field(default_factory=list)
    losses: list[datetime] = field(default_factory=list)

    def of(self, step: State) -> list[datetime]:
        """The steps that count with this one."""
        return self.losses if step is State.CONTROL_PLANE_LOSS else self.harmful

    def has_room(self, asked: Asked) -> bool:
        """Whether the hour holds one more."""
        return len([at for at in self.of(asked.step) if at > asked.at - HOUR]) < asked.most


@st.composite
def questions(draw: st.DrawFn, *, operators: bool) -> list[Asked]:
    """Many steps that come due within a few hours."""
    at, asked = DAY_0, []
    for _ in range(draw(st.integers(1, 40))):
        at += draw(st.sampled_from([0, 0, 0, 1, 10, 20, 59, 60])) * MINUTE
        word: GuardTripped | GuardReleased | None = None
        if operators and draw(st.integers(0, 6)) == 0:
            word = draw(WORDS)
        asked.append(Asked(at, draw(st.sampled_from([0, 29, 30, 50])), draw(STEPS), word))
    return asked


@settings(max_examples=examples(100), deadline=None)
@given(questions(operators=False))
def test_no_hour_holds_more_steps_than_their_limit(asked: list[Asked]) -> None:
    """Whatever sliding hour one looks at; the step that would go past trips it, and all later ones
    are withheld, whichever limit it was.
    """
    watch, counted, stopped = GuardSession(), Counted(), False
    for each in asked:
        room = counted.has_room(each)
        permitted = each.permitted(watch)
        assert permitted is (room and not stopped)
        if permitted:
            counted.of(each.step).append(each.at)
        stopped = stopped or not room
    sequences = [(event.kind, event.sequence) for event in watch.events]
    assert sequences == ([(EventKind.GUARD_TRIPPED, 1)] if stopped else [])
    assert (watch.safeguards.trip is not None) is stopped
    assert watch.safeguards.requests_trip is None


@settings(max_examples=examples(100), deadline=None)
@given(questions(operators=True))
def test_a_partial_release_permits_exactly_the_given_number(asked: list[Asked]) -> None:
    """After a trip only steps allowed by a release are taken; the release restarts the count."""
    watch, counted, allowance = GuardSession(), Counted(), None
    for each in asked:
        match each.operator:
            case GuardTripped() as word:
                watch.trip(word, now=each.at)
                allowance = 0
            case GuardReleased(steps=steps) as word:
                released = watch.safeguards.requests_trip is not None or allowance is not None
                assert watch.release(word, now=each.at) is released
                if allowance is not None:
                    allowance, counted = steps, Counted()
            case None:
                room = counted.has_room(each)
                expected = room if allowance is None else allowance > 0
                permitted = each.permitted(watch)
                assert permitted is expected
                if permitted and allowance is None:
                    counted.of(each.step).append(each.at)
                elif permitted and allowance is not None:
                    allowance -= 1
                elif allowance is None:
                    allowance = 0
    assert [event.sequence for event in watch.events] == list(range(1, len(watch.events) + 1))


# --- deactivations that are requested -------------------------------------------------------------

FEW = Guard(requested_per_hour=4, requested_per_person=2)
MINUTES = st.sampled_from([0, 0, 0, 1, 10, 20, 59, 60])


@settings(max_examples=examples(200), deadline=None)
@given(st.lists(st.tuples(MINUTES, st.sampled_from(["Ann", " ann", "Bob", "Cid"])), max_size=30))
def test_no_hour_holds_more_requested_deactivations_than_either_limit(
    asked: list[tuple[int, str]],
) -> None:
    """Section 8, invariant 11; the first that would go past trips the guard for all."""
    watch, done, at, stopped = GuardSession(), list[tuple[datetime, str]](), DAY_0, False
    for number, (minutes, name) in enumerate(asked):
        at += minutes * MINUTE
        person = name.strip().lower()
        within = [who for moment, who in done if moment > at - HOUR]
        room = len(within) < 4 and within.count(person) < 2
        verdict = request_deactivation(watch, name, at, f"r-{number}")
        assert (verdict is RequestVerdict.GRANTED) is (room and not stopped)
        if verdict is RequestVerdict.GRANTED:
            done.append((at, person))
        elif not stopped:
            stopped = True
            per_hour = len(within) >= 4
            trip = watch.safeguards.requests_trip
            assert trip is not None
            assert trip.which is (RequestLimit.PER_HOUR if per_hour else RequestLimit.PER_PERSON)
            assert (trip.counted, trip.limit) == ((4, 4) if per_hour else (2, 2))
            assert trip.request_id == f"r-{number}"
    assert len(watch.events) == stopped
    assert watch.safeguards.trip is None


def test_the_safeguards_name_nobody_who_asked() -> None:
    """An organization's erasure does not reach them: they hold a digest, and for an hour only."""
    watch = GuardSession()
    for minutes in range(0, 300, 30):
        moment = DAY_0 + minutes * MINUTE
        verdict = request_deactivation(watch, "Ann Lee", moment, "r")
        assert verdict is RequestVerdict.GRANTED
    assert len(watch.safeguards.requested) == 2
    assert "ann" not in repr(watch).casefold()


def test_a_side_that_is_not_tripped_is_not_released() -> None:
    """What was counted on it still counts: nobody has looked at it."""
    watch = GuardSession()
    assert request_deactivation(watch, "ann", DAY_0, "r") is RequestVerdict.GRANTED
    for _ in range(4):
        request_step(watch, State.SUSPENDED, 0, DAY_0)
    assert not watch.release(released(guard=GuardSide.REQUESTS), now=DAY_0)
    assert watch.release(released(guard=GuardSide.BOTH), now=DAY_0)
    assert watch.safeguards.trip is None
    assert watch.safeguards.requested_since(DAY_0 - HOUR).values()
    (_, details) = (event.details for event in watch.events)
    assert details == GuardReleasedDetails(
        GuardSide.STEPS, None, None, 3, 3, by="ops", reason="all is well"
    )


def test_a_replayed_decision_gets_its_recorded_answers() -> None:
    """Also one from before a step or a request was counted: it was taken, and it was granted."""
    closed = Safeguards(trip=Trip(DAY_0, "ops", "x"), requests_trip=Trip(DAY_0, "ops", "x"))
    before = GuardSession(closed, GuardAnswers())
    assert request_step(before, State.CONTROL_PLANE_LOSS, 0, DAY_0)
    assert request_deactivation(before, "ann", DAY_0, "r") is RequestVerdict.GRANTED
    for permitted in (True, False):
        for verdict in RequestVerdict:
            watch = GuardSession(replayed=GuardAnswers(permitted, requested=verdict))
            came = request_step(watch, State.SUSPENDED, 0, DAY_0)
            assert came is permitted
            assert request_deactivation(watch, "ann", DAY_0, "r") is verdict
            assert watch.answers == GuardAnswers(permitted, requested=verdict)


# --- both -----------------------------------------------------------------------------------------


def test_the_safeguards_forget_what_is_older_than_an_hour() -> None:
    """One value for the fleet: its size must be bounded."""
    watch = GuardSession()
    for minutes in range(0, 600, 30):
        assert request_step(watch, State.SUSPENDED, 0, DAY_0 + minutes * MINUTE)
        request_step(watch, State.CONTROL_PLANE_LOSS, 0, DAY_0 + minutes * MINUTE)
    assert [harm.steps for harm in watch.safeguards.recent] == [1, 1]
    assert [harm.steps for harm in watch.safeguards.control_plane] == [1, 1]


def test_a_trip_reports_the_count_and_the_maximum() -> None:
    """By hand nothing was counted; it adds to the trip that stands."""
    watch = GuardSession()
    for _ in range(4):
        request_step(watch, State.SUSPENDED, 0, DAY_0)
    watch.trip(tripped(), now=DAY_0 + MINUTE)
    first, second = watch.events
    assert first.details == GuardTrippedDetails(
        GuardSide.STEPS,
        3,
        3,
        by=None,
        reason="the limit of harmful steps within an hour is reached",
    )
    assert second.details == GuardTrippedDetails(
        GuardSide.BOTH, None, None, by="ops", reason="to be safe", added_to=first.id
    )
    assert watch.safeguards.trip is not None
    assert (watch.safeguards.trip.at, watch.safeguards.trip.by) == (DAY_0, None)
    assert watch.safeguards.requests_trip is not None
    assert watch.safeguards.requests_trip.event == second.id


def moved(ahead: timedelta) -> ClockMoved:
    """The clock of decisions is so far ahead now."""
    return ClockMoved(Identity("clock", f"{ahead}"), DAY_0, ahead)


def test_a_clock_that_runs_ahead_by_more_than_an_hour_trips_the_guard_for_steps() -> None:
    """By exactly an hour it does not, nor where it goes back; what is known may stay so."""
    watch = GuardSession()
    for ahead, tripped_ in (
        (HOUR, False), (HOUR + MINUTE, True), (2 * HOUR, False), (10 * DAY, True),
        (timedelta(0), False), (-DAY, False), (timedelta(0), True),
    ):  # fmt: skip
        assert watch.move_clock(moved(ahead), now=DAY_0) is tripped_, ahead
    first, *others = watch.events
    assert first.details == GuardTrippedDetails(GuardSide.STEPS, None, None, None, "clock")
    assert {event.details for event in others} == {
        GuardTrippedDetails(GuardSide.STEPS, None, None, None, "clock", added_to=first.id)
    }
    assert watch.safeguards.requests_trip is None


def test_a_clock_jump_is_recorded_until_the_guard_for_steps_is_released() -> None:
    """Altogether: a release for some steps, or of requests, leaves it."""
    watch = GuardSession()
    watch.trip(tripped(), now=DAY_0)
    watch.move_clock(moved(DAY), now=DAY_0 + MINUTE)
    for word in (released(steps=2), released(guard=GuardSide.REQUESTS)):
        watch.release(word, now=DAY_0 + HOUR)
        assert watch.safeguards.clock_jumped_at == DAY_0 + MINUTE
    watch.release(released(), now=DAY_0 + HOUR)
    assert watch.safeguards.clock_jumped_at is None


# --- a fleet --------------------------------------------------------------------------------------


def due_at_once(number: int) -> World:
    """So many organizations whose suspension is due on day 7."""
    world = World(Policies(Policy(guard=GUARD)))
    for each in range(number):
        id_ = OrganizationId(f"org-{each:02}")
        world.apply(created(f"created-{each}", id_), DAY_0)
        world.fleet.put(
            replace(
                world.fleet.organization(id_),
                state=State.CONTROL_PLANE_LOSS,
                entered_at=DAY_0 + DAY,
                cancellation=Cancellation(DAY_0, f"story-{each}", "default"),
                notice=Notice(State.SUSPENDED, DAY_0 + 14 * DAY, DAY_0 + 4 * DAY),
            )
        )
        world.run_deadline(id_, DAY_0 + 5 * DAY)
    return world


def entered(events: Sequence[Event], kind: EventKind) -> list[OrganizationId]:
    """Who entered a state."""
    return [event.subject for event in events if event.kind is kind]


@settings(max_examples=examples(20), deadline=None)
@given(st.integers(1, 40))
def test_a_fleet_that_is_due_at_once_is_stopped_at_the_limit(number: int) -> None:
    """Ten organizations' share is one: the minimum of three counts, then a tenth does."""
    world = due_at_once(number)
    world.wait(DAY_0 + 15 * DAY)
    most = max(3, number // 10)
    assert len(entered(world.events, EventKind.SUSPENDED)) == min(number, most)
    withheld = [each for each in world.fleet.organizations.values() if each.withheld_at is not None]
    assert len(withheld) == max(0, number - most)
    assert {each.state for each in withheld} <= {State.CONTROL_PLANE_LOSS}


def test_an_organization_whose_time_is_ahead_forgets_no_step_of_the_others() -> None:
    """Invariant 11: the guard counts by the clock of decisions, whatever times are reported."""
    world = due_at_once(6)
    ahead, *others = sorted(world.fleet.organizations)
    now = DAY_0 + 15 * DAY
    world.fleet.put(
        replace(world.fleet.organization(ahead), decided_at=now + timedelta(minutes=90))
    )
    for each in (*others[:2], ahead, *others[2:]):
        world.decide(deadline_of(world.fleet.organization(each), now), now)
    assert len(entered(world.events, EventKind.SUSPENDED)) == 3


def test_what_is_withheld_stays_due_until_it_is_released() -> None:
    """The clock alone brings nothing; a release for two lets two go, and one altogether three."""
    world = due_at_once(10)
    world.wait(DAY_0 + 20 * DAY)
    assert len(entered(world.events, EventKind.SUSPENDED)) == 3
    world.apply(released(20, steps=2), DAY_0 + 20 * DAY)
    world.wait(DAY_0 + 21 * DAY)
    assert len(entered(world.events, EventKind.SUSPENDED)) == 5
    world.apply(released(21), DAY_0 + 21 * DAY)
    world.wait(DAY_0 + 21 * DAY + MINUTE)
    assert len(entered(world.events, EventKind.SUSPENDED)) == 8
    assert entered(world.events, EventKind.GUARD_TRIPPED) == ["worker", "worker"]


def test_the_kill_switch_stops_every_step_and_nothing_else() -> None:
    """The news, notices and reinstatements go on."""
    world = World()
    world.apply_all(created(), link(ENTITLEMENT, plan_type=PlanType.PAYG), day=0)
    world.apply(
        notified(ENTITLEMENT, note(0, Ended(PlanEndReason.CUSTOMER, CUSTOMER, terminal=True))),
        DAY_0,
    )
    world.wait(DAY_0 + 2 * DAY)
    world.apply(tripped(2), DAY_0 + 2 * DAY)
    world.wait(DAY_0 + 200 * DAY)
    kinds = [event.kind for event in world.events]
    assert kinds[-1] is EventKind.NOTICE_GIVEN
    assert world.acme().state is State.CONTROL_PLANE_LOSS
    assert world.acme().withheld_at == DAY_0 + 7 * DAY
    world.apply(commitment(200, 300, linked=200), DAY_0 + 200 * DAY)
    assert world.acme().state is State.ACTIVE


def test_what_support_asks_for_has_limits_of_its_own() -> None:
    """Section 8: no step's limit concerns it, and it counts for none."""
    world = World(Policies(Policy(guard=Guard(0, 0, 0))))
    world.apply_all(created(), asked(SupportRequestKind.DEACTIVATE_ORGANIZATION), day=0)
    assert world.acme().state is State.DEACTIVATED
    assert (world.fleet.safeguards.recent, world.fleet.safeguards.trip) == ((), None)
    assert sum(world.fleet.safeguards.requested_since(DAY_0 - HOUR).values()) == 1


def test_who_is_deactivated_counts_no_more_in_the_fleet() -> None:
    """The limit is a share of those who are left; one that was never created does not count."""
    world = World()
    beta = created("c-beta", BETA, owner=EmailHash("beta"))
    world.apply_all(created(), beta, link(ENTITLEMENT, organization=GAMMA), day=0)
    assert world.fleet.population == 2
    world.apply(asked(SupportRequestKind.DEACTIVATE_ORGANIZATION), DAY_0)
    assert world.fleet.population == 1
    world.apply(asked(SupportRequestKind.REACTIVATE_ORGANIZATION, 1), DAY_0 + DAY)
    assert world.fleet.population == 2
