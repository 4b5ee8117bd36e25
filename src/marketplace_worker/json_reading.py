"""Parses the bytes of records as JSON or base64 of JSON, and refuses other formats by name.

Only this module decides which JSON is accepted.
"""

import json
from base64 import b64decode

from marketplace_worker.errors import Malformed
from marketplace_worker.record import Record

WHOLE = "value"
"""The field that `Malformed` names when the whole value is at fault."""

JSON_STARTS = (b"{", b"[", b'"', b"\xef\xbb\xbf")
JSON_TEXT_STARTS = ("{", "[", '"', "\ufeff")
"""The first characters of JSON objects, lists and strings, as bytes and as text."""

DEPTH_MAX = 100
"""The most levels of nested objects and lists.  A bound of our own: how deep Python's parser can go
before it fails, or its stack overflows, depends on its version and the machine."""

_TO_BRACKETS = bytes.maketrans(b"{}", b"[]")
_ALL_BUT_BRACKETS = bytes(set(range(256)) - set(b"[]"))

_OTHER_FORMATS = ("avro", "protobuf")
_REGISTRY_PREFIX_BYTES = 5


def parse_value(record: Record) -> object:
    """The value of a record, parsed.  Raises `Malformed` if it is not JSON."""
    if not record.value:
        raise Malformed("is empty", field=WHOLE)
    refuse_other_formats(record)
    return parse_json_or_base64(record.value, field=WHOLE)


def refuse_other_formats(record: Record) -> None:
    """Raise `Malformed` if the content type says that the value is Avro or Protobuf."""
    if record.headers and any(name in content_type(record) for name in _OTHER_FORMATS):
        raise Malformed("must be JSON: Avro and Protobuf are not read", field="content-type")


def content_type(record: Record) -> str:
    """The `content-type` header in lower case and without parameters; "" if there is none."""
    for name, value in record.headers:
        if value is not None and name.lower() == "content-type":
            text = value.decode(errors="replace").partition(";")[0]
            return text.strip().strip('"').strip().lower()
    return ""


def parse_json(raw: bytes | str, *, field: str) -> object:
    """Parse JSON: UTF-8, no repeated key in an object, no NaN, at most `DEPTH_MAX` levels.

    A byte-order mark is ignored.

    Raises:
        Malformed: it is not such JSON; names another format where the first bytes show it.
    """
    try:
        text = raw.decode() if isinstance(raw, bytes) else raw
        _check_depth(raw if isinstance(raw, bytes) else raw.encode(errors="surrogatepass"))
        return _DECODER.decode(text.removeprefix("\ufeff"))
    except UnicodeDecodeError:
        raise Malformed(_format_of(raw) or "is not UTF-8", field=field) from None
    except json.JSONDecodeError as error:
        reason = _format_of(raw) or f"is not JSON (at character {error.pos})"
        raise Malformed(reason, field=field) from None
    except _Unfit as error:
        raise Malformed(str(error), field=field) from None
    except ValueError:
        raise Malformed("holds a number of too many digits", field=field) from None


def may_be_deep(text: bytes) -> bool:
    """Whether it has so many opening brackets that it could be nested too deeply."""
    return text.count(b"{") + text.count(b"[") > DEPTH_MAX


def _check_depth(text: bytes) -> None:
    """Raise `_Unfit` if it is nested too deeply.

    Removes empty pairs of brackets, level by level, which is ten times as fast as a loop over all
    brackets.
    """
    if not may_be_deep(text):
        return
    no_quote_in_strings = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    outside = b"".join(no_quote_in_strings.split(b'"')[::2])
    left = outside.translate(_TO_BRACKETS).translate(None, _ALL_BUT_BRACKETS)
    layers = 0
    while layers <= DEPTH_MAX and b"[]" in left:
        left = left.replace(b"[]", b"")
        layers += 1
    if layers + left.count(b"[") > DEPTH_MAX:
        raise _Unfit("is nested too deeply")


def _format_of(raw: bytes | str) -> str | None:
    """Why bytes are not JSON, if their beginning shows which format they are."""
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


def parse_json_or_base64(raw: bytes, *, field: str) -> object:
    """Parse JSON, or base64 of JSON: Kafka Connect writes bytes without a schema like that."""
    try:
        return parse_json(raw, field=field)
    except Malformed as refusal:
        try:
            held = decode_base64(raw.decode("ascii"), field=field)
        except (UnicodeDecodeError, Malformed):
            raise refusal from None
        if not held.lstrip().startswith(JSON_STARTS):
            raise refusal from None
        return parse_json(held, field=field)


class _Unfit(ValueError):
    """Python's JSON parser accepts it, we do not."""


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    read = dict(pairs)
    if len(read) != len(pairs):
        raise _Unfit("has an object in which a key stands twice")
    return read


def _constant(_name: str) -> object:
    raise _Unfit("holds NaN or an infinity, which JSON does not have")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant)
