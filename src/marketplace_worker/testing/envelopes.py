"""What forwarders put around a message: every envelope that the worker opens, by name.

Any of them may hold any message, and another envelope (marketplaces.md section 1).
"""

import base64
import json
from collections.abc import Callable, Mapping

Wrap = Callable[[object], object]


def as_text(value: object) -> str:
    """The value as JSON text."""
    return json.dumps(value)


def in_base64(value: object) -> str:
    """Base64 of the value's JSON text."""
    return base64.b64encode(as_text(value).encode()).decode()


def in_url_base64(value: object) -> str:
    """URL-safe base64 without padding."""
    return base64.urlsafe_b64encode(as_text(value).encode()).decode().rstrip("=")


def in_lines(value: object) -> str:
    """Base64 as MIME writes it: lines of 76 characters."""
    return base64.encodebytes(as_text(value).encode()).decode()


def connect(payload: object, type_: str = "string") -> dict[str, object]:
    """Kafka Connect's JsonConverter, with its schema."""
    return {"schema": {"type": type_, "optional": False}, "payload": payload}


def sns(message: object, *, id_: str, at: str) -> dict[str, object]:
    """SNS's notification."""
    topic = "aws-mp-subscription-notification-prod-1"
    return {
        "Type": "Notification",
        "MessageId": id_,
        "TopicArn": f"arn:aws:sns:us-east-1:287250355862:{topic}",
        "Message": as_text(message),
        "Timestamp": at,
        "SignatureVersion": "1",
        "Signature": "EXAMPLE",
        "SigningCertURL": "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-1.pem",
    }


def pubsub(data: str, *, id_: str, at: str) -> dict[str, object]:
    """A Pub/Sub message around base64."""
    return {"data": data, "messageId": id_, "publishTime": at}


def cloudevent(data: object, *, id_: str, at: str) -> dict[str, object]:
    """A CloudEvent of a type that is not the worker's."""
    return {
        "specversion": "1.0",
        "id": id_,
        "source": "//pubsub.googleapis.com/projects/p/topics/t",
        "type": "google.cloud.pubsub.topic.v1.messagePublished",
        "subject": id_,
        "time": at,
        "datacontenttype": "application/json",
        "data": data,
    }


def event_grid(data: object, *, id_: str, at: str) -> dict[str, object]:
    """Azure Event Grid's own schema."""
    return {
        "id": id_,
        "topic": "/subscriptions/x",
        "subject": "s",
        "eventType": "saas.webhook",
        "eventTime": at,
        "dataVersion": "1",
        "data": data,
    }


def debezium(after: object) -> dict[str, object]:
    """A row of an outbox table, as Debezium reports it."""
    row = {"op": "c", "before": None, "after": {"id": 7, "payload": as_text(after)}}
    return {**row, "source": {"connector": "postgresql"}, "ts_ms": 1}


def envelopes(id_: str, at: str) -> Mapping[str, Wrap]:
    """Every envelope by name, as a function from the message's value to the forwarded value.

    Args:
        id_: of the envelope, where it has one; it never replaces the message's own.
        at: its time (RFC 3339); likewise.
    """
    return {
        "none": lambda value: value,
        **_texts(),
        **_of_aws(id_, at),
        **_of_google(id_, at),
        **_of_azure(id_, at),
        **_of_any_cloud(id_, at),
    }


def _texts() -> dict[str, Wrap]:
    return {
        "text": as_text,
        "text-in-text": lambda value: as_text(as_text(value)),
        "base64": in_base64,
        "base64-url": in_url_base64,
        "base64-lines": in_lines,
        "list": lambda value: [value],
        "list-of-texts": lambda value: [as_text(value)],
    }


def _of_aws(id_: str, at: str) -> dict[str, Wrap]:
    def in_sns(value: object) -> object:
        return sns(value, id_=id_, at=at)

    return {
        "sns": in_sns,
        "sns-sqs": lambda value: {"Records": [{"messageId": id_, "body": as_text(in_sns(value))}]},
        "sns-lambda": lambda value: {"Records": [{"EventSource": "aws:sns", "Sns": in_sns(value)}]},
        "sqs": lambda value: {
            "Messages": [{"MessageId": id_, "Body": as_text(value), "Attributes": {}}]
        },
        "sqs-pipes": lambda value: [{"messageId": id_, "body": as_text(value), "attributes": {}}],
        "sqs-connect": lambda value: connect({"MessageId": id_, "Body": as_text(value)}),
        "kinesis": lambda value: {"Records": [{"kinesis": {"data": in_base64(value)}}]},
        "kinesis-pipes": lambda value: [{"partitionKey": "p", "data": in_base64(value)}],
        "firehose": lambda value: {
            "invocationId": id_,
            "records": [{"recordId": "r", "data": in_base64(value)}],
        },
        "http-lambda": lambda value: {"body": in_base64(value), "isBase64Encoded": True},
    }


def _of_google(id_: str, at: str) -> dict[str, Wrap]:
    def message(data: str) -> dict[str, object]:
        return pubsub(data, id_=id_, at=at)

    subscription = "projects/p/subscriptions/marketplace"
    return {
        "pubsub": lambda value: message(in_base64(value)),
        "pubsub-push": lambda value: {
            "message": message(in_url_base64(value)),
            "subscription": subscription,
        },
        "pubsub-pull": lambda value: {
            "receivedMessages": [{"ackId": "a", "message": message(in_base64(value))}]
        },
        "pubsub-gcloud": lambda value: [{"ackId": "a", "message": message(in_lines(value))}],
        "pubsub-connect": lambda value: {
            "message": in_base64(value),
            "googclient_schemaencoding": "JSON",
        },
        "eventarc": lambda value: cloudevent(
            {"message": message(in_base64(value))}, id_=id_, at=at
        ),
    }


def _of_azure(id_: str, at: str) -> dict[str, Wrap]:
    return {
        "event-grid": lambda value: event_grid(value, id_=id_, at=at),
        "event-grid-list": lambda value: [event_grid(value, id_=id_, at=at)],
        "accelerator": lambda value: {
            "applicationName": "Contoso",
            "eventType": "Webhook",
            "payloadFromLandingpage": {},
            "payloadFromWebhook": value,
        },
    }


def _of_any_cloud(id_: str, at: str) -> dict[str, Wrap]:
    def around(data: object) -> dict[str, object]:
        return cloudevent(data, id_=id_, at=at)

    return {
        "cloudevent": around,
        "cloudevent-text": lambda value: around(as_text(value)),
        "cloudevent-base64": lambda value: {
            **{name: held for name, held in around(None).items() if name != "data"},
            "data_base64": in_base64(value),
        },
        "connect-text": lambda value: connect(as_text(value)),
        "connect-bytes": lambda value: connect(in_base64(value), "bytes"),
        "connect-struct": lambda value: connect(value, "struct"),
        "debezium": lambda value: connect(debezium(value), "struct"),
        "rest-proxy": lambda value: {"records": [{"key": "k", "value": value}]},
        "rest-proxy-v3": lambda value: {"type": "JSON", "data": value},
        "router": lambda value: {"notification": value, "resource": None},
        "router-text": lambda value: {"notification": as_text(value)},
        "own-program": lambda value: {"received_by": "us", "hook": as_text(value)},
    }


ENVELOPES = tuple(envelopes("", ""))
"""The names of all envelopes."""
