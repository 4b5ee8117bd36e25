"""Notifications of Google Cloud Marketplace: messages of Pub/Sub (marketplaces.md section 4)."""

from datetime import datetime
from enum import StrEnum
from typing import TypedDict, Unpack

from marketplace_worker.settings import Topics
from marketplace_worker.testing.envelopes import envelopes
from marketplace_worker.testing.messages import (
    Message,
    message,
    time_text,
    uuid_for,
    without_none,
)

PROVIDER = "example-provider"


class GcpKind(StrEnum):
    """What Google notifies of: its event types."""

    CREATION_REQUESTED = "ENTITLEMENT_CREATION_REQUESTED"
    OFFER_ACCEPTED = "ENTITLEMENT_OFFER_ACCEPTED"
    ACTIVE = "ENTITLEMENT_ACTIVE"
    RENEWED = "ENTITLEMENT_RENEWED"
    PLAN_CHANGE_REQUESTED = "ENTITLEMENT_PLAN_CHANGE_REQUESTED"
    PLAN_CHANGED = "ENTITLEMENT_PLAN_CHANGED"
    PLAN_CHANGE_CANCELLED = "ENTITLEMENT_PLAN_CHANGE_CANCELLED"
    PENDING_CANCELLATION = "ENTITLEMENT_PENDING_CANCELLATION"
    CANCELLATION_REVERTED = "ENTITLEMENT_CANCELLATION_REVERTED"
    CANCELLING = "ENTITLEMENT_CANCELLING"
    CANCELLED = "ENTITLEMENT_CANCELLED"
    DELETED = "ENTITLEMENT_DELETED"
    OFFER_ENDED = "ENTITLEMENT_OFFER_ENDED"
    ACCOUNT_CREATION_REQUESTED = "ACCOUNT_CREATION_REQUESTED"
    ACCOUNT_ACTIVE = "ACCOUNT_ACTIVE"
    ACCOUNT_DELETED = "ACCOUNT_DELETED"


class GcpDetails(TypedDict, total=False):
    """What a router reads from Google's API beside a notification; each is optional.

    - `reason`: the entitlement's `cancellationReason`: `user-cancelled`, `billing-disabled`,
      `account-closed`, `expired`, `migrated`.
    - `ends_at`: its `subscriptionEndTime`.
    - `account`: the customer's procurement account.
    """

    reason: str | None
    ends_at: datetime | None
    account: str | None


def gcp_notification(
    kind: GcpKind,
    subscription: str,
    *,
    at: datetime,
    id_: str | None = None,
    envelope: str = "pubsub-push",
    **details: Unpack[GcpDetails],
) -> Message:
    """A notification of Google; with any of the details, beside the entitlement that has them.

    Args:
        kind: the event type.
        subscription: the entitlement's id; of `ACCOUNT_…` the account's.
        at: when it happened.
        id_: the `eventId`; by default the same for equal arguments.
        envelope: around it, one of `ENVELOPES`.
        details: see `GcpDetails`.
    """
    default_id = f"{kind}-{uuid_for('gcp', kind, subscription, at, sorted(details.items()))}"
    notification = {
        "eventId": id_ or default_id,
        "eventType": kind.value,
        "providerId": PROVIDER,
        _SUBJECTS[kind.startswith("ACCOUNT_")]: {"id": subscription, "updateTime": time_text(at)},
    }
    wrap = envelopes(uuid_for("envelope", id_ or default_id), time_text(at))[envelope]
    value, read = wrap(notification), _read(details)
    if read:
        name = f"providers/{PROVIDER}/entitlements/{subscription}"
        value = {"notification": value, "resource": {"name": name, "provider": PROVIDER, **read}}
    return message(Topics().gcp_notifications, subscription, value, at, f"{kind} {subscription}")


_SUBJECTS = {False: "entitlement", True: "account"}


def _read(details: GcpDetails) -> dict[str, object]:
    ends_at, account = details.get("ends_at"), details.get("account")
    return without_none(
        {
            "cancellationReason": details.get("reason"),
            "subscriptionEndTime": None if ends_at is None else time_text(ends_at),
            "account": None if account is None else f"providers/{PROVIDER}/accounts/{account}",
        }
    )
