"""Generates invalid messages: each field of every inbound message with wrong values."""

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, product
from pathlib import Path
from typing import Any

import hostile
from faults.workload import Line, Message
from marketplace_worker.contract.inbound_examples import inbound_examples
from marketplace_worker.settings import Topics

PAYLOADS = Path(__file__).parents[1] / "payloads"
SAMPLES_OF_EACH = 4
"""How many real notifications of each marketplace are drawn."""

MEGABYTE = 1_048_400
"""The largest value that a broker accepts by default; with our headers it is too large."""

TOPICS = {
    "identity": Topics().logins,
    "usage": Topics().api_requests,
    "organization": Topics().organization_changes,
    "support": Topics().support_requests,
}
MARKETPLACES = {
    "aws": Topics().aws_notifications,
    "gcp": Topics().gcp_notifications,
    "azure": Topics().azure_notifications,
}
NO_OBJECTS = (
    b"",
    b"\x00",
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b"{",
    b"[]",
    b"null",
    b"17",
    b'"text"',
    "{}".encode("utf-16"),
    b"[" * MEGABYTE,
    b"{" * MEGABYTE,
    b"9" * MEGABYTE,
    b'"' + b"x" * (MEGABYTE - 2) + b'"',
    b"\xff" + random.Random(0).randbytes(MEGABYTE - 1),  # incompressible
)
"""Values that are not readable at all, so that a refusal can name no field."""

WHOLE_VALUES = (
    *NO_OBJECTS,
    b"{}",
    b"\xef\xbb\xbf{}",
    b'{"Records": [' + b"17," * 9_000 + b"17]}",
)


LARGE = {"half a megabyte", "deep and open"}
"""Values that are not tried in every field."""


@dataclass(frozen=True)
class _Wrong:
    """A message with other JSON text at one place; without a text, the field is removed."""

    topic: str
    sample: Any
    place: hostile.Path
    text: str | None

    def value(self) -> bytes:
        if self.text is None:
            return json.dumps(hostile.without(self.sample, self.place)).encode()
        return hostile.filled(self.sample, self.place, self.text).encode()


def draw_invalid_messages(chance: random.Random, size: int, keys: Sequence[bytes]) -> list[Message]:
    """`size` messages with a wrong value in one field, and all of `WHOLE_VALUES` on every topic.

    They are drawn by `chance` and have keys of valid messages.  Those that can be read are about
    organizations without other messages, so that their order is irrelevant.
    """
    wrong = [*_events(), *_notifications(chance)]
    drawn = [(each.topic, each.value()) for each in chance.sample(wrong, min(size, len(wrong)))]
    drawn += [(topic, value) for topic in _all_topics() for value in WHOLE_VALUES]
    return [(topic, chance.choice(keys), value) for topic, value in drawn]


def good_megabyte(line: Line, key: bytes) -> Message:
    """A valid line with an additional megabyte in an unknown field."""
    bare = json.dumps({**line["value"], "unread": ""})
    unread = "x" * (MEGABYTE - len(bare))
    return line["topic"], key, json.dumps({**line["value"], "unread": unread}).encode()


def _all_topics() -> list[str]:
    return [*TOPICS.values(), *MARKETPLACES.values()]


def _texts() -> list[str | None]:
    known = {**hostile.VALUES, **hostile.NO_JSON}
    return [None, *(text for name, text in known.items() if name not in LARGE)]


def _events() -> Iterator[_Wrong]:
    numbers = count()
    for name, example in inbound_examples().items():
        family = name.split(".", maxsplit=1)[0]
        for place, text in product(hostile.paths(example), _texts()):
            # A subject that can be read might belong to another message, on another topic.
            if place != ("subject",) or family != "support":
                event = _unique(name, example, next(numbers))
                yield _Wrong(TOPICS[family], event, place, text)


def _unique(name: str, example: Any, number: int) -> Any:  # noqa: ANN401
    """The example with a unique identity and organization."""
    own_source = {"id": f"hostile-{number}", "source": f"/hostile/{number}"}
    event = {**example, **own_source, "data": dict(example["data"])}
    if "subject" in event:
        event["subject"] = f"hostile-{number}"
    own = {"owner_email": f"hostile-{number}@a.example", "subscription_id": f"hostile-{number}"}
    event["data"] |= {field: value for field, value in own.items() if field in event["data"]}
    if name == "organization.created":
        event["data"]["tier"] = "plus"  # never inactive
    return event


def _notifications(chance: random.Random) -> Iterator[_Wrong]:
    for marketplace, topic in MARKETPLACES.items():
        files = sorted((PAYLOADS / marketplace).glob("*.json"))
        for path in chance.sample(files, SAMPLES_OF_EACH):
            sample = json.loads(path.read_bytes())
            for place, text in product(hostile.paths(sample), _texts()):
                yield _Wrong(topic, sample, place, text)
