"""A step is taken when everything allows it, and any one obstacle alone prevents it.

So invariants 1 to 3 and 9 of lifecycle.md section 10 hold not because nothing ever happens.
"""

from datetime import timedelta

import pytest
from due_organizations import ALL, OBSTACLES, due_organization
from hypothesis import given, settings
from hypothesis import strategies as st
from invariants import STEPS, Witness
from strategies import PLAN_TYPES, TODAY
from world import ACME, DAY, DAY_0, HOUR, World

from examples import examples
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.vocabulary import PlanType

INSTANT = DAY_0.resolution
MARGINS = st.sampled_from([INSTANT, HOUR, 3 * DAY])
SLACKS = st.sampled_from([timedelta(0), INSTANT, 2 * HOUR])
STATES = st.sampled_from(ALL)


def next_step(state: State) -> State:
    """The next step without any message."""
    return state.next_step or State.DEACTIVATED


def steps_taken(world: World) -> list[State]:
    """The steps of a recheck today."""
    world.watch = Witness.of(world.fleet)
    before = world.acme().state
    world.run_deadline(ACME, TODAY)
    after = world.acme().state
    return [after] if after is not before and after in STEPS else []


@settings(max_examples=examples(100), deadline=None)
@given(STATES, PLAN_TYPES, SLACKS)
def test_a_step_that_is_due_by_every_rule_is_taken(
    state: State, plan_type: PlanType | None, slack: timedelta
) -> None:
    """At the very moment, and after it."""
    assert steps_taken(due_organization(state, plan_type, slack)) == [next_step(state)]


@pytest.mark.parametrize("name", sorted(OBSTACLES))
@settings(max_examples=examples(30), deadline=None)
@given(STATES, PLAN_TYPES, SLACKS, MARGINS)
def test_any_one_obstacle_prevents_the_step(
    name: str, state: State, plan_type: PlanType | None, slack: timedelta, margin: timedelta
) -> None:
    """However small the margin."""
    obstacle = OBSTACLES[name]
    if state in obstacle.states:
        world = due_organization(state, plan_type, slack)
        obstacle.put(world, margin)
        assert steps_taken(world) == []


@pytest.mark.parametrize("state", ALL)
def test_each_kind_of_step_has_a_limit_of_its_own(state: State) -> None:
    """What fills the one leaves the other open (section 8)."""
    others = "guarded_by_the_limit" if state is State.CANCELED else "guarded_by_the_limit_of_losses"
    world = due_organization(state, None, timedelta(0))
    OBSTACLES[others].put(world, HOUR)
    assert steps_taken(world) == [next_step(state)]


@pytest.mark.parametrize("name", ["azure_suspended_lately", "azure_unsubscribed_lately"])
@pytest.mark.parametrize("state", [State.CANCELED, State.CONTROL_PLANE_LOSS])
def test_a_floor_holds_only_the_deactivation(name: str, state: State) -> None:
    """Section 3, 4: it is about data."""
    world = due_organization(state, None, timedelta(0))
    OBSTACLES[name].put(world, HOUR)
    assert steps_taken(world) == [next_step(state)]
