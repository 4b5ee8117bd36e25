"""What is read as plain activity, and what is left to the reader of everything."""

import json
from functools import partial

import pytest
from cloudevent_records import EXAMPLES, an_event, feed_of, read_record, record, structured
from hypothesis import given
from hypothesis import strategies as st

from fuzz import invariant
from marketplace_worker.contract import plain_activity
from marketplace_worker.contract.cloudevents import CLOUDEVENTS_CONTENT_TYPE

ACTIVITY = ("identity.user.logged_in", "usage.api_requests")
read_plain_activity = partial(plain_activity.read_plain_activity, carries="")
USAGE = json.dumps(EXAMPLES["usage.api_requests"])
CONTENT_TYPE = ("content-type", CLOUDEVENTS_CONTENT_TYPE.encode())


@pytest.mark.parametrize("name", ACTIVITY)
def test_plain_activity_is_read_as_by_the_reader_of_everything(name: str) -> None:
    """Were it left to that one, nothing would be gained."""
    activity = read_plain_activity(structured(an_event(name)))
    assert activity is not None
    assert activity == read_record(structured(an_event(name)))


@pytest.mark.parametrize("name", sorted(EXAMPLES.keys() - set(ACTIVITY)))
def test_every_other_event_is_left(name: str) -> None:
    """They are rare, and their data is manifold."""
    assert read_plain_activity(structured(an_event(name))) is None


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
def test_what_is_unusual_is_left(plain: str, odd: str) -> None:
    """The other reader judges it: some of these are refused."""
    assert plain in USAGE
    assert read_plain_activity(record(USAGE.encode(), CONTENT_TYPE)) is not None
    assert read_plain_activity(record(USAGE.replace(plain, odd).encode(), CONTENT_TYPE)) is None


def test_what_has_no_headers_is_read_all_the_same() -> None:
    """As by the reader of everything: many producers send none."""
    bare = record(USAGE.encode())
    assert read_plain_activity(bare) == read_record(bare)


@pytest.mark.parametrize("header", [("content-type", b"application/json"), ("ce_id", b"1")])
def test_what_says_that_it_is_something_else_is_left(header: tuple[str, bytes]) -> None:
    """Guessing is the other reader's."""
    assert read_plain_activity(record(USAGE.encode(), header)) is None


TEXTS = st.text(st.characters(codec=None), max_size=4) | st.sampled_from(["worker", "x" * 300])
VALUES = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS
KEYS = st.sampled_from([*EXAMPLES["usage.api_requests"], "user_id", "requests", "dataschema", "x"])


@given(st.data())
def test_whatever_is_written_the_two_readers_agree(data: st.DataObject) -> None:
    """Also where a key stands twice, or is unknown: `fuzz.invariant` compares them."""
    name = data.draw(st.sampled_from(ACTIVITY))
    event = EXAMPLES[name]
    pairs = [(key, json.dumps(value)) for key, value in event.items() if key != "data"]
    told = [(key, json.dumps(value)) for key, value in event["data"].items()]
    for fields in (pairs, told):
        for _ in range(data.draw(st.integers(0, 2))):
            ascii_ = data.draw(st.booleans())
            text = json.dumps(data.draw(VALUES), ensure_ascii=ascii_)
            fields.insert(data.draw(st.integers(0, len(fields))), (data.draw(KEYS), text))
    space = data.draw(st.sampled_from(["", " ", "\n"]))
    pairs.append(("data", _object(told, space)))
    invariant.check(
        invariant.record(_object(pairs, space).encode(errors="surrogatepass")), feed_of(name)
    )


def _object(pairs: list[tuple[str, str]], space: str) -> str:
    return "{" + ",".join(f'"{key}"{space}:{space}{text}' for key, text in pairs) + "}"
