"""The row of a worker that runs, for `status` and the console."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from marketplace_worker.clock import system_clock
from marketplace_worker.inspection.fleet_view import Inspector
from marketplace_worker.inspection.status import read_status
from marketplace_worker.lifecycle.policy import Guard, Policy
from marketplace_worker.operations.health import Health
from marketplace_worker.runtime import presence
from marketplace_worker.runtime.presence import OwnRow
from marketplace_worker.runtime.worker import Worker
from marketplace_worker.store import policies, workers
from marketplace_worker.store.database import Pool, one_moment, transaction
from marketplace_worker.store.floors import Floors
from marketplace_worker.store.policies import PolicyBook
from marketplace_worker.store.workers import RunningWorker, WorkerIdentity

IDENTITY = WorkerIdentity(
    UUID(int=1), "host-1", "0.2.0", ["deadlines", "relay"], "2026", ["identity.logins is compacted"]
)


def present(
    pool: Pool, identity: WorkerIdentity = IDENTITY, *, ahead: timedelta = timedelta(0)
) -> OwnRow:
    """A worker that is ready, whose machine's clock is ahead."""
    health = Health(silence_max_s=60, stopping=lambda: False)
    health.started = True
    return OwnRow(
        pool, identity, health, lambda: {"facts": {"t": 3}}, lambda: system_clock() + ahead
    )


async def rows(pool: Pool) -> Sequence[RunningWorker]:
    """The workers that run."""
    async with one_moment(pool) as conn:
        return await workers.read(conn)


async def test_a_worker_writes_its_row_and_deletes_it_when_it_stops(worker: Worker) -> None:
    """With all that status shows of it."""
    here = present(worker.pool, ahead=timedelta(minutes=5))
    await here.record()
    (row,) = await rows(worker.pool)
    assert row.identity == IDENTITY
    assert (row.not_ready, row.lag) == ([], {"facts": {"t": 3}})
    assert timedelta(minutes=4) < row.clock_ahead < timedelta(minutes=6)
    assert timedelta(0) <= row.silent_for < timedelta(minutes=1)
    await here.leave()
    assert await rows(worker.pool) == []


async def test_a_change_of_readiness_is_written_at_once(worker: Worker) -> None:
    """Otherwise the row is left alone until it is old."""
    here = present(worker.pool)
    await here.record()
    await worker.pool.execute("UPDATE workers SET lag = '{}'")
    await here.record()
    assert [each.lag for each in await rows(worker.pool)] == [{}]
    here.health.report("Postgres", not_ready_reason="does not \0answer")
    await here.record()
    (row,) = await rows(worker.pool)
    assert (row.not_ready, row.lag) == (["Postgres: does not answer"], {"facts": {"t": 3}})


async def test_an_old_row_is_written_again(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that its age tells whether the worker still runs."""
    here = present(worker.pool)
    await here.record()
    await worker.pool.execute("UPDATE workers SET seen_at = seen_at - interval '1 hour'")
    monkeypatch.setattr(presence, "RECORD_EVERY_S", 0.0)
    await here.record()
    (row,) = await rows(worker.pool)
    assert row.silent_for < timedelta(minutes=1)


async def test_the_row_of_a_worker_that_ended_without_a_word_goes_after_a_day(
    worker: Worker,
) -> None:
    """Another worker deletes it."""
    for number, age in enumerate(["25 hours", "23 hours"], start=2):
        other = WorkerIdentity(UUID(int=number), "host-2", "0.2.0", [], "2026")
        await present(worker.pool, other).record()
        await worker.pool.execute(
            f"UPDATE workers SET seen_at = seen_at - interval '{age}' WHERE id = $1", other.id
        )
    await present(worker.pool).record()
    assert {each.identity.id.int for each in await rows(worker.pool)} == {1, 3}


async def test_nothing_is_written_while_postgres_is_away(worker: Worker, owner: Pool) -> None:
    """And the worker goes on: its other loops report that."""
    here = present(worker.pool)
    await owner.execute("ALTER TABLE workers RENAME TO moved")
    assert await here.record() == 0
    await here.leave()
    await owner.execute("ALTER TABLE moved RENAME TO workers")
    await here.record()
    assert len(await rows(worker.pool)) == 1


async def test_status_judges_by_the_policy_that_the_workers_use(worker: Worker) -> None:
    """Not by the file of the machine that asks; where none runs, by the newest that was used."""
    old, new = Policy("old", guard=Guard(minimum=7)), Policy("new", guard=Guard(minimum=9))
    async with transaction(worker.pool) as conn:
        for number, policy in enumerate([old, new]):
            at = datetime(2100, 1, 1 + number, tzinfo=UTC)
            await policies.register(conn, policy, now=at)

    async def judged() -> int:
        async with one_moment(worker.pool) as conn:
            in_force = await policies.in_force(conn)
        assert in_force is not None
        inspector = Inspector(worker.pool, PolicyBook(in_force), system_clock())
        return (await read_status(inspector, system_clock(), Floors())).guard.minimum

    assert await judged() == 9
    await present(worker.pool, WorkerIdentity(UUID(int=4), "host", "0.2.0", [], "old")).record()
    assert await judged() == 7
