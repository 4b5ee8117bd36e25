"""Any fact applied to any state of a fleet (lifecycle.md section 10, 1 to 6, 9).

States are drawn directly (`strategies.py`); the checks are those of `invariants.py`.
"""

from dataclasses import replace
from datetime import timedelta

from due_organizations import ALL, OBSTACLES, due_organization
from hypothesis import given, settings
from hypothesis import strategies as st
from invariants import Witness
from strategies import ORGANIZATIONS, PLAN_TYPES, TODAY, facts, organizations, requests, worlds
from world import ACME, BETA, HOUR, World

from examples import examples
from marketplace_worker.lifecycle.events import SupportDetails
from marketplace_worker.lifecycle.facts import Fact, LoggedIn, SupportRequested
from marketplace_worker.lifecycle.fleet import Fleet
from marketplace_worker.lifecycle.organization import Organization
from marketplace_worker.lifecycle.vocabulary import (
    Identity,
    OrganizationId,
    SupportRequestKind,
)

DUE = st.sampled_from(ALL)
SLACKS = st.sampled_from([timedelta(0), HOUR])


@st.composite
def nearly_due(draw: st.DrawFn) -> World:
    """The next step of acme is due, but for a few obstacles."""
    state = draw(DUE)
    world = due_organization(state, draw(PLAN_TYPES), draw(SLACKS))
    world.fleet.put(draw(organizations(BETA)))
    for obstacle in draw(st.lists(st.sampled_from(list(OBSTACLES.values())), max_size=2)):
        if state in obstacle.states:
            obstacle.put(world, HOUR)
    return world


WORLDS = st.one_of(worlds(), nearly_due())
GAPS = st.sampled_from([timedelta(0), HOUR, 24 * HOUR, 24 * 7 * HOUR, 24 * 40 * HOUR])


def watched(world: World) -> World:
    """The same world, each decision of which is checked."""
    world.watch = Witness.of(world.fleet)
    return world


@settings(max_examples=examples(400), deadline=None)
@given(WORLDS, facts())
def test_any_fact_in_any_state(world: World, fact: Fact) -> None:
    """Total, and within the invariants: no state and no fact are too odd to be decided on."""
    watched(world).decide(fact, TODAY)


@settings(max_examples=examples(400), deadline=None)
@given(WORLDS, ORGANIZATIONS)
def test_any_deadline_in_any_state(world: World, organization: OrganizationId) -> None:
    """A deadline may come at any time: it is derived again, and has no effect if it has passed."""
    watched(world).run_deadline(organization, TODAY)


@settings(max_examples=examples(200), deadline=None)
@given(WORLDS, facts(0) | st.none(), ORGANIZATIONS)
def test_a_second_check_at_the_same_moment_emits_nothing(
    world: World, fact: Fact | None, organization: OrganizationId
) -> None:
    """A deadline that fires twice, or in two workers, is harmless."""
    if fact is not None:
        world.decide(fact, TODAY)
    first = world.run_deadline(organization, TODAY)
    again = world.run_deadline(organization, TODAY)
    assert again.events == ()
    assert again.results[0].organization == first.results[0].organization
    assert again.results[0].due_at == first.results[0].due_at


@st.composite
def happenings(draw: st.DrawFn) -> list[tuple[timedelta, Fact | None]]:
    """Facts, and stretches in which only deadlines come."""
    numbers = range(draw(st.integers(1, 5)))
    return [(draw(GAPS), draw(facts(number) | st.none())) for number in numbers]


@settings(max_examples=examples(200), deadline=None)
@given(WORLDS, happenings())
def test_any_facts_and_deadlines_from_any_state(
    world: World, happened: list[tuple[timedelta, Fact | None]]
) -> None:
    """One after the other, each deadline at its own time."""
    now = TODAY
    watched(world)
    for organization in (ACME, BETA):
        world.run_deadline(organization, now)
    for gap, fact in happened:
        now += gap
        world.wait(now)
        if fact is not None:
            world.apply(fact, now)
    world.wait(now + 200 * 24 * HOUR)


OF_THEIR_OWN = {SupportRequestKind.REINSTATE_ORGANIZATION, SupportRequestKind.UNLOCK_EMAIL}
"""What brings about the reinstatement that it finds possible, and what is about an email."""


def answered(world: World, *facts: Fact) -> tuple[Organization, object]:
    """Acme after some facts at one moment, and how those of Support were answered."""
    events = [event for fact in facts for event in world.decide(fact, TODAY).events]
    details = [event.details for event in events if isinstance(event.details, SupportDetails)]
    return world.acme(), [each.code for each in details]


@settings(max_examples=examples(400), deadline=None)
@given(WORLDS, requests())
def test_a_request_meets_an_organization_as_its_plans_have_it(
    world: World, request: SupportRequested
) -> None:
    """It comes to the same whether or not acme had been looked at before, at that moment."""
    if request.request in OF_THEIR_OWN or request.organization != ACME:
        return
    before_any_plan = TODAY - timedelta(days=400)  # so that it proves none
    rechecked = LoggedIn(Identity("t", "looked at"), before_any_plan, ACME)
    fleet = world.fleet
    other = replace(
        world, fleet=Fleet(seen=fleet.seen, feeds=fleet.feeds, safeguards=fleet.safeguards)
    )
    other.fleet.put(*fleet.subscriptions.values(), *fleet.organizations.values())
    at_once, code = answered(world, request)
    after_recheck, code_then = answered(other, rechecked, request)
    assert (at_once.state, code) == (after_recheck.state, code_then)
    assert at_once.cancellation == after_recheck.cancellation
