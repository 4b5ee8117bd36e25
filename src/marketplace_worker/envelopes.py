"""Unwraps the value of a record: finds what lies in what hops into Kafka put around it.

One step before all translators, the same for every topic (marketplaces.md section 1).  Only this
module knows envelopes; what is looked for, a translator recognizes.
"""

import json
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from marketplace_worker.errors import Malformed
from marketplace_worker.record import Record

ENVELOPES_MAX = 16
"""How many envelopes may lie in one another; the deepest that is known, Event Grid around a wrapper
around Lambda's SQS around SNS around EventBridge, has 8."""

RECORDS_MAX = 10_000
"""How many records one value may hold: the largest batch that SQS hands to a Lambda function."""

OBJECTS_MAX = 50_000
"""How many objects of one value are looked at: five in the envelopes of each of its records."""

TEXT_MAX = 16 * 2**20
"""How much text within a value is parsed, in characters: a largest value, once per envelope."""

WHOLE = "value"
"""The field of a refusal that is about the value as a whole."""

_ENVELOPES = (
    *("notification",),  # what a router read at the source stands beside it, as `resource`
    *("message", "sns", "receivedmessages"),  # SNS; Pub/Sub's push, pull, and connector
    *("kinesis", "messages", "records"),  # Lambda, SQS, Firehose, Confluent REST
    *("body", "data", "data_base64", "value"),  # SQS, CloudEvents, Event Grid; one record of these
    *("payload",),  # Kafka Connect, and many forwarding programs
)
"""The fields, in lower case, that are known to hold what an envelope carries: as an object, as JSON
text, as base64 of that, or as a list of any of these.  The first that can be opened counts."""

_IN_BASE64 = frozenset({"data", "data_base64"})
"""Where a text is base64 first of all."""

_OTHER_FORMATS = ("avro", "protobuf")

Fields = Mapping[str, object]


class Likeness(IntEnum):
    """Whether an object is what a topic carries.

    `MAYBE` stands for itself only where nothing lies in it that surely is.
    """

    NONE = 0
    MAYBE = 1
    SURE = 2


Recognize = Callable[[Fields], Likeness]


class Part(NamedTuple):
    """An object of the value, and the path at which it stands."""

    fields: Fields
    path: str


class Letter(Struct, frozen=True):
    """What was found, and what was said of it around it.

    `resource`: what a router read at the source; of several, the outermost.  `sns`, `pubsub` and
    `event` (CloudEvents): the nearest of these.  `place`: its index, where there are several.
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
    def own_id(self) -> str:
        """The identity of one that brings none: the record's, with its index where there are
        several.
        """
        return self.record.own_id + self.place

    def at(self, field: str) -> str:
        """The path of one of its fields in the value."""
        return _at(self.path, field)


Found = Sequence[Letter | Malformed]


def unwrap(record: Record, recognize: Recognize) -> Found:
    """What a record carries: of several, each is found or refused by itself.

    Raises:
        Malformed: nothing in the value can be read; names the field, or `value` for the whole.
    """
    parsed = parse_value(record)
    if isinstance(parsed, dict) and recognize(parsed) is Likeness.SURE:
        return (Letter(record, parsed),)
    return _Unwrapping(recognize).open(parsed, Letter(record, {}), WHOLE)


def is_whole(record: Record, recognize: Recognize) -> bool:
    """Whether the value itself is what is looked for, without an envelope but JSON in JSON text."""
    try:
        parsed = parse_value(record)
        while isinstance(parsed, str):
            parsed = parse_json(parsed, field=WHOLE)
    except Malformed:
        return False
    return isinstance(parsed, dict) and recognize(parsed) is not Likeness.NONE


# --- JSON and the formats that are none -----------------------------------------------------------


def parse_value(record: Record) -> object:
    """The value of a record as JSON values; `Malformed` where it is no JSON."""
    if not record.value:
        raise Malformed("is empty", field=WHOLE)
    refuse_other_formats(record)
    return _parse_json_or_base64(record.value, field=WHOLE)


def refuse_other_formats(record: Record) -> None:
    """`Malformed` where the record itself says that its value is no JSON."""
    if record.headers and any(name in content_type(record) for name in _OTHER_FORMATS):
        raise Malformed("must be JSON: Avro and Protobuf are not read", field="content-type")


def content_type(record: Record) -> str:
    """What the record says it holds, in lower case and without parameters; "" where nothing."""
    for name, value in record.headers:
        if value is not None and name.lower() == "content-type":
            text = value.decode(errors="replace").partition(";")[0]
            return text.strip().strip('"').strip().lower()
    return ""


def parse_json(raw: bytes | str, *, field: str) -> object:
    """JSON as it must be: UTF-8, no key twice in an object, no NaN, not absurdly deep or long.

    A byte-order mark before it is passed over; bytes in another format are refused by its name.
    """
    try:
        text = raw.decode() if isinstance(raw, bytes) else raw
        return _DECODER.decode(text.removeprefix("\ufeff"))
    except UnicodeDecodeError:
        raise Malformed(_format_of(raw) or "is not UTF-8", field=field) from None
    except json.JSONDecodeError as error:
        reason = _format_of(raw) or f"is not JSON (at character {error.pos})"
        raise Malformed(reason, field=field) from None
    except RecursionError:
        raise Malformed("is nested too deeply", field=field) from None
    except _Unfit as error:
        raise Malformed(str(error), field=field) from None
    except ValueError:
        raise Malformed("holds a number of too many digits", field=field) from None


def _format_of(raw: bytes | str) -> str | None:
    """What bytes are that are no JSON, where their beginning tells."""
    match raw:
        case bytes() if raw.startswith(b"\0") and len(raw) > _REGISTRY_PREFIX_BYTES:
            return "begins with a Schema Registry prefix: its Avro, Protobuf or JSON is not read"
        case bytes() if raw.startswith((b"Obj\x01", b"\xc3\x01")):
            return "is Avro, which is not read"
        case _:
            return None


def decode_base64(text: str, *, field: str) -> bytes:
    """Bytes from base64 in either alphabet, with or without padding and line breaks."""
    plain = "".join(text.split()).replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except ValueError:
        raise Malformed("is not base64", field=field) from None


def _parse_json_or_base64(raw: bytes, *, field: str) -> object:
    """JSON from its bytes, or from base64 of them: so Kafka Connect writes bytes without schema."""
    try:
        return parse_json(raw, field=field)
    except Malformed as refusal:
        try:
            held = decode_base64(raw.decode("ascii"), field=field)
        except (UnicodeDecodeError, Malformed):
            raise refusal from None
        if not held.lstrip().startswith(_BEGINNINGS):
            raise refusal from None
        return parse_json(held, field=field)


_REGISTRY_PREFIX_BYTES = 5
_BEGINNINGS = (b"{", b"[", b'"', b"\xef\xbb\xbf")
_BEGINNINGS_OF_TEXT = ("{", "[", '"', "\ufeff")


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


# --- envelopes ------------------------------------------------------------------------------------


class _Unfinished(Malformed):
    """Nothing else in the object may stand for what is refused here."""


class _Unwrapping:
    """The unwrapping of one value, and what of its bounds is used up."""

    def __init__(self, recognize: Recognize) -> None:
        self._recognize = recognize
        self._objects = 0
        self._records = 0
        self._text = 0
        self._spent = False

    def open(self, held: object, around: Letter, path: str, depth: int = 0) -> Found:
        """What lies in the content of an envelope.  `around` is what was said until here."""
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
        if text.lstrip().startswith(_BEGINNINGS_OF_TEXT):
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
        if in_base64 or held.lstrip().startswith(_BEGINNINGS):
            return _parse_json_or_base64(held, field=path)
        raise Malformed("is not JSON", field=path)

    def _open_object(self, fields: Fields, around: Letter, path: str, depth: int) -> Found:
        self._objects += 1
        if self._objects > OBJECTS_MAX:
            raise self._exhausted(f"holds more than {OBJECTS_MAX} objects")
        likeness = self._recognize(fields)
        inner = "" if path == WHOLE else path
        itself = replace(around, fields=fields, path=inner, is_sure=likeness is Likeness.SURE)
        if itself.is_sure:
            return (itself,)
        if depth == ENVELOPES_MAX:
            raise Malformed("too many envelopes in one another", field=path)
        try:
            found = self._inside(fields, around, inner, depth + 1)
        except Malformed:
            if likeness is Likeness.NONE:
                raise
            return (itself,)
        return found if likeness is Likeness.NONE or _holds_sure(found) else (itself,)

    def _inside(self, fields: Fields, around: Letter, path: str, depth: int) -> Found:
        """What lies in the field that is known to hold it, else in any other."""
        spelled: dict[str, str] = {}
        for name, value in fields.items():
            if value is not None and value != "":
                spelled.setdefault(name.lower(), name)
        if "specversion" in fields:
            around = replace(around, event=Part(fields, path))
        refusal: Malformed | None = None
        known = [spelled[name] for name in _ENVELOPES if name in spelled]
        for name in known:
            said = _said_around(fields, around, path, spelled, name.lower())
            try:
                return self.open(fields[name], said, _at(path, name), depth)
            except _Unfinished:
                raise
            except Malformed as refused:
                refusal = refusal or refused
        found = self._anywhere(fields, around, path, depth, but=known)
        if found:
            return found
        raise refusal or Malformed("no known shape of what this topic carries", field=path or WHOLE)

    def _anywhere(
        self, fields: Fields, around: Letter, path: str, depth: int, *, but: Sequence[str]
    ) -> Found:
        """What a forwarding program holds under a name of its own, which is not ours to repeat."""
        found: list[Found] = []
        for name, value in fields.items():
            is_text = isinstance(value, str) and value.lstrip().startswith(_BEGINNINGS_OF_TEXT)
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
        sure = [held for held in found if _holds_sure(held)]
        if len(sure) > 1:
            raise _Unfinished("several notifications in one value", field=path)
        return next(iter(sure or found), ())

    def _open_list(self, held: list[object], around: Letter, path: str, depth: int) -> Found:
        """Each of several by itself."""
        if not held:
            raise Malformed("holds no record", field=path)
        self._records += len(held)
        if self._records > RECORDS_MAX:
            raise self._exhausted(f"holds more than {RECORDS_MAX} records")
        if around.resource is not None and len(held) > 1:
            raise _Unfinished("holds several records, beside one resource", field=path)
        if depth == ENVELOPES_MAX:
            raise Malformed("too many envelopes in one another", field=path)
        found: list[Letter | Malformed] = []
        inner = "" if path == WHOLE else path
        for index, each in enumerate(held):
            place = f"{around.place}/{index}" if len(held) > 1 else around.place
            said = replace(around, sns=None, pubsub=None, place=place)
            try:
                found += self.open(each, said, _at(inner, str(index)), depth + 1)
            except Malformed as refused:
                if self._spent:
                    raise
                found.append(refused)
        return found

    def _exhausted(self, reason: str) -> Malformed:
        self._spent = True
        return _Unfinished(reason, field=WHOLE)


def _said_around(
    fields: Fields, around: Letter, path: str, spelled: Mapping[str, str], known: str
) -> Letter:
    """What an envelope says of its content, with what was said around it."""
    part = Part(fields, path)
    match known:
        case "message" if "messageid" in spelled or "timestamp" in spelled:
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


def _holds_sure(found: Found) -> bool:
    return any(isinstance(each, Letter) and each.is_sure for each in found)


def _at(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
