"""A minute of real time without Kafka and one without Postgres, in two groups of workers."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import servers
from faults.kafka_faults import KafkaServer
from faults.postgres_faults import PostgresServer, postgres_server
from faults.worker_cluster import (
    GROWN,
    chance_of_this_run,
    first_days,
    require_as_simulated,
    settings_of,
    staging,
    worker_cluster,
)
from faults.workers import FaultStage
from faults.workload import Workload
from faults.workload_sender import advance, send_in_pieces, until_settled
from marketplace_worker.app import Loop

pytestmark = pytest.mark.faults

MINUTE_S = 60
ORGANIZATIONS = 40
PIECE = 100
LINES_MAX = 1_000
"""The most log lines a fleet may write per minute of waiting: without pauses it would be
thousands.
"""


@pytest.fixture
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PostgresServer]:
    """A Postgres for each test."""
    async with postgres_server(tmp_path_factory.mktemp("own") / "postgres") as server:
        yield server


@pytest.fixture
async def first(
    pytestconfig: pytest.Config, broker: KafkaServer, postgres_dsn: str, tmp_path: Path
) -> AsyncIterator[FaultStage]:
    """A stage on this Kafka."""
    folder = _made(tmp_path / "first")
    choice = pytestconfig.stash[servers.CHOICE]
    settings = settings_of(choice, folder, kafka=broker.address, dsn=postgres_dsn)
    async with staging(settings, folder) as stage:
        yield stage


@pytest.fixture
async def second(
    pytestconfig: pytest.Config, kafka_bootstrap: str, server: PostgresServer, tmp_path: Path
) -> AsyncIterator[FaultStage]:
    """A stage on this Postgres."""
    folder = _made(tmp_path / "second")
    choice = pytestconfig.stash[servers.CHOICE]
    settings = settings_of(choice, folder, kafka=kafka_bootstrap, dsn=server.dsn)
    async with staging(settings, folder) as stage:
        yield stage


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


async def test_after_a_minute_without_a_server_work_resumes_by_itself(
    first: FaultStage,
    broker: KafkaServer,
    second: FaultStage,
    server: PostgresServer,
    tmp_path: Path,
) -> None:
    """No worker is restarted, and the pauses grow so that the log stays readable."""
    workload_ = first_days(chance_of_this_run(), ORGANIZATIONS)
    await asyncio.gather(
        _without_kafka(first, broker, workload_, tmp_path / "first"),
        _without_postgres(second, server, workload_, tmp_path / "second"),
    )
    await require_as_simulated(first, workload_)
    await require_as_simulated(second, workload_)


async def _without_kafka(
    stage: FaultStage, broker: KafkaServer, workload_: Workload, folder: Path
) -> None:
    """Deadlines become due meanwhile: their messages wait in the outbox."""
    story = send_in_pieces(stage, workload_, of=len(workload_.messages))
    async with worker_cluster(stage, folder) as workers:
        await advance(story, 1)
        await until_settled(stage)
        await broker.kill()
        due_at = await stage.next_due_at()
        assert due_at is not None
        assert due_at < workload_.waves[1].at
        stage.clock_file.move(due_at)
        await asyncio.sleep(MINUTE_S)
        await workers.waits("loop_waiting", "Kafka at", times=GROWN, loop=Loop.RELAY)
        assert not await stage.everything_sent()
        await broker.start()
        await advance(story)
        workers.require_alive()
        assert len(workers.lines("loop_waiting")) < LINES_MAX


async def _without_postgres(
    stage: FaultStage, server: PostgresServer, workload_: Workload, folder: Path
) -> None:
    """Messages arrive meanwhile: they are not ingested."""
    story = send_in_pieces(stage, workload_, of=PIECE)
    async with worker_cluster(stage, folder) as workers:
        await advance(story, 1)
        await until_settled(stage)
        await server.kill()
        await advance(story, 1)
        await asyncio.sleep(MINUTE_S)
        await workers.ingest_waits("Connect", times=GROWN)
        waiting = workers.lines("ingest_waiting", "loop_waiting")
        await server.start()
        await advance(story)
        workers.require_alive()
        workers.require_growing_pauses()
        assert len(waiting) < LINES_MAX
