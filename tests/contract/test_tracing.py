"""A message's trace is found wherever it may be; a malformed one is ignored (events.md 3)."""

import json
from base64 import b64encode
from typing import Any

import pytest
from cloudevent_records import EXAMPLES, HASH, RECORDED_AT, binary, record, structured

from marketplace_worker.contract.feeds import Feed
from marketplace_worker.contract.inbound_examples import MARKETPLACE_EXAMPLES
from marketplace_worker.contract.tracing import Trace, trace_of
from marketplace_worker.record import Record
from marketplace_worker.translate import translate, translate_traced

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
OTHER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"
STATE = "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7"
CREATED = EXAMPLES["organization.created"]
TRACED = {**CREATED, "traceparent": PARENT, "tracestate": STATE}


def traces(given: Record, feed: Feed = Feed.ORGANIZATION_CHANGES) -> list[Trace | None]:
    """The trace of each result of a record; the rest of the result does not depend on the trace."""
    found = translate_traced(given, feed, HASH)
    assert list(map(repr, translate(given, feed, HASH))) == [repr(each.what) for each in found]
    return [each.trace for each in found]


@pytest.mark.parametrize("read", [structured, binary])
def test_a_cloudevent_has_its_trace_in_its_attributes(read: Any) -> None:  # noqa: ANN401
    """In both modes; without the attribute there is none."""
    assert traces(read(TRACED)) == [Trace(PARENT, STATE)]
    assert traces(read(CREATED)) == [None]


@pytest.mark.parametrize("name", ["identity.user.logged_in", "usage.api_requests"])
def test_activity_has_a_trace_as_well(name: str) -> None:
    """Also plain activity with the header of an instrumented producer."""
    feed = Feed.LOGINS if name.startswith("identity") else Feed.API_REQUESTS
    value = json.dumps(EXAMPLES[name]).encode()
    content_type = ("content-type", b"application/cloudevents+json")
    header = ("traceparent", PARENT.encode())
    assert traces(structured({**EXAMPLES[name], "traceparent": PARENT}), feed) == [Trace(PARENT)]
    assert traces(record(value, content_type, header), feed) == [Trace(PARENT)]


def test_the_kafka_header_is_used_without_a_valid_attribute() -> None:
    """The attribute names the event's origin, the header only the last forwarder."""
    header = ("traceparent", OTHER.encode())
    value = json.dumps(CREATED).encode()
    assert traces(record(value, header)) == [Trace(OTHER)]
    assert traces(record(json.dumps(TRACED).encode(), header)) == [Trace(PARENT, STATE)]
    malformed = {**CREATED, "traceparent": "?", "tracestate": STATE}
    assert traces(record(json.dumps(malformed).encode(), header)) == [Trace(OTHER)]
    with_state = ("Tracestate", STATE.encode())
    assert traces(record(value, ("TraceParent", OTHER.encode()), with_state)) == [
        Trace(OTHER, STATE)
    ]


def test_each_event_of_a_batch_has_its_own_trace() -> None:
    """Each CloudEvent of a list is read by itself."""
    events = [TRACED, {**CREATED, "id": "2"}, "?", {**CREATED, "id": "3", "traceparent": OTHER}]
    assert traces(record(json.dumps(events).encode())) == [
        Trace(PARENT, STATE),
        None,
        None,
        Trace(OTHER),
    ]


def test_a_trace_is_found_within_an_envelope() -> None:
    """In nested text, base64 or a connector's wrapper: it is an attribute of the content."""
    text = json.dumps(TRACED)
    for value in (
        json.dumps(text).encode(),
        json.dumps({"schema": {}, "payload": TRACED}).encode(),
        b64encode(text.encode()),
    ):
        assert traces(record(value)) == [Trace(PARENT, STATE)]


def test_a_notification_has_the_trace_of_its_cloudevent_or_record() -> None:
    """Eventarc and Event Grid wrap notifications in CloudEvents."""
    body = MARKETPLACE_EXAMPLES["marketplace.azure.notifications"]
    around = {
        "specversion": "1.0", "id": "1", "source": "/grid", "type": "any", "data": body,
    }  # fmt: skip
    header = ("traceparent", OTHER.encode())
    plain, wrapped = json.dumps(body).encode(), json.dumps({**around, "traceparent": PARENT})
    assert traces(record(plain), Feed.AZURE) == [None]
    assert traces(record(plain, header), Feed.AZURE) == [Trace(OTHER)]
    assert traces(record(wrapped.encode(), header), Feed.AZURE) == [Trace(PARENT)]
    assert traces(record(json.dumps([around]).encode(), header), Feed.AZURE) == [Trace(OTHER)]
    ce = (("ce_specversion", b"1.0"), ("ce_id", b"1"), ("ce_source", b"/x"), ("ce_type", b"any"))
    in_headers = record(plain, *ce, ("ce_traceparent", PARENT.encode()))
    assert traces(in_headers, Feed.AZURE) == [Trace(PARENT)]


@pytest.mark.parametrize(
    "parent",
    [
        None,
        7,
        "",
        "0af7651916cd43dd8448eb211c80319c",
        PARENT[:-1],
        PARENT + "-more",
        PARENT + "\n00",
        PARENT.replace("0af7", "0xf7"),
        PARENT.replace("00-", "ff-"),
        f"00-{'0' * 32}-b7ad6b7169203331-01",
        f"00-0af7651916cd43dd8448eb211c80319c-{'0' * 16}-01",
        f"01{PARENT[2:]}-{'x' * 128}",
        f"01{PARENT[2:]}x",
        "\ud800",
    ],
)
def test_a_malformed_trace_is_ignored_and_the_message_accepted(parent: object) -> None:
    """A fault in instrumentation is no reason to lose a message."""
    attributes: dict[str, object] = {"traceparent": parent, "tracestate": STATE}
    assert trace_of(record(None), attributes) is None
    event = {**CREATED, **attributes}
    given = structured(event)
    assert traces(given)[0] is None
    (fact,) = translate(structured(CREATED), Feed.ORGANIZATION_CHANGES, HASH)
    if parent != "\ud800":  # no string that can be stored, in any field
        assert translate(given, Feed.ORGANIZATION_CHANGES, HASH) == [fact]


@pytest.mark.parametrize(
    ("parent", "read"),
    [
        (PARENT.upper(), PARENT),
        (f' "{PARENT}" ', PARENT),
        (f"cc{PARENT[2:]}-what-later-versions-add", f"cc{PARENT[2:]}-what-later-versions-add"),
    ],
)
def test_the_form_of_a_trace_is_read_leniently(parent: str, read: str) -> None:
    """In any letter case, in quotes, and of a future version."""
    given = Record("t", 0, 0, RECORDED_AT, None, None, (("traceparent", parent.encode()),))
    assert trace_of(given) == Trace(read)


@pytest.mark.parametrize("state", [None, "", "no list", "a=" + "x" * 511, "a=\x00", "ü=1", 5])
def test_a_malformed_tracestate_is_ignored_alone(state: object) -> None:
    """The trace id is valid without it."""
    assert trace_of(record(None), {"traceparent": PARENT, "tracestate": state}) == Trace(PARENT)


def test_a_null_or_binary_header_is_ignored() -> None:
    """Kafka allows any bytes."""
    assert trace_of(record(None, ("traceparent", None), ("tracestate", b"\xff"))) is None
    assert trace_of(record(None, ("traceparent", b"\xff\xfe"))) is None
