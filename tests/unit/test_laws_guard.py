"""The guard: never more harm an hour than its limit, whoever asks (lifecycle.md section 8)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
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
    heard,
    link,
    note,
    released,
    tripped,
)

from marketplace_worker.lifecycle.cancellation import Cancellation, Notice
from marketplace_worker.lifecycle.events import Event, EventKind, GuardTrippedDetails
from marketplace_worker.lifecycle.facts import GuardReleased, GuardTripped
from marketplace_worker.lifecycle.guard import Safeguards, Watch, limit
from marketplace_worker.lifecycle.notes import Ended
from marketplace_worker.lifecycle.policy import Guard, Policies, Policy
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.vocabulary import (
    EmailHash,
    Initiator,
    OrganizationId,
    PlanType,
    Reason,
    SupportRequestKind,
)

GUARD = Guard(minimum=3, fraction=0.1)
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
    """Section 8; a share is rounded down, and as it is written: 0.29 of 100 are 29."""
    assert limit(Guard(minimum, fraction), population) == most


# --- asked one by one -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Asked:
    """A harmful step that somebody wants to take, or (None) an operator's word."""

    at: datetime
    population: int
    operator: GuardTripped | GuardReleased | None = None


@st.composite
def questions(draw: st.DrawFn, *, operators: bool) -> list[Asked]:
    """Many harmful steps that come due within a few hours."""
    at, asked = DAY_0, []
    for _ in range(draw(st.integers(1, 40))):
        at += draw(st.sampled_from([0, 0, 0, 1, 10, 20, 59, 60])) * MINUTE
        word: GuardTripped | GuardReleased | None = None
        if operators and draw(st.integers(0, 6)) == 0:
            word = draw(WORDS)
        asked.append(Asked(at, draw(st.sampled_from([0, 29, 30, 50])), word))
    return asked


@settings(max_examples=100, deadline=None)
@given(questions(operators=False))
def test_no_hour_holds_more_harm_than_the_limit(asked: list[Asked]) -> None:
    """Whatever sliding hour one looks at; the step that would go past trips it, and all later ones
    are withheld.
    """
    watch, taken, stopped = Watch(), list[datetime](), False
    for each in asked:
        within = [at for at in taken if at > each.at - HOUR]
        room = len(within) < limit(GUARD, each.population)
        permitted = watch.permits(GUARD, each.population, now=each.at, causation_id="x")
        assert permitted is (room and not stopped)
        taken += [each.at] if permitted else []
        stopped = stopped or not room
    said = [(event.kind, event.sequence) for event in watch.events]
    assert said == ([(EventKind.GUARD_TRIPPED, 1)] if stopped else [])
    assert (watch.safeguards.trip is not None) is stopped


@settings(max_examples=100, deadline=None)
@given(questions(operators=True))
def test_an_operator_lets_through_just_what_is_said(asked: list[Asked]) -> None:
    """After a trip nothing goes but what a release allows; altogether, counting begins anew."""
    watch, taken, allowance = Watch(), list[datetime](), None
    for each in asked:
        match each.operator:
            case GuardTripped() as word:
                watch.trip(word, now=each.at)
                allowance = 0
            case GuardReleased(steps=steps) as word:
                assert watch.release(word, now=each.at) is (allowance is not None)
                if allowance is not None:
                    allowance, taken = steps, ([] if steps is None else taken)
            case None:
                within = [at for at in taken if at > each.at - HOUR]
                room = len(within) < limit(GUARD, each.population)
                expected = room if allowance is None else allowance > 0
                permitted = watch.permits(GUARD, each.population, now=each.at, causation_id="x")
                assert permitted is expected
                if permitted:
                    taken.append(each.at)
                    allowance = None if allowance is None else allowance - 1
                elif allowance is None:
                    allowance = 0
    assert [event.sequence for event in watch.events] == list(range(1, len(watch.events) + 1))


def test_the_safeguards_forget_what_is_older_than_an_hour() -> None:
    """One value for the fleet: it must not grow for ever."""
    watch = Watch()
    for minutes in range(0, 600, 30):
        assert watch.permits(GUARD, 0, now=DAY_0 + minutes * MINUTE, causation_id="x")
    assert [harm.steps for harm in watch.safeguards.recent] == [1, 1]


def test_a_trip_tells_how_much_harm_there_was() -> None:
    """Of at most how many; by hand there is no limit to tell."""
    watch = Watch()
    for _ in range(4):
        watch.permits(GUARD, 0, now=DAY_0, causation_id="x")
    watch.trip(tripped(), now=DAY_0 + MINUTE)
    told = [each.details for each in watch.events if isinstance(each.details, GuardTrippedDetails)]
    assert [(each.steps, each.limit, each.by) for each in told] == [(3, 3, None), (3, None, "ops")]


# --- a fleet --------------------------------------------------------------------------------------


def due_at_once(number: int) -> World:
    """So many organizations whose suspension is due on day 7."""
    world = World(Policies(Policy(guard=GUARD)))
    for each in range(number):
        id_ = OrganizationId(f"org-{each:02}")
        world.tell(created(f"created-{each}", id_), DAY_0)
        world.fleet.put(
            replace(
                world.fleet.organization(id_),
                state=State.CONTROL_PLANE_LOSS,
                entered_at=DAY_0 + DAY,
                cancellation=Cancellation(DAY_0, f"story-{each}", "default"),
                notice=Notice(State.SUSPENDED, DAY_0 + 14 * DAY, DAY_0 + 4 * DAY),
            )
        )
        world.look(id_, DAY_0 + 5 * DAY)
    return world


def entered(events: Sequence[Event], kind: EventKind) -> list[OrganizationId]:
    """Who entered a state."""
    return [event.subject for event in events if event.kind is kind]


@settings(max_examples=20, deadline=None)
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


def test_what_is_withheld_stays_due_until_it_is_released() -> None:
    """The clock alone brings nothing; a release for two lets two go, and one altogether three."""
    world = due_at_once(10)
    world.wait(DAY_0 + 20 * DAY)
    assert len(entered(world.events, EventKind.SUSPENDED)) == 3
    world.tell(released(20, steps=2), DAY_0 + 20 * DAY)
    world.wait(DAY_0 + 21 * DAY)
    assert len(entered(world.events, EventKind.SUSPENDED)) == 5
    world.tell(released(21), DAY_0 + 21 * DAY)
    world.wait(DAY_0 + 21 * DAY + MINUTE)
    assert len(entered(world.events, EventKind.SUSPENDED)) == 8
    assert entered(world.events, EventKind.GUARD_TRIPPED) == ["worker", "worker"]


def test_the_kill_switch_stops_harm_and_nothing_else() -> None:
    """Notices, control planes and reinstatements go on; only harmful steps are withheld."""
    world = World()
    world.tell_all(tripped(), created(), link(ENTITLEMENT, plan_type=PlanType.PAYG), day=0)
    world.tell(heard(ENTITLEMENT, note(0, Ended(Reason.CUSTOMER, CUSTOMER, terminal=True))), DAY_0)
    world.wait(DAY_0 + 200 * DAY)
    said = [event.kind for event in world.events]
    assert EventKind.CONTROL_PLANE_LOST in said
    assert said[-1] is EventKind.NOTICE_GIVEN
    assert world.acme().state is State.CONTROL_PLANE_LOSS
    assert world.acme().withheld_at == DAY_0 + 7 * DAY
    world.tell(commitment(200, 300, linked=200), DAY_0 + 200 * DAY)
    assert world.acme().state is State.ACTIVE


def test_what_support_asks_for_is_not_counted_and_not_withheld() -> None:
    """Section 8: those that Support asks for are excepted."""
    world = World(Policies(Policy(guard=Guard(minimum=0, fraction=0))))
    world.tell_all(created(), asked(SupportRequestKind.DEACTIVATE_ORGANIZATION), day=0)
    assert world.acme().state is State.DEACTIVATED
    assert world.fleet.safeguards == Safeguards()


def test_who_is_deactivated_counts_no_more_in_the_fleet() -> None:
    """The limit is a share of those who are left; one that was never created does not count."""
    world = World()
    beta = created("c-beta", BETA, owner=EmailHash("beta"))
    world.tell_all(created(), beta, link(ENTITLEMENT, organization=GAMMA), day=0)
    assert world.fleet.population == 2
    world.tell(asked(SupportRequestKind.DEACTIVATE_ORGANIZATION), DAY_0)
    assert world.fleet.population == 1
    world.tell(asked(SupportRequestKind.REACTIVATE_ORGANIZATION, 1), DAY_0 + DAY)
    assert world.fleet.population == 2
