"""What an event and a snapshot carry beyond their kind (lifecycle.md section 9, events.md 3)."""

from dataclasses import replace
from datetime import timedelta

import pytest
from stories import DAY_0, HASH, simulation, tell
from world import (
    ACME,
    AGREEMENT,
    ENTITLEMENT,
    World,
    commitment,
    created,
    heard,
    link,
    note,
)

from marketplace_worker.lifecycle.events import (
    CancellationDetails,
    DeactivationDetails,
    EmailDetails,
    EventKind,
    ScheduledStep,
    SubscriptionsDetails,
)
from marketplace_worker.lifecycle.notes import Ended
from marketplace_worker.lifecycle.settle import snapshot
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.vocabulary import Initiator, PlanType, Reason

DAY = timedelta(days=1)
ENDED = Ended(Reason.CUSTOMER, Initiator.CUSTOMER, terminal=True)

TO_THE_END = """
    0 | acme created                                    |
    0 | acme owner new@x.org @0                         |
    0 | acme links gcp:e-1 payg                         |
    0 | acme commits c-1 from=0 to=5                    |
    9 | gcp:e-1 ENTITLEMENT_CANCELLED reason=user-aborted |
"""
AND_BACK = """
    0  | acme created                                    |
    0  | acme links azure:s-1 payg                       |
    9  | azure:s-1 Suspend                               |
    20 | azure:s-1 Reinstate                             |
    30 | azure:s-1 Unsubscribe                           |
"""


def test_the_cancellation_tells_the_whole_schedule() -> None:
    """Whoever shows a banner needs no other event."""
    first = tell(TO_THE_END)[0]
    steps = [(State.CONTROL_PLANE_LOSS, 10), (State.SUSPENDED, 16), (State.DEACTIVATED, 46)]
    schedule = tuple(ScheduledStep(state, DAY_0 + day * DAY) for state, day in steps)
    assert first.details == CancellationDetails(schedule)


def test_each_event_tells_the_next_step() -> None:
    """As it stands when the event is decided; none after the last."""
    told = {e.kind: e.standing.next_step for e in tell(TO_THE_END)}
    assert told[EventKind.CANCELED] == ScheduledStep(State.CONTROL_PLANE_LOSS, DAY_0 + 10 * DAY)
    assert told[EventKind.DATA_PLANE_ACCESS_REVOKED] == ScheduledStep(
        State.DEACTIVATED, DAY_0 + 46 * DAY
    )
    assert told[EventKind.DEACTIVATED] is None


def test_only_the_end_is_beyond_recovery() -> None:
    """A marketplace's cancellation deletes the data: never recoverable (section 6)."""
    lost = {e.kind for e in tell(TO_THE_END) if not e.standing.recoverable}
    assert EventKind.DEACTIVATED in lost
    assert all(e.standing.recoverable for e in tell(TO_THE_END, until="45"))


def test_the_deactivation_lists_what_it_takes() -> None:
    """All plans that were attached, and the newest owner's email as its keyed hash."""
    details = {e.kind: e.details for e in tell(TO_THE_END)}
    assert details[EventKind.SUBSCRIPTIONS_REMOVED] == SubscriptionsDetails(
        (ENTITLEMENT,), ("c-1",)
    )
    assert isinstance(details[EventKind.DEACTIVATED], DeactivationDetails)
    assert details[EventKind.EMAIL_LOCKED] == EmailDetails(HASH("new@x.org"))


def test_effects_have_the_effective_time_of_their_state_event() -> None:
    """Also where the decision was late (section 11)."""
    for event in tell(TO_THE_END):
        if event.standing.state is State.SUSPENDED and event.details is None:
            assert event.effective_at == DAY_0 + 16 * DAY


def test_one_cancellation_is_one_story() -> None:
    """All its events share the id of the first, up to the withdrawn notice."""
    events = tell(AND_BACK)
    second = next(e for e in events if e.decided_at == DAY_0 + 30 * DAY)
    stories = {e.correlation_id for e in events if e.decided_at < DAY_0 + 30 * DAY}
    assert stories == {str(events[0].id)}
    assert second.correlation_id == str(second.id)


def test_each_event_names_what_caused_it() -> None:
    """The inbound event, or `deadline`."""
    causes = {e.kind: e.causation_id for e in tell(AND_BACK, until="20")}
    assert causes[EventKind.CANCELED] == "line-2:Suspend"
    assert causes[EventKind.CONTROL_PLANE_LOST] == "deadline"
    assert causes[EventKind.API_KEYS_RESTORED] == "line-3:Reinstate"


def test_a_commitment_that_brings_an_organization_back_is_the_vendors_doing() -> None:
    """A subscription is bought by the customer, a commitment is entered by the vendor."""
    back = tell("""
        0 | acme created                      |
        0 | acme commits c-1 from=0 to=5      |
        6 | acme commits c-2 from=6 to=99999  |
    """)[-1]
    told = (back.standing.reason, back.standing.initiator, back.standing.plan_type)
    assert told == ("reinstated", Initiator.VENDOR, PlanType.COMMIT)


def test_the_final_report_is_called_for_once_per_end() -> None:
    """Each end of one subscription, and no end twice, whatever is heard after it."""
    said = tell("""
        0 | acme created                      |
        0 | acme links aws:p/c payg           |
        5 | aws:p/c unsubscribe-pending       |
        5 | aws:p/c unsubscribe-success       |
        6 | aws:p/c subscribe-success         |
        8 | aws:p/c unsubscribe-success       |
        8 | acme tier plus                    |
    """)
    reports = [e.decided_at for e in said if e.kind is EventKind.METERING_FINAL_REPORT_DUE]
    assert reports == [DAY_0 + 5 * DAY, DAY_0 + 8 * DAY]


def test_what_was_linked_to_nobody_calls_for_its_report_when_it_is_linked() -> None:
    """With the deadline as it was, so that a late one shows (section 11)."""
    world = World()
    world.tell(created(), DAY_0)
    world.tell(heard(AGREEMENT, note(3, ENDED)), DAY_0 + 3 * DAY)
    decision = world.tell(link(AGREEMENT, 9), DAY_0 + 9 * DAY)
    (report,) = [e for e in decision.events if e.kind is EventKind.METERING_FINAL_REPORT_DUE]
    assert getattr(report.details, "deadline", None) == DAY_0 + 3 * DAY + timedelta(hours=1)


@pytest.mark.parametrize("until", ["0", "9", "12", "16", "50"])
def test_sequences_rise_by_one_from_one(until: str) -> None:
    """Invariant 6: a consumer can tell that it missed something."""
    events = tell(TO_THE_END, until=until)
    assert [e.sequence for e in events] == list(range(1, len(events) + 1))


# --- the snapshot ---------------------------------------------------------------------------------


def test_a_snapshot_tells_the_whole_organization() -> None:
    """For caches and late joiners: state, deadline, plans, and which event it includes."""
    world = World()
    for fact in (created(), link(ENTITLEMENT, plan_type=PlanType.PAYG), commitment(0, 3)):
        world.tell(fact, DAY_0)
    world.tell(heard(ENTITLEMENT, note(5, ENDED)), DAY_0 + 5 * DAY)
    acme = replace(world.fleet.organization(ACME), revision=4)
    taken = snapshot(acme, world.fleet, world.policy, now=DAY_0 + 5 * DAY, causation_id="x")
    assert (taken.standing.state, taken.canceled_at) == (State.CANCELED, DAY_0 + 5 * DAY)
    assert taken.standing.next_step == ScheduledStep(State.CONTROL_PLANE_LOSS, DAY_0 + 6 * DAY)
    assert (taken.revision, taken.last_event_sequence) == (4, 1)
    assert [(plan.name, plan.active) for plan in taken.plans] == [
        ("gcp:e-1", False),
        ("commitment:c-1", False),
    ]


def test_a_snapshot_before_any_event_has_no_sequence() -> None:
    """An organization that nothing ever happened to is told of, too."""
    world = World()
    world.tell(created(), DAY_0)
    acme = world.fleet.organization(ACME)
    taken = snapshot(acme, world.fleet, world.policy, now=DAY_0, causation_id="x")
    assert (taken.last_event_sequence, taken.canceled_at, taken.plans) == (0, None, ())
    assert (taken.standing.state, taken.standing.reason) == (State.ACTIVE, None)


def test_an_empty_scenario_says_nothing() -> None:
    """There is no clock to run on."""
    assert list(simulation().run([])) == []
