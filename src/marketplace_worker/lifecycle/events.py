"""What we say: the events that go out and the snapshot, as values (lifecycle.md section 9).

Their bytes, CloudEvents of events.md section 3, are made in `contract.outbound`.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import NAMESPACE_URL, UUID, uuid5

from marketplace_worker.lifecycle.states import Capabilities, State
from marketplace_worker.lifecycle.vocabulary import (
    EmailHash,
    Initiator,
    Marketplace,
    OrganizationId,
    PlanType,
    SubscriptionKey,
    Tier,
)

_NAMESPACE = uuid5(NAMESPACE_URL, "urn:marketplace-worker")


class EventKind(StrEnum):
    """The name of an event; its CloudEvents type is `io.marketplace-worker.` + name + `.v1`."""

    CANCELED = "organization.canceled"
    CONTROL_PLANE_LOST = "organization.control_plane_lost"
    SUSPENDED = "organization.suspended"
    DEACTIVATED = "organization.deactivated"
    REINSTATED = "organization.reinstated"
    NOTICE_GIVEN = "organization.notice_given"
    NOTICE_WITHDRAWN = "organization.notice_withdrawn"
    CONTROL_PLANE_ACCESS_REVOKED = "control_plane.access_revoked"
    CONTROL_PLANE_ACCESS_RESTORED = "control_plane.access_restored"
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
    EMAIL_LOCKED = "email.locked"
    RUNTIMES_DETACHED = "runtimes.detached"
    RESOURCES_DELETION_REQUESTED = "resources.deletion_requested"
    METERING_FINAL_REPORT_DUE = "metering.final_report_due"


class StateReason(StrEnum):
    """Why an organization is in its state: a plan's end, or how it came back (events.md 3)."""

    CUSTOMER = "customer"
    VENDOR = "vendor"
    NON_PAYMENT = "non_payment"
    COMMIT_EXPIRED = "commit_expired"
    GRANT_EXPIRED = "grant_expired"
    UNKNOWN = "unknown"
    REINSTATED = "reinstated"


class DeactivationCause(StrEnum):
    """Decides what a deactivation takes and whether it can be undone (lifecycle.md section 6)."""

    MARKETPLACE_CANCELLATION = "marketplace_cancellation"


@dataclass(frozen=True, slots=True)
class ScheduledStep:
    """A step of a cancellation and when it comes, as things stand."""

    state: State
    at: datetime


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an organization stands: what every event's `data` and the snapshot tell."""

    organization: OrganizationId
    state: State
    previous_state: State | None
    reason: StateReason | None
    initiator: Initiator | None
    plan_type: PlanType | None
    next_step: ScheduledStep | None
    recoverable: bool
    policy_version: str

    @property
    def capabilities(self) -> Capabilities:
        """What the state allows."""
        return self.state.capabilities


# What an event's kind needs beyond the standing (events.md section 3).


@dataclass(frozen=True, slots=True)
class CancellationDetails:
    """`organization.canceled`: the whole schedule."""

    schedule: tuple[ScheduledStep, ...]


@dataclass(frozen=True, slots=True)
class DeactivationDetails:
    """`organization.deactivated`."""

    cause: DeactivationCause


@dataclass(frozen=True, slots=True)
class NoticeDetails:
    """`organization.notice_given` and `_withdrawn`: of which step, and the date that it named.

    `schedule` is None on a withdrawal.
    """

    upcoming_state: State
    at: datetime
    schedule: tuple[ScheduledStep, ...] | None


@dataclass(frozen=True, slots=True)
class SubscriptionsDetails:
    """`subscriptions.removed`: all plans that were attached, subscriptions and commitments."""

    subscriptions: tuple[SubscriptionKey, ...]
    commitments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EmailDetails:
    """`email.*`: whose address, as its keyed hash."""

    email_hash: EmailHash


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
    | MeteringDetails
    | None
)


@dataclass(frozen=True, slots=True)
class Event:
    """One outgoing event.  `sequence` begins at 1 and rises by one per organization.

    `causation_id` is the id of the inbound message, or `deadline`.
    """

    kind: EventKind
    sequence: int
    decided_at: datetime
    effective_at: datetime
    causation_id: str
    correlation_id: str
    standing: Standing
    details: Details = None

    @property
    def id(self) -> UUID:
        """The same event always has the same id (invariant 6)."""
        return event_id(self.standing.organization, self.sequence, self.kind)


def event_id(organization: OrganizationId, sequence: int, kind: EventKind) -> UUID:
    """The deterministic id of an event (events.md section 3)."""
    return uuid5(_NAMESPACE, f"{organization}/{sequence}/{kind}")


@dataclass(frozen=True, slots=True)
class PlanSummary:
    """One plan, as a snapshot shows it.  `name` is `aws:agmt-1` or `commitment:c-1`."""

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
