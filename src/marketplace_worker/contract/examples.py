"""One example of every outgoing message, for the schemas and the tests.

The examples, with their ids and addresses, are made up.
"""

from dataclasses import replace
from datetime import UTC, date, datetime

from marketplace_worker.contract.tracing import Trace
from marketplace_worker.lifecycle.events import (
    WORKER,
    CancellationDetails,
    DeactivationDetails,
    Details,
    EmailDetails,
    Event,
    EventKind,
    LockViolationDetails,
    MeteringDetails,
    NoticeDetails,
    PlanSummary,
    Refusal,
    ReinstatementDetails,
    ScheduledStep,
    Snapshot,
    Standing,
    SubscriptionsDetails,
    SupportDetails,
    event_id,
)
from marketplace_worker.lifecycle.limits import BY_DESTRUCTIVE_STEPS
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.vocabulary import (
    ActivityFeed,
    CompletedBy,
    DeactivationCause,
    EmailHash,
    GuardSide,
    Initiator,
    Marketplace,
    OrganizationId,
    PlanType,
    StateReason,
    SubscriptionKey,
    SupportRequestKind,
    Tier,
)
from marketplace_worker.lifecycle.worker_details import (
    GuardReleasedDetails,
    GuardTrippedDetails,
    SilentFeedDetails,
    UnreadableFeedDetails,
)

_ORGANIZATION = OrganizationId("org-42")
_SUBSCRIPTION = SubscriptionKey(Marketplace.AWS, "agmt-3bsxkpvrrr0fd0f8a9bqx1234")
_CANCELED_AT = datetime(2026, 11, 1, 9, 30, tzinfo=UTC)
_SCHEDULE = (
    ScheduledStep(State.CONTROL_PLANE_LOSS, datetime(2026, 11, 2, 9, 30, tzinfo=UTC)),
    ScheduledStep(State.SUSPENDED, datetime(2026, 11, 8, 9, 30, tzinfo=UTC)),
    ScheduledStep(State.DEACTIVATED, datetime(2026, 12, 8, 9, 30, tzinfo=UTC)),
)
_EMAIL = EmailHash("5f" * 32)
_BEFORE = {
    State.ACTIVE: State.SUSPENDED,
    State.CANCELED: State.ACTIVE,
    State.CONTROL_PLANE_LOSS: State.CANCELED,
    State.SUSPENDED: State.CONTROL_PLANE_LOSS,
    State.DEACTIVATED: State.SUSPENDED,
}

# After which transition each kind is written (lifecycle.md section 9); the others: deactivation.
_STATES: dict[EventKind, State] = {
    EventKind.CANCELED: State.CANCELED,
    EventKind.CONTROL_PLANE_LOST: State.CONTROL_PLANE_LOSS,
    EventKind.CONTROL_PLANE_ACCESS_REVOKED: State.CONTROL_PLANE_LOSS,
    EventKind.NOTICE_GIVEN: State.CONTROL_PLANE_LOSS,
    EventKind.SUSPENDED: State.SUSPENDED,
    EventKind.API_KEYS_REVOKED: State.SUSPENDED,
    EventKind.DATA_PLANE_ACCESS_REVOKED: State.SUSPENDED,
    EventKind.REINSTATEMENT_PENDING: State.SUSPENDED,
    EventKind.REINSTATEMENT_LAPSED: State.SUSPENDED,
    EventKind.REINSTATED: State.ACTIVE,
    EventKind.CONTROL_PLANE_ACCESS_RESTORED: State.ACTIVE,
    EventKind.API_KEYS_RESTORED: State.ACTIVE,
    EventKind.DATA_PLANE_ACCESS_RESTORED: State.ACTIVE,
    EventKind.NOTICE_WITHDRAWN: State.ACTIVE,
    EventKind.METERING_FINAL_REPORT_DUE: State.CANCELED,
    EventKind.SUPPORT_REQUEST_COMPLETED: State.CONTROL_PLANE_LOSS,
}
_PAUSED = {EventKind.REINSTATEMENT_PENDING, EventKind.SUPPORT_REQUEST_COMPLETED}
_OF_A_REACTIVATION = {
    EventKind.REACTIVATED,
    EventKind.CONTROL_PLANE_PROVISION_REQUESTED,
    EventKind.LOGINS_UNBLOCKED,
    EventKind.EMAIL_UNLOCKED,
}
_DETAILS: dict[EventKind, Details] = {
    EventKind.CANCELED: CancellationDetails(_SCHEDULE),
    EventKind.DEACTIVATED: DeactivationDetails(DeactivationCause.MARKETPLACE_CANCELLATION),
    EventKind.REINSTATEMENT_PENDING: ReinstatementDetails(_SUBSCRIPTION, CompletedBy.SIGN_IN),
    EventKind.REINSTATEMENT_LAPSED: ReinstatementDetails(_SUBSCRIPTION, CompletedBy.SIGN_IN),
    EventKind.NOTICE_GIVEN: NoticeDetails(State.SUSPENDED, _SCHEDULE[1].at, _SCHEDULE[1:]),
    EventKind.NOTICE_WITHDRAWN: NoticeDetails(State.DEACTIVATED, _SCHEDULE[2].at, None),
    EventKind.SUBSCRIPTIONS_REMOVED: SubscriptionsDetails(
        (_SUBSCRIPTION,), ("commitment-9",), ("example-10",)
    ),
    EventKind.EMAIL_LOCKED: EmailDetails(_EMAIL),
    EventKind.EMAIL_UNLOCKED: EmailDetails(_EMAIL),
    EventKind.EMAIL_LOCK_VIOLATED: LockViolationDetails(_EMAIL, OrganizationId("org-77")),
    EventKind.METERING_FINAL_REPORT_DUE: MeteringDetails(
        _SUBSCRIPTION, datetime(2026, 11, 1, 10, 30, tzinfo=UTC)
    ),
    EventKind.SUPPORT_REQUEST_COMPLETED: SupportDetails(
        "example-12", SupportRequestKind.PLACE_HOLD, None, "A legal hold stands.", "ada"
    ),
    EventKind.SUPPORT_REQUEST_REJECTED: SupportDetails(
        "example-9",
        SupportRequestKind.REACTIVATE_ORGANIZATION,
        Refusal.IRREVERSIBLE,
        "What a cancellation at the marketplace ended cannot come back.",
        "ada",
    ),
    EventKind.GUARD_TRIPPED: GuardTrippedDetails(
        GuardSide.STEPS, counted=50, limit=50, by=None, reason=BY_DESTRUCTIVE_STEPS
    ),
    EventKind.GUARD_RELEASED: GuardReleasedDetails(
        GuardSide.STEPS,
        steps=20,
        requests=None,
        counted=50,
        limit=50,
        by="grace",
        reason="These have really canceled.",
    ),
    EventKind.ACTIVITY_FEED_SILENT: SilentFeedDetails(
        ActivityFeed.LOGINS, date(2026, 11, 22), datetime(2026, 11, 18, 4, 15, tzinfo=UTC)
    ),
    EventKind.ACTIVITY_FEED_UNREADABLE: UnreadableFeedDetails(
        ActivityFeed.LOGINS, date(2026, 11, 22), _ORGANIZATION
    ),
}
_PAID_ON = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
_ASKED_ON = datetime(2026, 12, 20, 8, 0, tzinfo=UTC)
_AT_ONCE = {
    EventKind.METERING_FINAL_REPORT_DUE: _CANCELED_AT,
    EventKind.NOTICE_GIVEN: datetime(2026, 11, 5, 9, 30, tzinfo=UTC),
    EventKind.SUPPORT_REQUEST_COMPLETED: datetime(2026, 11, 6, 8, 0, tzinfo=UTC),
    **{kind: _PAID_ON for kind, state in _STATES.items() if state is State.ACTIVE},
    EventKind.REINSTATEMENT_PENDING: _PAID_ON,
    EventKind.REINSTATEMENT_LAPSED: _PAID_ON.replace(day=25),
    **dict.fromkeys(_OF_A_REACTIVATION, _ASKED_ON),
    EventKind.EMAIL_LOCK_VIOLATED: _ASKED_ON,
    EventKind.SUPPORT_REQUEST_REJECTED: _ASKED_ON,
    EventKind.ERASED: _ASKED_ON.replace(day=21),
}
"""Kinds that take effect when they are decided, and when that is."""

_OF_THE_WORKER = {
    EventKind.GUARD_TRIPPED: "deadline",
    EventKind.GUARD_RELEASED: "e1f6a9a2-52a4-4c0f-9d2e-7a3f1c5b8d60",
    EventKind.ACTIVITY_FEED_SILENT: "deadline",
    EventKind.ACTIVITY_FEED_UNREADABLE: "deadline",
}
"""Details of kinds that concern no organization, and their cause."""


def example_standing(state: State) -> Standing:
    """An organization that the customer canceled on AWS, or one that was reinstated."""
    upcoming = next((step for step in _SCHEDULE if step.state is state.next_step), None)
    came_back = state is State.ACTIVE
    return Standing(
        organization=_ORGANIZATION,
        state=state,
        previous_state=_BEFORE[state],
        reason=StateReason.REINSTATED if came_back else StateReason.CUSTOMER,
        initiator=Initiator.CUSTOMER,
        plan_type=PlanType.PAYG,
        next_step=upcoming,
        recoverable=state is not State.DEACTIVATED,
        policy_version="2026-11-22",
    )


def _standing(kind: EventKind) -> Standing:
    standing = example_standing(_STATES.get(kind, State.DEACTIVATED))
    if kind in _PAUSED:
        return replace(standing, next_step=None)
    if kind in _OF_A_REACTIVATION:
        return replace(
            example_standing(State.ACTIVE),
            previous_state=State.DEACTIVATED,
            reason=StateReason.REACTIVATED,
            initiator=Initiator.SUPPORT,
            plan_type=None,
        )
    return standing


def example_event(kind: EventKind, *, sequence: int) -> Event:
    """An event of a kind, as its transition would write it; kinds without one: deactivation."""
    if kind in _OF_THE_WORKER:
        return _event_of_the_worker(kind, _DETAILS[kind], _OF_THE_WORKER[kind], sequence=sequence)
    standing = _standing(kind)
    assert standing.state is not None
    erased = kind is EventKind.ERASED
    decided_at, effective_at = _moments(kind, standing.state)
    return Event(
        kind=kind,
        subject=standing.organization,
        sequence=sequence,
        decided_at=decided_at,
        effective_at=effective_at,
        causation_id=_cause(kind, standing.state),
        correlation_id="0b4f8a52-6d3e-5d0c-9d54-4f0f6a6c1f77",
        standing=None if erased else standing,
        details=_DETAILS.get(kind),
    )


def _moments(kind: EventKind, state: State) -> tuple[datetime, datetime]:
    """When it was decided, and when it took effect (events.md section 3)."""
    if kind in _AT_ONCE:
        decided_at = _AT_ONCE[kind].replace(microsecond=250_000)
        return decided_at, decided_at
    effective_at = next((step.at for step in _SCHEDULE if step.state is state), _CANCELED_AT)
    return effective_at.replace(microsecond=250_000), effective_at


def _cause(kind: EventKind, state: State) -> str:
    details = _DETAILS.get(kind)
    if isinstance(details, SupportDetails):
        return details.request_id
    if kind in _OF_A_REACTIVATION:
        return "example-9"
    is_step = kind not in _AT_ONCE and any(step.state is state for step in _SCHEDULE)
    by_deadline = is_step or kind is EventKind.NOTICE_GIVEN
    return "deadline" if by_deadline else "dd4f6ae8-9e3f-4a5c-8b1e-3f6f8f0f9a01"


def outbound_examples() -> dict[EventKind, Event]:
    """An event of every kind."""
    return {kind: example_event(kind, sequence=n) for n, kind in enumerate(EventKind, start=1)}


def example_answer_of_the_worker() -> Event:
    """A refusal where no organization could be found: the other shape of its kind's data."""
    details = SupportDetails(
        "example-11",
        SupportRequestKind.UNLOCK_EMAIL,
        Refusal.EMAIL_NOT_LOCKED,
        "No organization has this email locked.",
        "ada",
    )
    kind = EventKind.SUPPORT_REQUEST_REJECTED
    return _event_of_the_worker(kind, details, details.request_id, sequence=4)


def example_held_and_traced() -> tuple[Event, Trace]:
    """A cancellation under a hold, caused by a message with a trace: all optional parts are
    present.
    """
    event = example_event(EventKind.CANCELED, sequence=1)
    assert event.standing is not None
    held = replace(
        event,
        standing=replace(event.standing, next_step=None),
        details=CancellationDetails(_SCHEDULE, held=True),
    )
    return held, Trace("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "rojo=00f067aa")


def _event_of_the_worker(
    kind: EventKind, details: Details, causation_id: str, *, sequence: int
) -> Event:
    decided_at = datetime(2026, 11, 22, 18, 15, 15, 376_000, tzinfo=UTC)
    return Event(
        kind=kind,
        subject=WORKER,
        sequence=sequence,
        decided_at=decided_at,
        effective_at=decided_at,
        causation_id=causation_id,
        correlation_id=str(event_id(WORKER, sequence, kind)),
        standing=None,
        details=details,
    )


def example_snapshot() -> Snapshot:
    """A canceled organization, whole."""
    return Snapshot(
        standing=example_standing(State.CANCELED),
        revision=3,
        last_event_sequence=2,
        taken_at=_CANCELED_AT.replace(microsecond=250_000),
        causation_id="dd4f6ae8-9e3f-4a5c-8b1e-3f6f8f0f9a01",
        tier=Tier.PLUS,
        created_at=datetime(2025, 3, 1, 12, 0, tzinfo=UTC),
        canceled_at=_CANCELED_AT,
        plans=(
            PlanSummary(
                name=str(_SUBSCRIPTION),
                marketplace=Marketplace.AWS,
                status="ended",
                active=False,
                ends_at=_CANCELED_AT,
                plan_type=PlanType.PAYG,
            ),
        ),
    )
