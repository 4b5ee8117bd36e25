"""Ids, and the closed sets of values that the whole domain uses."""

import re
from enum import StrEnum
from operator import attrgetter
from typing import NewType

from marketplace_worker.lifecycle.values import dataclass

OrganizationId = NewType("OrganizationId", str)
EmailHash = NewType("EmailHash", str)
"""HMAC-SHA-256, in hex, of the trimmed and case-folded address (lifecycle.md section 7)."""

_UUID = re.compile(
    r"(?P<brace>\{)?(?P<uuid>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?(brace)\})",
    re.ASCII | re.IGNORECASE,
)


def marketplace_id(text: str) -> str:
    """A marketplace's id in the form in which ids are compared.

    A UUID is in lower case and without braces (marketplaces.md section 1), because senders spell it
    in either case.  Any other id is unchanged.
    """
    found = _UUID.fullmatch(text)
    return text if found is None else found["uuid"].lower()


class Marketplace(StrEnum):
    """Where a subscription was bought."""

    AWS = "aws"
    GCP = "gcp"
    AZURE = "azure"


class PlanType(StrEnum):
    """Chooses the timeline of a cancellation; unknown is None, and takes the longest."""

    PAYG = "payg"
    COMMIT = "commit"


class Tier(StrEnum):
    """What the organization pays for besides a marketplace; only `free` can become inactive."""

    FREE = "free"
    PLUS = "plus"
    ENTERPRISE = "enterprise"


class PlanEndReason(StrEnum):
    """Why a plan ended (lifecycle.md section 2)."""

    CUSTOMER = "customer"
    VENDOR = "vendor"
    NON_PAYMENT = "non_payment"
    COMMIT_EXPIRED = "commit_expired"
    GRANT_EXPIRED = "grant_expired"
    UNKNOWN = "unknown"


class Initiator(StrEnum):
    """Who caused it (lifecycle.md section 2)."""

    CUSTOMER = "customer"
    MARKETPLACE = "marketplace"
    VENDOR = "vendor"
    SYSTEM = "system"
    SUPPORT = "support"


class StateReason(StrEnum):
    """Why an organization is in its state: a plan's end, or how it came back (events.md 3)."""

    CUSTOMER = "customer"
    VENDOR = "vendor"
    NON_PAYMENT = "non_payment"
    COMMIT_EXPIRED = "commit_expired"
    GRANT_EXPIRED = "grant_expired"
    UNKNOWN = "unknown"
    INACTIVITY = "inactivity"
    SUPPORT_REQUEST = "support_request"
    REINSTATED = "reinstated"
    REACTIVATED = "reactivated"


class CompletedBy(StrEnum):
    """What a pending reinstatement waits for (lifecycle.md section 4)."""

    SIGN_IN = "sign_in"
    SUPPORT = "support"


class DeactivationCause(StrEnum):
    """Decides what a deactivation takes and whether it can be undone (lifecycle.md section 6)."""

    MARKETPLACE_CANCELLATION = "marketplace_cancellation"
    INACTIVITY = "inactivity"
    SUPPORT_REQUEST = "support_request"

    @property
    def recoverable(self) -> bool:
        """Whether Support can undo it; a deactivation by a cancellation is final."""
        return self is not DeactivationCause.MARKETPLACE_CANCELLATION


class ActivityFeed(StrEnum):
    """The feeds that report the use of organizations (lifecycle.md section 5)."""

    LOGINS = "logins"
    API_REQUESTS = "api_requests"


class SupportRequestKind(StrEnum):
    """The requests that Support may make (lifecycle.md section 7)."""

    DEACTIVATE_ORGANIZATION = "deactivate_organization"
    REACTIVATE_ORGANIZATION = "reactivate_organization"
    REINSTATE_ORGANIZATION = "reinstate_organization"
    UNLOCK_EMAIL = "unlock_email"
    PLACE_HOLD = "place_hold"
    RELEASE_HOLD = "release_hold"
    EXTEND_GRACE = "extend_grace"


class GuardSide(StrEnum):
    """What the guard withholds: steps that a deadline takes, or requested deactivations
    (lifecycle.md section 8).
    """

    STEPS = "steps"
    REQUESTS = "requests"
    BOTH = "both"


class RequestLimit(StrEnum):
    """The limits of requested deactivations: over the fleet, and for one person."""

    PER_HOUR = "per_hour"
    PER_PERSON = "per_person"


class HoldKind(StrEnum):
    """The reason for a hold, under which no step is taken for an organization."""

    LEGAL = "legal"
    COMMERCIAL = "commercial"


@dataclass(frozen=True, slots=True, order=True)
class SubscriptionKey:
    """One marketplace subscription; what `subscription_id` is: events.md section 2.

    However a UUID is spelled, it is the same subscription.
    """

    marketplace: Marketplace
    subscription_id: str

    def __post_init__(self) -> None:
        """Bring the id into the form in which it is compared."""
        object.__setattr__(self, "subscription_id", marketplace_id(self.subscription_id))

    def __str__(self) -> str:
        return f"{self.marketplace}:{self.subscription_id}"


by_key = attrgetter("marketplace", "subscription_id")
"""The same order, for many keys to be sorted by: without a call for each two that are compared."""


@dataclass(frozen=True, slots=True, order=True)
class Identity:
    """Names an inbound message once and for all: the same identity twice is the same message.

    `source` is the CloudEvents source, or the marketplace's name; `id` is unique within it.
    """

    source: str
    id: str
