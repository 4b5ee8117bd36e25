"""The AsyncAPI document is complete and matches the contract (events.md section 1)."""

import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from marketplace_worker.contract import asyncapi
from marketplace_worker.contract.asyncapi import CHANNELS
from marketplace_worker.contract.schema_rewriting import relocated
from marketplace_worker.contract.schemas import inbound_schemas, outbound_schemas
from marketplace_worker.lifecycle.events import EventKind

SCHEMAS = Path(__file__).parents[2] / "schemas"
EVENTS = {**inbound_schemas(), **outbound_schemas()}
WHOLE: dict[str, Any] = json.loads((SCHEMAS / "asyncapi.json").read_text())


@functools.cache
def document() -> dict[str, Any]:
    """The document as the code generates it."""
    return asyncapi.document()


def named(name: str) -> dict[str, Any]:
    """The message with this name."""
    messages: list[dict[str, Any]] = [*document()["components"]["messages"].values()]
    (message,) = [each for each in messages if each["name"] == name]
    return message


def references(part: object) -> Iterator[str]:
    """Every `$ref` within a part of the document."""
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        part = list(part.values())
    if isinstance(part, list):
        for inner in part:
            yield from references(inner)


def resolve(whole: dict[str, Any], reference: str) -> Any:  # noqa: ANN401 - any part of it
    """What a JSON pointer refers to; KeyError if nothing."""
    part: Any = whole
    for key in reference.removeprefix("#/").split("/"):
        part = part[key.replace("~1", "/").replace("~0", "~")]
    return part


def test_every_reference_of_the_document_resolves_within_it() -> None:
    """A reader needs no other file."""
    for reference in references(WHOLE):
        assert isinstance(resolve(WHOLE, reference), dict)


@pytest.mark.parametrize("name", EVENTS)
def test_each_message_has_the_schema_of_its_file(name: str) -> None:
    """Its schema, with every definition that the schema needs."""
    schema = relocated(EVENTS[name], "#/components/schemas/")
    assert named(name)["payload"] == {"$ref": f"#/components/schemas/{schema['title']}"}
    there = WHOLE["components"]["schemas"]
    for title, each in {schema["title"]: schema, **schema.get("$defs", {})}.items():
        beside = {"$schema", "$id", "$defs", "examples"}
        assert there[title] == {key: value for key, value in each.items() if key not in beside}


def test_each_topic_has_the_right_direction() -> None:
    """The table of events.md section 1."""
    receive = [
        "marketplace.aws.notifications",
        "marketplace.gcp.notifications",
        "marketplace.azure.notifications",
        "identity.logins",
        "usage.api-requests",
        "organizations.changes",
        "support.requests",
    ]
    send = ["organizations.lifecycle", "organizations.state", "marketplace-worker.dead-letters"]
    whole = document()
    assert whole["asyncapi"] == "3.0.0"
    assert [each["address"] for each in whole["channels"].values()] == receive + send
    ways = [
        (operation["action"], resolve(whole, operation["channel"]["$ref"])["address"])
        for operation in whole["operations"].values()
    ]
    assert ways == [
        *(("receive", topic) for topic in receive),
        *(("send", topic) for topic in send),
    ]
    assert "SendOrganizationsLifecycle" in whole["operations"]
    assert [channel.topic for channel in CHANNELS if channel.compacted == "compacted"] == [
        "organizations.state"
    ]


def test_the_document_describes_the_subjects_and_the_two_shapes() -> None:
    """Subscribers read it before the first event of the worker arrives."""
    whole = document()
    description = whole["channels"]["OrganizationsLifecycle"]["description"]
    assert "`worker`" in description
    assert "where the organization stands" in description
    assert "only what the kind needs" in description
    keys = {kind: named(kind)["bindings"]["kafka"]["key"] for kind in EventKind}
    assert keys[EventKind.CANCELED] == {"type": "string", "description": "The organization's id."}
    assert keys[EventKind.GUARD_TRIPPED]["const"] == "worker"
    assert "`worker`" in keys[EventKind.SUPPORT_REQUEST_REJECTED]["description"]
    assert "two shapes" in named(EventKind.SUPPORT_REQUEST_REJECTED)["summary"]


def test_each_message_belongs_to_one_topic() -> None:
    """A message on two topics would have two keys and two orders."""
    everywhere = [name for channel in CHANNELS for name in channel.messages]
    assert len(everywhere) == len(set(everywhere)) == len(EVENTS) + 1


def test_the_dead_letter_headers_are_described() -> None:
    """For whoever replays dead letters."""
    headers = named("marketplace-worker.dead-letters")["headers"]
    assert {*headers["required"], "dead-letter-value"} == set(headers["properties"])
    assert headers["required"] == [
        f"dead-letter-{name}"
        for name in ("reason", "topic", "partition", "offset", "part", "at", "attempt")
    ]
