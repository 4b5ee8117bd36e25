"""The events and snapshots that are published, as values (lifecycle.md section 9).

Their bytes, CloudEvents of events.md section 3, are made in `contract.outbound`.
"""

from dataclasses import field
from datetime import datetime
from enum import StrEnum
from uuid import NAMESPACE_URL, UUID, uuid5

from marketplace_worker.lifecycle.states import Capabilities, State
from marketplace_worker.lifecycle.values import dataclass
from marketplace_worker.lifecycle.vocabulary import (
    CompletedBy,
    DeactivationCause,
    EmailHash,
    Identity,
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

_NAMESPACE = uuid5(NAMESPACE_URL, "urn:marketplace-worker")


class EventKind(StrEnum):
    """The name of an event; its CloudEvents type is `io.marketplace-worker.` + name + `.v1`."""

    CANCELED = "organization.canceled"
    CONTROL_PLANE_LOST = "organization.control_plane_lost"
    SUSPENDED = "organization.suspended"
    DEACTIVATED = "organization.deactivated"
    REINSTATEMENT_PENDING = "organization.reinstatement_pending"
    REINSTATEMENT_LAPSED = "organization.reinstatement_lapsed"
    REINSTATED = "organization.reinstated"
    REACTIVATED = "organization.reactivated"
    NOTICE_GIVEN = "organization.notice_given"
    NOTICE_WITHDRAWN = "organization.notice_withdrawn"
    CONTROL_PLANE_ACCESS_REVOKED = "control_plane.access_revoked"
    CONTROL_PLANE_ACCESS_RESTORED = "control_plane.access_restored"
    CONTROL_PLANE_PROVISION_REQUESTED = "control_plane.provision_requested"
    CONTROL_PLANE_DECOMMISSIONED = "control_plane.decommissioned"
    API_KEYS_REVOKED = "api_keys.revoked"
    API_KEYS_RESTORED = "api_keys.restored"
    DATA_PLANE_ACCESS_REVOKED = "data_plane.access_revoked"
    DATA_PLANE_ACCESS_RESTORED = "data_plane.access_restored"
    BILLING_STOPPED = "billing.stopped"
    SUBSCRIPTIONS_REMOVED = "subscriptions.removed"
    TEAM_MEMBERSHIPS_REMOVED = "team_memberships.removed"
    ROLES_REMOVED = "roles.removed"
    LOGINS_BLOCKED = "logins.blocked"
    LOGINS_UNBLOCKED = "logins.unblocked"
    EMAIL_LOCKED = "email.locked"
    EMAIL_UNLOCKED = "email.unlocked"
    EMAIL_LOCK_VIOLATED = "email.lock_violated"
    RUNTIMES_DETACHED = "runtimes.detached"
    RESOURCES_DELETION_REQUESTED = "resources.deletion_requested"
    ERASED = "organization.erased"
    METERING_FINAL_REPORT_DUE = "metering.final_report_due"
    SUPPORT_REQUEST_COMPLETED = "support_request.completed"
    SUPPORT_REQUEST_REJECTED = "support_request.rejected"
    GUARD_TRIPPED = "guard.tripped"
    GUARD_RELEASED = "guard.released"
    ACTIVITY_FEED_SILENT = "activity_feed.silent"
    ACTIVITY_FEED_UNREADABLE = "activity_feed.unreadable"


STATE_EVENTS = frozenset(
    {
        EventKind.CANCELED,
        EventKind.CONTROL_PLANE_LOST,
        EventKind.SUSPENDED,
        EventKind.DEACTIVATED,
        EventKind.REINSTATED,
        EventKind.REACTIVATED,
    }
)
"""Each publishes one transition; the events of its effects follow it."""


class Refusal(StrEnum):
    """Why a request of Support was refused (lifecycle.md section 7)."""

    UNKNOWN_ORGANIZATION = "unknown_organization"
    NOT_DEACTIVATED = "not_deactivated"
    ALREADY_DEACTIVATED = "already_deactivated"
    IRREVERSIBLE = "irreversible"
    NOT_REINSTATABLE = "not_reinstatable"
    NO_ACTIVE_PLAN = "no_active_plan"
    EMAIL_NOT_LOCKED = "email_not_locked"
    EMAIL_IN_USE = "email_in_use"
    NO_SUCH_HOLD = "no_such_hold"
    EXTENSION_TOO_LONG = "extension_too_long"
    INVALID_REQUEST = "invalid_request"
    ON_HOLD = "on_hold"
    GUARD_TRIPPED = "guard_tripped"


@dataclass(frozen=True, slots=True)
class ScheduledStep:
    """A step of a cancellation and its time, as currently scheduled."""

    state: State
    at: datetime


@dataclass(frozen=True, slots=True)
class Standing:
    """The state of an organization and what belongs to it: part of every event's `data` and of the
    snapshot.

    `state` is None if the organization does not exist: it was never created, or was erased.
    """

    organization: OrganizationId
    state: State | None
    previous_state: State | None
    reason: StateReason | None
    initiator: Initiator | None
    plan_type: PlanType | None
    next_step: ScheduledStep | None
    recoverable: bool
    policy_version: str

    @property
    def capabilities(self) -> Capabilities | None:
        """The capabilities of the state."""
        return None if self.state is None else self.state.capabilities


# Details of an event's kind, beyond the standing (events.md section 3).


@dataclass(frozen=True, slots=True)
class CancellationDetails:
    """`organization.canceled`: the whole schedule.

    `held`: a hold stands; the schedule is what it would be if that were released now.
    """

    schedule: tuple[ScheduledStep, ...]
    held: bool = False


@dataclass(frozen=True, slots=True)
class DeactivationDetails:
    """`organization.deactivated`."""

    cause: DeactivationCause


@dataclass(frozen=True, slots=True)
class NoticeDetails:
    """`organization.notice_given` and `_withdrawn`: of which step, and the date that it named.

    `schedule` is None on a withdrawal.  `held`: as in `CancellationDetails`.
    """

    upcoming_state: State
    at: datetime
    schedule: tuple[ScheduledStep, ...] | None
    held: bool = False


@dataclass(frozen=True, slots=True)
class SubscriptionsDetails:
    """`subscriptions.removed`: all plans that were attached."""

    subscriptions: tuple[SubscriptionKey, ...]
    commitments: tuple[str, ...]
    grants: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EmailDetails:
    """`email.*`: whose address, as its keyed hash."""

    email_hash: EmailHash


@dataclass(frozen=True, slots=True)
class LockViolationDetails:
    """`email.lock_violated`: `used_by` was created with the locked email."""

    email_hash: EmailHash
    used_by: OrganizationId


@dataclass(frozen=True, slots=True)
class ReinstatementDetails:
    """`organization.reinstatement_pending` and `_lapsed`: by which plan, and what completes it."""

    subscription: SubscriptionKey
    completed_by: CompletedBy


@dataclass(frozen=True, slots=True)
class SupportDetails:
    """`support_request.*`.  `code` is None where the request was completed."""

    request_id: str
    request: SupportRequestKind
    code: Refusal | None
    message: str
    requested_by: str


@dataclass(frozen=True, slots=True)
class MeteringDetails:
    """`metering.final_report_due`: the last moment at which usage may still be metered."""

    subscription: SubscriptionKey
    deadline: datetime


Details = (
    CancellationDetails
    | DeactivationDetails
    | NoticeDetails
    | SubscriptionsDetails
    | EmailDetails
    | LockViolationDetails
    | ReinstatementDetails
    | SupportDetails
    | GuardTrippedDetails
    | GuardReleasedDetails
    | SilentFeedDetails
    | UnreadableFeedDetails
    | MeteringDetails
    | None
)


WORKER = OrganizationId("worker")
"""The subject of what concerns no one organization: the guard, the feeds (section 9)."""


@dataclass(frozen=True, slots=True)
class Event:
    """One outgoing event.  `sequence` begins at 1 and rises by one per subject.

    `causation_id` is the id of the inbound message, or `deadline`.  `standing` is None where the
    subject is the worker itself, and of an erasure; `effective_at` is then `decided_at`.  The same
    event always has the same `id` (invariant 6).
    """

    kind: EventKind
    subject: OrganizationId
    sequence: int
    decided_at: datetime
    effective_at: datetime
    causation_id: str
    correlation_id: str
    standing: Standing | None
    details: Details = None
    id: UUID = field(init=False, compare=False)

    def __post_init__(self) -> None:
        """Derive the id once: it is written to the history and to Kafka."""
        object.__setattr__(self, "id", event_id(self.subject, self.sequence, self.kind))


def event_id(subject: OrganizationId, sequence: int, kind: EventKind) -> UUID:
    """The deterministic id of an event (events.md section 3)."""
    return uuid5(_NAMESPACE, f"{subject}/{sequence}/{kind}")


def request_correlation_id(request: Identity) -> str:
    """The correlation id of what a request of Support causes by itself."""
    return str(uuid5(_NAMESPACE, f"request/{request.source}/{request.id}"))


@dataclass(frozen=True, slots=True)
class PlanSummary:
    """One plan, as a snapshot shows it: `aws:agmt-1`, `commitment:c-1` or `grant:request-1`."""

    name: str
    marketplace: Marketplace | None
    status: str
    active: bool
    ends_at: datetime | None
    plan_type: PlanType | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """`organization.state`: the whole of an organization, for caches and late joiners.

    `revision` rises by one with every snapshot of the organization; `last_event_sequence` is that
    of the newest event that this state includes (0: none yet).
    """

    standing: Standing
    revision: int
    last_event_sequence: int
    taken_at: datetime
    causation_id: str
    tier: Tier
    created_at: datetime
    canceled_at: datetime | None
    plans: tuple[PlanSummary, ...]

    @property
    def id(self) -> UUID:
        """Deterministic, as an event's."""
        return uuid5(_NAMESPACE, f"{self.standing.organization}/{self.revision}/organization.state")
