"""A batch that times out is split until the record at fault is found."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from acceptance.scenario import at, created
from acceptance.stage import MovableClock
from marketplace_worker.errors import TookTooLong, Unavailable
from marketplace_worker.runtime.batch_sizing import TIMES, BatchSizer
from marketplace_worker.runtime.worker import Worker
from marketplace_worker.settings import Postgres
from marketplace_worker.steps.ingest import ingest
from marketplace_worker.store.database import Pool, connecting
from steps.story_beginnings import records, states

BATCH = [f"org-{number}" for number in range(30)]

SLOW_WHERE = """
CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS
    $$BEGIN PERFORM pg_sleep(60); RETURN NEW; END$$;
CREATE TRIGGER slow BEFORE INSERT ON journal FOR EACH ROW WHEN (%s) EXECUTE FUNCTION wait()
"""


@pytest.fixture
async def hurried(worker: Worker, postgres_dsn: str) -> AsyncIterator[Worker]:
    """A worker whose statements have little more than half a second."""
    settings = Postgres(dsn=SecretStr(postgres_dsn), statement_timeout_ms=600)
    async with connecting(settings) as pool:
        yield replace(worker, pool=pool)


async def _ingested(worker: Worker, pace: BatchSizer) -> int:
    """Ingest the batch at each delivery; returns how often it timed out."""
    slow = 0
    for _ in range(20):
        try:
            await ingest(records(*(created(0, each) for each in BATCH)), worker, pace)
        except TookTooLong:
            slow += 1
        else:
            return slow
    pytest.fail("the batch comes again without end")


async def test_a_record_on_which_postgres_is_too_slow_is_parked_and_its_neighbours_are_ingested(
    hurried: Worker, owner: Pool, clock: MovableClock
) -> None:
    """Like a record that meets a bug; it can be redriven when the cause is fixed."""
    clock.now = at(1)
    await owner.execute(SLOW_WHERE % "NEW.message_id LIKE '%org-17-%'")
    pace = BatchSizer()
    with capture_logs() as logs:
        slow = await _ingested(hurried, pace)
    assert slow <= 3 * TIMES
    assert set(await states(hurried)) == set(BATCH) - {"org-17"}
    letters = await hurried.pool.fetch("SELECT reason, value FROM dead_letters")
    assert [each["reason"] for each in letters] == ["marketplace-worker failed on it: TookTooLong"]
    assert letters[0]["value"] is not None
    assert [each["event"] for each in logs if each["log_level"] == "error"] == ["record_failed"]
    assert pace.rows > 1, "later rows are processed in larger parts"


async def test_where_only_the_whole_batch_takes_too_long_its_parts_are_ingested(
    hurried: Worker, owner: Pool, clock: MovableClock
) -> None:
    """Nothing is parked."""
    clock.now = at(1)
    a_bit = SLOW_WHERE.replace("pg_sleep(60)", "pg_sleep(0.03)")
    await owner.execute(a_bit % "true")
    assert await _ingested(hurried, BatchSizer()) >= TIMES
    assert set(await states(hurried)) == set(BATCH)
    assert await hurried.pool.fetchval("SELECT count(*) FROM dead_letters") == 0


async def test_who_waits_for_a_lock_is_not_to_blame(
    hurried: Worker, owner: Pool, clock: MovableClock
) -> None:
    """However long the lock is held; the batch is ingested when it is free."""
    clock.now = at(1)
    pace = BatchSizer()
    batch = records(*(created(0, each) for each in BATCH))
    async with owner.acquire() as stranger, stranger.transaction():
        await stranger.execute("LOCK journal")
        for _ in range(4 * TIMES):
            with pytest.raises(Unavailable, match="lock timeout"):
                await ingest(batch, hurried, pace)
    await ingest(batch, hurried, pace)
    assert set(await states(hurried)) == set(BATCH)
    assert await hurried.pool.fetchval("SELECT count(*) FROM dead_letters") == 0
