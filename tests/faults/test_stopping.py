"""SIGTERM at any moment: not ready at once, exit status 0 within ten seconds, nothing lost."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from acceptance.probed_worker import ProbedStage, stopped
from acceptance.stage import PATIENCE_S, until, worker_process
from faults.proxy import Fate

pytestmark = pytest.mark.faults


@asynccontextmanager
async def silent_to(probed: ProbedStage, *servers: str) -> AsyncIterator[None]:
    """While inside, these servers do not answer, and a worker waits for each."""
    with ExitStack() as stack:
        if "Kafka" in servers:
            stack.enter_context(probed.silent_broker())
            await probed.stage.pool.execute(
                "INSERT INTO outbox (shard, topic, value, headers, written_at)"
                " VALUES (0, $1, 'unsent', '[]', now())",
                probed.settings.topics.dead_letters,
            )
            await until(lambda: relay_sends(probed))
        if "Postgres" in servers:
            stack.callback(probed.postgres.heal)
            await postgres_falls_silent(probed)
        yield


async def postgres_falls_silent(probed: ProbedStage, *, at: bytes = b"") -> None:
    """Stall Postgres when a worker has sent these bytes; returns when the worker waits for the
    answer.
    """
    fell_silent = asyncio.Event()

    def silent_from_here(chunk: bytes) -> Fate:
        if at in chunk:
            probed.postgres.stall()
            fell_silent.set()
        return Fate.PASS

    probed.postgres.judge = silent_from_here
    await asyncio.wait_for(fell_silent.wait(), PATIENCE_S)


async def relay_sends(probed: ProbedStage) -> bool:
    """Whether a relay leads a shard, as it does while it sends."""
    query = (
        "SELECT EXISTS (SELECT FROM pg_locks JOIN pg_database AS d ON d.oid = database"
        " WHERE classid = 73019 AND d.datname = current_database())"
    )
    return bool(await probed.stage.pool.fetchval(query))


async def unreadable(probed: ProbedStage, count: int) -> None:
    """Send records that become dead letters, and so outbox rows: every loop has work."""
    topic = probed.settings.topics.organization_changes
    for _ in range(count):
        await probed.stage.producer.send_and_wait(topic, b"unreadable")


async def test_a_batch_that_cannot_finish_in_time_is_abandoned_and_redelivered(
    probed: ProbedStage, postgres_dsn: str, tmp_path: Path
) -> None:
    """It waits for a lock until the stop's time limit; then its transaction rolls back."""
    log, pool = tmp_path / "log", probed.stage.pool

    async def batch_waits_for_the_lock() -> bool:
        query = (
            "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            " AND datname = current_database() AND query LIKE '%INSERT INTO dead_letters%')"
        )
        return bool(await pool.fetchval(query))

    async with worker_process(probed.settings, log) as worker:
        await until(probed.ready)
        owner = await asyncpg.connect(postgres_dsn)
        async with owner.transaction():
            await owner.execute("LOCK TABLE dead_letters")
            await unreadable(probed, 1)
            await until(batch_waits_for_the_lock)
            stopping = asyncio.create_task(stopped(worker))
            await until(lambda: probed.replies("/readyz", "the worker is stopping"))
            assert await probed.answered("/livez") == 200
            assert await stopping == 0
        await owner.close()
    assert "batch_given_up" in log.read_text()
    assert await pool.fetchval("SELECT count(*) FROM dead_letters") == 0

    async def is_ingesting() -> bool:
        return bool(await pool.fetchval("SELECT count(*) FROM dead_letters") == 1)

    async with worker_process(probed.settings, log):
        await until(is_ingesting)
        await until(probed.stage.everything_sent)


@pytest.mark.parametrize("silent", [("Kafka",), ("Postgres",), ("Kafka", "Postgres")])
async def test_a_stop_does_not_wait_for_a_silent_server(
    probed: ProbedStage, silent: tuple[str, ...], tmp_path: Path
) -> None:
    """Connections stay open without an answer: every wait needs a time limit."""
    async with worker_process(probed.settings, tmp_path / "log") as worker:
        await until(probed.ready)
        async with silent_to(probed, *silent):
            assert await stopped(worker) == 0


@pytest.mark.parametrize("silent", ["Kafka", "Postgres"])
async def test_a_start_that_waits_for_a_server_can_be_stopped(
    probed: ProbedStage, silent: str, tmp_path: Path
) -> None:
    """The start waits for a silent server; the probes report that it is alive and starting."""
    with probed.silent_broker() if silent == "Kafka" else probed.silent_postgres():
        async with worker_process(probed.settings, tmp_path / "log") as worker:
            await until(lambda: probed.replies("/readyz", "the worker is starting"))
            assert await probed.answered("/livez") == 200
            assert await stopped(worker) == 0
    assert "while_starting" in (tmp_path / "log").read_text()


async def test_a_start_can_be_stopped_if_postgres_falls_silent_during_it(
    probed: ProbedStage, tmp_path: Path
) -> None:
    """A transaction is open without an answer: its connection must be cut."""
    async with worker_process(probed.settings, tmp_path / "log") as worker:
        await postgres_falls_silent(probed, at=b"INSERT INTO policies")
        assert await stopped(worker) == 0


async def test_a_start_can_be_stopped_while_it_joins_its_groups(
    probed: ProbedStage, tmp_path: Path
) -> None:
    """At each line of the log."""
    log = tmp_path / "log"
    for event in ("policy_registered", "producer_started", "partitions_assigned"):
        log.write_text("")

        async def is_logged(event: str = event) -> bool:
            return event in log.read_text()

        async with worker_process(probed.settings, log) as worker:
            await until(is_logged)
            assert await stopped(worker) == 0
