"""What `status` judges to be wrong, and what it says to do about it."""

import inspect
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest

from marketplace_worker.inspection.guarding import Counted
from marketplace_worker.inspection.overview import GuardFigures, Overview
from marketplace_worker.inspection.state_history import state_history
from marketplace_worker.inspection.status import (
    Backlog,
    Finding,
    Severity,
    Status,
    findings,
    unreachable,
)
from marketplace_worker.lifecycle.policy import Guard
from marketplace_worker.lifecycle.safeguards import Trip
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.vocabulary import ActivityFeed
from marketplace_worker.store.dead_letters import COUNTED_MAX
from marketplace_worker.store.intake import IntakeStop
from marketplace_worker.store.state_counts import UNMERGED_MAX, StateChange
from marketplace_worker.store.workers import RunningWorker, WorkerIdentity

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
RUNBOOK = (Path(__file__).parents[2] / "docs" / "runbook.md").read_text(encoding="utf-8")

TRIP = Trip(NOW - timedelta(hours=1), "Olga", "why")
_COUNTED = Counted(0, 50)
ALL_LOOPS = ("deadlines", "ingest", "relay", "retention")
WORKER = RunningWorker(
    WorkerIdentity(UUID(int=7), "host-1", "0.2.0", ALL_LOOPS, "2026"),
    not_ready=(),
    lag={"facts": {"a": 1_000, "b": 5_000}, "activity": {"c": 0}},
    clock_ahead=timedelta(seconds=1),
    started_at=NOW - timedelta(days=3),
    silent_for=timedelta(seconds=14),
)
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
    workers=[WORKER],
    overdue=Backlog(0, None),
    dead_letters=Backlog(0, None),
    unmerged=0,
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


def with_workers(*others: RunningWorker) -> Status:
    """The same, with other workers beside the first."""
    return replace(QUIET, workers=[WORKER, *others])


def another(*, version: str = "0.2.0", policy: str = "2026", **changes: object) -> RunningWorker:
    """A second worker, without lag, that differs in this from the first."""
    identity = replace(WORKER.identity, id=UUID(int=8), version=version, policy_version=policy)
    return replace(WORKER, **({"identity": identity, "lag": {}} | changes))  # type: ignore[arg-type] # by name


def with_topic_warning() -> Status:
    """A setting of a topic by which messages may be lost; both workers found it."""
    identity = replace(WORKER.identity, topic_warnings=["identity.logins is compacted"])
    return with_workers(another(identity=identity), another(identity=identity))


CASES = {
    "no loop relay": (
        replace(
            QUIET,
            workers=[
                replace(WORKER, identity=replace(WORKER.identity, loops=ALL_LOOPS[:2])),
                another(identity=replace(WORKER.identity, loops=ALL_LOOPS[3:])),
            ],
        ),
        Severity.WRONG,
        "no worker runs: relay",
    ),
    "silent worker": (
        with_workers(
            another(silent_for=timedelta(minutes=5), not_ready=["the worker is starting"])
        ),
        Severity.ATTENTION,
        "the worker 00000000 on host-1 has not written its row for",
    ),
    "not ready": (
        with_workers(another(not_ready=["consumer facts-1: has no partitions"])),
        Severity.WRONG,
        "is not ready: consumer facts-1: has no partitions",
    ),
    "lag": (
        with_workers(another(lag={"facts": {"a": 4_001, "d": 0}})),
        Severity.ATTENTION,
        "10001 records of the group facts wait, 5001 in a, 5000 in b:",
    ),
    "topic": (with_topic_warning(), Severity.ATTENTION, "topics: identity.logins is compacted"),
    "versions": (
        with_workers(another(version="0.3.0")),
        Severity.ATTENTION,
        "workers of 2 versions run: 0.2.0, 0.3.0",
    ),
    "policies": (
        with_workers(another(policy="2027")),
        Severity.ATTENTION,
        "workers use 2 policies: 2026, 2027",
    ),
    "a worker's clock ahead": (
        with_workers(another(clock_ahead=timedelta(minutes=2))),
        Severity.ATTENTION,
        "the clock of the worker 00000000 on host-1 is 2 minutes ahead of the database's",
    ),
    "a worker's clock behind": (
        with_workers(another(clock_ahead=-timedelta(minutes=2))),
        Severity.ATTENTION,
        "2 minutes behind the database's",
    ),
    "unmerged": (
        replace(QUIET, unmerged=2 * UNMERGED_MAX + 1),
        Severity.ATTENTION,
        "rows of state_changes are not merged",
    ),
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


def test_no_running_worker_is_one_finding() -> None:
    """Where one has ended without a word, that is another."""
    silent = replace(QUIET, workers=[another(silent_for=timedelta(minutes=5))])
    assert [each.sentence for each in findings(replace(QUIET, workers=[]))] == ["no worker runs"]
    assert len(findings(silent)) == 2


def test_a_database_that_cannot_be_read_is_a_finding() -> None:
    """With its reason, and a heading of the runbook."""
    found = unreachable("the database lacks 0019_workers: run `marketplace-worker migrate`")
    assert found.severity is Severity.WRONG
    assert "migrate" in found.sentence
    assert re.search(rf"^#+ {re.escape(found.runbook)}$", RUNBOOK, re.MULTILINE)


def test_every_finding_that_the_source_makes_has_a_case() -> None:
    """By its place in the source; a new finding needs a case here."""
    source = Path(inspect.getfile(findings)).read_text(encoding="utf-8")
    reached = {said(each) for status, _, _ in CASES.values() for each in findings(status)}
    subjects = {each.partition(":")[0] for each in reached}
    written = set(re.findall(r"Finding\(\s*Severity\.\w+,\s*\"([^\"]+)\"", source))
    assert written <= subjects | {"database"}
    assert source.count("yield Finding(") <= len(reached)


def test_what_is_wrong_comes_before_what_needs_attention() -> None:
    """An operator reads from the top."""
    both = replace(CASES["dead letters"][0], fleet=with_guard(trip=TRIP).fleet)
    assert [each.severity for each in findings(both)] == [Severity.WRONG, Severity.ATTENTION]
