"""The stored shapes are data: they change only on purpose, and are read back as the core's values.

`documents/` holds an exact example of each: a field that is renamed, added or left out, or a value
that is written in another form, fails here.  A database may hold what stands there.

A field is added with a default, so that documents without it are still read, and is appended to the
lines there.  Every document of that shape is then written with it, and the last release cannot read
them: the changelog must say that workers of both cannot run side by side.
"""

import json
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from stored_values import (
    FACTS,
    ORGANIZATIONS,
    PUBLISHED,
    READINGS,
    SAFEGUARDS,
    SUBSCRIPTION,
    SUSPENDED,
)
from strategies import facts, worlds
from world import World

from marketplace_worker import documents
from marketplace_worker.documents.shapes import CORE, to_core
from marketplace_worker.lifecycle.facts import ClockMoved, Fact, LoggedIn
from marketplace_worker.lifecycle.organization import Organization
from marketplace_worker.lifecycle.policy import Policy, Timeline
from marketplace_worker.lifecycle.vocabulary import Identity, OrganizationId

EXAMPLES = Path(__file__).parent / "documents"

Write = Callable[[Any], str]
Read = Callable[[str], Any]

DOCUMENTS: dict[str, tuple[Write, Read, list[Any]]] = {
    "facts": (documents.fact_to_json, documents.fact_from_json, FACTS),
    "organizations": (
        documents.organization_to_json,
        documents.organization_from_json,
        ORGANIZATIONS,
    ),
    "policies": (
        documents.policy_to_json,
        documents.policy_from_json,
        [
            Policy(
                "2026-11-22",
                payg=Timeline(
                    timedelta(hours=36), timedelta(days=7), timedelta(days=400, seconds=1)
                ),
            )
        ],
    ),
    "published": (documents.published_to_json, documents.published_from_json, [PUBLISHED]),
    "readings": (documents.readings_to_json, documents.readings_from_json, READINGS),
    "safeguards": (documents.safeguards_to_json, documents.safeguards_from_json, SAFEGUARDS),
    "subscriptions": (
        documents.subscription_to_json,
        documents.subscription_from_json,
        [SUBSCRIPTION],
    ),
}

ONE_OF_EACH = [
    pytest.param(write, read, values[-1], id=name)
    for name, (write, read, values) in DOCUMENTS.items()
]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_each_document_is_written_as_its_example_and_read_from_it(name: str) -> None:
    """To the letter, in this order of fields: the journal's hashes cover the text of a fact."""
    write, read, values = DOCUMENTS[name]
    examples = (EXAMPLES / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    assert [write(value) for value in values] == examples
    assert [read(example) for example in examples] == values


@pytest.mark.parametrize(("write", "read", "value"), ONE_OF_EACH)
def test_a_document_states_its_version_and_is_read_without_one(
    write: Write, read: Read, value: object
) -> None:
    """0.2 and its predecessors wrote none."""
    document = json.loads(write(value))
    assert document.pop("format") == 1
    assert read(json.dumps(document)) == value


@pytest.mark.parametrize(("write", "read", "value"), ONE_OF_EACH)
def test_another_version_is_refused(write: Write, read: Read, value: object) -> None:
    """A later release wrote it: what it means is not known here."""
    document = json.loads(write(value)) | {"format": 2}
    with pytest.raises(ValueError, match=r"2 - at `\$\.format`"):
        read(json.dumps(document))


@pytest.mark.parametrize(("write", "read", "value"), ONE_OF_EACH)
@pytest.mark.parametrize("version", [{}, {"format": 1}], ids=["old", "new"])
def test_an_unknown_field_is_refused_by_its_name(
    write: Write, read: Read, value: object, version: dict[str, int]
) -> None:
    """It would be lost with the next save."""
    document = json.loads(write(value)) | {"surprise": 1}
    document.pop("format")
    with pytest.raises(ValueError, match="unknown field `surprise`"):
        read(json.dumps(document | version))


def test_a_retired_field_is_read_and_not_written() -> None:
    """0.2 stored the pauses of a cancellation, which are derived."""
    document = json.loads(documents.organization_to_json(SUSPENDED))
    document["cancellation"]["waited"] = [{"ends_at": "9999-12-31T23:59:59.999999Z"}]
    read = documents.organization_from_json(json.dumps(document))
    assert read == SUSPENDED
    assert "waited" not in documents.organization_to_json(read)


def test_an_unknown_field_within_a_part_is_refused_with_its_place() -> None:
    """Whoever has to mend the row need not search."""
    document = json.loads(documents.organization_to_json(SUSPENDED))
    document["holds"][1]["surprise"] = 1
    with pytest.raises(ValueError, match=r"unknown field `surprise` - at `\$\.holds\[1\]`"):
        documents.organization_from_json(json.dumps(document))


@pytest.mark.parametrize("shape", CORE, ids=lambda shape: shape.__name__)
def test_a_shape_has_the_defaults_of_the_core(shape: type[msgspec.Struct]) -> None:
    """Else the core and an old document would differ in what was never reported."""
    required = {field.name for field in msgspec.structs.fields(shape) if field.required}
    given_fields = [field for field in fields(CORE[shape]) if field.init]
    assert required == {
        field.name
        for field in given_fields
        if field.default is MISSING and field.default_factory is MISSING
    }
    optional = [each for each in given_fields if each.name not in required | {"kind"}]
    if not required:
        assert to_core(shape(), CORE[shape]) == CORE[shape]()
    for field, default in ((each, each.default) for each in optional):
        (stored,) = [each for each in msgspec.structs.fields(shape) if each.name == field.name]
        assert default is MISSING or stored.default == default


@given(worlds())
def test_whatever_the_rules_make_of_an_organization_comes_back_equal(world: World) -> None:
    """Any legal state, with any past."""
    for organization in world.fleet.organizations.values():
        text = documents.organization_to_json(organization)
        assert documents.organization_from_json(text) == organization
        assert _zones(documents.organization_from_json(text)) <= {UTC}
    for subscription in world.fleet.subscriptions.values():
        text = documents.subscription_to_json(subscription)
        assert documents.subscription_from_json(text) == subscription
        assert _zones(documents.subscription_from_json(text)) <= {UTC}
    text = documents.safeguards_to_json(world.fleet.safeguards)
    assert documents.safeguards_from_json(text) == world.fleet.safeguards


@given(facts())
def test_any_fact_comes_back_equal(fact: Fact) -> None:
    """Whatever it reports."""
    read = documents.fact_from_json(documents.fact_to_json(fact))
    assert read == fact
    assert type(read) is type(fact)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_times_come_back_in_utc_itself(name: str) -> None:
    """Another class of zone makes every comparison slow, and there are many in a decision."""
    write, read, values = DOCUMENTS[name]
    zones = {zone for value in values for zone in _zones(read(write(value)))}
    assert all(zone is UTC for zone in zones)


def _zones(value: object) -> set[object]:
    """The time zones of all moments within a value."""
    if isinstance(value, datetime):
        return {value.tzinfo}
    if is_dataclass(value):
        value = [getattr(value, field.name) for field in fields(value)]
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return set().union(*map(_zones, value))
    return set()


# --- what 0.2 and its predecessors wrote otherwise ------------------------------------------------


def test_a_duration_of_a_year_that_0_2_wrote_is_read() -> None:
    """As `P1Y35D`: a policy and a corrected clock can last so long."""
    document = json.loads(documents.policy_to_json(Policy()))
    del document["format"]
    document["payg"]["deactivated"] = "P1Y35DT1S"
    document["grace"]["max_extension"] = "P2Y"
    read = documents.policy_from_json(json.dumps(document))
    assert read.payg.deactivated == timedelta(days=400, seconds=1)
    assert read.grace.max_extension == timedelta(days=730)
    moved = (
        '{"identity":{"source":"worker","id":"1"},"occurred_at":"2026-03-01T09:30:00Z",'
        '"ahead":"-P1YT1H","kind":"clock_moved"}'
    )
    assert documents.fact_from_json(moved) == ClockMoved(
        Identity("worker", "1"),
        datetime(2026, 3, 1, 9, 30, tzinfo=UTC),
        -timedelta(days=365, hours=1),
    )
    safeguards = documents.safeguards_from_json('{"clock_ahead":"P1Y"}')
    assert safeguards.clock_ahead == timedelta(days=365)


def test_fields_that_no_release_has_any_more_are_passed_over_in_old_documents_only() -> None:
    """Two commits between 0.1 and 0.2 wrote them."""
    document = json.loads(documents.organization_to_json(SUSPENDED))
    document["recovery"] = None
    document["cancellation"]["stood_still"] = []
    with pytest.raises(ValueError, match="unknown field"):
        documents.organization_from_json(json.dumps(document))
    del document["format"]
    assert documents.organization_from_json(json.dumps(document)) == SUSPENDED


def test_a_text_that_looks_like_a_duration_stays_as_it_is() -> None:
    """Only durations are mended."""
    organization = Organization(OrganizationId("P1Y"))
    document = json.loads(documents.organization_to_json(organization)) | {"recovery": None}
    del document["format"]
    assert documents.organization_from_json(json.dumps(document)) == organization


# --- the same message, received twice -------------------------------------------------------------


def test_a_fact_does_not_contradict_what_was_stored_of_it_in_any_version() -> None:
    """Only what it says counts."""
    fact = LoggedIn(Identity("a", "1"), datetime(2026, 3, 1, tzinfo=UTC), OrganizationId("Acme"))
    document = json.loads(documents.fact_to_json(fact)) | {"organization": "acme"}
    assert not documents.is_contradicted(json.dumps(document), fact, with_moments=True)
    later = document | {"format": 2}
    assert not documents.is_contradicted(json.dumps(later), fact, with_moments=True)
    other = document | {"organization": "beta"}
    assert documents.is_contradicted(json.dumps(other), fact, with_moments=True)
