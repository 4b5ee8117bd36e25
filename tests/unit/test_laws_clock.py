"""A clock that jumps back takes nothing back, and nothing twice."""

from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import TODAY, worlds
from world import ACME, DAY_0, World, commitment, created, moment, shown

from examples import examples

BACK = st.sampled_from([timedelta(seconds=1), timedelta(minutes=10), timedelta(days=3)])


@settings(max_examples=examples(300), deadline=None)
@given(worlds(), BACK)
def test_no_event_is_withdrawn_when_the_clock_jumps_back(world: World, back: timedelta) -> None:
    """
    In any state: whoever had something said of it and is looked at again at an earlier moment, is
    looked at as of the moment at which that was said.
    """
    first = world.run_deadline(ACME, TODAY)
    if all(event.subject != ACME for event in first.events):
        return  # at most a feed was said to be silent
    again = world.run_deadline(ACME, TODAY - back)

    assert again.events == (), shown(again.events[0])
    assert world.acme().decided_at == TODAY


def test_a_plan_that_began_stays_begun_whatever_the_clock_shows_then() -> None:
    """The commitment's beginning reinstated it; ten minutes before, it had not begun."""
    world = World()
    world.apply_all(created(), commitment(-9, 1), commitment(2, 9, name="c-2"), day=0)
    world.wait(DAY_0 + timedelta(days=3))
    kinds = [event.kind for event in world.events]

    world.run_deadline(ACME, moment(2) - timedelta(minutes=10))

    assert [event.kind for event in world.events] == kinds
    assert world.acme().state == "active"
