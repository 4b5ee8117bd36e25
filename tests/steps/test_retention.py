"""Retention deletes old rows, and the remaining journal can still be replayed."""

import pytest
import structlog

from acceptance.scenario import at, created
from acceptance.stage import MovableClock
from marketplace_worker.errors import Misconfigured
from marketplace_worker.inspection.fleet_view import Inspector
from marketplace_worker.inspection.replaying import as_of
from marketplace_worker.lifecycle.vocabulary import OrganizationId
from marketplace_worker.record import Record
from marketplace_worker.runtime.worker import Worker
from marketplace_worker.settings import Retention
from marketplace_worker.steps import retention
from marketplace_worker.steps.ingest import ingest
from marketplace_worker.steps.retention import retain
from marketplace_worker.store.database import Pool
from steps.story_beginnings import (
    canceled,
    ingest_lines,
    login,
    move_to_day,
    records,
    states,
    support,
    wait,
)
from steps.test_replaying import differences, lives

LATER = 5_000
RETENTION = Retention(journal_days=4_900, dead_letters_days=4_880)
"""Counted back from day 5,000: the journal up to day 100, dead letters up to day 120."""


async def retained(worker: Worker, clock: MovableClock, day: float) -> list[int]:
    """The rows that each batch deletes on a day, until none is left to delete."""
    await move_to_day(worker, clock, day)
    gone = []
    while rows := await retain(worker, RETENTION):
        gone.append(rows)
    return gone


@pytest.mark.parametrize("rows_max", [1, 7, 1_000])
async def test_what_is_left_folds_to_the_same(
    worker: Worker,
    clock: MovableClock,
    inspector: Inspector,
    monkeypatch: pytest.MonkeyPatch,
    rows_max: int,
) -> None:
    """In batches of any size, whose borders cut histories in two."""
    monkeypatch.setattr(retention, "ROWS_MAX", rows_max)
    await lives(worker, clock)
    before = await states(worker)
    assert await worker.pool.fetchval("SELECT count(*) FROM journal") > 20

    for day in (4_901, 4_903.05, 4_910, 4_940, LATER):
        await retained(worker, clock, day)
        assert await differences(inspector) == []

    assert await worker.pool.fetchval("SELECT count(*) FROM journal") == 0
    assert await worker.pool.fetchval("SELECT count(*) FROM decisions") == 0
    assert await states(worker) == before


async def test_the_chain_goes_on_from_what_was_let_go(
    worker: Worker, clock: MovableClock, inspector: Inspector, owner: Pool
) -> None:
    """Later rows are chained to it, and a later removal of rows is detected."""
    await ingest_lines(worker, clock, *canceled("acme"))
    await retained(worker, clock, LATER)
    clock.now = at(1)
    await ingest_lines(worker, clock, support(2, "place_hold", "acme", kind="legal"))
    await ingest_lines(worker, clock, support(3, "release_hold", "acme", kind="legal"))
    assert await differences(inspector) == []

    await owner.execute("DELETE FROM journal WHERE message_id LIKE 'place_hold%'")

    assert await differences(inspector)


async def test_what_is_young_stays(worker: Worker, clock: MovableClock) -> None:
    """Exactly by the day."""
    await ingest_lines(
        worker, clock, created(0, "old"), created(60, "middle"), created(101, "young")
    )

    await retained(worker, clock, LATER)

    rows = await worker.pool.fetch("SELECT organization_id FROM journal")
    assert [row["organization_id"] for row in rows] == ["young"]


def unreadable(*days: float) -> list[Record]:
    """A record for each day that nobody can read."""
    return [
        Record("identity.logins", 0, number, at(day), b"k", b"no JSON")
        for number, day in enumerate(days)
    ]


async def test_old_dead_letters_leave_whatever_became_of_them(
    worker: Worker, clock: MovableClock
) -> None:
    """They have their own setting."""
    for each in unreadable(10, 110, 130):
        clock.now = each.recorded_at
        await ingest([each], worker)

    await retained(worker, clock, LATER)

    rows = await worker.pool.fetch('SELECT "offset" FROM dead_letters')
    assert [row["offset"] for row in rows] == [2]


async def test_what_was_tampered_with_is_not_let_go(
    worker: Worker, clock: MovableClock, owner: Pool
) -> None:
    """The rows are evidence; an operator gets an error."""
    await ingest_lines(worker, clock, *canceled("acme"))
    await owner.execute("UPDATE journal SET outcome = 'stale'")
    await move_to_day(worker, clock, LATER)

    with structlog.testing.capture_logs() as lines:
        assert await retain(worker, RETENTION) == 0

    assert [each["log_level"] for each in lines] == ["error"]
    assert await worker.pool.fetchval("SELECT count(*) FROM journal") == 3


async def test_one_worker_at_a_time_lets_go(worker: Worker, clock: MovableClock) -> None:
    """The others find nothing to do, and do not wait."""
    await ingest_lines(worker, clock, *canceled("acme"))
    await move_to_day(worker, clock, LATER)

    async with worker.pool.acquire() as conn, conn.transaction():
        await conn.execute("SELECT pg_advisory_xact_lock(73021, 0)")
        assert await retain(worker, RETENTION) == 0
    assert await retain(worker, RETENTION) == 3


async def test_a_message_counts_once_for_as_long_as_its_row_stays(
    worker: Worker, clock: MovableClock
) -> None:
    """The horizon of the inbox; beyond it the registers still know what was reported."""
    lines = [*canceled("acme"), support(2, "extend_grace", "acme", days=5)]
    await ingest_lines(worker, clock, *lines)
    query = "SELECT count(*) FROM outbox WHERE topic = 'organizations.lifecycle'"
    before = await worker.pool.fetchval(query)
    again = records(*lines)

    await ingest(again, worker)
    assert await worker.pool.fetchval(query) == before

    await retained(worker, clock, LATER)
    clock.now = at(3)
    await ingest(again[:-1], worker)
    assert await worker.pool.fetchval(query) == before
    assert (await states(worker))["acme"] == "canceled"


async def test_deleted_history_cannot_be_shown(
    worker: Worker, clock: MovableClock, inspector: Inspector
) -> None:
    """The message names the first moment that can be shown."""
    await ingest_lines(worker, clock, *canceled("acme"), login(99, "acme"))
    await wait(worker, clock, until=20)
    await retained(worker, clock, LATER)

    with pytest.raises(Misconfigured, match="2026-04-10"):
        await as_of(inspector, OrganizationId("acme"), at(0.5))
    sight = await as_of(inspector, OrganizationId("acme"), at(LATER))
    assert sight.organizations[0].creation is not None
