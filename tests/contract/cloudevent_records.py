"""Kafka records made from a CloudEvent, in structured and in binary mode."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from marketplace_worker.contract.cloudevents import CLOUDEVENTS_CONTENT_TYPE, read_cloudevents
from marketplace_worker.contract.emails import email_hasher
from marketplace_worker.contract.feeds import NAME_PREFIXES, Feed
from marketplace_worker.contract.inbound import read_fact
from marketplace_worker.contract.inbound_examples import inbound_examples
from marketplace_worker.errors import Malformed
from marketplace_worker.lifecycle.facts import Fact
from marketplace_worker.record import Record

Headers = tuple[tuple[str, bytes | None], ...]

EXAMPLES = inbound_examples()
RECORDED_AT = datetime(2026, 11, 22, 19, 0, tzinfo=UTC)
HASH = email_hasher(b"a key for tests")


def record(value: bytes | None, *headers: tuple[str, bytes | None]) -> Record:
    """A record with this value, keyed by the organization of the examples."""
    return Record("any.topic", 0, 7, RECORDED_AT, key=b"org-42", value=value, headers=headers)


def structured(event: dict[str, Any]) -> Record:
    """Structured mode: the whole event in the value."""
    return record(json.dumps(event).encode(), ("content-type", CLOUDEVENTS_CONTENT_TYPE.encode()))


def binary(event: dict[str, Any]) -> Record:
    """Binary mode: the attributes in headers, the data in the value."""
    attributes = {name: value for name, value in event.items() if name != "data"}
    headers = tuple((f"ce_{name}", str(value).encode()) for name, value in attributes.items())
    data = json.dumps(event["data"]).encode() if "data" in event else None
    return record(data, ("content-type", b"application/json"), *headers)


def read_all(given: Record) -> list[Fact | Malformed]:
    """Read every event of a record, on a topic that carries all types."""
    result: list[Fact | Malformed] = []
    try:
        for event in read_cloudevents(given):
            if isinstance(event, Malformed):
                result.append(event)
            else:
                result.append(read_fact(event, given, carries="", hash_email=HASH))
    except Malformed as refused:
        result.append(refused)
    return result


def read_record(given: Record) -> Fact:
    """Read the only event of a record; raise the refusal if it is refused."""
    (fact,) = read_all(given)
    if isinstance(fact, Malformed):
        raise fact
    return fact


def feed_of(name: str) -> Feed:
    """The feed whose topic carries events of this name."""
    return next(feed for feed, begins in NAME_PREFIXES.items() if name.startswith(begins))


def an_event(name: str = "organization.tier_changed", /, **changed: object) -> dict[str, Any]:
    """An example, with some attributes changed; None removes one."""
    event = {**EXAMPLES[name], **changed}
    return {key: value for key, value in event.items() if value is not None}


def with_data(name: str, /, **changed: object) -> dict[str, Any]:
    """An example, with some fields of its data changed."""
    return an_event(name, data={**EXAMPLES[name]["data"], **changed})


def without(name: str, field: str) -> dict[str, Any]:
    """An example, without one field of its data."""
    data = {key: value for key, value in EXAMPLES[name]["data"].items() if key != field}
    return an_event(name, data=data)


def refusal(given: Record) -> Malformed:
    """The refusal of a record; fails if the record is accepted."""
    with pytest.raises(Malformed) as caught:
        read_record(given)
    return caught.value
