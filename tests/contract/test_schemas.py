"""The schemas, the examples and the AsyncAPI document are true (events.md sections 1 to 3)."""

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from cloudevent_records import binary, read_record, structured
from jsonschema import Draft202012Validator, FormatChecker

from marketplace_worker.contract.asyncapi import CHANNELS, document
from marketplace_worker.contract.examples import (
    MARKETPLACE_EXAMPLES,
    example_answer_of_the_worker,
    inbound_examples,
    outbound_examples,
)
from marketplace_worker.contract.export import differing_files, export, exported_files, main
from marketplace_worker.contract.outbound import encode
from marketplace_worker.contract.schemas import (
    DESCRIPTIONS,
    inbound_schemas,
    outbound_messages,
    outbound_schemas,
)
from marketplace_worker.errors import Malformed
from marketplace_worker.lifecycle.events import EventKind
from marketplace_worker.lifecycle.facts import Unrecognized
from marketplace_worker.lifecycle.vocabulary import SupportRequestKind

SCHEMAS = Path(__file__).parents[2] / "schemas"
INBOUND = inbound_schemas()
OUTBOUND = outbound_schemas()
EXAMPLES = {**inbound_examples(), **MARKETPLACE_EXAMPLES, **outbound_messages()}

OTHERS: tuple[object, ...] = (None, "", 0, -1, True, [], "x\0", "2026-11-22T18:15:15Z")
"""Put in the place of a field's value."""

FORMATS = FormatChecker()


@FORMATS.checks("date-time", raises=ValueError)
def is_date_time(value: object) -> bool:
    """RFC 3339 as far as the schemas need it: a date, a time and a zone."""
    return not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None


def errors(schema: dict[str, Any], instance: object) -> list[str]:
    """What a schema finds wrong."""
    validator = Draft202012Validator(schema, format_checker=FORMATS)
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(instance)]


def test_the_schemas_in_the_repository_are_those_of_the_code() -> None:
    """Otherwise: `make schemas`."""
    assert differing_files(SCHEMAS) == []


def test_check_names_what_differs_and_export_puts_it_right(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also a file of a kind that is gone."""
    export(tmp_path)
    assert main([str(tmp_path), "--check"]) == 0
    (tmp_path / "asyncapi.json").write_text("{}")
    (tmp_path / "inbound" / "organization.created.v1.json").unlink()
    (tmp_path / "examples" / "outbound" / "gone.v1.json").write_text("{}")
    assert main([str(tmp_path), "--check"]) == 1
    named = capsys.readouterr().err
    assert "asyncapi.json" in named
    assert "inbound/organization.created.v1.json" in named
    assert "examples/outbound/gone.v1.json" in named
    assert len(named.splitlines()) == 3
    assert main([str(tmp_path)]) == 0
    assert main([str(tmp_path), "--check"]) == 0


def test_everything_on_the_wire_has_a_schema_and_an_example() -> None:
    """Counted against the contract's own lists, not against the code's."""
    inbound = {
        "identity.user.logged_in",
        "usage.api_requests",
        "organization.created",
        "organization.tier_changed",
        "organization.owner_changed",
        "organization.subscription_linked",
        "organization.commitment_linked",
        *(f"support.{kind}" for kind in SupportRequestKind),
        "marketplace.aws.notifications",
        "marketplace.gcp.notifications",
        "marketplace.azure.notifications",
    }
    outbound = {*EventKind, "organization.state"}
    files = exported_files()
    for folder, names in (("inbound", inbound), ("outbound", outbound)):
        for name in names:
            assert f"{folder}/{name}.v1.json" in files
            assert f"examples/{folder}/{name}.v1.json" in files
    assert set(INBOUND) == inbound
    assert set(OUTBOUND) == outbound


@pytest.mark.parametrize("name", [*INBOUND, *OUTBOUND])
def test_a_schema_is_valid_and_named_and_so_is_its_example(name: str) -> None:
    """An example that its schema refuses would teach the wrong thing."""
    schema = {**INBOUND, **OUTBOUND}[name]
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"] == f"urn:marketplace-worker:schema:{name}:v1"
    assert schema["description"]
    assert schema["examples"][0] == EXAMPLES[name]
    for example in schema["examples"]:
        assert errors(schema, example) == []


@pytest.mark.parametrize("kind", EventKind)
def test_every_kind_of_event_has_a_schema_an_example_and_a_message(kind: EventKind) -> None:
    """In the repository: lifecycle.md section 9 has no event that a consumer cannot look up."""
    schema = json.loads((SCHEMAS / "outbound" / f"{kind}.v1.json").read_text())
    example = json.loads((SCHEMAS / "examples" / "outbound" / f"{kind}.v1.json").read_text())
    message = json.loads((SCHEMAS / "asyncapi.json").read_text())["components"]["messages"][kind]
    assert schema["$id"] == example["dataschema"]
    assert example["type"] == f"io.marketplace-worker.{kind}.v1"
    assert errors(schema, example) == []
    assert message["summary"] == schema["description"] == DESCRIPTIONS[kind]


def test_an_answer_without_an_organization_has_a_shape_of_its_own() -> None:
    """A refused unlock of an email that nobody has: the other of the two shapes, and no third."""
    kind = EventKind.SUPPORT_REQUEST_REJECTED
    of_organization, of_worker = OUTBOUND[kind]["examples"]
    answer = ["request_id", "request", "code", "message", "requested_by"]
    assert of_worker == json.loads(encode(example_answer_of_the_worker()))
    assert (of_organization["subject"], of_worker["subject"]) == ("org-42", "worker")
    assert list(of_organization["data"])[-5:] == list(of_worker["data"]) == answer
    for key in of_worker["data"]:
        less = {name: value for name, value in of_worker["data"].items() if name != key}
        assert errors(OUTBOUND[kind], {**of_worker, "data": less}) != []
    between = {**of_worker["data"], "organization_id": "org-42"}
    assert errors(OUTBOUND[kind], {**of_worker, "data": between}) != []
    assert errors(OUTBOUND[EventKind.SUPPORT_REQUEST_COMPLETED], of_worker) != []


def test_a_schema_says_whether_its_event_is_of_an_organization_or_of_the_worker() -> None:
    """So that a consumer that routes by subject can tell without a list of its own."""
    of_the_worker = {
        kind for kind in EventKind if OUTBOUND[kind]["properties"]["subject"].get("const")
    }
    assert of_the_worker == {
        EventKind.GUARD_TRIPPED,
        EventKind.GUARD_RELEASED,
        EventKind.ACTIVITY_FEED_SILENT,
    }
    for kind in of_the_worker:
        assert OUTBOUND[kind]["properties"]["subject"]["const"] == "worker"
        assert OUTBOUND[kind]["properties"]["partitionkey"]["const"] == "worker"
        assert errors(OUTBOUND[kind], {**EXAMPLES[kind], "subject": "org-42"}) != []


def enum(kind: EventKind, name: str) -> list[str]:
    """The values that a schema allows."""
    values: list[str] = OUTBOUND[kind]["$defs"][name]["enum"]
    return values


def test_the_closed_sets_are_those_of_the_rules() -> None:
    """Word for word: lifecycle.md sections 2, 6 and 7, events.md section 3."""
    assert enum(EventKind.DEACTIVATED, "DeactivationCause") == [
        "marketplace_cancellation",
        "inactivity",
        "support_request",
    ]
    of_plans = ["customer", "vendor", "non_payment", "commit_expired", "grant_expired", "unknown"]
    outside = ["inactivity", "support_request", "reinstated", "reactivated"]
    assert enum(EventKind.DEACTIVATED, "StateReason") == of_plans + outside
    assert enum(EventKind.DEACTIVATED, "Initiator") == [
        "customer",
        "marketplace",
        "vendor",
        "system",
        "support",
    ]
    assert enum(EventKind.REINSTATEMENT_PENDING, "CompletedBy") == ["sign_in", "support"]
    assert enum(EventKind.ACTIVITY_FEED_SILENT, "ActivityFeed") == ["logins", "api_requests"]
    assert enum(EventKind.SUPPORT_REQUEST_REJECTED, "Refusal") == [
        "unknown_organization",
        "not_deactivated",
        "already_deactivated",
        "irreversible",
        "not_reinstatable",
        "no_active_plan",
        "email_not_locked",
        "email_in_use",
        "no_such_hold",
        "extension_too_long",
        "invalid_request",
    ]
    assert enum(EventKind.SUPPORT_REQUEST_COMPLETED, "SupportRequestKind") == [
        "deactivate_organization",
        "reactivate_organization",
        "reinstate_organization",
        "unlock_email",
        "place_hold",
        "release_hold",
        "extend_grace",
    ]


@pytest.mark.parametrize("kind", EventKind)
def test_every_event_that_is_written_is_as_its_schema_says(kind: EventKind) -> None:
    """And any other kind's schema refuses it, so the schema says something."""
    said = json.loads(encode(outbound_examples()[kind]))
    assert errors(OUTBOUND[kind], said) == []
    other = EventKind.CANCELED if kind is not EventKind.CANCELED else EventKind.SUSPENDED
    assert errors(OUTBOUND[other], said) != []


@pytest.mark.parametrize("name", OUTBOUND)
def test_an_outbound_schema_requires_every_key_and_allows_no_other(name: str) -> None:
    """A writer is strict; consumers may generate code from it."""
    example = EXAMPLES[name]
    for key in example:
        assert errors(OUTBOUND[name], {k: v for k, v in example.items() if k != key}) != []
    for key in example["data"]:
        data = {k: v for k, v in example["data"].items() if k != key}
        assert errors(OUTBOUND[name], {**example, "data": data}) != []
    assert errors(OUTBOUND[name], {**example, "another": 1}) != []
    assert errors(OUTBOUND[name], {**example, "data": {**example["data"], "another": 1}}) != []


@pytest.mark.parametrize("name", inbound_examples())
def test_an_inbound_schema_and_the_reader_agree_on_what_is_needed(name: str) -> None:
    """Take any one field away: both accept, or both refuse."""
    example = EXAMPLES[name]
    for key in example:
        assert_agreement(name, {k: v for k, v in example.items() if k != key})
    for key in example["data"]:
        data = {k: v for k, v in example["data"].items() if k != key}
        assert_agreement(name, {**example, "data": data})
        for other in OTHERS:
            assert_agreement(name, {**example, "data": {**example["data"], key: other}})


def assert_agreement(name: str, event: dict[str, Any]) -> None:
    """The schema accepts an event exactly where the reader does."""
    try:
        fact = read_record(structured(event))
        accepted = getattr(fact, "problem", None) is None
    except Malformed:
        accepted = False
    assert accepted == (errors(INBOUND[name], event) == []), event


def test_a_schema_in_the_repository_describes_an_example_in_the_repository() -> None:
    """The files themselves, as somebody without our code would use them."""
    schemas = sorted((SCHEMAS / "inbound").iterdir()) + sorted((SCHEMAS / "outbound").iterdir())
    assert len(schemas) == len(INBOUND) + len(OUTBOUND)
    for path in schemas:
        example = SCHEMAS / "examples" / path.parent.name / path.name
        assert errors(json.loads(path.read_text()), json.loads(example.read_text())) == []


@pytest.mark.parametrize("name", inbound_examples())
def test_every_inbound_example_is_read_in_both_modes(name: str) -> None:
    """People copy examples."""
    event = json.loads((SCHEMAS / "examples" / "inbound" / f"{name}.v1.json").read_text())
    fact = read_record(structured(event))
    assert not isinstance(fact, Unrecognized)
    assert getattr(fact, "problem", None) is None
    assert read_record(binary(event)) == fact


# --- AsyncAPI -------------------------------------------------------------------------------------


def references(part: object) -> Iterator[str]:
    """Every `$ref` within."""
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        part = list(part.values())
    if isinstance(part, list):
        for inner in part:
            yield from references(inner)


def resolve(whole: dict[str, Any], reference: str) -> object:
    """What a JSON pointer points at; KeyError where at nothing."""
    part: Any = whole
    for key in reference.removeprefix("#/").split("/"):
        part = part[key.replace("~1", "/").replace("~0", "~")]
    return part


def test_every_reference_of_the_document_resolves() -> None:
    """And no schema is left out of it."""
    whole = json.loads((SCHEMAS / "asyncapi.json").read_text())
    found = list(references(whole))
    for reference in found:
        if reference.startswith("#/"):
            assert isinstance(resolve(whole, reference), dict)
        else:
            assert (SCHEMAS / reference).is_file(), reference
    files = {str(Path(reference)) for reference in found if not reference.startswith("#")}
    assert files == {
        name for name in exported_files() if name.startswith(("inbound/", "outbound/"))
    }


def test_the_document_has_every_topic_the_right_way_round() -> None:
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
    assert list(whole["channels"]) == receive + send
    assert list(whole["operations"]) == [
        *(f"receive.{topic}" for topic in receive),
        *(f"send.{topic}" for topic in send),
    ]
    for name, operation in whole["operations"].items():
        action, _, topic = name.partition(".")
        assert operation["action"] == action
        assert operation["channel"] == {"$ref": f"#/channels/{topic}"}
    assert [channel.topic for channel in CHANNELS if channel.compacted == "compacted"] == [
        "organizations.state"
    ]


def test_the_document_tells_the_subjects_and_the_two_shapes() -> None:
    """Whoever subscribes reads it before the first event of the worker comes."""
    whole = document()
    told = whole["channels"]["organizations.lifecycle"]["description"]
    assert "`worker`" in told
    assert "where the organization stands" in told
    assert "only what the kind needs" in told
    messages = whole["components"]["messages"]
    keys = {kind: messages[kind]["bindings"]["kafka"]["key"] for kind in EventKind}
    assert keys[EventKind.CANCELED] == {"type": "string", "description": "The organization's id."}
    assert keys[EventKind.GUARD_TRIPPED]["const"] == "worker"
    assert "`worker`" in keys[EventKind.SUPPORT_REQUEST_REJECTED]["description"]
    assert "two shapes" in messages[EventKind.SUPPORT_REQUEST_REJECTED]["summary"]


def test_each_message_stands_in_one_topic() -> None:
    """A message of two topics would need two keys and two orders."""
    everywhere = [name for channel in CHANNELS for name in channel.messages]
    assert len(everywhere) == len(set(everywhere)) == len(INBOUND) + len(OUTBOUND) + 1


def test_the_dead_letter_headers_are_described() -> None:
    """Whoever replays dead letters reads these."""
    headers = document()["components"]["messages"]["marketplace-worker.dead-letters"]["headers"]
    assert {*headers["required"], "dead-letter-value"} == set(headers["properties"])
    assert headers["required"] == [
        f"dead-letter-{name}"
        for name in ("reason", "topic", "partition", "offset", "part", "at", "attempt")
    ]
