"""Whole histories from creation on, with deadlines in between (lifecycle.md section 10, 1 to 6, 9).

Every decision is checked by `invariants.py`; here are checks that need a whole history.
"""

from datetime import datetime

from hypothesis import given, settings
from hypothesis import strategies as st
from invariants import Witness
from strategies import COIN, lives
from world import DAY, DAY_0, FAR, Shown, World

from examples import examples
from marketplace_worker.contract.outbound import encode
from marketplace_worker.lifecycle.coverage.intervals import Moment
from marketplace_worker.lifecycle.events import EventKind
from marketplace_worker.lifecycle.facts import Fact
from marketplace_worker.lifecycle.policy import AzureReinstatement, Policies, Policy, Reinstatement
from marketplace_worker.lifecycle.states import State

AUTOMATIC = Policies(Policy(reinstatement=Reinstatement(azure=AzureReinstatement.AUTOMATIC)))

Arrivals = Shown[tuple[datetime, Fact]]


@st.composite
def arrivals(draw: st.DrawFn) -> Arrivals:
    """Any facts over 120 days; some arrive late."""
    tale = draw(lives())
    late = [draw(st.integers(0, 120)) if draw(COIN) else 0 for _ in tale]
    inputs = [
        (max(fact.occurred_at, DAY_0 + days * DAY), number, fact)
        for number, (fact, days) in enumerate(zip(tale, late, strict=True))
    ]
    in_order = sorted(inputs, key=lambda each: each[:2])
    return Arrivals((now, fact) for now, _, fact in in_order)


def world_after(history: Arrivals, policies: Policies, *, checked: bool = True) -> World:
    """A world after these facts, with the deadlines between and after them."""
    world = World(policies)
    if checked:
        world.watch = Witness()
    for now, fact in history:
        world.wait(now)
        world.apply(fact, now)
    world.wait(FAR)
    return world


@settings(max_examples=examples(250), deadline=None)
@given(arrivals(), COIN)
def test_whole_histories_keep_the_invariants(history: Arrivals, automatic: bool) -> None:
    """In the end each organization has the state that its plans imply."""
    world = world_after(history, AUTOMATIC if automatic else Policies())
    for id_, each in world.fleet.organizations.items():
        if each.creation is None:
            kinds = {event.kind for event in world.events if event.subject == id_}
            assert kinds <= {EventKind.SUPPORT_REQUEST_REJECTED}
            continue
        stands_still = each.held(FAR) or each.pending is not None or each.withheld_at is not None
        assert not each.state.in_cancellation or stands_still
        if each.state is State.ACTIVE:
            covered = world.covered(id_, FAR)
            assert covered.active(Moment(FAR)) or covered.last_end(FAR) is None


@settings(max_examples=examples(60), deadline=None)
@given(arrivals())
def test_the_same_input_twice_gives_the_same_bytes(history: Arrivals) -> None:
    """Invariant 8: a replay of the journal, at the times of arrival, gives the same."""
    once = world_after(history, AUTOMATIC, checked=False)
    twice = world_after(history, AUTOMATIC, checked=False)
    assert [encode(e) for e in once.events] == [encode(e) for e in twice.events]
    assert once.fleet == twice.fleet
