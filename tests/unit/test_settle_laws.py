"""What holds for every sequence of facts (lifecycle.md section 10), over drawn ones."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from world import (
    BETA,
    DAY,
    DAY_0,
    FAR,
    HOUR,
    MOMENTS,
    ORGANIZATIONS,
    PLAN_TYPES,
    Look,
    World,
    created,
    facts,
    tales,
)

from marketplace_worker.contract.outbound import encode
from marketplace_worker.lifecycle.events import (
    DeactivationCause,
    Event,
    EventKind,
    NoticeDetails,
)
from marketplace_worker.lifecycle.facts import Fact
from marketplace_worker.lifecycle.organization import Cancellation, Notice, Organization
from marketplace_worker.lifecycle.settle import Trigger, settle
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.vocabulary import OrganizationId

moderately = settings(max_examples=150, deadline=None)

ENTERED_BY = {
    EventKind.CANCELED: State.CANCELED,
    EventKind.CONTROL_PLANE_LOST: State.CONTROL_PLANE_LOSS,
    EventKind.SUSPENDED: State.SUSPENDED,
    EventKind.DEACTIVATED: State.DEACTIVATED,
    EventKind.REINSTATED: State.ACTIVE,
}
HARMFUL = {State.SUSPENDED, State.DEACTIVATED}
LEAD = {State.SUSPENDED: 3 * DAY, State.DEACTIVATED: 7 * DAY}
DWELL = {State.CANCELED: HOUR, State.CONTROL_PLANE_LOSS: DAY, State.SUSPENDED: 7 * DAY}

ARRIVAL = DAY_0 + 41 * DAY + timedelta(minutes=30)
"""After all that is drawn, and between two full hours, where the drawn deadlines lie."""


# --- any order ------------------------------------------------------------------------------------


def final(world: World) -> object:
    """What must not depend on the order: the states and why, and all registers."""
    organizations = []
    for _, each in sorted(world.fleet.organizations.items()):
        why = (each.reason, each.plan_type) if each.cancellation else None
        canceled_at = each.cancellation and each.cancellation.canceled_at
        registers = (each.creation, each.tier, each.owner, each.commitments)
        organizations.append((each.id, each.state, canceled_at, why, registers))
    heard_of = [each for _, each in sorted(world.fleet.subscriptions.items())]
    return organizations, [each for each in heard_of if each.notes or each.links]


def told_within_a_minute(told: Sequence[Fact]) -> World:
    """They arrive one after the other between two deadlines; then all deadlines pass."""
    world = World()
    for number, fact in enumerate(told):
        world.tell(fact, ARRIVAL + number * timedelta(seconds=1))
    world.wait(FAR)
    return world


@moderately
@given(tales(), st.data())
def test_the_order_of_arrival_does_not_matter_nor_do_duplicates(
    tale: list[Fact], data: st.DataObject
) -> None:
    """Invariant 7: the topics have no order among each other, and Kafka delivers twice."""
    again = data.draw(st.lists(st.sampled_from(tale), max_size=3))
    shuffled = data.draw(st.permutations([*tale, *again]))
    assert final(told_within_a_minute(shuffled)) == final(told_within_a_minute(tale))


@moderately
@given(tales())
def test_the_same_input_twice_gives_the_same_bytes(tale: list[Fact]) -> None:
    """Invariant 6: a step that is repeated after a crash publishes nothing under a second id."""
    once, twice = told_within_a_minute(tale), told_within_a_minute(tale)
    assert [encode(e) for e in once.events] == [encode(e) for e in twice.events]


# --- deadlines in between -------------------------------------------------------------------------


@st.composite
def lived(draw: st.DrawFn) -> World:
    """A world to which a tale was told over 120 days, its deadlines coming in between."""
    world = World()
    tale = draw(tales(most=12))
    arrivals = [DAY_0, DAY_0] + [
        max(fact.occurred_at, DAY_0 + draw(st.integers(0, 120)) * DAY) for fact in tale[2:]
    ]
    for now, _, fact in sorted(zip(arrivals, range(len(tale)), tale, strict=True)):
        world.wait(now)
        world.tell(fact, now)
    world.wait(FAR)
    return world


def events_of(world: World, organization: OrganizationId) -> list[Event]:
    """What was said of one organization."""
    return [e for e in world.events if e.standing.organization == organization]


def steps_of(world: World, organization: OrganizationId) -> list[tuple[State, Event]]:
    """Its transitions, in order."""
    told = events_of(world, organization)
    return [(ENTERED_BY[e.kind], e) for e in told if e.kind in ENTERED_BY]


@settings(moderately, max_examples=250)
@given(lived())
def test_invariants_of_whole_lives(world: World) -> None:
    """Invariants 1 to 6, looked at from outside: only through what was said, and when."""
    for organization in world.fleet.organizations:
        check_order_and_dwell(steps_of(world, organization))
        told = events_of(world, organization)
        check_notices(told)
        check_alternation(told)
        assert [e.sequence for e in told] == list(range(1, len(told) + 1))
        assert len({e.id for e in told}) == len(told)
    for look in world.looks:
        check_look(look)
    check_nothing_is_forgotten(world)


def check_order_and_dwell(steps: Sequence[tuple[State, Event]]) -> None:
    """Invariants 2 and 4: each state in its order and long enough; deactivated is the end."""
    assert not steps or steps[0][0] is State.CANCELED
    for (before, entered), (after, left) in pairwise(steps):
        assert left.standing.previous_state is before
        if before is State.ACTIVE:
            assert after is State.CANCELED
        elif after is not State.ACTIVE:
            assert after is before.next_step
            assert left.decided_at - entered.decided_at >= DWELL[before]
        assert before is not State.DEACTIVATED


def check_notices(told: Sequence[Event]) -> None:
    """Invariant 3, and number 5 of section 3: never before the date that the notice named."""
    standing: Event | None = None
    for event in told:
        step = ENTERED_BY.get(event.kind)
        if event.kind is EventKind.NOTICE_GIVEN:
            assert standing is None, "one notice at a time"
            standing = event
        elif event.kind is EventKind.NOTICE_WITHDRAWN:
            assert standing is not None
            standing = None
        elif step in HARMFUL:
            assert standing is not None
            assert isinstance(standing.details, NoticeDetails)
            assert standing.details.upcoming_state is step
            assert event.decided_at >= standing.decided_at + LEAD[step]
            assert event.decided_at >= standing.details.at
            standing = None


def check_alternation(told: Sequence[Event]) -> None:
    """Invariant 5: a restore follows its revoke, and nothing is revoked or restored twice."""
    revoked: dict[str, bool] = {}
    for event in told:
        name, _, effect = event.kind.rpartition(".")
        if effect.endswith(("revoked", "restored")):
            capability = f"{name} {effect.rpartition('_')[0]}"
            assert revoked.get(capability, False) is effect.endswith("restored")
            revoked[capability] = effect.endswith("revoked")


def check_look(look: Look) -> None:
    """Invariant 1, as things were known then; one transition at a time, and what is on its way
    down is always looked at again.
    """
    settled, before, after = (
        look.settled,
        look.settled.before.state,
        look.settled.organization.state,
    )
    entered = {ENTERED_BY[e.kind] for e in settled.events if e.kind in ENTERED_BY}
    assert entered == (set() if before is after else {after})
    assert not (entered & HARMFUL and look.had_a_plan)
    assert settled.due_at is not None or not after.in_cancellation
    assert all(event.decided_at == look.now for event in settled.events)


def check_nothing_is_forgotten(world: World) -> None:
    """At the end of time every organization is where its plans have brought it."""
    for organization, each in world.fleet.organizations.items():
        assert not each.state.in_cancellation
        covered = world.covered(organization)
        if each.creation is not None and each.state is State.ACTIVE:
            assert covered.active(FAR) or covered.last_end(FAR) is None


# --- from any state -------------------------------------------------------------------------------


@st.composite
def organizations(draw: st.DrawFn, registers: Organization) -> Organization:
    """Any legal state, drawn directly: a walk seldom reaches the later ones."""
    state = draw(st.sampled_from(State))
    if state is State.ACTIVE:
        return registers
    on_the_way = replace(
        registers,
        state=state,
        previous_state=State.ACTIVE,
        entered_at=draw(MOMENTS),
        plan_type=draw(PLAN_TYPES),
        cancellation=Cancellation(draw(MOMENTS), "story", "default"),
        deactivation_cause=DeactivationCause.MARKETPLACE_CANCELLATION
        if state is State.DEACTIVATED
        else None,
        sequence=draw(st.integers(1, 9)),
    )
    step = state.next_step
    if step in LEAD and draw(st.booleans()):
        given_at = draw(MOMENTS)
        names = given_at + draw(st.integers(0, 20)) * DAY
        return replace(on_the_way, notice=Notice(step, names, given_at))
    return on_the_way


@st.composite
def situations(draw: st.DrawFn) -> tuple[World, OrganizationId, datetime]:
    """Some organization in any state, with any plans, looked at at any time."""
    world = World()
    for fact in (created(), created("created-beta", BETA)):
        world.tell(fact, DAY_0)
    for number in range(draw(st.integers(0, 5))):
        world.tell(draw(facts(number)), DAY_0)
    organization = draw(ORGANIZATIONS)
    registers = world.fleet.organization(organization)
    blank = Organization(
        registers.id,
        creation=registers.creation,
        tier=registers.tier,
        owner=registers.owner,
        commitments=registers.commitments,
    )
    world.fleet.put(draw(organizations(blank)))
    return world, organization, draw(MOMENTS) + draw(st.integers(0, 80)) * DAY


@settings(moderately, max_examples=400)
@given(situations(), st.sampled_from(Trigger))
def test_one_look_at_any_state(
    situation: tuple[World, OrganizationId, datetime], trigger: Trigger
) -> None:
    """Every rule that guards a step holds for that step alone, wherever the state came from."""
    world, id_, now = situation
    before = world.fleet.organization(id_)
    settled = settle(before, world.fleet, world.policy, now=now, trigger=trigger)
    after = settled.organization
    has_a_plan = world.covered(id_).active(now)
    if after.state is not before.state:
        taken = after.state in {State.CONTROL_PLANE_LOSS, *HARMFUL}
        assert taken is (after.state is before.state.next_step)
        if taken:
            check_step(before, after.state, now)
            assert trigger is Trigger.DEADLINE
        if after.state is State.CANCELED or taken:
            assert not has_a_plan
    if before.state is State.DEACTIVATED:
        assert after.state is State.DEACTIVATED
    if has_a_plan and before.state is State.ACTIVE:
        assert after.state is State.ACTIVE
    if after.state.in_cancellation:
        assert settled.due_at is not None
    if trigger is Trigger.DEADLINE:
        assert settled.due_at is None or settled.due_at > now


def check_step(before: Organization, step: State, now: datetime) -> None:
    """Dwell and notice of the state that was left."""
    assert before.entered_at is not None
    assert now >= before.entered_at + DWELL[before.state]
    if step in HARMFUL:
        assert before.notice is not None
        assert now >= before.notice.given_at + LEAD[step]
        assert now >= before.notice.names


@settings(moderately, max_examples=250)
@given(situations(), st.sampled_from(Trigger))
def test_a_second_look_at_the_same_moment_says_nothing(
    situation: tuple[World, OrganizationId, datetime], trigger: Trigger
) -> None:
    """A deadline that fires twice, or in two workers, is harmless."""
    world, id_, now = situation
    first = settle(
        world.fleet.organization(id_), world.fleet, world.policy, now=now, trigger=trigger
    )
    world.fleet.put(first.organization)
    again = settle(first.organization, world.fleet, world.policy, now=now, trigger=trigger)
    assert again.events == ()
    assert (again.organization, again.due_at) == (first.organization, first.due_at)
