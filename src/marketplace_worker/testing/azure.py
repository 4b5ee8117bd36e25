"""Calls of Azure's SaaS fulfillment webhook (marketplaces.md section 5)."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import TypedDict, Unpack

from marketplace_worker.settings import Topics
from marketplace_worker.testing.envelopes import envelopes
from marketplace_worker.testing.messages import Message, message, time_text, uuid_for

_OFFER = {"publisherId": "example-publisher", "offerId": "example-offer", "planId": "gold"}
_MONTH = timedelta(days=30)


class AzureKind(StrEnum):
    """What Azure notifies of: the actions of its webhook, and the accelerator's own event."""

    SUBSCRIBE = "Subscribe"
    RENEW = "Renew"
    CHANGE_PLAN = "ChangePlan"
    CHANGE_QUANTITY = "ChangeQuantity"
    SUSPEND = "Suspend"
    REINSTATE = "Reinstate"
    UNSUBSCRIBE = "Unsubscribe"
    LANDING_PAGE = "LandingPage"


_STATUS_AFTER = {AzureKind.SUSPEND: "Suspended", AzureKind.UNSUBSCRIBE: "Unsubscribed"}


class AzureDetails(TypedDict, total=False):
    """What a call of Azure says besides; each is optional.

    - `status`: of the operation: `Succeeded` (the default), `Failed`, `Conflict`, `InProgress`,
      `NotStarted`.
    - `requested_by`: `Azure` (the default), or `Partner` if the vendor requested the change.
    - `ends_at`: the end of the monthly term, in the subscription beside the call; without it the
      call has no subscription, as of older versions.
    """

    status: str
    requested_by: str
    ends_at: datetime | None


def azure_notification(
    kind: AzureKind,
    subscription: str,
    *,
    at: datetime,
    id_: str | None = None,
    envelope: str = "none",
    **details: Unpack[AzureDetails],
) -> Message:
    """A call of Azure's webhook.

    Args:
        kind: the action; `LandingPage` is what Microsoft's accelerator sends to the same address
            when a customer arrives, and notifies of nothing.
        subscription: its id, at Azure a GUID.
        at: when it happened.
        id_: the operation's, which all calls about one operation share; by default the same for
            equal `kind`, `subscription` and `at`.
        envelope: around it, one of `ENVELOPES`.
        details: see `AzureDetails`.
    """
    operation = id_ or uuid_for("azure", kind, subscription, at)
    is_call = kind is not AzureKind.LANDING_PAGE
    value = _call(kind, subscription, at, operation, details) if is_call else _page(subscription)
    wrapped = envelopes(uuid_for("envelope", operation), time_text(at))[envelope](value)
    topic = Topics().azure_notifications
    return message(topic, subscription, wrapped, at, f"{kind} {subscription}")


def _call(
    kind: AzureKind, subscription: str, at: datetime, operation: str, details: AzureDetails
) -> dict[str, object]:
    call: dict[str, object] = {
        "id": operation,
        "activityId": operation,
        "subscriptionId": subscription,
        **_OFFER,
        "quantity": 1,
        "timeStamp": time_text(at, "microseconds"),
        "action": kind.value,
        "status": details.get("status", "Succeeded"),
        "operationRequestSource": details.get("requested_by", "Azure"),
    }
    ends_at = details.get("ends_at")
    if ends_at is None:
        return call
    return {**call, "subscription": _subscription(kind, subscription, ends_at)}


def _subscription(kind: AzureKind, subscription: str, ends_at: datetime) -> dict[str, object]:
    return {
        "id": subscription,
        "name": "Example",
        **_OFFER,
        "quantity": 1,
        "saasSubscriptionStatus": _STATUS_AFTER.get(kind, "Subscribed"),
        "term": {
            "startDate": time_text(ends_at - _MONTH),
            "endDate": time_text(ends_at),
            "termUnit": "P1M",
        },
        "autoRenew": True,
    }


def _page(subscription: str) -> dict[str, object]:
    return {
        "applicationName": "Contoso",
        "eventType": "LandingPage",
        "payloadFromLandingpage": {"id": subscription, "name": "Example", **_OFFER, "quantity": 1},
    }
