"""What a snapshot shows of an organization (events.md section 1, `organizations.state`)."""

from stories import run_story
from world import ACME, ENTITLEMENT, World, commitment, created, link, moment, note, notified

from marketplace_worker.lifecycle.events import EventKind, ScheduledStep, Snapshot
from marketplace_worker.lifecycle.notes import Ended
from marketplace_worker.lifecycle.organization_view import OrganizationView
from marketplace_worker.lifecycle.snapshot import snapshot
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.vocabulary import Initiator, PlanEndReason, PlanType

ENDED = Ended(PlanEndReason.CUSTOMER, Initiator.CUSTOMER, terminal=True)


def snapshot_on(world: World, day: float, revision: int = 1) -> Snapshot:
    """Acme's snapshot."""
    acme = OrganizationView(
        world.fleet.organization(ACME), world.fleet, world.policies, moment(day)
    )
    return snapshot(acme, revision=revision, causation_id="x")


def test_a_snapshot_contains_the_whole_organization() -> None:
    """For caches and late joiners: state, deadline, plans, and which event it includes."""
    world = World()
    for fact in (created(), link(ENTITLEMENT, plan_type=PlanType.PAYG), commitment(0, 3)):
        world.apply(fact, moment(0))
    world.apply(notified(ENTITLEMENT, note(5, ENDED)), moment(5))
    shown = snapshot_on(world, 5, revision=4)
    assert (shown.standing.state, shown.canceled_at) == (State.CANCELED, moment(5))
    assert shown.standing.next_step == ScheduledStep(State.CONTROL_PLANE_LOSS, moment(6))
    assert (shown.revision, shown.last_event_sequence) == (4, 1)
    assert [(plan.name, plan.active) for plan in shown.plans] == [
        ("gcp:e-1", False),
        ("commitment:c-1", False),
    ]


def test_a_snapshot_before_any_event_has_no_sequence() -> None:
    """A snapshot of an organization without any events is published, too."""
    world = World()
    world.apply(created(), moment(0))
    shown = snapshot_on(world, 0)
    assert (shown.last_event_sequence, shown.canceled_at, shown.plans) == (0, None, ())
    assert (shown.standing.state, shown.standing.reason) == (State.ACTIVE, None)


def test_the_same_snapshot_always_has_the_same_id() -> None:
    """And none of another revision, nor any event."""
    world = World()
    world.apply(created(), moment(0))
    ids = {snapshot_on(world, 0, revision).id for revision in (1, 1, 2)}
    events = run_story(
        """
        0 | acme created plus        |
        1 | support: acme deactivate |
    """,
        until="1",
    )
    assert len(ids) == 2
    assert EventKind.DEACTIVATED in {event.kind for event in events}
    assert not ids & {event.id for event in events}
