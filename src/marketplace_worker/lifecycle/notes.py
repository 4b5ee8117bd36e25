"""What a marketplace's notification reports about its subscription, in terms common to all of them.

The tables of marketplaces.md section 1 in our own terms; `projection.fold` reads them.
"""

from datetime import datetime
from enum import StrEnum
from typing import Literal

from marketplace_worker.lifecycle.values import dataclass
from marketplace_worker.lifecycle.vocabulary import (
    Initiator,
    PlanEndReason,
    PlanType,
    SubscriptionKey,
)


@dataclass(frozen=True, slots=True)
class Pended:
    """Bought, not yet in force.  `successor_of`: the subscription that this one continues."""

    successor_of: SubscriptionKey | None = None
    kind: Literal["pended"] = "pended"


@dataclass(frozen=True, slots=True)
class Activated:
    """In force."""

    kind: Literal["activated"] = "activated"


@dataclass(frozen=True, slots=True)
class Resumed:
    """In force again, but only where it was `ending` (AWS, auto-renewal switched on again)
    or `suspended` (Azure Reinstate); otherwise it changes nothing.
    """

    where: Literal["ending", "suspended"]
    kind: Literal["resumed"] = "resumed"


@dataclass(frozen=True, slots=True)
class Ending:
    """Will end at `ends_at` (None: not known yet).

    `reason` is the reason if it then ends without a further notification.  `closes_usage`: this
    opens the marketplace's last hour for metering (AWS); with `Note.licence` it is the end of that
    licence, and of the subscription only where no other licence lives.
    """

    ends_at: datetime | None
    reason: PlanEndReason = PlanEndReason.UNKNOWN
    closes_usage: bool = False
    kind: Literal["ending"] = "ending"


@dataclass(frozen=True, slots=True)
class Suspended:
    """Azure: payment failed; the data must be kept for 30 days."""

    kind: Literal["suspended"] = "suspended"


@dataclass(frozen=True, slots=True)
class Ended:
    """Over.  `terminal`: nothing later revives the subscription."""

    reason: PlanEndReason
    initiator: Initiator
    terminal: bool
    kind: Literal["ended"] = "ended"


@dataclass(frozen=True, slots=True)
class Unsubscribed:
    """Azure's end, terminal; its reason depends on what was known before it.

    `by_partner`: the vendor's own call.  `term_ends_at` is on the note (`Note.term_ends_at`).
    """

    by_partner: bool
    kind: Literal["unsubscribed"] = "unsubscribed"


@dataclass(frozen=True, slots=True)
class Superseded:
    """Over, because another subscription continues it: not a cancellation.  Terminal."""

    kind: Literal["superseded"] = "superseded"


@dataclass(frozen=True, slots=True)
class VendorCancellationApproved:
    """AWS: the vendor's own request to cancel was approved; an end by the customer at or after it
    was the vendor's.
    """

    kind: Literal["vendor_cancellation_approved"] = "vendor_cancellation_approved"


@dataclass(frozen=True, slots=True)
class Unchanged:
    """No change of the status (it may still have a plan type, an account, a term)."""

    kind: Literal["unchanged"] = "unchanged"


Change = (
    Pended
    | Activated
    | Resumed
    | Ending
    | Suspended
    | Ended
    | Unsubscribed
    | Superseded
    | VendorCancellationApproved
    | Unchanged
)


class Progress(StrEnum):
    """How far the operation is that a notification reports (Azure)."""

    SUCCEEDED = "succeeded"
    RUNNING = "running"
    """Not started or in progress; any status that is neither a success nor a failure."""
    FAILED = "failed"


class Attention(StrEnum):
    """Why an operator should look at a notification: logged at `warning`."""

    UNKNOWN_KIND = "unknown_kind"
    ADVISORY = "advisory"
    ENTITLEMENTS_NOT_READ = "entitlements_not_read"
    OPERATION_NOT_FINAL = "operation_not_final"
    """Azure: a Suspend or Unsubscribe that may still fail; it changes nothing yet."""


@dataclass(frozen=True, slots=True)
class Note:
    """What a subscription's register keeps of one notification.

    `rank` is its row in the tables of marketplaces.md section 1: at equal times the later row comes
    later.  The other fields are None where the notification does not have them.
    `plan_type_settled`: this plan type outranks what other notifications say (AWS SNS:
    entitlement-updated).

    `operation`: the operation of which this is one report, unique within the subscription; None: it
    is the only report of its own.  `progress`: how far that operation is (marketplaces.md section
    1, *How far an Azure operation is*).  A note that was stored before these fields existed counts
    as an operation of its own that succeeded.

    `licence`: the licence of an AWS agreement that the notification names.  `term_started`: Azure;
    False where it has a term without dates, which means never activated.  `closes_usage`: Google
    and Azure; the last usage is to be reported after this end (AWS: after every end).  A note that
    was stored before this field existed calls for no report: its end is long past.
    """

    occurred_at: datetime
    rank: int
    id: str
    change: Change
    plan_type: PlanType | None = None
    plan_type_settled: bool = False
    billing_account: str | None = None
    term_ends_at: datetime | None = None
    auto_renews: bool | None = None
    operation: str | None = None
    progress: Progress = Progress.SUCCEEDED
    licence: str | None = None
    term_started: bool | None = None
    closes_usage: bool = False

    @property
    def is_destructive(self) -> bool:
        """Whether it would end or interrupt the plan, and so must wait for its success."""
        return isinstance(self.change, Suspended | Unsubscribed)

    @property
    def counts(self) -> bool:
        """Whether the fold reads it: a failed operation has no effect, and one that takes something
        away only has one when it has succeeded.
        """
        match self.progress:
            case Progress.SUCCEEDED:
                return True
            case Progress.RUNNING:
                return not self.is_destructive
            case Progress.FAILED:
                return False

    @property
    def order(self) -> tuple[datetime, int, str]:
        """The order of the fold (marketplaces.md section 1, *Fold*)."""
        return (self.occurred_at, self.rank, self.id)
