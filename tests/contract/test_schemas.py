"""The schemas, the examples and the AsyncAPI document match the code (events.md sections 1
to 3).
"""

import json
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from cloudevent_records import binary, read_record, structured
from jsonschema import Draft202012Validator, FormatChecker

from marketplace_worker.contract.examples import (
    example_answer_of_the_worker,
    outbound_examples,
)
from marketplace_worker.contract.export import differing_files, export, exported_files, main
from marketplace_worker.contract.inbound_examples import MARKETPLACE_EXAMPLES, inbound_examples
from marketplace_worker.contract.outbound import encode
from marketplace_worker.contract.schema_rewriting import GROWS, MAY_GROW, MAY_NOT_GROW
from marketplace_worker.contract.schemas import (
    DESCRIPTIONS,
    data_schemas,
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
PUBLISHED = outbound_schemas()
OUTBOUND = outbound_schemas(closed=True)
"""Outbound messages are compared with the closed form of their schemas."""
DATA = data_schemas({**INBOUND, **PUBLISHED})
EXAMPLES = {**inbound_examples(), **MARKETPLACE_EXAMPLES, **outbound_messages()}

OTHERS: tuple[object, ...] = (None, "", 0, -1, True, [], "x\0", "2026-11-22T18:15:15Z")
"""Replacements for a field's value."""

FORMATS = FormatChecker()


@FORMATS.checks("date-time", raises=ValueError)
def is_date_time(value: object) -> bool:
    """RFC 3339 as far as the schemas need it: a date, a time and a zone."""
    return not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None


def errors(schema: dict[str, Any], instance: object) -> list[str]:
    """The errors that a schema reports."""
    validator = Draft202012Validator(schema, format_checker=FORMATS)
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(instance)]


def test_the_schemas_in_the_repository_are_those_of_the_code() -> None:
    """Run `make schemas` if this fails."""
    assert differing_files(SCHEMAS) == []


def test_check_reports_differences_and_export_removes_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also for a file whose kind no longer exists."""
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


def test_every_message_has_a_schema_and_an_example() -> None:
    """Counted in the rules' own lists, not in those of the code."""
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
            of_data = f"{folder}/data/{name}.v1.json" in files
            assert of_data is not name.startswith("marketplace.")
            assert f"examples/{folder}/{name}.v1.json" in files
    assert set(INBOUND) == inbound
    assert set(OUTBOUND) == outbound


@pytest.mark.parametrize("name", [*INBOUND, *OUTBOUND])
def test_a_schema_is_valid_and_named_and_so_is_its_example(name: str) -> None:
    """Users copy examples."""
    for schema in ({**INBOUND, **OUTBOUND}[name], {**INBOUND, **PUBLISHED}[name]):
        Draft202012Validator.check_schema(schema)
        assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
        assert schema["$id"] == f"urn:marketplace-worker:event:{name}:v1"
        assert schema["description"]
        assert schema["examples"][0] == EXAMPLES[name]
        for example in schema["examples"]:
            assert errors(schema, example) == []


@pytest.mark.parametrize("name", DATA)
def test_the_data_of_an_event_has_a_schema_of_its_own(name: str) -> None:
    """CloudEvents' `dataschema` names it; it equals the part of the whole event's schema."""
    schema, event = DATA[name], {**INBOUND, **PUBLISHED}[name]
    Draft202012Validator.check_schema(schema)
    assert schema["$id"] == f"urn:marketplace-worker:schema:{name}:v1"
    assert schema["$id"] == EXAMPLES[name].get("dataschema", schema["$id"])
    assert schema["examples"] == [each["data"] for each in event["examples"]]
    for example in schema["examples"]:
        assert errors(schema, example) == []
    beside = {"$schema", "$id", "$defs", "examples", "description"}
    within = event["$defs"][schema["title"]]
    assert {k: v for k, v in schema.items() if k not in beside} == {
        k: v for k, v in within.items() if k != "description"
    }
    assert schema.get("$defs", {}).items() <= event["$defs"].items()


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_schemas_allow_additional_fields(name: str) -> None:
    """A subscriber that validates or uses generated code keeps working when we add a field."""
    event = {**EXAMPLES[name], "another": 1}
    event["data"] = {**event["data"], "another": {"of": ["any", "shape"]}}
    assert errors(PUBLISHED[name], event) == []
    assert errors(DATA[name], event["data"]) == []
    assert errors(OUTBOUND[name], event) != []
    if isinstance(event["data"].get("capabilities"), dict):
        event["data"]["capabilities"] = {**event["data"]["capabilities"], "another": True}
        assert errors(PUBLISHED[name], event) == []


def enums(part: object, name: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every enum within a part, with its name."""
    if isinstance(part, dict):
        if "enum" in part:
            yield name, part
        for key, value in part.items():
            yield from enums(value, key)
    if isinstance(part, list):
        for each in part:
            yield from enums(each, name)


@pytest.mark.parametrize("name", [*INBOUND, *PUBLISHED])
def test_every_enum_declares_whether_it_may_grow(name: str) -> None:
    """Subscribers must know where to expect new values."""
    for title, enum in enums({**INBOUND, **PUBLISHED}[name]):
        may, may_not = MAY_GROW in enum["description"], MAY_NOT_GROW in enum["description"]
        assert may is not may_not, title
        assert may is GROWS[title]


def test_enums_to_act_on_do_not_grow() -> None:
    """Enums that only explain may grow: reasons, refusals, causes."""
    assert {name for name, grows in GROWS.items() if not grows} == {
        "DeactivationCause",
        "State",
        "Tier",
    }


@pytest.mark.parametrize("name", [*INBOUND, *PUBLISHED])
def test_every_object_and_enum_has_a_name_that_code_can_have(name: str) -> None:
    """Otherwise a code generator invents one."""
    schema = {**INBOUND, **PUBLISHED}[name]
    assert re.fullmatch("([A-Z][a-z]*)+", schema["title"])
    for title, each in schema.get("$defs", {}).items():
        assert each["title"] == title
        assert re.fullmatch("([A-Z][a-z]*)+", title)
    assert {title for title, _ in enums(schema)} <= schema.get("$defs", {}).keys()


@pytest.mark.parametrize("kind", EventKind)
def test_every_kind_of_event_has_a_schema_an_example_and_a_message(kind: EventKind) -> None:
    """Consumers must be able to look up each event of lifecycle.md section 9."""
    schema = json.loads((SCHEMAS / "outbound" / f"{kind}.v1.json").read_text())
    example = json.loads((SCHEMAS / "examples" / "outbound" / f"{kind}.v1.json").read_text())
    messages = json.loads((SCHEMAS / "asyncapi.json").read_text())["components"]["messages"]
    (message,) = [each for each in messages.values() if each["name"] == kind]
    data = json.loads((SCHEMAS / "outbound" / "data" / f"{kind}.v1.json").read_text())
    assert data["$id"] == example["dataschema"]
    assert example["type"] == f"io.marketplace-worker.{kind}.v1"
    assert errors(schema, example) == []
    assert message["summary"] == schema["description"] == DESCRIPTIONS[kind]


def test_an_answer_without_an_organization_has_its_own_shape() -> None:
    """For a refused unlock of an unknown email: the second of exactly two shapes."""
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


def test_a_schema_declares_the_kind_of_its_subject() -> None:
    """Consumers that route by subject need no list of their own."""
    of_the_worker = {
        kind for kind in EventKind if OUTBOUND[kind]["properties"]["subject"].get("const")
    }
    assert of_the_worker == {
        EventKind.GUARD_TRIPPED,
        EventKind.GUARD_RELEASED,
        EventKind.ACTIVITY_FEED_SILENT,
        EventKind.ACTIVITY_FEED_UNREADABLE,
    }
    for kind in of_the_worker:
        assert OUTBOUND[kind]["properties"]["subject"]["const"] == "worker"
        assert OUTBOUND[kind]["properties"]["partitionkey"]["const"] == "worker"
        assert errors(OUTBOUND[kind], {**EXAMPLES[kind], "subject": "org-42"}) != []


def enum(kind: EventKind, name: str) -> list[str]:
    """The values that a schema allows for a field."""
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
        "on_hold",
        "guard_tripped",
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
def test_every_encoded_event_matches_only_its_own_schema(kind: EventKind) -> None:
    """The schema of any other kind refuses it."""
    document = json.loads(encode(outbound_examples()[kind]))
    assert errors(OUTBOUND[kind], document) == []
    other = EventKind.CANCELED if kind is not EventKind.CANCELED else EventKind.SUSPENDED
    assert errors(OUTBOUND[other], document) != []


@pytest.mark.parametrize("name", OUTBOUND)
def test_an_outbound_schema_requires_every_key(name: str) -> None:
    """The form that we check before publishing allows no other key. The published form requires as
    much, but allows additions, except in the second shape of a refusal.
    """
    example = EXAMPLES[name]
    for key in example:
        assert errors(PUBLISHED[name], {k: v for k, v in example.items() if k != key}) != []
    for key in example["data"]:
        data = {k: v for k, v in example["data"].items() if k != key}
        assert errors(OUTBOUND[name], {**example, "data": data}) != []
    assert errors(OUTBOUND[name], {**example, "another": 1}) != []
    assert errors(OUTBOUND[name], {**example, "data": {**example["data"], "another": 1}}) != []


@pytest.mark.parametrize("name", inbound_examples())
def test_an_inbound_schema_and_the_reader_require_the_same_fields(name: str) -> None:
    """Without any one field, both accept the event or both refuse it."""
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
    """Used as somebody without our code would use the files."""
    paths = [*(SCHEMAS / "inbound").glob("*.json"), *(SCHEMAS / "outbound").glob("*.json")]
    assert len(paths) == len(INBOUND) + len(OUTBOUND)
    for path in paths:
        example = json.loads((SCHEMAS / "examples" / path.parent.name / path.name).read_text())
        assert errors(json.loads(path.read_text()), example) == []
        of_data = path.parent / "data" / path.name
        if of_data.is_file():
            assert errors(json.loads(of_data.read_text()), example["data"]) == []


@pytest.mark.parametrize("name", inbound_examples())
def test_every_inbound_example_is_read_in_both_modes(name: str) -> None:
    """Users copy examples."""
    event = json.loads((SCHEMAS / "examples" / "inbound" / f"{name}.v1.json").read_text())
    fact = read_record(structured(event))
    assert not isinstance(fact, Unrecognized)
    assert getattr(fact, "problem", None) is None
    assert read_record(binary(event)) == fact
