"""Messages in the formats of the marketplaces and the product's services, for a numbered fleet.

Each organization has a number of eight digits, which is part of all its ids, so that the rows of
one can be copied for others (`cloning.py`).
"""

import base64
import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from benchmarks.stage import Message
from marketplace_worker.settings import Topics

HOUR = timedelta(hours=1)
TOPICS = Topics()


def number_of(number: int) -> str:
    """The number as eight digits."""
    return f"{number:08}"


def organization(number: str) -> str:
    """An organization's id."""
    return f"6f1c2a7e-3b54-4d0a-8c1e-0000{number}"


def owner(number: str) -> str:
    """The email address of an organization's owner."""
    return f"owner@customer-{number}.example"


def _id(kind: int, number: str) -> str:
    """A message id for one kind and one organization."""
    return f"709a3d39-d3a3-4a2c-{kind:04}-0000{number}"


def _time(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


# --- the product's own services -------------------------------------------------------------------


def _cloudevent(
    name: str, id_: str, subject: str, at: datetime, data: Mapping[str, object]
) -> bytes:
    return json.dumps(
        {
            "specversion": "1.0",
            "id": id_,
            "source": f"/{name.partition('.')[0]}",
            "type": f"io.marketplace-worker.{name}.v1",
            "subject": subject,
            "time": _time(at),
            "datacontenttype": "application/json",
            "data": data,
        },
        separators=(",", ":"),
    ).encode()


def created(number: str, at: datetime, *, tier: str = "plus") -> Message:
    """An organization is created, on a paid tier by default."""
    id_, data = organization(number), {"tier": tier, "owner_email": owner(number)}
    value = _cloudevent("organization.created", _id(1, number), id_, at, data)
    return TOPICS.organization_changes, id_.encode(), value


def linked(number: str, at: datetime, marketplace: str, subscription: str) -> Message:
    """The vendor's sign-up links a subscription to an organization."""
    id_ = organization(number)
    data = {"marketplace": marketplace, "subscription_id": subscription, "plan_type": "payg"}
    value = _cloudevent("organization.subscription_linked", _id(2, number), id_, at, data)
    return TOPICS.organization_changes, id_.encode(), value


def usage(chance: random.Random, organizations: int, at: datetime, events: int) -> list[Message]:
    """API usage within one minute; each event is of a random organization of the fleet."""
    messages = []
    for number in range(events):
        id_ = organization(number_of(chance.randrange(organizations)))
        event = f"{chance.getrandbits(64):016x}-{number:08}"
        moment = at + timedelta(milliseconds=60_000 * number // events)
        data = {"requests": chance.randrange(1, 500)}
        value = _cloudevent("usage.api_requests", event, id_, moment, data)
        messages.append((TOPICS.api_requests, id_.encode(), value))
    return messages


# --- the marketplaces -----------------------------------------------------------------------------

AWS_SELLER = "993604559884"
AWS_PRODUCT = "n0123examplecode"


def _eventbridge(
    number: str, at: datetime, kind: int, detail_type: str, agreement: dict[str, str]
) -> Message:
    """A notification of AWS EventBridge with all fields of a captured one."""
    id_ = f"agmt-2nehijlqfz9g7f2v6{number}"
    value = {
        "version": "0",
        "id": _id(kind, number),
        "detail-type": detail_type,
        "source": "aws.agreement-marketplace",
        "account": AWS_SELLER,
        "time": at.isoformat(timespec="seconds").replace("+00:00", "Z"),
        "region": "us-east-1",
        "resources": [f"arn:aws:aws-marketplace::aws:agreement:{id_}"],
        "detail": {
            "offer": {"id": "offer-uovnpk2f6jq7s"},
            "catalog": "AWSMarketplace",
            "product": {"id": "prod-k35yywhyj4eqg", "code": "74az0btybm649octamy0sktos"},
            "acceptor": {"accountId": f"2026{number}"},
            "proposer": {"accountId": AWS_SELLER},
            "agreement": {"id": id_, **agreement},
            "requestId": _id(kind, number),
        },
    }
    return TOPICS.aws_notifications, id_.encode(), json.dumps(value).encode()


def _sns(number: str, at: datetime, kind: int, action: str) -> Message:
    """A notification of AWS SNS: the body is JSON text within the envelope."""
    customer = f"X01EXAMPLE{number}"
    body = {
        "action": action,
        "customer-identifier": customer,
        "product-code": AWS_PRODUCT,
        "offer-identifier": "offer-abcexample123",
        "isFreeTrialTermPresent": "false",
    }
    value = {
        "Type": "Notification",
        "MessageId": _id(kind, number),
        "TopicArn": f"arn:aws:sns:us-east-1:287250355862:aws-mp-subscription-{AWS_PRODUCT}",
        "Message": json.dumps(body),
        "Timestamp": _time(at),
        "SignatureVersion": "1",
        "Signature": "EXAMPLEw6JRN" * 28,
        "SigningCertURL": "https://sns.us-east-1.amazonaws.com/SimpleNotificationService.pem",
        "UnsubscribeURL": "https://sns.us-east-1.amazonaws.com/?OperatorAction=Unsubscribe",
    }
    return TOPICS.aws_notifications, customer.encode(), json.dumps(value).encode()


def _google(
    number: str, at: datetime, kind: int, event_type: str, ends_at: datetime | None = None
) -> Message:
    """A Pub/Sub push of Google; for an end, with the reason that a router adds."""
    id_ = f"d3c52313-c65f-43b7-987a-0000{number}"
    notification = {
        "eventId": f"{event_type}-{_id(kind, number)}",
        "eventType": event_type,
        "entitlement": {"id": id_, "updateTime": _time(at)},
        "providerId": "vendor-public",
    }
    push: dict[str, Any] = {
        "message": {
            "data": base64.b64encode(json.dumps(notification).encode()).decode(),
            "messageId": f"20260{number}{kind}",
            "publishTime": _time(at),
        },
        "subscription": "projects/vendor-public/subscriptions/marketplace",
    }
    if ends_at is not None:
        push = {"notification": push, "resource": {"subscriptionEndTime": _time(ends_at)}}
    return TOPICS.gcp_notifications, id_.encode(), json.dumps(push).encode()


def _azure(number: str, at: datetime, kind: int, action: str, status: str) -> Message:
    """A webhook call of Azure, with a snapshot of the subscription."""
    id_ = f"c0ffee11-2b3c-4d5e-8f90-0000{number}"
    person = {
        "emailId": f"buyer@customer-{number}.example",
        "objectId": _id(91, number),
        "tenantId": _id(92, number),
        "puid": "1234567890",
    }
    offer = {"publisherId": "vendor", "offerId": "observability", "planId": "plan1", "quantity": 1}
    snapshot = {
        "id": id_,
        "name": "Production",
        **offer,
        "beneficiary": person,
        "purchaser": person,
        "allowedCustomerOperations": ["Delete", "Update", "Read"],
        "sessionMode": "None",
        "isFreeTrial": False,
        "isTest": False,
        "sandboxType": "None",
        "saasSubscriptionStatus": status,
        "term": {
            "startDate": _time(at - 240 * HOUR),
            "endDate": _time(at + 480 * HOUR),
            "termUnit": "P1M",
            "chargeDuration": None,
        },
        "autoRenew": True,
        "created": _time(at - 2_400 * HOUR),
        "lastModified": _time(at),
    }
    value = {
        "id": _id(kind, number),
        "activityId": _id(kind, number),
        **offer,
        "subscriptionId": id_,
        "timeStamp": _time(at),
        "action": action,
        "status": "Succeeded",
        "operationRequestSource": "Azure",
        "subscription": snapshot,
        "purchaseToken": None,
    }
    return TOPICS.azure_notifications, id_.encode(), json.dumps(value).encode()


# --- kinds of organizations -----------------------------------------------------------------------

History = Callable[[str, datetime], Sequence[tuple[datetime, Message]]]
"""Returns the past messages of an organization, by its number, and their times."""


@dataclass(frozen=True, slots=True)
class Kind:
    """Organizations with the same history: their past messages, and the one to be measured."""

    name: str
    history: History
    news: Callable[[str, datetime], Message]


def _joined(
    number: str, at: datetime, marketplace: str, active: Message, subscription: str
) -> list[tuple[datetime, Message]]:
    return [
        (at, created(number, at)),
        (at + HOUR, linked(number, at + HOUR, marketplace, subscription)),
        (at + 2 * HOUR, active),
    ]


def _license_updated(number: str, now: datetime) -> list[tuple[datetime, Message]]:
    at = now - 480 * HOUR
    active = _eventbridge(number, at + 2 * HOUR, 11, "License Updated - Manufacturer", {})
    return _joined(number, at, "aws", active, f"agmt-2nehijlqfz9g7f2v6{number}")


def _agreement_ended(number: str, now: datetime) -> Message:
    ended = {"status": "CANCELLED"}
    return _eventbridge(number, now, 12, "Purchase Agreement Ended - Proposer", ended)


def _unsubscribed(age: timedelta) -> History:
    """A history that ends with an unsubscription by SNS, `age` ago."""

    def history(number: str, now: datetime) -> list[tuple[datetime, Message]]:
        at, ended = now - age - 480 * HOUR, now - age
        active = _sns(number, at + 2 * HOUR, 21, "subscribe-success")
        subscription = f"{AWS_PRODUCT}/X01EXAMPLE{number}"
        return [
            *_joined(number, at, "aws", active, subscription),
            (ended, _sns(number, ended, 22, "unsubscribe-success")),
        ]

    return history


def _pending_cancellation(number: str, now: datetime) -> list[tuple[datetime, Message]]:
    at, announced, ended = now - 480 * HOUR, now - 42 * HOUR, now - 40 * HOUR
    active = _google(number, at + 2 * HOUR, 31, "ENTITLEMENT_ACTIVE")
    pending = _google(number, announced, 32, "ENTITLEMENT_PENDING_CANCELLATION", ended)
    joined = _joined(number, at, "gcp", active, f"d3c52313-c65f-43b7-987a-0000{number}")
    return [*joined, (announced, pending)]


def _suspended(number: str, now: datetime) -> list[tuple[datetime, Message]]:
    at, ended = now - 480 * HOUR, now - 40 * HOUR
    active = _azure(number, at + 2 * HOUR, 41, "Subscribe", "Subscribed")
    joined = _joined(number, at, "azure", active, f"c0ffee11-2b3c-4d5e-8f90-0000{number}")
    return [*joined, (ended, _azure(number, ended, 42, "Suspend", "Suspended"))]


NOTIFIED = (
    Kind("AWS EventBridge: ended", _license_updated, _agreement_ended),
    Kind("Google: reverted", _pending_cancellation, lambda number, now: _google(
        number, now, 33, "ENTITLEMENT_CANCELLATION_REVERTED"
    )),
    Kind("Azure: reinstated", _suspended, lambda number, now: _azure(
        number, now, 43, "Reinstate", "Suspended"
    )),
    Kind("AWS SNS: subscribed again", _unsubscribed(40 * HOUR), lambda number, now: _sns(
        number, now, 23, "subscribe-success"
    )),
    Kind("Google: active again", _pending_cancellation, lambda number, now: _google(
        number, now, 34, "ENTITLEMENT_ACTIVE"
    )),
    Kind("Azure: renewed", _suspended, lambda number, now: _azure(
        number, now, 44, "Renew", "Subscribed"
    )),
)  # fmt: skip
"""A third of each marketplace.  Each notification produces three messages: the first kind is
canceled (`organization.canceled`, `metering.final_report_due`, the snapshot), all others are
reinstated after the loss of their control plane (`organization.reinstated`,
`control_plane.access_restored`, the snapshot)."""

ACTIVE = Kind("active", _license_updated, _agreement_ended)
"""Organizations that stay active."""

DUE = Kind("due", _unsubscribed(192 * HOUR), lambda number, now: _sns(
    number, now, 23, "subscribe-success"
))  # fmt: skip
"""Unsubscribed eight days ago: their suspension has been due since yesterday."""
