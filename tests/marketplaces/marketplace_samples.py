"""Records and notifications for the tests of the marketplaces' translators.

The envelopes are those of marketplaces.md sections 3c and 4d.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from marketplace_worker.contract.emails import email_hasher
from marketplace_worker.contract.feeds import Feed
from marketplace_worker.errors import Malformed
from marketplace_worker.lifecycle.facts import Notified, Unrecognized
from marketplace_worker.lifecycle.notes import Attention, Change
from marketplace_worker.lifecycle.vocabulary import Marketplace, SubscriptionKey
from marketplace_worker.record import Record
from marketplace_worker.translate import translate

PAYLOADS = Path(__file__).parent.parent / "payloads"
RECORDED_AT = datetime(2026, 11, 22, 12, tzinfo=UTC)
HAPPENED_AT = datetime(2026, 11, 1, 10, 30, tzinfo=UTC)
SENT_AT = "2026-11-01T10:30:00Z"

MARKETPLACES = ("aws", "gcp", "azure")
FILES = sorted(path for path in PAYLOADS.glob("*/*.json") if path.parent.name in MARKETPLACES)
HASH = email_hasher(b"a key for tests")

Json = Mapping[str, object]


def record(value: object, *, recorded_at: datetime = RECORDED_AT) -> Record:
    """A record with this value: bytes and None unchanged, anything else as JSON."""
    body = value if value is None or isinstance(value, bytes) else json.dumps(value).encode()
    return Record("topic", 3, 7, recorded_at, key=None, value=body)


def items(marketplace: str, value: object) -> Sequence[Notified | Unrecognized | Malformed]:
    """All facts and refusals of a value."""
    given = value if isinstance(value, Record) else record(value)
    found = []
    for each in translate(given, Feed(marketplace), HASH):
        assert isinstance(each, Notified | Unrecognized | Malformed)
        found.append(each)
    return found


def notified(marketplace: str, value: object) -> Notified:
    """The only notification of a value."""
    (item,) = items(marketplace, value)
    assert isinstance(item, Notified), item
    return item


def unrecognized(marketplace: str, value: object) -> Unrecognized:
    """The only event of an unknown kind in a value."""
    (item,) = items(marketplace, value)
    assert isinstance(item, Unrecognized), item
    return item


def refusal(marketplace: str, value: object) -> Malformed:
    """The refusal of a whole value."""
    (item,) = items(marketplace, value)
    assert isinstance(item, Malformed), item
    return item


def key(subscription_id: str, marketplace: str = "aws") -> SubscriptionKey:
    """The key of a subscription."""
    return SubscriptionKey(Marketplace(marketplace), subscription_id)


Row = tuple[int, Change, Attention | None]


def row(marketplace: str, value: object) -> Row:
    """The table row of a notification: rank, change, attention."""
    fact = notified(marketplace, value)
    return fact.note.rank, fact.note.change, fact.attention


# --- notifications --------------------------------------------------------------------------------


def aws_event(
    kind: str = "License Updated",
    agreement: Json | None = None,
    *,
    detail: Json | None = None,
    **event: object,
) -> Json:
    """An EventBridge event about `agmt-1`."""
    return {
        "id": "event-1",
        "detail-type": f"{kind} - Manufacturer",
        "source": "aws.agreement-marketplace",
        "time": SENT_AT,
        "detail": {
            "agreement": {"id": "agmt-1", **(agreement or {})},
            "acceptor": {"accountId": "123456789012"},
            **(detail or {}),
        },
        **event,
    }


def aws_message(action: str = "subscribe-success", **more: object) -> Json:
    """A bare SNS message about `product/customer`."""
    return {"action": action, "customer-identifier": " customer", "product-code": "product", **more}


def sns(message: object, **more: object) -> Json:
    """The SNS envelope around a message."""
    return {
        "Type": "Notification",
        "MessageId": "message-1",
        "TopicArn": "arn:aws:sns:us-east-1:287250355862:aws-mp-subscription-notification-product",
        "Subject": None,
        "Message": json.dumps(message, indent=1),
        "Timestamp": "2026-11-01T10:30:00.000Z",
        "SigningCertUrl": "https://sns.us-east-1.amazonaws.com/x.pem",
        **more,
    }


def sqs(*bodies: object) -> Json:
    """The event with which SQS calls a Lambda function."""
    return {
        "Records": [
            {"messageId": f"sqs-{index}", "body": json.dumps(body), "eventSource": "aws:sqs"}
            for index, body in enumerate(bodies)
        ]
    }


def sns_to_lambda(*envelopes: object) -> Json:
    """The event with which SNS calls a Lambda function."""
    return {"Records": [{"EventSource": "aws:sns", "Sns": envelope} for envelope in envelopes]}


def gcp_message(event_type: str = "ENTITLEMENT_ACTIVE", **entitlement: object) -> Json:
    """A message about `entitlement-1`."""
    return {
        "eventId": "EVENT-1",
        "eventType": event_type,
        "providerId": "provider",
        "entitlement": {"id": "entitlement-1", "updateTime": SENT_AT, **entitlement},
    }


def pubsub(message: object, **more: object) -> Json:
    """A Pub/Sub message."""
    return {"data": base64.b64encode(json.dumps(message).encode()).decode(), **more}


def push(message: object, **more: object) -> Json:
    """A Pub/Sub push request."""
    return {"message": pubsub(message, **more), "subscription": "projects/p/subscriptions/s"}


def azure_body(action: str = "Subscribe", **more: object) -> Json:
    """A webhook's body about `subscription-1`."""
    return {
        "id": "operation-1",
        "subscriptionId": "subscription-1",
        "timeStamp": SENT_AT,
        "action": action,
        "status": "Succeeded",
        "operationRequestSource": "Azure",
        **more,
    }


def wrapped(notification: object, resource: object = None) -> Json:
    """A notification beside the resource that a router fetched."""
    return {"notification": notification, "resource": resource}


PLAIN: Mapping[str, Json] = {"aws": aws_event(), "gcp": gcp_message(), "azure": azure_body()}
"""One notification of each marketplace."""
