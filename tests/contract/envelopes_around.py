"""Envelopes that forwarders put around a value: all that marketplaces.md section 1 names."""

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


def connect(payload: object, type_: str = "string") -> object:
    """Kafka Connect's JsonConverter, with its schema."""
    return {"schema": {"type": type_, "optional": False}, "payload": payload}


def sns(message: object) -> object:
    """SNS; its own message id and time must not replace those of its content."""
    return {
        "Type": "Notification",
        "MessageId": "of-the-envelope",
        "TopicArn": "arn:aws:sns:us-east-1:287250355862:a-topic",
        "Message": as_text(message),
        "Timestamp": "2026-11-20T00:00:00.000Z",
        "MessageAttributes": {"action": {"Type": "String", "Value": "entitlement-updated"}},
    }


def pubsub(data: str) -> dict[str, object]:
    """A Pub/Sub message."""
    message = {"data": data, "messageId": "17", "publishTime": "2026-11-20T00:00:00Z"}
    return {**message, "attributes": {"eventType": "ENTITLEMENT_CANCELLED"}}


def cloudevent(data: object) -> dict[str, object]:
    """A CloudEvent of another organization's type."""
    return {
        "specversion": "1.0",
        "id": "of-the-envelope",
        "source": "//pubsub.googleapis.com/projects/p/topics/t",
        "type": "google.cloud.pubsub.topic.v1.messagePublished",
        "subject": "of-the-envelope",
        "time": "2026-11-20T00:00:00Z",
        "datacontenttype": "application/json",
        "data": data,
    }


def event_grid(data: object) -> dict[str, object]:
    """Azure Event Grid's own schema."""
    return {
        "id": "of-the-envelope",
        "topic": "/subscriptions/x",
        "subject": "s",
        "eventType": "saas.webhook",
        "eventTime": "2026-11-20T00:00:00Z",
        "dataVersion": "1",
        "data": data,
    }


def debezium(after: object) -> object:
    """A row of an outbox table, as Debezium reports it."""
    row = {"op": "c", "before": None, "after": {"id": 7, "payload": as_text(after)}}
    return {**row, "source": {"connector": "postgresql"}, "ts_ms": 1}


ENVELOPES: Mapping[str, Wrap] = {
    "nothing": lambda value: value,
    "JSON text": as_text,
    "JSON text in JSON text": lambda value: as_text(as_text(value)),
    "base64": in_base64,
    "base64 of the other alphabet": in_url_base64,
    "base64 in lines": in_lines,
    "Connect, a text": lambda value: connect(as_text(value)),
    "Connect, bytes": lambda value: connect(in_base64(value), "bytes"),
    "Connect, a struct": lambda value: connect(value, "struct"),
    "Debezium": lambda value: connect(debezium(value), "struct"),
    "a router": lambda value: {"notification": value, "resource": None},
    "a router, as text": lambda value: {"notification": as_text(value)},
    "a CloudEvent": cloudevent,
    "a CloudEvent, its data a text": lambda value: cloudevent(as_text(value)),
    "a CloudEvent, its data in base64": lambda value: {
        **{name: held for name, held in cloudevent(None).items() if name != "data"},
        "data_base64": in_base64(value),
    },
    "Eventarc": lambda value: cloudevent({"message": pubsub(in_base64(value))}),
    "Event Grid": event_grid,
    "Event Grid, a list": lambda value: [event_grid(value)],
    "a list": lambda value: [value],
    "a list of texts": lambda value: [as_text(value)],
    "SNS": sns,
    "SNS in SQS": lambda value: {"Records": [{"messageId": "q", "body": as_text(sns(value))}]},
    "SNS in Lambda": lambda value: {"Records": [{"EventSource": "aws:sns", "Sns": sns(value)}]},
    "SQS, received": lambda value: {
        "Messages": [{"MessageId": "q", "Body": as_text(value), "Attributes": {}}]
    },
    "SQS, piped": lambda value: [{"messageId": "q", "body": as_text(value), "attributes": {}}],
    "SQS, by a connector": lambda value: connect({"MessageId": "q", "Body": as_text(value)}),
    "Kinesis": lambda value: {"Records": [{"kinesis": {"data": in_base64(value)}}]},
    "Kinesis, piped": lambda value: [{"partitionKey": "p", "data": in_base64(value)}],
    "Firehose": lambda value: {
        "invocationId": "i",
        "records": [{"recordId": "r", "data": in_base64(value)}],
    },
    "Pub/Sub": lambda value: pubsub(in_base64(value)),
    "Pub/Sub, pushed": lambda value: {"message": pubsub(in_url_base64(value)), "subscription": "s"},
    "Pub/Sub, pulled": lambda value: {
        "receivedMessages": [{"ackId": "a", "message": pubsub(in_base64(value))}]
    },
    "Pub/Sub, pulled by gcloud": lambda value: [{"ackId": "a", "message": pubsub(in_lines(value))}],
    "Pub/Sub, by a connector": lambda value: {
        "message": in_base64(value),
        "googclient_schemaencoding": "JSON",
        "eventType": "ENTITLEMENT_CANCELLED",
    },
    "Confluent REST": lambda value: {"records": [{"key": "k", "value": value}]},
    "Confluent REST, version 3": lambda value: {"type": "JSON", "data": value},
    "an accelerator": lambda value: {
        "applicationName": "Contoso",
        "eventType": "Webhook",
        "payloadFromLandingpage": {},
        "payloadFromWebhook": value,
    },
    "a program of one's own": lambda value: {"received_by": "us", "hook": as_text(value)},
    "HTTP in Lambda": lambda value: {"body": in_base64(value), "isBase64Encoded": True},
}
"""Builds the forwarded value from the original one, by the envelope's name."""
