"""Every field of every inbound CloudEvent, with every kind of invalid value.

The published schemas define what is valid; the reader must agree with them.
"""

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from cloudevent_records import EXAMPLES, binary, feed_of, read_record, record, structured
from jsonschema import Draft202012Validator

import hostile
from fuzz import invariant
from marketplace_worker.contract.schemas import inbound_schemas
from marketplace_worker.errors import Malformed
from marketplace_worker.lifecycle.facts import Fact, SupportRequested, Unrecognized

SCHEMAS = inbound_schemas()

ENVELOPE = ("specversion", "id", "source", "type", "subject", "time", "data")
OF_ENVELOPES = ("organization.created", "support.extend_grace")
"""One event per way of reading. All envelopes are read alike, except that Support gets an
answer.
"""

REFUSED_BEYOND_THE_SCHEMA = {"high surrogate", "low surrogate within", "too long in bytes"}
"""Invalid values that JSON Schema cannot express."""

TIMES_READ = {"1970", "before 1970", "9999", "after 9999", "odd offset", "many digits"}
"""The odd times that are RFC 3339; the schema's `format` promises no more."""

NOT_AFTER_THE_START = {"1970", "before 1970", "odd offset"}

Case = tuple[str, hostile.Path, str]
"""An event's name, the field that is replaced, and the name of its replacement."""


def cases() -> Iterator[Case]:
    """Every field of every schema, with every hostile value."""
    # A commitment that starts in the year 9999 has a valid start, but ends too early.
    apart = {(("data", "starts_at"), "time: 9999"), (("data", "starts_at"), "time: after 9999")}
    for name in EXAMPLES:
        envelope = [(field,) for field in ENVELOPE] if name in OF_ENVELOPES else [("data",)]
        data = [("data", field) for field in _data_schema(name)["properties"]]
        for path in [*envelope, *data]:
            yield from ((name, path, each) for each in hostile.VALUES if (path, each) not in apart)


def _data_schema(name: str) -> Any:  # noqa: ANN401
    (schema,) = (each for key, each in SCHEMAS[name]["$defs"].items() if key.endswith("Data"))
    return schema


@cache
def _judge(name: str) -> Draft202012Validator:
    return Draft202012Validator(SCHEMAS[name])


def _with(name: str, path: hostile.Path, value: str) -> bytes:
    """The example with the field replaced, or added if it is absent."""
    event = json.loads(json.dumps(EXAMPLES[name]))
    hostile.at(event, path[:-1])[path[-1]] = None
    return hostile.filled(event, path, hostile.VALUES[value]).encode()


def _is_valid(name: str, path: hostile.Path, value: str, text: bytes) -> bool:
    """Whether the schema, and what it cannot express, allow the value."""
    if value in REFUSED_BEYOND_THE_SCHEMA:
        return False
    place: Any = {"data": _data_schema(name)["properties"]}.get(str(path[0]), SCHEMAS[name])
    schema = place[path[1]] if len(path) > 1 else SCHEMAS[name]["properties"][path[0]]
    if "date-time" in json.dumps(schema) and hostile.VALUES[value].startswith('"'):
        odd = value.removeprefix("time: ")
        return odd in TIMES_READ and not (path[-1] == "ends_at" and odd in NOT_AFTER_THE_START)
    if value == "blank" and path[-1] in {"owner_email", "email"}:
        return False
    return _judge(name).is_valid(json.loads(text))


def _read(name: str, text: bytes) -> Fact | Malformed:
    (result,) = invariant.check(invariant.record(text, key=_subject(text)), feed_of(name))
    return result


def _subject(text: bytes) -> bytes | None:
    """The key that a request must have."""
    try:
        subject = json.loads(text).get("subject")
        return subject.encode() if isinstance(subject, str) else None
    except (ValueError, RecursionError, AttributeError):
        return None


def test_the_reader_accepts_exactly_what_the_schema_allows() -> None:
    """A refusal names the field; a Support request is answered, also with the field."""
    tried = read = 0
    for name, path, value in cases():
        text, field = _with(name, path, value), ".".join(map(str, path))
        result = _read(name, text)
        what = f"{value} as {field} of {name}: {result}"
        tried += 1
        if path == ("type",) and value not in REFUSED_BEYOND_THE_SCHEMA:
            # An unknown type is valid: it is kept as unrecognized.
            is_text = Draft202012Validator(SCHEMAS[name]["properties"]["id"])
            known = is_text.is_valid(json.loads(hostile.VALUES[value]))
            assert isinstance(result, Unrecognized) if known else _refuses(result, field), what
        elif _is_valid(name, path, value, text):
            read += 1
            assert not isinstance(result, Malformed | Unrecognized), what
            assert getattr(result, "problem", None) is None, what
        elif name.startswith("support.") and path[0] == "data":
            assert isinstance(result, SupportRequested), what
            assert _names((result.problem or "").partition(" ")[0], field), what
        else:
            assert _refuses(result, field), what
    assert tried > 2_000
    assert read > 200


def _refuses(result: Fact | Malformed, field: str) -> bool:
    return isinstance(result, Malformed) and _names(result.field, field)


def _names(named: str, field: str) -> bool:
    """Names the field itself, or a part of an object that replaces it."""
    return named == field or (field == "data" and named.startswith("data."))


@pytest.mark.parametrize("value", hostile.NO_JSON)
def test_invalid_json_is_refused_in_any_field(value: str) -> None:
    """The refusal names the whole value, because no field can be parsed."""
    for name, event in EXAMPLES.items():
        for path in [("id",), ("data",), *(("data", field) for field in event["data"])]:
            result = _read(name, hostile.filled(event, path, hostile.NO_JSON[value]).encode())
            assert isinstance(result, Malformed), name
            assert result.field == "value", name


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_unknown_field_may_hold_anything(name: str) -> None:
    """Producers may add fields with any content."""
    event = {**EXAMPLES[name], "unread": 0, "data": {**EXAMPLES[name]["data"], "unread": 0}}
    as_it_is = read_record(structured(EXAMPLES[name]))
    for path in (("unread",), ("data", "unread")):
        for value, text in hostile.VALUES.items():
            given = record(hostile.filled(event, path, text).encode())
            assert read_record(given) == as_it_is, value


@pytest.mark.parametrize("name", OF_ENVELOPES)
@pytest.mark.parametrize("value", [None, b"", b"\xff", b"a\0b", b"\xed\xa0\x80", b"x" * 1_025])
@pytest.mark.parametrize("field", ["specversion", "id", "source", "type", "subject", "time"])
def test_an_unreadable_header_is_refused_by_its_attribute(
    field: str, value: bytes | None, name: str
) -> None:
    """Kafka's headers are bytes or null, and a proxy may add one twice."""
    given = binary({key: each for key, each in EXAMPLES[name].items() if key != field})
    right, wrong = (f"ce_{field}", str(EXAMPLES[name][field]).encode()), (f"ce_{field}", value)
    for headers in ((wrong,), (right, wrong), (right, right)):
        (result,) = invariant.check(
            invariant.record(given.value, (*given.headers, *headers)), feed_of(name)
        )
        assert isinstance(result, Malformed)
        assert result.field.removeprefix("ce_") == field
