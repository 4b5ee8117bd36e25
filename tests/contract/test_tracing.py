"""The trace of a message is found wherever it was put; what is none is dropped (events.md 3)."""

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
    """Of each thing that a record says; what it says is the same with and without."""
    found = translate_traced(given, feed, HASH)
    assert list(map(repr, translate(given, feed, HASH))) == [repr(each.what) for each in found]
    return [each.trace for each in found]


@pytest.mark.parametrize("read", [structured, binary])
def test_a_cloudevent_has_it_among_its_attributes(read: Any) -> None:  # noqa: ANN401
    """In either mode; without one there is none."""
    assert traces(read(TRACED)) == [Trace(PARENT, STATE)]
    assert traces(read(CREATED)) == [None]


@pytest.mark.parametrize("name", ["identity.user.logged_in", "usage.api_requests"])
def test_activity_has_it_as_well(name: str) -> None:
    """Also that which is written plainly, with the header of a producer that is instrumented."""
    feed = Feed.LOGINS if name.startswith("identity") else Feed.API_REQUESTS
    value = json.dumps(EXAMPLES[name]).encode()
    content_type = ("content-type", b"application/cloudevents+json")
    header = ("traceparent", PARENT.encode())
    assert traces(structured({**EXAMPLES[name], "traceparent": PARENT}), feed) == [Trace(PARENT)]
    assert traces(record(value, content_type, header), feed) == [Trace(PARENT)]


def test_a_header_of_kafka_counts_where_no_attribute_is_well_formed() -> None:
    """The event's own is where it was created; the header is that of whoever sent it on."""
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


def test_each_of_several_has_its_own() -> None:
    """A list of CloudEvents is read each by itself."""
    events = [TRACED, {**CREATED, "id": "2"}, "?", {**CREATED, "id": "3", "traceparent": OTHER}]
    assert traces(record(json.dumps(events).encode())) == [
        Trace(PARENT, STATE),
        None,
        None,
        Trace(OTHER),
    ]


def test_it_is_found_in_an_envelope() -> None:
    """Text in text, base64, a connector's wrapper: it is an attribute of what lies in it."""
    text = json.dumps(TRACED)
    for value in (
        json.dumps(text).encode(),
        json.dumps({"schema": {}, "payload": TRACED}).encode(),
        b64encode(text.encode()),
    ):
        assert traces(record(value)) == [Trace(PARENT, STATE)]


def test_a_notification_has_that_of_the_cloudevent_around_it_or_of_its_record() -> None:
    """Eventarc and Event Grid wrap what is no CloudEvent in one."""
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
def test_a_malformed_trace_is_dropped_and_the_message_accepted(parent: object) -> None:
    """Never refused: somebody's instrumentation is no reason to lose a message."""
    attributes: dict[str, object] = {"traceparent": parent, "tracestate": STATE}
    assert trace_of(record(None), attributes) is None
    event = {**CREATED, **attributes}
    given = structured(event)
    assert traces(given)[0] is None
    (fact,) = translate(structured(CREATED), Feed.ORGANIZATION_CHANGES, HASH)
    if parent != "\ud800":  # no string that anybody can keep, wherever it stands
        assert translate(given, Feed.ORGANIZATION_CHANGES, HASH) == [fact]


@pytest.mark.parametrize(
    ("parent", "read"),
    [
        (PARENT.upper(), PARENT),
        (f' "{PARENT}" ', PARENT),
        (f"cc{PARENT[2:]}-what-later-versions-add", f"cc{PARENT[2:]}-what-later-versions-add"),
    ],
)
def test_its_form_is_read_leniently(parent: str, read: str) -> None:
    """Other letters' case, quotes around it, a version that is not known yet."""
    given = Record("t", 0, 0, RECORDED_AT, None, None, (("traceparent", parent.encode()),))
    assert trace_of(given) == Trace(read)


@pytest.mark.parametrize("state", [None, "", "no list", "a=" + "x" * 511, "a=\x00", "ü=1", 5])
def test_a_malformed_state_is_dropped_alone(state: object) -> None:
    """Without it the trace still tells where it came from."""
    assert trace_of(record(None), {"traceparent": PARENT, "tracestate": state}) == Trace(PARENT)


def test_a_header_that_is_null_or_binary_is_none() -> None:
    """Kafka allows any bytes."""
    assert trace_of(record(None, ("traceparent", None), ("tracestate", b"\xff"))) is None
    assert trace_of(record(None, ("traceparent", b"\xff\xfe"))) is None
