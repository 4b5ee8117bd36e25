"""Removes the envelopes that forwarders put around a message: SNS, SQS, Kafka Connect and others.

Runs before every translator, in the same way for every topic (marketplaces.md section 1).  Only
this module knows envelopes.  It searches the value for objects that the translator recognizes.
"""

from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from marketplace_worker.errors import Malformed
from marketplace_worker.json_reading import (
    JSON_STARTS,
    JSON_TEXT_STARTS,
    WHOLE,
    decode_base64,
    parse_json,
    parse_json_or_base64,
    parse_value,
)
from marketplace_worker.record import Record

ENVELOPES_MAX = 16
"""The most nested envelopes.  The deepest known nesting has 8: Event Grid, a wrapper, Lambda's SQS,
SNS, EventBridge."""

RECORDS_MAX = 10_000
"""The most records in one value: the largest batch that SQS passes to a Lambda function."""

OBJECTS_MAX = 50_000
"""The most objects of one value that are searched: five for each of its records."""

TEXT_MAX = 16 * 2**20
"""The most characters of JSON text within a value that are parsed: a largest value once per
envelope."""

_ENVELOPES = (
    *("notification",),  # beside `resource`, which a router fetched from the marketplace
    *("message", "sns", "receivedmessages"),  # SNS; Pub/Sub's push, pull, and connector
    *("kinesis", "messages", "records"),  # Lambda, SQS, Firehose, Confluent REST
    *("body", "data", "data_base64", "value"),  # SQS, CloudEvents, Event Grid; one record of these
    *("payload",),  # Kafka Connect, and many forwarding programs
)
"""The fields, in lower case, in which envelopes carry their content: an object, JSON text, base64
of JSON text, or a list of these.  The first one that can be opened counts."""

_IN_BASE64 = frozenset({"data", "data_base64"})
"""The fields whose text is tried as base64 first."""

Fields = Mapping[str, object]


class Match(IntEnum):
    """Whether an object is a message that the topic carries.

    `MAYBE` counts as one only if no object within it is `SURE`.
    """

    NONE = 0
    MAYBE = 1
    SURE = 2


Recognizer = Callable[[Fields], Match]


class Part(NamedTuple):
    """An object of the value, and its path."""

    fields: Fields
    path: str


class Payload(Struct, frozen=True):
    """An object that a topic carries, and what the envelopes around it contribute.

    `resource`: what a router fetched from the marketplace's API; the outermost of several.  `sns`,
    `pubsub` and `event` (a CloudEvent): the nearest envelope of that kind.  `place`: the index
    among several objects of the value, as part of an id.
    """

    record: Record
    fields: Fields
    path: str = ""
    is_sure: bool = True
    resource: Part | None = None
    sns: Part | None = None
    pubsub: Part | None = None
    event: Part | None = None
    place: str = ""

    @property
    def positional_id(self) -> str:
        """The id of an object that has none of its own: the record's, with `place`."""
        return self.record.positional_id + self.place

    def at(self, field: str) -> str:
        """The path of one of its fields in the value."""
        return _at(self.path, field)


Found = Sequence[Payload | Malformed]


def unwrap(record: Record, recognize: Recognizer) -> Found:
    """The objects that a record carries.  Of several, each is returned or refused by itself.

    Raises:
        Malformed: nothing in the value can be read; names the field, or `value` for the whole.
    """
    parsed = parse_value(record)
    if isinstance(parsed, dict) and recognize(parsed) is Match.SURE:
        return (Payload(record, parsed),)
    return _Unwrapping(recognize).open(parsed, Payload(record, {}), WHOLE)


def is_whole(record: Record, recognize: Recognizer) -> bool:
    """Whether the value itself matches, with no envelope other than JSON text in JSON text."""
    try:
        parsed = parse_value(record)
        while isinstance(parsed, str):
            parsed = parse_json(parsed, field=WHOLE)
    except Malformed:
        return False
    return isinstance(parsed, dict) and recognize(parsed) is not Match.NONE


# --- envelopes ------------------------------------------------------------------------------------


class _Unfinished(Malformed):
    """A refusal after which no other field of the object may be tried instead."""


class _Unwrapping:
    """The unwrapping of one value, with counters for its bounds."""

    def __init__(self, recognize: Recognizer) -> None:
        self._recognize = recognize
        self._objects = 0
        self._records = 0
        self._text = 0
        self._spent = False

    def open(self, held: object, around: Payload, path: str, depth: int = 0) -> Found:
        """Open the content of an envelope.  `around`: the attributes of the outer envelopes."""
        while isinstance(held, str):
            if depth == ENVELOPES_MAX:
                raise Malformed("too many envelopes in one another", field=path)
            held, depth = self._parsed(held, path), depth + 1
        match held:
            case dict():
                return self._open_object(held, around, path, depth)
            case list():
                return self._open_list(held, around, path, depth)
            case _:
                raise Malformed("must be a JSON object", field=path)

    def _parsed(self, text: str, path: str) -> object:
        self._text += len(text)
        if self._text > TEXT_MAX:
            raise self._exhausted(f"holds more than {TEXT_MAX} characters of text in text")
        if text.lstrip().startswith(JSON_TEXT_STARTS):
            return parse_json(text.lstrip(), field=path)
        in_base64 = path.rpartition(".")[2].lower() in _IN_BASE64
        try:
            held = decode_base64(text, field=path)
        except Malformed:
            if in_base64:
                raise
            raise Malformed("is not JSON", field=path) from None
        if not held:
            raise Malformed("is empty", field=path)
        if in_base64 or held.lstrip().startswith(JSON_STARTS):
            return parse_json_or_base64(held, field=path)
        raise Malformed("is not JSON", field=path)

    def _open_object(self, fields: Fields, around: Payload, path: str, depth: int) -> Found:
        self._objects += 1
        if self._objects > OBJECTS_MAX:
            raise self._exhausted(f"holds more than {OBJECTS_MAX} objects")
        recognized = self._recognize(fields)
        inner = "" if path == WHOLE else path
        itself = replace(around, fields=fields, path=inner, is_sure=recognized is Match.SURE)
        if itself.is_sure:
            return (itself,)
        if depth == ENVELOPES_MAX:
            raise Malformed("too many envelopes in one another", field=path)
        try:
            found = self._inside(fields, around, inner, depth + 1)
        except Malformed:
            if recognized is Match.NONE:
                raise
            return (itself,)
        return found if recognized is Match.NONE or _holds_sure(found) else (itself,)

    def _inside(self, fields: Fields, around: Payload, path: str, depth: int) -> Found:
        """The content of the known fields, or else of any other field."""
        spelled: dict[str, str] = {}
        for name, value in fields.items():
            if value is not None and value != "":
                spelled.setdefault(name.lower(), name)
        if "specversion" in fields:
            around = replace(around, event=Part(fields, path))
        known = [spelled[name] for name in _ENVELOPES if name in spelled]
        found: list[Found] = []
        refusal: Malformed | None = None
        for name in known:
            inner = _with_attributes_of(fields, around, path, spelled, name.lower())
            try:
                found.append(self.open(fields[name], inner, _at(path, name), depth))
            except _Unfinished:
                raise
            except Malformed as refused:
                refusal = refusal or refused
        if not any(map(_holds_sure, found)):
            found += self._anywhere(fields, around, path, depth, but=known)
        if not found:
            reason = "no known shape of what this topic carries"
            raise refusal or Malformed(reason, field=path or WHOLE)
        return _the_one_of(found, path)

    def _anywhere(
        self, fields: Fields, around: Payload, path: str, depth: int, *, but: Sequence[str]
    ) -> Sequence[Found]:
        """The content of fields with unknown names; messages do not repeat these names."""
        found: list[Found] = []
        for name, value in fields.items():
            is_text = isinstance(value, str) and value.lstrip().startswith(JSON_TEXT_STARTS)
            if name in but or not (is_text or isinstance(value, dict | list)):
                continue
            try:
                held = self.open(value, around, _at(path, "*"), depth)
            except _Unfinished:
                raise
            except Malformed:
                continue
            if not isinstance(value, list) or _holds_sure(held):
                found.append(held)
        return found

    def _open_list(self, held: list[object], around: Payload, path: str, depth: int) -> Found:
        """The content of each entry of a list."""
        if not held:
            raise Malformed("holds no record", field=path)
        self._records += len(held)
        if self._records > RECORDS_MAX:
            raise self._exhausted(f"holds more than {RECORDS_MAX} records")
        if around.resource is not None and len(held) > 1:
            raise _Unfinished("holds several records, beside one resource", field=path)
        if depth == ENVELOPES_MAX:
            raise Malformed("too many envelopes in one another", field=path)
        found: list[Payload | Malformed] = []
        inner = "" if path == WHOLE else path
        for index, each in enumerate(held):
            place = f"{around.place}/{index}" if len(held) > 1 else around.place
            inside = replace(around, sns=None, pubsub=None, place=place)
            try:
                found += self.open(each, inside, _at(inner, str(index)), depth + 1)
            except Malformed as refused:
                if self._spent:
                    raise
                found.append(refused)
        return found

    def _exhausted(self, reason: str) -> Malformed:
        self._spent = True
        return _Unfinished(reason, field=WHOLE)


def _with_attributes_of(
    fields: Fields, around: Payload, path: str, spelled: Mapping[str, str], known: str
) -> Payload:
    """What is known about the content of an envelope: its own attributes and the outer ones."""
    part = Part(fields, path)
    match known:
        case "message" if "messageid" in spelled or "topicarn" in spelled:
            return replace(around, sns=part)
        case "data":
            return replace(around, pubsub=part)
        case "notification" if "resource" in spelled:
            resource, at = fields[spelled["resource"]], _at(path, spelled["resource"])
            if not isinstance(resource, dict):
                raise _Unfinished("must be an object", field=at)
            return around if around.resource else replace(around, resource=Part(resource, at))
        case _:
            return around


def _the_one_of(found: Sequence[Found], path: str) -> Found:
    """The sure match among several fields of one object.  Equal matches count as one."""
    sure = [held for held in found if _holds_sure(held)]
    readings = [[each.fields for each in held if isinstance(each, Payload)] for held in sure]
    if any(each != readings[0] for each in readings):
        raise _Unfinished("several notifications in one value", field=path or WHOLE)
    return (sure or found)[0]


def _holds_sure(found: Found) -> bool:
    return any(isinstance(each, Payload) and each.is_sure for each in found)


def _at(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
