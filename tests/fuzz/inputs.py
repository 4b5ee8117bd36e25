"""How the fuzzer's bytes encode a record, the seeds, and the mutation of inputs.

The first byte selects the topic and whether headers, one per line, precede the value.
"""

import base64
import json
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import hostile
from fuzz.invariant import record
from marketplace_worker.contract.cloudevents import TYPE_PREFIX
from marketplace_worker.contract.feeds import NAME_PREFIXES, Feed
from marketplace_worker.record import Record

TESTS = Path(__file__).parents[1]
SCHEMAS = TESTS.parent / "schemas"

FEEDS = tuple(Feed)
WITH_HEADERS = len(FEEDS)
"""The first byte of the first feed, with headers."""

_END_OF_HEADERS = b"\n\n"


def read(data: bytes) -> tuple[Record, Feed]:
    """The record that the bytes encode, and its feed."""
    chosen, value = (data[0] if data else 0) % (2 * WITH_HEADERS), data[1:]
    if chosen < WITH_HEADERS:
        return record(value), FEEDS[chosen]
    head, _, value = value.partition(_END_OF_HEADERS)
    headers = [_header(line) for line in head.split(b"\n")]
    return record(value, headers), FEEDS[chosen - WITH_HEADERS]


def _header(line: bytes) -> tuple[str, bytes | None]:
    """`name:value`; without a colon the value is null."""
    name, colon, value = line.partition(b":")
    return name.decode(errors="replace"), value if colon else None


# --- seeds ----------------------------------------------------------------------------------------


def seeds() -> Iterator[bytes]:
    """Every real notification and every example, in their usual envelopes."""
    for number, feed in enumerate(FEEDS[:3]):
        for path in sorted((TESTS / "payloads" / feed.value).glob("*.json")):
            value = json.loads(path.read_bytes())
            yield from (_bytes(number, each) for each in _enveloped(feed, value))
    for path in sorted((SCHEMAS / "examples" / "inbound").glob("*.json")):
        event = json.loads(path.read_bytes())
        if "specversion" in event:
            name = event["type"].removeprefix(TYPE_PREFIX)
            number = next(
                FEEDS.index(feed) for feed, of in NAME_PREFIXES.items() if name.startswith(of)
            )
            yield _bytes(number, event)
            yield from (_bytes(number, each) for each in _hopped(event))
            yield _in_binary_mode(number, event)


def _bytes(chosen: int, value: object) -> bytes:
    return bytes([chosen]) + json.dumps(value).encode()


def _enveloped(feed: Feed, value: object) -> Iterator[object]:
    text = json.dumps(value)
    yield value
    yield {"notification": value, "resource": {"Entitlements": [{"ExpirationDate": 1.5}]}}
    yield from _hopped(value)
    match feed:
        case Feed.AWS:
            yield {"Type": "Notification", "MessageId": "m", "Message": text, "Timestamp": "t"}
            yield {"Records": [{"body": text}, {"Sns": {"Message": text}}]}
        case Feed.GCP:
            data = base64.b64encode(text.encode()).decode()
            yield {"message": {"data": data, "publishTime": "2026-11-01T10:30:00Z"}}
            yield {"notification": value, "resource": {"plan": "p-P1Y", "account": "a/b"}}
        case _:
            yield {"payload": text, "resource": {"term": {"termUnit": "P1M"}}}


def _hopped(value: object) -> Iterator[object]:
    """In envelopes that forwarders put around any value."""
    text = json.dumps(value)
    yield {"schema": {"type": "string", "optional": False}, "payload": text}
    yield text
    yield [value, {"value": value}]
    yield {"specversion": "1.0", "id": "1", "source": "/hop", "type": "hop", "data": value}
    yield {"message": base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")}


def _in_binary_mode(number: int, event: dict[str, Any]) -> bytes:
    lines = [f"ce_{name}:{text}" for name, text in event.items() if name != "data"]
    head = "\n".join(["content-type:application/json", *lines]).encode()
    value = json.dumps(event["data"]).encode()
    return bytes([WITH_HEADERS + number]) + head + _END_OF_HEADERS + value


# --- mutation -------------------------------------------------------------------------------------

Mutate = Callable[[bytes, int], bytes]


class Mutator:
    """Changes JSON as JSON, and leaves other changes to the fuzzer's own mutations of bytes.

    Inserts hostile values, pieces of other inputs, or other parts of the same input.
    """

    def __init__(self, known: Sequence[bytes], mutate_bytes: Mutate) -> None:
        self._mutate_bytes = mutate_bytes
        values = [found for data in known if (found := _json(data)[1]) is not None]
        self._parts = [hostile.at(value, path) for value in values for path in hostile.paths(value)]
        self._hostile = [*hostile.VALUES.values(), *hostile.NO_JSON.values()]

    def __call__(self, data: bytes, max_size: int, seed: int) -> bytes:
        """Another input, of at most `max_size` bytes."""
        chance = random.Random(seed)
        head, value = _json(data)
        places = list(hostile.paths(value))
        if not places or chance.random() < 0.4:
            return self._mutate_bytes(data, max_size)
        changed = self._changed(value, chance.choice(places), chance)
        return (head + changed.encode(errors="replace"))[:max_size]

    def _changed(self, value: object, path: hostile.Path, chance: random.Random) -> str:
        match chance.randrange(7):
            case 0:
                return json.dumps(hostile.without(value, path))
            case 1 | 2 | 3:
                return hostile.filled(value, path, chance.choice(self._hostile))
            case 4:
                return hostile.filled(value, path, json.dumps(chance.choice(self._parts)))
            case 5:
                text = json.dumps(hostile.at(value, path))
                return hostile.filled(value, path, json.dumps(text))
            case _:
                return hostile.filled(value, path, json.dumps(value))


def _json(data: bytes) -> tuple[bytes, Any]:
    """The bytes before the JSON, and the JSON; None if it is not JSON or too long."""
    end = 1
    if data[:1] and data[0] % (2 * WITH_HEADERS) >= WITH_HEADERS:
        end = data.find(_END_OF_HEADERS) + len(_END_OF_HEADERS)
    try:
        return data[:end], json.loads(data[end:]) if len(data) < 100_000 else None
    except (ValueError, RecursionError):
        return data[:end], None
