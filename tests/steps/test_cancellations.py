"""Many cancellations at once are reported, but none is withheld."""

from dataclasses import replace

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from acceptance.scenario import created
from acceptance.stage import MovableClock
from marketplace_worker.lifecycle.policy import Guard, Policy
from marketplace_worker.runtime.cancellation_alarm import CancellationAlarm
from marketplace_worker.runtime.worker import Worker
from marketplace_worker.store.policies import PolicyBook
from steps.story_beginnings import canceled, ingest_lines, states

MOST = 3
MANY = "many_organizations_canceled"


@pytest.fixture
def few(worker: Worker) -> Worker:
    """A worker whose policy reports more than three cancellations per hour."""
    return replace(worker, policies=PolicyBook(replace(Policy(), guard=Guard(minimum=MOST))))


async def cancel(worker: Worker, clock: MovableClock, *names: str) -> list[tuple[object, object]]:
    """Cancel organizations; returns the log lines at `error` as (canceled, limit)."""
    with capture_logs() as lines:
        for name in names:
            await ingest_lines(worker, clock, *canceled(name))
    return [(line["canceled"], line["limit"]) for line in lines if line["event"] == MANY]


def reported() -> float:
    """The metric."""
    return REGISTRY.get_sample_value("marketplace_worker_mass_cancellations_total") or 0


async def test_the_first_past_the_limit_is_reported_once_and_nothing_is_withheld(
    few: Worker, clock: MovableClock
) -> None:
    """A person can check a faulty feed before steps become due; the cancellations stay in force."""
    before = reported()

    assert await cancel(few, clock, "a", "b", "c") == []
    assert await cancel(few, clock, "d") == [(4, 3)]
    assert await cancel(few, clock, "e", "f") == []

    assert reported() == before + 1
    assert set((await states(few)).values()) == {"canceled"}


async def test_other_workers_cancellations_count(few: Worker, clock: MovableClock) -> None:
    """Each worker processes some partitions; the history has the decisions of all workers."""
    other = replace(few, alarm=CancellationAlarm())

    assert await cancel(few, clock, "a", "b") == []
    assert await cancel(other, clock, "c") == []
    assert await cancel(few, clock, "d") == [(4, 3)]


async def test_a_larger_fleet_may_lose_more(worker: Worker, clock: MovableClock) -> None:
    """The limit is that of destructive steps: a fraction of the fleet, if that is more."""
    half = PolicyBook(replace(Policy(), guard=Guard(minimum=1, fraction=0.5)))
    worker = replace(worker, policies=half)
    await ingest_lines(worker, clock, *(created(0, name) for name in "abcdef"))

    assert await cancel(worker, clock, "a", "b", "c") == []
    assert await cancel(worker, clock, "d") == [(4, 3)]
