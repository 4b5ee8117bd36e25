"""What can happen, in one vocabulary for all marketplaces and services.

A translator makes a fact from one inbound message.  A fact contains no decision.
"""

from datetime import datetime, timedelta
from typing import Literal

from marketplace_worker.lifecycle.notes import Attention, Note
from marketplace_worker.lifecycle.values import dataclass
from marketplace_worker.lifecycle.vocabulary import (
    ActivityFeed,
    DeactivationCause,
    EmailHash,
    GuardSide,
    HoldKind,
    Identity,
    OrganizationId,
    PlanType,
    SubscriptionKey,
    SupportRequestKind,
    Tier,
)


@dataclass(frozen=True, slots=True)
class Notified:
    """A marketplace sent a notification about a subscription.

    `notification` is the marketplace's own word for it (`License Updated`, `Suspend`), for the
    journal and the log.
    """

    identity: Identity
    subscription: SubscriptionKey
    note: Note
    notification: str
    attention: Attention | None = None
    kind: Literal["notified"] = "notified"

    @property
    def occurred_at(self) -> datetime:
        """When it happened, by the marketplace's clock (never later than the record's)."""
        return self.note.occurred_at


@dataclass(frozen=True, slots=True)
class Unrecognized:
    """A known shape of an unknown kind, without a subject of ours (a CloudEvent of another type, an
    account event): journalled and counted, changes nothing.
    """

    identity: Identity
    occurred_at: datetime
    event_type: str
    kind: Literal["unrecognized"] = "unrecognized"


@dataclass(frozen=True, slots=True)
class Created:
    """The organization exists.  `billing_cycle_anchor` defaults to `occurred_at`."""

    identity: Identity
    occurred_at: datetime
    organization: OrganizationId
    tier: Tier
    owner: EmailHash
    billing_cycle_anchor: datetime | None = None
    kind: Literal["organization.created"] = "organization.created"


@dataclass(frozen=True, slots=True)
class TierChanged:
    """The organization is of another tier from now on."""

    identity: Identity
    occurred_at: datetime
    organization: OrganizationId
    tier: Tier
    kind: Literal["organization.tier_changed"] = "organization.tier_changed"


@dataclass(frozen=True, slots=True)
class OwnerChanged:
    """The organization has another owner from now on."""

    identity: Identity
    occurred_at: datetime
    organization: OrganizationId
    owner: EmailHash
    kind: Literal["organization.owner_changed"] = "organization.owner_changed"


@dataclass(frozen=True, slots=True)
class SubscriptionLinked:
    """The vendor's sign-up accepted a subscription for an organization."""

    identity: Identity
    occurred_at: datetime
    organization: OrganizationId
    subscription: SubscriptionKey
    billing_account: str | None = None
    plan_type: PlanType | None = None
    kind: Literal["organization.subscription_linked"] = "organization.subscription_linked"


@dataclass(frozen=True, slots=True)
class CommitmentLinked:
    """A commitment, in force in `[starts_at, ends_at)`, belongs to the organization."""

    identity: Identity
    occurred_at: datetime
    organization: OrganizationId
    commitment_id: str
    starts_at: datetime
    ends_at: datetime
    kind: Literal["organization.commitment_linked"] = "organization.commitment_linked"


@dataclass(frozen=True, slots=True)
class SupportRequested:
    """Support asked for something.  `organization` is None only for an `unlock_email`.

    `problem` names what is wrong with the data of a request whose envelope was readable: it is then
    refused with `invalid_request`, before it is anything else.
    """

    identity: Identity
    occurred_at: datetime
    organization: OrganizationId | None
    request: SupportRequestKind
    requested_by: str
    reason: str
    ticket: str | None = None
    grant_until: datetime | None = None
    email: EmailHash | None = None
    hold: HoldKind | None = None
    expires_at: datetime | None = None
    days: int | None = None
    problem: str | None = None
    kind: Literal["support_requested"] = "support_requested"


@dataclass(frozen=True, slots=True)
class DeadlineCame:
    """A moment of an organization came: a step, a notice, the beginning or end of a plan."""

    identity: Identity
    occurred_at: datetime
    organization: OrganizationId
    kind: Literal["deadline_came"] = "deadline_came"


@dataclass(frozen=True, slots=True)
class GuardTripped:
    """An operator withholds every step of a deadline and every requested deactivation: the
    kill switch (lifecycle.md section 8).
    """

    identity: Identity
    occurred_at: datetime
    by: str
    reason: str
    kind: Literal["guard_tripped"] = "guard_tripped"


@dataclass(frozen=True, slots=True)
class GuardReleased:
    """An operator releases one side of the guard, or both: for so many `steps`, for so many
    `requests`, or (None) altogether.
    """

    identity: Identity
    occurred_at: datetime
    by: str
    reason: str
    steps: int | None = None
    requests: int | None = None
    guard: GuardSide = GuardSide.BOTH
    kind: Literal["guard_released"] = "guard_released"


@dataclass(frozen=True, slots=True)
class ClockMoved:
    """The clock of decisions is `ahead` of a worker's own, and it was not when both were compared
    last (lifecycle.md section 8).
    """

    identity: Identity
    occurred_at: datetime
    ahead: timedelta
    kind: Literal["clock_moved"] = "clock_moved"


@dataclass(frozen=True, slots=True)
class ClockCorrected:
    """The clock of decisions was `ahead`, and showed `since` and later: an operator has the
    decisions made on an organization then (None: the guard's counts) moved to their real time.
    """

    identity: Identity
    occurred_at: datetime
    organization: OrganizationId | None
    since: datetime
    ahead: timedelta
    by: str
    reason: str
    kind: Literal["clock_corrected"] = "clock_corrected"


@dataclass(frozen=True, slots=True)
class EpochBegan:
    """An operator recovers from a restore: the topics hold more than the database.  From then on no
    destructive step is taken; `sequence` is that of the worker's newest event on the topics.
    """

    identity: Identity
    occurred_at: datetime
    by: str
    reason: str
    sequence: int
    kind: Literal["epoch_began"] = "epoch_began"


@dataclass(frozen=True, slots=True)
class EpochCompleted:
    """Every organization of the topics was raised: the guard may be released from here on."""

    identity: Identity
    occurred_at: datetime
    by: str
    reason: str
    kind: Literal["epoch_completed"] = "epoch_completed"


@dataclass(frozen=True, slots=True)
class PublishedBefore:
    """The topics hold more of an organization than the database does: its newest event and snapshot
    there, and why it was deactivated, where that is its last published state.
    """

    identity: Identity
    occurred_at: datetime
    organization: OrganizationId
    sequence: int
    revision: int
    deactivated_for: DeactivationCause | None = None
    kind: Literal["published_before"] = "published_before"


@dataclass(frozen=True, slots=True)
class ClosureJudged:
    """An operator decided on an organization that was published as deactivated without the database
    knowing it: the deactivation `stands`, or the organization continues as it is stored.
    """

    identity: Identity
    occurred_at: datetime
    organization: OrganizationId
    stands: bool
    by: str
    reason: str
    kind: Literal["closure_judged"] = "closure_judged"


@dataclass(frozen=True, slots=True)
class Erased:
    """An operator has all that is personal of a deactivated organization erased
    (docs/personal-data.md).

    `repeatable`: also where it was erased before.  Earlier versions refused that, and the journal
    has what they refused.
    """

    identity: Identity
    occurred_at: datetime
    organization: OrganizationId
    by: str
    reason: str
    repeatable: bool = False
    kind: Literal["organization.erased"] = "organization.erased"


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """A user signed in to the organization."""

    identity: Identity
    occurred_at: datetime
    organization: OrganizationId
    kind: Literal["identity.user.logged_in"] = "identity.user.logged_in"

    @property
    def feed(self) -> ActivityFeed:
        """The feed that reported it."""
        return ActivityFeed.LOGINS


@dataclass(frozen=True, slots=True)
class ApiRequested:
    """The organization's API keys made `requests` requests."""

    identity: Identity
    occurred_at: datetime
    organization: OrganizationId
    requests: int = 1
    kind: Literal["usage.api_requests"] = "usage.api_requests"

    @property
    def feed(self) -> ActivityFeed:
        """The feed that reported it."""
        return ActivityFeed.API_REQUESTS


ActivityFact = LoggedIn | ApiRequested
"""Only the latest one per organization and feed is kept (docs/architecture.md); it is decided on
like other facts only if the organization waits for it (`Organization.watches_activity`).
"""

Fact = (
    Notified
    | Unrecognized
    | Created
    | TierChanged
    | OwnerChanged
    | SubscriptionLinked
    | CommitmentLinked
    | SupportRequested
    | GuardTripped
    | GuardReleased
    | ClockMoved
    | ClockCorrected
    | EpochBegan
    | EpochCompleted
    | PublishedBefore
    | ClosureJudged
    | Erased
    | DeadlineCame
    | ActivityFact
)
"""The facts that the journal keeps and the lifecycle decides on."""
