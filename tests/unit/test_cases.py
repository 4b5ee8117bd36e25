"""Regression cases, listed in tests/cases/README.md.

Each scenario runs through `simulate`, and with `--through-the-worker` to the worker as well.
`tests/cases/expected.txt` has what must be said, in the words of `stories.py`: the day from that of
the first line, who, what; effects left out; then what goes to the dead letters.
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Any

import pytest
from stories import FEEDS, Story, run_elsewhere, sentences, simulation
from story_language import StoryInput, day

from marketplace_worker.contract.outbound import encode
from marketplace_worker.contract.scenario import read_scenario
from marketplace_worker.errors import Malformed
from marketplace_worker.lifecycle.events import Event, EventKind
from marketplace_worker.lifecycle.policy import Policy
from marketplace_worker.record import Record

CASES = Path(__file__).parents[1] / "cases"
NAMES = sorted(path.stem for path in CASES.glob("*.jsonl"))
KEYED = ["hold_in_order", "hold_swapped", "deact_in_order", "deact_swapped"]
"""Those whose requests must come with the organization's id as their key."""

UNTIL = {
    "d-": datetime(2027, 6, 1, tzinfo=UTC),
    "hold_": datetime(2026, 12, 31, tzinfo=UTC),
    "deact_": datetime(2026, 12, 31, tzinfo=UTC),
    "trace": datetime(2026, 12, 31, tzinfo=UTC),
    "e-notice-after-a-long-wait": datetime(2026, 12, 31, tzinfo=UTC),
}
"""How far the clock runs, by the beginning of the name; `ELSE_UNTIL` for all others."""
ELSE_UNTIL = datetime(2026, 7, 20, tzinfo=UTC)
STEPS = {EventKind.CONTROL_PLANE_LOST, EventKind.SUSPENDED, EventKind.DEACTIVATED}
"""What a deadline does to an organization: the reason is that of its cancellation by then."""


def lines_of(name: str) -> list[dict[str, Any]]:
    """The lines of a case."""
    return [json.loads(line) for line in (CASES / f"{name}.jsonl").read_text().splitlines()]


def until(name: str) -> datetime:
    """The moment at which a case ends."""
    return next((at for begins, at in UNTIL.items() if name.startswith(begins)), ELSE_UNTIL)


def expected() -> dict[str, list[str]]:
    """The expected lines of each case."""
    blocks = (CASES / "expected.txt").read_text().split("\n== ")[1:]
    named = (block.strip().splitlines() for block in blocks)
    return {name: texts for name, *texts in named}


EXPECTED = expected()


def run_case(lines: Sequence[dict[str, Any]], end: datetime) -> tuple[list[Event], list[str]]:
    """Run a scenario; returns its events, and its dead letters as text."""
    records_ = list(read_scenario((json.dumps(line).encode() for line in lines), FEEDS))
    refused: list[tuple[Record, Malformed]] = []
    current = simulation(Policy(), lambda *refusal: refused.append(refusal))
    events = list(current.run(records_, until=end))
    inputs = [
        StoryInput(record.recorded_at, record) for record in records_ if record.recorded_at <= end
    ]
    reasons = [f"{record.topic}: {refusal}" for record, refusal in refused]
    run_elsewhere(Story(inputs, (Policy(),), end, events, current, reasons))
    return events, [f"dead letter: {record.position}: {refusal}" for record, refusal in refused]


def lines_of_case(lines: Sequence[dict[str, Any]], end: datetime) -> list[str]:
    """The result of a scenario in the format of `expected.txt`."""
    events, refused = run_case(lines, end)
    first = datetime.fromisoformat(lines[0]["at"])
    start = datetime.combine(first.date(), time(), tzinfo=UTC)
    spoken = []
    for event, text in sentences(events, start):
        what, reason = text.removeprefix(f"{event.subject}: "), ""
        if event.kind in STEPS and event.standing is not None:
            reason = f" ({event.standing.reason})"
        spoken.append(f"{day(event.decided_at, start)} | {event.subject}: {what}{reason}")
    return [*spoken, *refused]


@pytest.mark.parametrize("name", NAMES)
def test_each_case_comes_out_as_it_should(name: str) -> None:
    """tests/cases/README.md gives the reasons."""
    assert lines_of_case(lines_of(name), until(name)) == EXPECTED[name]


def test_every_expectation_belongs_to_a_case() -> None:
    """The page has a row for each of them."""
    assert sorted(EXPECTED) == NAMES
    page = (CASES / "README.md").read_text()
    assert [name for name in NAMES if f"`{name}`" not in page] == []


# --- variants -------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["another", ""])
@pytest.mark.parametrize("name", KEYED)
def test_a_request_without_the_key_of_its_organization_is_refused(name: str, key: str) -> None:
    """Section 7 of lifecycle.md: the order of requests is that of one key's records."""
    lines = [
        line | ({"key": key} if line["topic"] == "support.requests" else {})
        for line in lines_of(name)
    ]
    come = lines_of_case(lines, until(name))
    assert [line.partition("| ")[2] for line in come] == [
        "acme: support_request.rejected: invalid_request",
        "acme: support_request.rejected: invalid_request",
    ]


def test_on_their_own_topics_the_messages_of_trace_act_and_the_trace_goes_on() -> None:
    """Beside the case: it is the topic that makes a dead letter of them (events.md section 3)."""
    topics = ["organizations.changes", "support.requests"]
    lines = [line | {"topic": each} for line, each in zip(lines_of("trace"), topics, strict=True)]
    assert lines_of_case(lines, until("trace")) == [
        "0+5m | acme: deactivated: support_request (support_request)",
        "0+5m | acme: support_request.completed",
    ]
    text = (json.dumps(line).encode() for line in lines)
    current = simulation(Policy())
    events = list(current.run(read_scenario(text, FEEDS), until=until("trace")))
    traces = {current.traces[event.id].parent for event in events}
    assert traces == {lines[1]["value"]["traceparent"]}


def test_the_schedule_of_who_is_canceled_under_a_hold_is_complete() -> None:
    """Section 11: as it would be if the hold were released now, and it says so."""
    events, _ = run_case(lines_of("d-hold-cancel"), until("d-hold-cancel"))
    (canceled,) = [
        json.loads(encode(event))["data"] for event in events if event.kind is EventKind.CANCELED
    ]
    states = [step["state"] for step in canceled["schedule"]]
    assert states == ["control_plane_loss", "suspended", "deactivated"]
    assert canceled["held"] is True
