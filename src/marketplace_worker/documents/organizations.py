"""The document of an organization."""

from datetime import date, datetime, timedelta
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from marketplace_worker.documents.shapes import (
    Document,
    Shape,
    decode,
    encode,
    mend_duration,
    stores,
    to_core,
    to_stored,
)
from marketplace_worker.documents.subscriptions import StoredSubscriptionKey
from marketplace_worker.lifecycle import cancellation, organization
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.vocabulary import (
    ActivityFeed,
    CompletedBy,
    DeactivationCause,
    HoldKind,
    Initiator,
    PlanType,
    StateReason,
    Tier,
)

T = TypeVar("T")


@stores(organization.LatestWins)
class StoredLatestWins(Shape, Generic[T]):
    """The newest value and when it was reported."""

    occurred_at: datetime
    id: str
    value: T


@stores(organization.Creation)
class StoredCreation(Shape):
    """When the organization began."""

    occurred_at: datetime
    id: str
    billing_cycle_anchor: datetime


@stores(organization.Commitment)
class StoredCommitment(Shape, rename={"updated_at": "told_at"}):
    """A commitment."""

    commitment_id: str
    starts_at: datetime
    ends_at: datetime
    linked_at: datetime
    updated_at: datetime
    id: str


@stores(organization.Grant)
class StoredGrant(Shape):
    """A plan that Support granted."""

    id: str
    starts_at: datetime
    ends_at: datetime


@stores(organization.Proof)
class StoredProof(Shape):
    """A proof that a plan is the organization's."""

    subscription: StoredSubscriptionKey
    at: datetime
    by: CompletedBy


@stores(organization.Hold)
class StoredHold(Shape):
    """A hold."""

    kind: HoldKind
    placed_at: datetime
    expires_at: datetime | None


@stores(cancellation.Cancellation, retired=["waited"])
class StoredCancellation(Shape):
    """A cancellation."""

    canceled_at: datetime
    correlation_id: str
    policy_version: str
    extension: timedelta = timedelta(0)
    moved_from: datetime | None = None
    waited: msgspec.Raw | UnsetType = UNSET


@stores(cancellation.Pending)
class StoredPending(Shape):
    """A reinstatement that waits to be completed."""

    subscription: StoredSubscriptionKey
    completed_by: CompletedBy
    since: datetime


@stores(cancellation.Notice)
class StoredNotice(Shape, rename={"announced_for_at": "names"}):
    """A standing notice."""

    step: State
    announced_for_at: datetime
    given_at: datetime
    correlation_id: str | None = None


@stores(organization.Recovery)
class StoredRecovery(Shape):
    """A reactivation."""

    deactivated_at: datetime
    reactivated_at: datetime


@stores(organization.Reported)
class StoredReported(Shape):
    """Which ends of a subscription were reported."""

    subscription: StoredSubscriptionKey
    ends: int = 0
    closed_at: tuple[datetime, ...] = ()


@stores(organization.Organization)
class StoredOrganization(Document):
    """The document."""

    id: str
    creation: StoredCreation | None = None
    tier: StoredLatestWins[Tier] | None = None
    owner: StoredLatestWins[str] | None = None
    commitments: tuple[StoredCommitment, ...] = ()
    grants: tuple[StoredGrant, ...] = ()
    proofs: tuple[StoredProof, ...] = ()
    holds: tuple[StoredHold, ...] = ()
    state: State = State.ACTIVE
    previous_state: State | None = None
    entered_at: datetime | None = None
    dwells_from: datetime | None = None
    reason: StateReason | None = None
    initiator: Initiator | None = None
    plan_type: PlanType | None = None
    cancellation: StoredCancellation | None = None
    pending: StoredPending | None = None
    notice: StoredNotice | None = None
    withheld_at: datetime | None = None
    postponed_until: datetime | None = None
    unreadable: tuple[tuple[ActivityFeed, date], ...] = ()
    deactivation_cause: DeactivationCause | None = None
    recoveries: tuple[StoredRecovery, ...] = ()
    locked_email: str | None = None
    erased_at: datetime | None = None
    reported: tuple[StoredReported, ...] = ()
    decided_at: datetime | None = None
    sequence: int = 0
    revision: int = 0
    published_closed: DeactivationCause | None = None


_DECODER = msgspec.json.Decoder(StoredOrganization)


def organization_to_json(value: organization.Organization) -> str:
    """The document of an organization."""
    return encode(to_stored(value, StoredOrganization))


def organization_from_json(text: str) -> organization.Organization:
    """An organization from its document.  Raises `ValueError`, which names the field."""
    return to_core(decode(text, _DECODER, _mend), organization.Organization)


def _mend(document: dict[str, Any]) -> None:
    """Between 0.1 and 0.2 a document had one `recovery`, and its cancellation what `stood_still`;
    both are derived by other fields since.
    """
    document.pop("recovery", None)
    if isinstance(standing := document.get("cancellation"), dict):
        standing.pop("stood_still", None)
        mend_duration(standing, "extension")
