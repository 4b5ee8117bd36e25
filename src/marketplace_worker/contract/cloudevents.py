"""CloudEvents 1.0 over Kafka: finds the attributes and the data of a record, in either mode.

Source: CloudEvents 1.0.2, its JSON format and its Kafka protocol binding (github.com/cloudevents/
spec).  What a type's data must look like is not known here; that is `inbound`.
"""

import json
from base64 import b64decode
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from marketplace_worker.contract.fields import Text, Time, first_problem
from marketplace_worker.errors import Malformed
from marketplace_worker.record import Record

TYPE_PREFIX = "io.marketplace-worker."
TYPE_SUFFIX = ".v1"
CLOUDEVENTS_CONTENT_TYPE = "application/cloudevents+json"
"""The content type of a record that holds a whole CloudEvent (structured mode)."""

_ANY_CLOUDEVENTS_CONTENT_TYPE = "application/cloudevents"
_HEADER_PREFIX = "ce_"


def event_type(name: str) -> str:
    """The CloudEvents `type` of one of our names (events.md section 1)."""
    return f"{TYPE_PREFIX}{name}{TYPE_SUFFIX}"


def schema_id(name: str) -> str:
    """The `$id` of a name's JSON Schema, and the `dataschema` of what we publish."""
    return f"urn:marketplace-worker:schema:{name}:v1"


class Envelope(BaseModel):
    """The attributes that we read; all others are ignored."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")

    specversion: Literal["1.0"]
    id: Text
    source: Text
    type: Text
    subject: Text | None = None
    time: Time | None = None


@dataclass(frozen=True, slots=True)
class CloudEvent:
    """A CloudEvent whose envelope could be read.

    `encoded`: the data as bytes of JSON that nobody has looked at yet (binary mode, or
    `data_base64`).  `data`: the data otherwise.
    """

    envelope: Envelope
    data: object = None
    encoded: bytes | None = None

    def read_data(self) -> object:
        """The data as JSON values; None where there is none.  `Malformed` where it is no JSON."""
        return read_json(self.encoded, field="data") if self.encoded else self.data


def read_cloudevent(record: Record) -> CloudEvent:
    """The CloudEvent that a record holds, in structured or in binary mode.

    Structured is what says so by its content type, and, being tolerant, any JSON object with a
    `specversion` that comes without `ce_` headers.  `Malformed` names the attribute, the header,
    or `value` where the record's value as a whole cannot be read.
    """
    media_type = _media_type(record)
    if media_type == CLOUDEVENTS_CONTENT_TYPE:
        return _structured(record)
    if media_type.startswith(_ANY_CLOUDEVENTS_CONTENT_TYPE):
        raise Malformed(f"must be {CLOUDEVENTS_CONTENT_TYPE} or plain JSON", field="content-type")
    if any(name.startswith(_HEADER_PREFIX) for name, _ in record.headers):
        return CloudEvent(_envelope(_attributes(record)), encoded=record.value)
    return _structured(record)


def read_json(raw: bytes, *, field: str) -> object:
    """JSON as it must be: UTF-8, no key twice in an object, no NaN, not absurdly deep or long."""
    try:
        return _DECODER.decode(raw.decode())
    except UnicodeDecodeError:
        raise Malformed("is not UTF-8", field=field) from None
    except json.JSONDecodeError as error:
        raise Malformed(f"is not JSON (at character {error.pos})", field=field) from None
    except RecursionError:
        raise Malformed("is nested too deeply", field=field) from None
    except _Unfit as error:
        raise Malformed(str(error), field=field) from None
    except ValueError:
        raise Malformed("holds a number of too many digits", field=field) from None


def _structured(record: Record) -> CloudEvent:
    if not record.value:
        raise Malformed("is empty", field="value")
    event = read_json(record.value, field="value")
    if not isinstance(event, dict):
        raise Malformed("must be a JSON object", field="value")
    envelope = _envelope(event)
    encoded = event.get("data_base64")
    if encoded is None:
        return CloudEvent(envelope, data=event.get("data"))
    if event.get("data") is not None:
        raise Malformed("must not stand beside data", field="data_base64")
    return CloudEvent(envelope, encoded=_from_base64(encoded))


def _from_base64(encoded: object) -> bytes:
    try:
        if isinstance(encoded, str):
            return b64decode(encoded, validate=True)
    except ValueError:
        pass
    raise Malformed("must be base64", field="data_base64")


def _envelope(attributes: dict[str, object]) -> Envelope:
    try:
        return Envelope.model_validate(attributes)
    except ValidationError as error:
        field, reason = first_problem(error)
        raise Malformed(reason, field=field) from None


def _attributes(record: Record) -> dict[str, object]:
    """The `ce_` headers; the Kafka binding writes each as UTF-8 text."""
    attributes: dict[str, object] = {}
    for header, value in record.headers:
        if not header.startswith(_HEADER_PREFIX):
            continue
        name = header.removeprefix(_HEADER_PREFIX)
        # Only a name that we know is repeated in a message; any other may hold anything.
        field = header if name in Envelope.model_fields else "headers"
        if value is None:
            raise Malformed("a ce_ header must not be null", field=field)
        if name in attributes:
            raise Malformed("a ce_ header must not stand twice", field=field)
        try:
            attributes[name] = value.decode()
        except UnicodeDecodeError:
            raise Malformed("a ce_ header must be UTF-8", field=field) from None
    return attributes


def _media_type(record: Record) -> str:
    """What the record says it holds, in lower case and without parameters; "" where nothing."""
    for name, value in record.headers:
        if value is not None and name.lower() == "content-type":
            return value.decode(errors="replace").partition(";")[0].strip().lower()
    return ""


class _Unfit(ValueError):
    """Valid for Python's JSON reader, not for us."""


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    read = dict(pairs)
    if len(read) != len(pairs):
        raise _Unfit("has an object in which a key stands twice")
    return read


def _constant(_name: str) -> object:
    raise _Unfit("holds NaN or an infinity, which JSON does not have")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant)
