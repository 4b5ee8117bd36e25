"""What `status` judges to be wrong, and what it says to do about it."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from marketplace_worker.inspection.guarding import Counted
from marketplace_worker.inspection.overview import GuardFigures, Overview
from marketplace_worker.inspection.state_history import state_history
from marketplace_worker.inspection.status import (
    COUNTED_MAX,
    Backlog,
    Finding,
    Severity,
    Status,
    findings,
)
from marketplace_worker.lifecycle.policy import Guard
from marketplace_worker.lifecycle.safeguards import Trip
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.vocabulary import ActivityFeed
from marketplace_worker.store.intake import IntakeStop
from marketplace_worker.store.state_counts import StateChange

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
RUNBOOK = (Path(__file__).parents[2] / "docs" / "runbook.md").read_text(encoding="utf-8")

TRIP = Trip(NOW - timedelta(hours=1), "Olga", "why")
_COUNTED = Counted(0, 50)
QUIET = Status(
    fleet=Overview(
        now=NOW,
        states=state_history([StateChange(NOW.date(), State.ACTIVE, 1_000)], NOW.date(), days=90),
        guard=GuardFigures(None, None, _COUNTED, _COUNTED, _COUNTED, None),
        feeds=[(ActivityFeed.LOGINS, NOW), (ActivityFeed.API_REQUESTS, None)],
        outbox_age=timedelta(seconds=2),
        held=0,
        stopped=[],
    ),
    overdue=Backlog(0, None),
    dead_letters=Backlog(0, None),
    guard=Guard(),
    own_clock=NOW + timedelta(seconds=3),
)
"""A worker in order, whose vendor has never sent API usage."""


def with_fleet(**changes: object) -> Status:
    """The same with other figures of the fleet."""
    return replace(QUIET, fleet=replace(QUIET.fleet, **changes))  # type: ignore[arg-type] # by name


def with_guard(**changes: object) -> Status:
    """The same with another state of the guard."""
    return with_fleet(guard=replace(QUIET.fleet.guard, **changes))  # type: ignore[arg-type] # by name


CASES = {
    "database": (with_guard(set_back_at=NOW), Severity.WRONG, "recover --from-restore"),
    "steps withheld": (with_guard(trip=TRIP), Severity.WRONG, "withholds steps"),
    "requests refused": (with_guard(requests_trip=TRIP), Severity.WRONG, "refuses requested"),
    "guard too wide": (
        replace(QUIET, guard=Guard(minimum=101)),
        Severity.ATTENTION,
        "more than a tenth of 1000",
    ),
    "overdue": (
        replace(QUIET, overdue=Backlog(3, NOW - timedelta(hours=1))),
        Severity.WRONG,
        "3 organizations are overdue, the first since 2026-03-01 11:00 UTC",
    ),
    "outbox": (with_fleet(outbox_age=timedelta(minutes=6)), Severity.WRONG, "has waited for Kafka"),
    "refused": (with_fleet(held=2), Severity.WRONG, "Kafka refused 2 messages"),
    "stopped": (
        with_fleet(stopped=[IntakeStop("marketplace.gcp.notifications", NOW, holds=True)]),
        Severity.WRONG,
        "intake resume",
    ),
    "dead letters": (
        replace(QUIET, dead_letters=Backlog(COUNTED_MAX, NOW)),
        Severity.ATTENTION,
        f"at least {COUNTED_MAX} are waiting",
    ),
    "silent feed": (
        with_fleet(feeds=[(ActivityFeed.LOGINS, NOW - timedelta(days=2))]),
        Severity.ATTENTION,
        "the newest record of logins is of 2026-02-27 12:00 UTC",
    ),
    "clock ahead": (
        replace(QUIET, own_clock=NOW - timedelta(minutes=2)),
        Severity.ATTENTION,
        "ahead of this machine's",
    ),
    "clock behind": (
        replace(QUIET, own_clock=NOW + timedelta(minutes=2)),
        Severity.ATTENTION,
        "behind this machine's",
    ),
}


def said(finding: Finding) -> str:
    """All that a finding says."""
    return f"{finding.subject}: {finding.sentence}: {finding.remedy}"


def test_a_worker_in_order_has_no_findings() -> None:
    """A feed that was never received is not silent: the vendor may not have it."""
    assert findings(QUIET) == []


@pytest.mark.parametrize("name", CASES)
def test_what_is_not_in_order_is_found_with_its_remedy(name: str) -> None:
    """One finding for each, with a heading of the runbook."""
    status, severity, words = CASES[name]
    (found,) = findings(status)
    assert found.severity is severity
    assert words in said(found)
    assert re.search(rf"^#+ {re.escape(found.runbook)}$", RUNBOOK, re.MULTILINE)


def test_what_is_wrong_comes_before_what_needs_attention() -> None:
    """An operator reads from the top."""
    both = replace(CASES["dead letters"][0], fleet=with_guard(trip=TRIP).fleet)
    assert [each.severity for each in findings(both)] == [Severity.WRONG, Severity.ATTENTION]
