"""The fast reader of plain activity agrees with the full reader, or leaves the event to it."""

import json

import pytest
from cloudevent_records import EXAMPLES, HASH, an_event, feed_of, record, structured
from hypothesis import given
from hypothesis import strategies as st

from fuzz import invariant
from marketplace_worker.contract.cloudevents import CLOUDEVENTS_CONTENT_TYPE
from marketplace_worker.contract.feeds import Feed
from marketplace_worker.contract.fields import FAR_FUTURE
from marketplace_worker.contract.plain_activity import read_plain_activity
from marketplace_worker.errors import Malformed
from marketplace_worker.json_reading import DEPTH_MAX
from marketplace_worker.lifecycle.facts import Fact
from marketplace_worker.record import Record
from marketplace_worker.translate import translate_in_full

ACTIVITY = ("identity.user.logged_in", "usage.api_requests")
USAGE = json.dumps(EXAMPLES["usage.api_requests"])
USAGE_FEED = Feed.API_REQUESTS
CONTENT_TYPE = ("content-type", CLOUDEVENTS_CONTENT_TYPE.encode())


def read_in_full(given: Record, feed: Feed) -> Fact | Malformed:
    """The result of the full reader."""
    (said,) = translate_in_full(given, feed, HASH)
    return said.what


@pytest.mark.parametrize("name", ACTIVITY)
def test_plain_activity_is_read_as_by_the_full_reader(name: str) -> None:
    """And is not left to the full reader, which is slower."""
    activity = read_plain_activity(structured(an_event(name)), feed_of(name))
    assert activity is not None
    assert activity.content == read_in_full(structured(an_event(name)), feed_of(name))


@pytest.mark.parametrize("name", sorted(EXAMPLES.keys() - set(ACTIVITY)))
def test_other_events_are_left_to_the_full_reader(name: str) -> None:
    """They are rare, and their data varies."""
    assert not any(read_plain_activity(structured(an_event(name)), feed) for feed in Feed)


@pytest.mark.parametrize(
    ("plain", "odd"),
    [
        pytest.param('"id": ', '"id": "first", "id": ', id="a key twice"),
        pytest.param('"id": ', '"id" :"first", "id": ', id="a key twice, with a space"),
        pytest.param('"requests": ', '"requests": 1, "requests": ', id="a key twice in data"),
        pytest.param('"id": ', '"traceparent": "00-1-2-03", "id": ', id="another attribute"),
        pytest.param('"id": ', '"sequence": 7, "id": ', id="another attribute, no string"),
        pytest.param('"requests": ', '"region": "eu", "requests": ', id="another field of data"),
        pytest.param('"1.0"', '"1.\\u0030"', id="an escape"),
        pytest.param('"1.0"', '"0.3"', id="another version"),
    ],
)
def test_unusual_activity_is_left_to_the_full_reader(plain: str, odd: str) -> None:
    """The full reader judges it: some of these are refused."""
    assert plain in USAGE
    assert read_plain_activity(record(USAGE.encode(), CONTENT_TYPE), USAGE_FEED) is not None
    unusual = record(USAGE.replace(plain, odd).encode(), CONTENT_TYPE)
    assert read_plain_activity(unusual, USAGE_FEED) is None


@pytest.mark.parametrize("name", ACTIVITY)
@pytest.mark.parametrize("levels", [DEPTH_MAX, 20_000])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_deep_nesting_is_left_to_the_full_reader(
    name: str, levels: int, opening: str, closing: str
) -> None:
    """In any field. msgspec recurses into some of them, and its stack is limited."""
    event = an_event(name)
    for attribute in [*event, "unknown"]:
        text = json.dumps({**event, attribute: "here"})
        value = text.replace('"here"', f"{opening * levels}1{closing * levels}").encode()
        assert read_plain_activity(record(value, CONTENT_TYPE), feed_of(name)) is None


def test_activity_without_headers_is_read() -> None:
    """Many producers send no headers."""
    activity = read_plain_activity(record(USAGE.encode()), USAGE_FEED)
    assert activity is not None
    assert activity.content == read_in_full(record(USAGE.encode()), USAGE_FEED)


TIMES = [
    "2026-11-22T18:15:15.1234567Z",
    "2026-11-22T18:15:15.12345678901Z",
    "2026-11-22T18:15:15.123456Z",
    "2026-11-22t18:15:15z",
    "2026-11-22 18:15:15Z",
    "2026-11-22T18:15:15+00:00",
    "2026-11-22T18:15:15-00:00",
    "2026-11-22T18:15:15.5-00:00",
    "2026-11-22T18:15:15.5+01:00",
    "2026-11-22T18:15:15+0100",
    "2026-11-22T23:59:60Z",
    "2026-11-22T24:00:00Z",
    "2026-11-22T18:15:15,5Z",
    "2026-11-22T18:15:15.Z",
    "2026-11-22T18:15Z",
    "2026-W47-7T18:15:15Z",
    "20261122T181515.5Z",
    "2026-02-29T18:15:15Z",
    "1969-12-31T23:59:59Z",
    "1970-01-01T00:00:00Z",
    "8999-12-31T23:59:59Z",
    "9000-01-01T00:00:00Z",
    "9999-12-31T23:59:59Z",
    "0001-01-01T00:00:00Z",
    "2026-11-22T18:15:15",
    "1763835315",
    "",
]


@pytest.mark.parametrize("time", TIMES)
def test_each_form_of_a_time_is_read_as_by_the_full_reader(time: str) -> None:
    """Or left to it: msgspec rounds digits beyond the microsecond, and keeps other zones."""
    text = json.dumps(an_event("usage.api_requests", time=time)).encode()
    # Received so late that no time is capped.
    given = invariant.record(text, recorded_at=FAR_FUTURE, received_at=FAR_FUTURE)
    invariant.check(given, USAGE_FEED)


@pytest.mark.parametrize("header", [("content-type", b"application/json"), ("ce_id", b"1")])
def test_activity_of_another_content_type_is_left_to_the_full_reader(
    header: tuple[str, bytes],
) -> None:
    """Only the full reader guesses formats."""
    assert read_plain_activity(record(USAGE.encode(), header), USAGE_FEED) is None


TEXTS = st.text(st.characters(codec=None), max_size=4) | st.sampled_from(["worker", "x" * 300])
VALUES = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS
KEYS = st.sampled_from([*EXAMPLES["usage.api_requests"], "user_id", "requests", "dataschema", "x"])


@given(st.data())
def test_both_readers_agree_on_any_activity(data: st.DataObject) -> None:
    """Also on repeated and unknown keys: `fuzz.invariant` compares the readers."""
    name = data.draw(st.sampled_from(ACTIVITY))
    event = EXAMPLES[name]
    pairs = [(key, json.dumps(value)) for key, value in event.items() if key != "data"]
    members = [(key, json.dumps(value)) for key, value in event["data"].items()]
    for fields in (pairs, members):
        for _ in range(data.draw(st.integers(0, 2))):
            ascii_ = data.draw(st.booleans())
            text = json.dumps(data.draw(VALUES), ensure_ascii=ascii_)
            fields.insert(data.draw(st.integers(0, len(fields))), (data.draw(KEYS), text))
    space = data.draw(st.sampled_from(["", " ", "\n"]))
    pairs.append(("data", _object(members, space)))
    invariant.check(
        invariant.record(_object(pairs, space).encode(errors="surrogatepass")), feed_of(name)
    )


def _object(pairs: list[tuple[str, str]], space: str) -> str:
    return "{" + ",".join(f'"{key}"{space}:{space}{text}' for key, text in pairs) + "}"
