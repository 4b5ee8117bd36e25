"""Any bytes yield a fact that can be stored, or `Malformed`; never another exception."""

import json
from dataclasses import fields, is_dataclass
from typing import Any

import pytest
from cloudevent_records import RECORDED_AT, binary, read_all, read_record, record, structured
from hypothesis import example, given
from hypothesis import strategies as st

from marketplace_worker.contract.inbound_examples import inbound_examples
from marketplace_worker.errors import Malformed
from marketplace_worker.lifecycle.facts import GuardReleased, GuardTripped, Notified
from marketplace_worker.record import Record

EXAMPLES = inbound_examples()

ANY_TEXT = st.text(st.characters(codec=None), max_size=12)
"""Includes lone surrogates and NUL."""

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4),
    max_leaves=8,
)
HEADERS = st.lists(
    st.tuples(
        st.sampled_from(["content-type", "ce_specversion", "ce_id", "ce_type", "ce_time", "x"])
        | ANY_TEXT.map(lambda name: f"ce_{name}"),
        st.none()
        | st.binary(max_size=12)
        | st.sampled_from([b"1.0", b"application/cloudevents+json", b"application/cloudevents"]),
    ),
    max_size=6,
).map(tuple)


@st.composite
def mutations(draw: st.DrawFn) -> dict[str, Any]:
    """A valid event in which one or two fields, at any depth, are replaced or removed."""
    event: dict[str, Any] = json.loads(json.dumps(draw(st.sampled_from(list(EXAMPLES.values())))))
    for _ in range(draw(st.integers(1, 2))):
        part = (
            event["data"] if draw(st.booleans()) and isinstance(event.get("data"), dict) else event
        )
        if not part:
            continue
        name = draw(st.sampled_from(sorted(part)))
        if draw(st.booleans()):
            part[name] = draw(JSON)
        else:
            del part[name]
    return event


def strings(value: object) -> list[str]:
    """Every text within a fact."""
    if isinstance(value, str):
        return [value]
    if is_dataclass(value):
        return [text for field in fields(value) for text in strings(getattr(value, field.name))]
    return []


def assert_read_or_refused(given: Record) -> None:
    """Check the invariant of this file for each event of a record."""
    for result in read_all(given):
        if isinstance(result, Malformed):
            assert result.field
            assert result.reason
            assert "\0" not in str(result)
            str(result).encode()
            continue
        # Only marketplaces notify, and only operators release the guard.
        assert not isinstance(result, Notified | GuardTripped | GuardReleased)
        assert result.occurred_at <= RECORDED_AT
        for text in strings(result):
            assert "\0" not in text
            assert len(text.encode()) <= 8_192


@given(st.none() | st.binary(max_size=200), HEADERS)
@example(b"[" * 100_000, ())
@example(b"9" * 10_000, ())
@example(b'"\\ud800"', ())
@example(b'{"specversion": 1e999}', ())
def test_arbitrary_bytes_and_headers(value: bytes | None, headers: tuple[Any, ...]) -> None:
    """Topics may contain anything."""
    assert_read_or_refused(record(value, *headers))


@given(JSON, HEADERS)
def test_arbitrary_json_and_headers(value: object, headers: tuple[Any, ...]) -> None:
    """Proper JSON of a wrong shape, which random bytes do not reach."""
    assert_read_or_refused(record(json.dumps(value).encode(), *headers))


@given(mutations())
def test_mutations_of_valid_events_in_structured_mode(event: dict[str, Any]) -> None:
    """Inputs that are almost valid are the hardest for a parser."""
    assert_read_or_refused(structured(event))


@given(mutations())
def test_mutations_of_valid_events_in_binary_mode(event: dict[str, Any]) -> None:
    """The same, with the attributes in headers."""
    attributes = {
        name: value if name == "data" else str(value).encode(errors="replace").decode()
        for name, value in event.items()
    }
    assert_read_or_refused(binary(attributes))


@given(st.sampled_from(sorted(EXAMPLES)), st.data())
def test_valid_events_with_bytes_removed_or_inserted(name: str, data: st.DataObject) -> None:
    """As a broken disk or proxy would damage a message."""
    value = json.dumps(EXAMPLES[name]).encode()
    start = data.draw(st.integers(0, len(value)))
    end = data.draw(st.integers(start, min(len(value), start + 8)))
    put_in = data.draw(st.binary(max_size=8))
    assert_read_or_refused(record(value[:start] + put_in + value[end:]))


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_invariant_accepts_valid_events(name: str) -> None:
    """Otherwise a reader that refuses everything would pass the other tests."""
    assert read_record(structured(EXAMPLES[name])).occurred_at < RECORDED_AT
