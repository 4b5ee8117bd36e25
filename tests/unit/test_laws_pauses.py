"""A pending reinstatement pauses the cancellation clock (lifecycle.md section 4)."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from invariants import Witness
from world import (
    ACCOUNT,
    ACME,
    BETA,
    BOUGHT_AGAIN,
    DAY,
    DAY_0,
    ENTITLEMENT,
    FAR,
    World,
    asked,
    created,
    link,
    moment,
    note,
    notified,
    signed_in,
)

from examples import examples
from marketplace_worker.lifecycle.due_steps import LONG_WAIT
from marketplace_worker.lifecycle.events import EventKind
from marketplace_worker.lifecycle.facts import Fact
from marketplace_worker.lifecycle.notes import Activated, Ended
from marketplace_worker.lifecycle.policy import MinimumDwell, Policies, Policy
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.vocabulary import (
    Initiator,
    Marketplace,
    PlanEndReason,
    PlanType,
    SubscriptionKey,
    SupportRequestKind,
    Tier,
)

OVER = Ended(PlanEndReason.CUSTOMER, Initiator.CUSTOMER, terminal=False)
ON_THE_WAY_DOWN = {
    EventKind.CONTROL_PLANE_LOST,
    EventKind.NOTICE_GIVEN,
    EventKind.SUSPENDED,
    EventKind.DEACTIVATED,
}
RetryDelays = list[tuple[float, float]]
WAITING_MAX = 4


def canceled(plan_type: PlanType, pauses: RetryDelays, extension: int = 0) -> World:
    """Canceled on day 0; another subscription with its billing account is active now and then."""
    world = World()
    world.apply_all(created(), link(ENTITLEMENT, plan_type=plan_type, account=ACCOUNT), day=0)
    world.apply(notified(ENTITLEMENT, note(0, OVER)), DAY_0)
    if extension:
        world.apply(asked(SupportRequestKind.EXTEND_GRACE, days=extension), DAY_0)
    for begins, ends in pauses:
        for day, change in ((begins, Activated()), (ends, OVER)):
            world.wait(moment(day))
            note_ = note(day, change, billing_account=ACCOUNT)
            world.apply(notified(BOUGHT_AGAIN, note_), moment(day))
    world.wait(FAR)
    return world


def way_down(world: World) -> list[tuple[EventKind, datetime]]:
    """The steps of the cancellation with their times."""
    entered = (event for event in world.events if event.kind in ON_THE_WAY_DOWN)
    return [(event.kind, event.decided_at) for event in entered]


def put_off(at: datetime, pauses: RetryDelays) -> datetime:
    """When something comes that without the pauses would have come at a moment."""
    for begins, ends in pauses:
        if at >= moment(begins):
            at += (ends - begins) * DAY
    return at


@st.composite
def intervals(draw: st.DrawFn) -> RetryDelays:
    """A few, in order and apart, in half days; some begin just when a step is due.

    In all at most as long as a notice may wait and still stand (section 12, *any wait*).
    """
    lengths = draw(st.lists(st.integers(1, 14), min_size=1, max_size=4))
    pauses: RetryDelays = []
    ended_on, left = 0.0, 2 * LONG_WAIT // DAY
    for length in lengths:
        begins = ended_on + draw(st.integers(1, 60)) / 2
        ended_on = begins + min(length, left) / 2
        left -= min(length, left)
        if ended_on > begins:
            pauses.append((begins, ended_on))
    return pauses


@settings(max_examples=examples(100), deadline=None)
@given(st.sampled_from(PlanType), intervals(), st.sampled_from([0, 5, 90]))
def test_what_was_pending_gets_exactly_the_time_that_was_left(
    plan_type: PlanType, pauses: RetryDelays, extension: int
) -> None:
    """Every step and every notice comes later by all that was pending before it, and by no more."""
    undisturbed = way_down(canceled(plan_type, [], extension))
    expected = [(kind, put_off(at, pauses)) for kind, at in undisturbed]
    last = expected[-1][1]
    while pauses and moment(pauses[-1][0]) > last:
        pauses.pop()
    assert way_down(canceled(plan_type, pauses, extension)) == expected


@dataclass(frozen=True, slots=True)
class Waiting:
    """A subscription of acme's billing account is active for a while, and nobody has linked it.

    `how`: it ends, or beta links it, with an account of its own.
    """

    begins: float
    ends: float
    how: str


@st.composite
def waiting(draw: st.DrawFn) -> list[Waiting]:
    """Some at one time, some one after the other, in half days."""
    longest = 2 * LONG_WAIT // DAY // WAITING_MAX
    intervals = st.tuples(st.integers(0, 120), st.integers(1, longest))
    found = draw(st.lists(intervals, min_size=1, max_size=WAITING_MAX))
    hows = st.sampled_from(["ends", "is linked"])
    return [Waiting(begins / 2, (begins + length) / 2, draw(hows)) for begins, length in found]


def moved_away(found: list[Waiting], shared_on: float) -> World:
    """Canceled on day 0; what waits ends or is taken away, in the end by beta's account."""
    world = World()
    world.apply_all(created(), created("created-beta", BETA, tier=Tier.PLUS), day=0)
    world.apply(link(ENTITLEMENT, plan_type=PlanType.PAYG, account=ACCOUNT), DAY_0)
    world.apply(notified(ENTITLEMENT, note(0, OVER)), DAY_0)
    history: list[tuple[float, Fact]] = []
    for number, each in enumerate(found):
        key = SubscriptionKey(Marketplace.GCP, f"waits-{number}")
        active = note(each.begins, Activated(), billing_account=ACCOUNT)
        ends, linked = note(each.ends, OVER), link(key, each.ends, BETA, account="of beta")
        history.append((each.begins, notified(key, active)))
        history.append((each.ends, linked if each.how == "is linked" else notified(key, ends)))
    shared = SubscriptionKey(Marketplace.GCP, "shared")
    history.append((shared_on, link(shared, shared_on, BETA, account=ACCOUNT)))
    for day, fact in sorted(history, key=lambda each: each[0]):
        world.wait(moment(day))
        world.apply(fact, moment(day))
    world.run_deadline(ACME, moment(shared_on))
    world.wait(FAR)
    return world


def together(found: list[Waiting]) -> RetryDelays:
    """When any of them waits, in order."""
    pauses: RetryDelays = []
    for each in sorted(found, key=lambda each: each.begins):
        if pauses and each.begins <= pauses[-1][1]:
            pauses[-1] = (pauses[-1][0], max(pauses[-1][1], each.ends))
        else:
            pauses.append((each.begins, each.ends))
    return pauses


@settings(max_examples=examples(150), deadline=None)
@given(waiting(), st.integers(0, 60))
def test_what_was_pending_counts_whoever_has_it_afterwards(
    found: list[Waiting], shared_after: int
) -> None:
    """Section 4: deadlines go on with the time that was left also where the plan is another's."""
    shared_on = max(each.ends for each in found) + shared_after / 2
    undisturbed = way_down(canceled(PlanType.PAYG, []))
    expected = [(kind, put_off(at, together(found))) for kind, at in undisturbed]
    assert way_down(moved_away(found, shared_on)) == expected


@pytest.mark.parametrize("signed_in_on", [5.0, 5 + 1e-6, 9, 10 - 1e-6, 10])
def test_a_sign_in_counts_between_the_beginning_and_the_end_of_the_plan(
    signed_in_on: float,
) -> None:
    """Later than its activation; and what has ended proves nothing any more."""
    world = World()
    world.apply_all(created(), link(ENTITLEMENT, account=ACCOUNT), day=0)
    world.apply(notified(ENTITLEMENT, note(3, OVER)), moment(3))
    world.apply(notified(BOUGHT_AGAIN, note(5, Activated(), billing_account=ACCOUNT)), moment(5))
    assert world.acme().pending is not None
    ends = notified(BOUGHT_AGAIN, note(10, OVER, id_="end"))
    if signed_in_on >= 10:
        world.apply(ends, moment(10))
    world.apply(signed_in(signed_in_on), moment(signed_in_on))
    counts = moment(5) < moment(signed_in_on) < moment(10)
    assert (world.acme().state is State.ACTIVE) is counts
    if not counts:
        world.run_deadline(ACME, moment(11))
        acme = world.acme()
        assert acme.cancellation is not None
        assert acme.cancellation.canceled_at == moment(3)
        assert acme.proofs == ()


LONG_DWELL = MinimumDwell(canceled=2 * DAY, control_plane_loss=9 * DAY, suspended=20 * DAY)


@settings(max_examples=examples(80), deadline=None)
@given(st.integers(1, 20), st.integers(0, 20), st.sampled_from([MinimumDwell(), LONG_DWELL]))
def test_a_hold_that_ends_leaves_the_dwell_and_a_new_notice(
    placed: int, days: int, dwell: MinimumDwell
) -> None:
    """Section 7: nothing fires at once; the dwell counts anew, as it does in each state after it,
    and each notice has its lead.
    """
    world = World(Policies(Policy(minimum_dwell=dwell)), watch=Witness())
    world.apply_all(created(), link(ENTITLEMENT, plan_type=PlanType.PAYG), day=0)
    world.apply(notified(ENTITLEMENT, note(0, OVER)), DAY_0)
    world.wait(moment(placed))
    hold = asked(SupportRequestKind.PLACE_HOLD, placed, hold="legal")
    world.apply(hold, moment(placed))
    state, way = world.acme().state, len(way_down(world))
    released_at = moment(placed + days)
    world.wait(released_at)
    assert len(way_down(world)) == way, "nothing comes while it stands"
    world.apply(asked(SupportRequestKind.RELEASE_HOLD, placed + days, hold="legal"), released_at)
    world.wait(FAR)
    after = way_down(world)[way:]
    lead = {EventKind.SUSPENDED: 3 * DAY, EventKind.DEACTIVATED: 7 * DAY}
    steps = [(kind, at) for kind, at in after if kind is not EventKind.NOTICE_GIVEN]
    assert steps[0][1] >= released_at + dwell.of(state)
    for (kind, at), (_, announced_at) in zip(after[1:], after, strict=False):
        assert at - announced_at >= lead.get(kind, timedelta(0))
