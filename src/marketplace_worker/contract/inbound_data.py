"""The `data` of every inbound CloudEvent, by its name, each with an example (events.md section 2).

Readers are tolerant: unknown fields are ignored, and null counts as absent where a field is
optional.  They are strict about types: text never becomes a number, nor a number text.

The examples, with their ids and addresses, are made up.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo
from pydantic_core import PydanticCustomError

from marketplace_worker.contract.emails import EmailHasher
from marketplace_worker.contract.fields import Email, Prose, Text, Time, Whole
from marketplace_worker.lifecycle.facts import SupportRequested
from marketplace_worker.lifecycle.vocabulary import (
    HoldKind,
    Marketplace,
    PlanType,
    SupportRequestKind,
    Tier,
)

REQUESTS_MAX = 10**12
"""Most requests that one event may count: sums of a million such still fit into 64 bits."""

DAYS_MAX = 36_501
"""Longer extensions are read as this one: more than any policy can allow (`DURATION_MAX`), and a
date that the calendar has.
"""


def _after_the_start(ends_at: datetime, info: ValidationInfo) -> datetime:
    starts_at = info.data.get("starts_at")
    if starts_at is not None and ends_at <= starts_at:
        raise PydanticCustomError("order", "must be later than starts_at")
    return ends_at


def _at_most_days_max(days: int) -> int:
    return min(days, DAYS_MAX)


class Data(BaseModel):
    """The base of all inbound data.  `EXAMPLE` is published in `schemas/`."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")

    EXAMPLE: ClassVar[Mapping[str, Any]]


class LoggedInData(Data):
    """A user signed in to the organization."""

    user_id: Text

    EXAMPLE = {"user_id": "user-5"}


class ApiRequestsData(Data):
    """The organization's API keys made requests; without a number: one."""

    requests: Annotated[int, Field(ge=1, le=REQUESTS_MAX), Whole] | None = 1

    EXAMPLE = {"requests": 120}


class CreatedData(Data):
    """The organization exists."""

    tier: Annotated[Tier, Field(strict=False)]
    owner_email: Email
    billing_cycle_anchor: Time | None = None

    EXAMPLE = {
        "tier": "free",
        "owner_email": "owner@customer.example",
        "billing_cycle_anchor": "2026-11-01T00:00:00Z",
    }


class TierChangedData(Data):
    """The organization is of another tier from now on."""

    tier: Annotated[Tier, Field(strict=False)]

    EXAMPLE = {"tier": "plus"}


class OwnerChangedData(Data):
    """The organization has another owner from now on."""

    owner_email: Email

    EXAMPLE = {"owner_email": "new-owner@customer.example"}


class SubscriptionLinkedData(Data):
    """The vendor's sign-up accepted a marketplace subscription for the organization."""

    marketplace: Annotated[Marketplace, Field(strict=False)]
    subscription_id: Text
    billing_account: Text | None = None
    plan_type: Annotated[PlanType, Field(strict=False)] | None = None

    EXAMPLE = {
        "marketplace": "aws",
        "subscription_id": "agmt-3bsxkpvrrr0fd0f8a9bqx1234",
        "billing_account": "123456789012",
        "plan_type": "payg",
    }


class CommitmentLinkedData(Data):
    """A commitment, in force from its start up to but not including its end, was signed."""

    commitment_id: Text
    starts_at: Time
    ends_at: Annotated[Time, AfterValidator(_after_the_start)]

    EXAMPLE = {
        "commitment_id": "commitment-9",
        "starts_at": "2026-11-01T00:00:00Z",
        "ends_at": "2027-11-01T00:00:00Z",
    }


class SupportData(Data):
    """The fields that every Support request has."""

    requested_by: Text
    reason: Prose
    ticket: Text | None = None

    EXAMPLE = {"requested_by": "ada", "reason": "Asked for by phone.", "ticket": "T-7"}

    def complete(self, request: SupportRequested, hash_email: EmailHasher) -> SupportRequested:
        """The request with all fields of its data; a subclass adds its own."""
        request = replace(
            request, requested_by=self.requested_by, reason=self.reason, ticket=self.ticket
        )
        return self.add_details(request, hash_email)

    def add_details(
        self,
        request: SupportRequested,
        _hash_email: EmailHasher,
    ) -> SupportRequested:
        """The request with the fields that only this kind has."""
        return request


class DeactivateData(SupportData):
    """Deactivate the organization; it can be reactivated (lifecycle.md section 6)."""


class ReactivateData(SupportData):
    """Reactivate a deactivated organization (lifecycle.md section 6)."""


class ReinstateData(SupportData):
    """Reinstate a canceled organization, with a plan of its own or one granted up to a time."""

    grant_until: Time | None = None

    EXAMPLE = {**SupportData.EXAMPLE, "grant_until": "2026-12-24T00:00:00Z"}

    def add_details(self, request: SupportRequested, _hash_email: EmailHasher) -> SupportRequested:
        """Add the end of the grant."""
        return replace(request, grant_until=self.grant_until)


class UnlockEmailData(SupportData):
    """Allow a locked email to be used for another organization."""

    email: Email

    EXAMPLE = {**SupportData.EXAMPLE, "email": "owner@customer.example"}

    def add_details(self, request: SupportRequested, hash_email: EmailHasher) -> SupportRequested:
        """Add the hash of the email."""
        return replace(request, email=hash_email(self.email))


class PlaceHoldData(SupportData):
    """Take no step for the organization while the hold is in force."""

    kind: Annotated[HoldKind, Field(strict=False)]
    expires_at: Time | None = None

    EXAMPLE = {**SupportData.EXAMPLE, "kind": "legal", "expires_at": "2027-01-31T00:00:00Z"}

    def add_details(self, request: SupportRequested, _hash_email: EmailHasher) -> SupportRequested:
        """Add the hold and its expiry."""
        return replace(request, hold=self.kind, expires_at=self.expires_at)


class ReleaseHoldData(SupportData):
    """Release a hold; no step follows at once."""

    kind: Annotated[HoldKind, Field(strict=False)]

    EXAMPLE = {**SupportData.EXAMPLE, "kind": "legal"}

    def add_details(self, request: SupportRequested, _hash_email: EmailHasher) -> SupportRequested:
        """Add the hold."""
        return replace(request, hold=self.kind)


class ExtendGraceData(SupportData):
    """Put the coming steps of a cancellation off."""

    days: Annotated[int, Field(ge=1), Whole, AfterValidator(_at_most_days_max)]

    EXAMPLE = {**SupportData.EXAMPLE, "days": 14}

    def add_details(self, request: SupportRequested, _hash_email: EmailHasher) -> SupportRequested:
        """Add the days."""
        return replace(request, days=self.days)


SUPPORT_DATA: dict[SupportRequestKind, type[SupportData]] = {
    SupportRequestKind.DEACTIVATE_ORGANIZATION: DeactivateData,
    SupportRequestKind.REACTIVATE_ORGANIZATION: ReactivateData,
    SupportRequestKind.REINSTATE_ORGANIZATION: ReinstateData,
    SupportRequestKind.UNLOCK_EMAIL: UnlockEmailData,
    SupportRequestKind.PLACE_HOLD: PlaceHoldData,
    SupportRequestKind.RELEASE_HOLD: ReleaseHoldData,
    SupportRequestKind.EXTEND_GRACE: ExtendGraceData,
}
"""The data of each request; its name is `support.` + the kind."""

INBOUND_DATA: dict[str, type[Data]] = {
    "identity.user.logged_in": LoggedInData,
    "usage.api_requests": ApiRequestsData,
    "organization.created": CreatedData,
    "organization.tier_changed": TierChangedData,
    "organization.owner_changed": OwnerChangedData,
    "organization.subscription_linked": SubscriptionLinkedData,
    "organization.commitment_linked": CommitmentLinkedData,
    **{f"support.{kind}": model for kind, model in SUPPORT_DATA.items()},
}
"""The data of every known inbound CloudEvent, by name."""
