"""Parses CloudEvents 1.0 from Kafka records, in structured and binary mode.

Source: CloudEvents 1.0.2, its JSON format and its Kafka protocol binding (github.com/cloudevents/
spec).  `inbound` parses the data of each type.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from marketplace_worker import envelopes, json_reading
from marketplace_worker.contract.fields import Text, Time, first_problem
from marketplace_worker.envelopes import Fields, Match, Payload
from marketplace_worker.errors import Malformed
from marketplace_worker.record import Record

TYPE_PREFIX = "io.marketplace-worker."
TYPE_SUFFIX = ".v1"
CLOUDEVENTS_CONTENT_TYPE = "application/cloudevents+json"
"""The content type of a record that holds a whole CloudEvent (structured mode)."""

_STRUCTURED = (CLOUDEVENTS_CONTENT_TYPE, "application/cloudevents-batch+json")
_ANY_CLOUDEVENTS_CONTENT_TYPE = "application/cloudevents"
_HEADER_PREFIXES = ("ce_", "ce-")
"""The Kafka binding's prefix, and the HTTP binding's, which Spring Cloud Function writes."""

_BINARY_HEADERS = frozenset(
    prefix + name for prefix in _HEADER_PREFIXES for name in ("specversion", "id", "source", "type")
)
"""The headers of required attributes: with any of them, a record is in binary mode."""


def event_type(name: str) -> str:
    """The CloudEvents `type` of one of our names (events.md section 1)."""
    return f"{TYPE_PREFIX}{name}{TYPE_SUFFIX}"


def schema_id(name: str) -> str:
    """The `$id` of the JSON Schema of a name's `data`: the `dataschema` of what we publish."""
    return f"urn:marketplace-worker:schema:{name}:v1"


def event_schema_id(name: str) -> str:
    """The `$id` of the JSON Schema of a whole message, its envelope included."""
    return f"urn:marketplace-worker:event:{name}:v1"


def message_title(name: str) -> str:
    """A name as generated code is to have it: `OrganizationCanceled` of `organization.canceled`."""
    return "".join(word.capitalize() for word in re.split("[._-]", name))


class Envelope(BaseModel):
    """The attributes that are read; others are ignored."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")

    specversion: Literal["1.0"]
    id: Text
    source: Text
    type: Text
    subject: Text | None = None
    time: Time | None = None


@dataclass(frozen=True, slots=True)
class CloudEvent:
    """A CloudEvent with a valid envelope.

    `encoded`: the data as bytes that were not parsed yet (binary mode, or `data_base64`); otherwise
    `data` holds it.  `path`: its place in the value.  `attributes`: all of them, as received.
    """

    envelope: Envelope
    data: object = None
    encoded: bytes | None = None
    path: str = ""
    attributes: Fields = field(default_factory=dict, compare=False, repr=False)

    def read_data(self) -> object:
        """The parsed data; None if there is none.  Raises `Malformed` if it is not JSON."""
        if self.encoded:
            return json_reading.parse_json(self.encoded, field=self.at("data"))
        return self.data

    def at(self, field: str) -> str:
        """The path of one of its fields in the value."""
        return f"{self.path}.{field}" if self.path else field


def is_own_type(fields: Fields) -> bool:
    """Whether an object has a `type` of ours, valid or not otherwise."""
    return _is_own_type(fields.get("type"))


def has_own_type_in_headers(record: Record) -> bool:
    """Whether the headers have a `type` of ours."""
    try:
        return _is_own_type(_attributes(record).get("type"))
    except Malformed:
        return False


def read_cloudevents(record: Record) -> Sequence[CloudEvent | Malformed]:
    """The CloudEvents of a record, in structured or binary mode, in any envelope.

    Structured: the content type says so, or the value is a JSON object with a `specversion` and the
    record has no `ce_` headers.  A CloudEvent of a foreign type counts as an envelope if one of
    ours is within it.  Headers take precedence over a CloudEvent in the value.

    Raises:
        Malformed: nothing can be read; names the attribute, the header, or `value` for the whole.
    """
    media_type = json_reading.content_type(record) if record.headers else ""
    json_reading.refuse_other_formats(record)
    if media_type.startswith(_ANY_CLOUDEVENTS_CONTENT_TYPE):
        if media_type not in _STRUCTURED:
            raise Malformed(
                f"must be {CLOUDEVENTS_CONTENT_TYPE} or plain JSON", field="content-type"
            )
    elif any(name in _BINARY_HEADERS for name, _ in record.headers):
        return _binary(record)
    return [_structured(each) for each in envelopes.unwrap(record, _recognize)]


def subject_of(record: Record) -> str | None:
    """The subject of the first CloudEvent that a record holds; None where it has none."""
    try:
        events = read_cloudevents(record)
    except Malformed:
        return None
    subjects = (each.envelope.subject for each in events if isinstance(each, CloudEvent))
    return next(subjects, None)


def _binary(record: Record) -> Sequence[CloudEvent | Malformed]:
    attributes = _attributes(record)
    event = CloudEvent(_envelope(attributes), encoded=record.value, attributes=attributes)
    if _is_own_type(event.envelope.type) or envelopes.is_whole(record, _recognize):
        return (event,)
    try:
        return [_structured(each) for each in envelopes.unwrap(record, _recognize_own)]
    except Malformed:
        return (event,)


def _is_own_type(type_: object) -> bool:
    return isinstance(type_, str) and type_.startswith(TYPE_PREFIX)


def _recognize(fields: Fields) -> Match:
    if is_own_type(fields):
        return Match.SURE
    return Match.MAYBE if "specversion" in fields else Match.NONE


def _recognize_own(fields: Fields) -> Match:
    return Match.SURE if is_own_type(fields) else Match.NONE


def _structured(payload: Payload | Malformed) -> CloudEvent | Malformed:
    if isinstance(payload, Malformed):
        return payload
    try:
        return _event(payload.fields, payload.path)
    except Malformed as refusal:
        return refusal


def _event(fields: Fields, path: str) -> CloudEvent:
    envelope = _envelope(fields, path)
    encoded = fields.get("data_base64")
    event = CloudEvent(envelope, data=fields.get("data"), path=path, attributes=fields)
    if encoded is None:
        return event
    at = event.at("data_base64")
    if event.data is not None:
        raise Malformed("must not stand beside data", field=at)
    if not isinstance(encoded, str):
        raise Malformed("must be base64", field=at)
    return replace(event, encoded=json_reading.decode_base64(encoded, field=at))


def _envelope(attributes: Fields, path: str = "") -> Envelope:
    try:
        return Envelope.model_validate(attributes)
    except ValidationError as error:
        field, reason = first_problem(error, within=path)
        raise Malformed(reason, field=field) from None


def _attributes(record: Record) -> dict[str, object]:
    """The `ce_` headers; the Kafka binding writes each as UTF-8 text."""
    attributes: dict[str, object] = {}
    for header, value in record.headers:
        if not header.startswith(_HEADER_PREFIXES):
            continue
        name = header[len("ce_") :]
        # Only a known name is quoted in a message; any other may contain anything.
        field = header if name in Envelope.model_fields else "headers"
        if value is None:
            raise Malformed("a ce_ header must not be null", field=field)
        if name in attributes:
            raise Malformed("a ce_ header must not stand twice", field=field)
        try:
            attributes[name] = unquoted(value.decode())
        except UnicodeDecodeError:
            raise Malformed("a ce_ header must be UTF-8", field=field) from None
    return attributes


def unquoted(text: str) -> str:
    """The content of a JSON string (Spring writes some headers so), else the text itself."""
    if len(text) > 1 and text[0] == text[-1] == '"':
        try:
            held = json.loads(text)
        except ValueError:
            return text
        return held if isinstance(held, str) else text
    return text
