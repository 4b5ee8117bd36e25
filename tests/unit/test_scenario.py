"""The key of a line of a scenario: of a request of Support it decides (events.md section 4)."""

import base64
import json

import pytest
from stories import FEEDS, simulation

from marketplace_worker.contract.scenario import read_scenario
from marketplace_worker.lifecycle.events import SupportDetails

REQUEST = {
    "specversion": "1.0",
    "id": "r-1",
    "source": "/support",
    "type": "io.marketplace-worker.support.deactivate_organization.v1",
    "subject": "acme",
    "time": "2026-01-02T00:00:00Z",
    "data": {"requested_by": "ada", "reason": "asked for"},
}
CREATED = {
    **REQUEST,
    "id": "c-1",
    "type": "io.marketplace-worker.organization.created.v1",
    "time": "2026-01-01T00:00:00Z",
    "data": {"tier": "plus", "owner_email": "o@acme.example"},
}
PUSHED = {"message": {"data": base64.b64encode(json.dumps(REQUEST).encode()).decode()}}


def line(value: object, topic: str = "support.requests", **more: object) -> bytes:
    """A line of a scenario."""
    return json.dumps(
        {"at": "2026-01-02T00:00:00Z", "topic": topic, "value": value, **more}
    ).encode()


def keys(*lines: bytes) -> list[bytes | None]:
    """The keys of these lines."""
    return [record.key for record in read_scenario(lines, FEEDS)]


@pytest.mark.parametrize(
    "value", [REQUEST, json.dumps(REQUEST), {"schema": {}, "payload": REQUEST}, PUSHED, [REQUEST]]
)
def test_a_request_without_a_key_has_its_subject_as_key(value: object) -> None:
    """As a real sender must; also where an envelope lies around it."""
    assert keys(line(value), line(value, key=None)) == [b"acme", b"acme"]


def test_a_request_in_binary_mode_has_the_subject_of_its_headers() -> None:
    """They are its envelope."""
    headers = {f"ce_{name}": str(text) for name, text in REQUEST.items() if name != "data"}
    assert keys(line(REQUEST["data"], headers=headers)) == [b"acme"]


def test_a_key_that_is_given_is_the_key_and_an_empty_one_is_none() -> None:
    """So a scenario can show what happens without it."""
    assert keys(line(REQUEST, key="other"), line(REQUEST, key="")) == [b"other", None]


@pytest.mark.parametrize(
    "value", [None, {}, "", [], {**REQUEST, "subject": None}, {"subject": "a"}]
)
def test_a_line_without_a_subject_has_no_key(value: object) -> None:
    """It may be anything."""
    assert keys(line(value)) == [None]


def test_lines_of_other_topics_have_the_key_that_they_name() -> None:
    """Nothing hangs on it."""
    assert keys(line(CREATED, "organizations.changes")) == [None]


@pytest.mark.parametrize(
    ("key", "code"), [(None, None), ("globex", "invalid_request"), ("", "invalid_request")]
)
def test_a_request_acts_only_with_its_organizations_key(key: str | None, code: str | None) -> None:
    """Requests about one organization keep their order by it (lifecycle.md section 7)."""
    lines = [line(CREATED, "organizations.changes"), line(REQUEST, key=key)]
    events = list(simulation().run(read_scenario(lines, FEEDS)))
    answers = [each.details for each in events if isinstance(each.details, SupportDetails)]
    assert [each.code for each in answers] == [code]
