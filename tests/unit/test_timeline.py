"""The timeline of an organization in any state; tests/console has those of real histories."""

from itertools import pairwise

from hypothesis import given, settings
from stories import moment
from strategies import ORGANIZATIONS, TODAY, worlds
from test_explain import CANCELED, GIVEN_BY_AZURE, after
from world import ACME, World

from examples import examples
from marketplace_worker.console.timeline_chart import INSET, WIDTH, Past, draw
from marketplace_worker.explain import explain
from marketplace_worker.inspection.fleet_view import FleetView
from marketplace_worker.inspection.timeline import OrganizationTimeline, Phase, Track, timeline
from marketplace_worker.lifecycle.policy import Policies, Policy
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.vocabulary import OrganizationId


def of_world(world: World, id_: OrganizationId) -> OrganizationTimeline:
    """Without a history: what is known now, and what comes."""
    organization = world.fleet.organization(id_)
    view = FleetView([organization], world.fleet, world.policies, TODAY)
    explanation = explain(organization, world.fleet, world.policies, now=TODAY)
    return timeline(view, explanation, [], limit=1)


def of(found: OrganizationTimeline, track: Track) -> list[Phase]:
    """The phases of one track."""
    return [each for each in found.phases if each.track is track]


@settings(max_examples=examples(500), deadline=None)
@given(worlds(), ORGANIZATIONS)
def test_every_state_has_a_timeline(world: World, id_: OrganizationId) -> None:
    """Total, and pure; the states have no gap, and what is planned begins now or later."""
    before = repr(world)
    found = of_world(world, id_)
    assert repr(world) == before
    states = of(found, Track.STATE)
    assert bool(states) is (world.fleet.organization(id_).creation is not None)
    assert all(one.ends_at == next_.starts_at for one, next_ in pairwise(states))
    assert all(each.ends_at is None for each in states[-1:])
    for each in found.phases:
        assert each.ends_at is None or each.starts_at <= each.ends_at
        assert not each.planned or each.starts_at >= TODAY


@settings(max_examples=examples(500), deadline=None)
@given(worlds(), ORGANIZATIONS)
def test_every_timeline_can_be_drawn(world: World, id_: OrganizationId) -> None:
    """Within its edges, however much of the past is drawn."""
    found = of_world(world, id_)
    for past in Past:
        drawing = draw(found, past)
        assert INSET <= drawing.now_x <= WIDTH - INSET
        for row in drawing.rows:
            assert all(INSET <= each.x <= each.x + each.width <= WIDTH for each in row.pieces)


def planned(story: str, until: str) -> list[tuple[str, int]]:
    """The states from now on after a story, and in how many days each begins."""
    fleet, now = after(story, until), moment(until)
    organization, policies = fleet.organization(ACME), Policies(Policy())
    view = FleetView([organization], fleet, policies, now)
    found = timeline(view, explain(organization, fleet, policies, now=now), [], limit=1)
    states = [each for each in of(found, Track.STATE) if each.planned]
    return [(each.name, (each.starts_at - now).days) for each in states]


def test_the_steps_of_a_cancellation_come_at_their_times() -> None:
    """From the state in which it is."""
    assert planned(CANCELED, "5") == [
        (State.CANCELED, 0),
        (State.CONTROL_PLANE_LOSS, 1),
        (State.SUSPENDED, 7),
        (State.DEACTIVATED, 37),
    ]


def test_under_a_hold_no_step_is_planned() -> None:
    """Nobody knows when it is released."""
    held = f"{CANCELED.rstrip()}\n5 | support: acme hold legal"
    assert planned(held, "6") == [(State.CANCELED, 0)]


def test_while_a_reinstatement_waits_no_step_is_planned() -> None:
    """No deadline runs."""
    assert planned(f"{GIVEN_BY_AZURE.rstrip()}\n5 | azure:s-1 Reinstate", "6") == [
        (State.CONTROL_PLANE_LOSS, 0)
    ]


def test_a_plan_that_begins_brings_it_back() -> None:
    """And its end cancels it again."""
    begins = f"{CANCELED.rstrip()}\n5 | acme commits c-1 from=8 to=100"
    assert planned(begins, "6")[:4] == [
        (State.CONTROL_PLANE_LOSS, 0),
        (State.ACTIVE, 2),
        (State.CANCELED, 94),
        (State.CONTROL_PLANE_LOSS, 97),
    ]
