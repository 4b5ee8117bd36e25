"""Postgres is killed, refuses, is locked, full or moved: work waits, and is done exactly once."""

import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack
from functools import partial
from pathlib import Path

import pytest

import servers
from faults.postgres_faults import PostgresServer, postgres_server, small_disk, standby_of
from faults.proxy import Fate, proxying
from faults.worker_cluster import (
    GROWN,
    WorkerCluster,
    chance_of_this_run,
    first_days,
    require_as_simulated,
    settings_of,
    staging,
    through,
    worker_cluster,
)
from faults.workers import CONSUMERS, FaultStage, eventually, lines, worker
from faults.workload_sender import advance, send_in_pieces, until_settled
from marketplace_worker.app import Loop

pytestmark = pytest.mark.faults

ORGANIZATIONS = 40
PIECE = 16
COMMITS_LOST = 6
WAITS_EACH = 2
PIECES_WHILE_CUT = 5
CUT = (Loop.INGEST, Loop.DEADLINES, Loop.RELAY)


@pytest.fixture
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PostgresServer]:
    """A Postgres for each test."""
    async with postgres_server(tmp_path_factory.mktemp("own") / "postgres") as server:
        yield server


@pytest.fixture
async def stage(
    pytestconfig: pytest.Config, kafka_bootstrap: str, server: PostgresServer, tmp_path: Path
) -> AsyncIterator[FaultStage]:
    """A stage on this server."""
    choice = pytestconfig.stash[servers.CHOICE]
    settings = settings_of(choice, tmp_path, kafka=kafka_bootstrap, dsn=server.dsn)
    async with staging(settings, tmp_path) as stage:
        yield stage


async def test_work_waits_while_postgres_is_read_only_locked_or_stalled(
    stage: FaultStage, server: PostgresServer, tmp_path: Path
) -> None:
    """The ingest loop keeps its batch and retries with growing pauses; no worker is restarted."""
    workload_ = first_days(chance_of_this_run(), ORGANIZATIONS)
    story = send_in_pieces(stage, workload_, of=PIECE)
    async with worker_cluster(
        stage, tmp_path, variables=through(dsn=server.proxied_dsn)
    ) as workers:
        await advance(story, 2)
        await until_settled(stage)

        await server.configure("default_transaction_read_only", "on")
        await advance(story, 1)
        await workers.ingest_waits("ReadOnlySQLTransactionError", times=GROWN)
        await server.configure("default_transaction_read_only", None)
        await until_settled(stage)

        async with server.holding("LOCK TABLE journal IN ACCESS EXCLUSIVE MODE"):
            await advance(story, 1)
            await workers.ingest_waits("LockNotAvailableError: canceling statement due to")
        await until_settled(stage)

        async with server.holding("SELECT FROM organizations FOR UPDATE"):
            seen = len(workers.lines("ingest_waiting"))
            await advance(story, 2)
            await eventually(lambda: _more_than(workers, seen))
        await until_settled(stage)

        server.proxy.stall()
        await advance(story, 1)
        await workers.waits("loop_waiting", "TimeoutError", loop=Loop.DEADLINES)
        await workers.waits("loop_waiting", "TimeoutError", loop=Loop.RELAY)
        await workers.waits("batch_given_back", "TimeoutError")
        server.proxy.flow()
        await until_settled(stage)

        await advance(story)
        workers.require_alive()
        workers.require_growing_pauses()
    await require_as_simulated(stage, workload_)


async def _more_than(workers: WorkerCluster, seen: int) -> bool:
    return len(workers.lines("ingest_waiting")) > seen


async def test_a_worker_that_loses_a_deadlock_retries_its_batch(
    stage: FaultStage, server: PostgresServer, tmp_path: Path
) -> None:
    """Another session locks in the opposite order."""
    workload_ = first_days(chance_of_this_run(), ORGANIZATIONS)
    story = send_in_pieces(stage, workload_, of=PIECE)
    async with worker_cluster(stage, tmp_path) as workers:
        await advance(story, 2)
        await until_settled(stage)
        for deadlocks in range(1, 3):
            async with server.session() as session:
                await session.execute(
                    "SET deadlock_timeout = '1min'"
                )  # so the worker is the victim
                async with session.transaction():
                    await session.execute("LOCK TABLE activity IN EXCLUSIVE MODE")
                    await advance(story, 1)
                    await eventually(lambda: server.waits_in_order("organizations", "activity"))
                    await session.execute("LOCK TABLE organizations IN EXCLUSIVE MODE")
            await workers.ingest_waits("DeadlockDetectedError")
            await until_settled(stage)
            picked = await server.deadlocks()
            assert picked >= deadlocks
        await advance(story)
        workers.require_alive()
    await require_as_simulated(stage, workload_)


async def test_cut_connections_and_lost_answers_to_commit_change_nothing(
    stage: FaultStage, server: PostgresServer, tmp_path: Path
) -> None:
    """A batch that was committed although the answer was lost is recognized by the journal."""
    chance = chance_of_this_run()
    workload_ = first_days(chance, ORGANIZATIONS)
    story = send_in_pieces(stage, workload_, of=PIECE)
    async with AsyncExitStack() as stack:
        proxies = {each: await stack.enter_async_context(proxying(server.port)) for each in CUT}
        logs = {each: tmp_path / f"{each}.log" for each in CUT}
        processes = []
        for loop, proxy in proxies.items():
            dsn = server.dsn.replace(f":{server.port}/", f":{proxy.port}/")
            processes.append(
                await stack.enter_async_context(
                    worker(stage, logs[loop], loops=[loop], variables=through(dsn=dsn))
                )
            )
        await WorkerCluster(processes, list(logs.values())).started()
        await advance(story, 1)
        await until_settled(stage)
        lost = Counter[Loop]()
        for loop, proxy in proxies.items():
            proxy.judge = partial(_judge, chance, loop, lost)
        while lost[Loop.INGEST] < COMMITS_LOST or not _all_were_cut(logs[Loop.INGEST]):
            await advance(story, 1)
            proxies[chance.choice(CUT)].cut_one(chance)
            await until_settled(stage)
            await server.cut_sessions()
        await advance(story, PIECES_WHILE_CUT)
        for proxy in proxies.values():
            proxy.heal()
        await advance(story)
        print(f"answers to COMMIT lost: {dict(lost)}; cut: {[p.cuts for p in proxies.values()]}")
        again = [
            line
            for line in lines(logs[Loop.INGEST], "batch_ingested")
            if line["duplicates"] and not line["outcomes"]
        ]
        assert again, "committed batches were delivered again, and recognized"
    await require_as_simulated(stage, workload_)


def _all_were_cut(log: Path) -> bool:
    """Whether each consumer of a worker had to retry batches, and more than once."""
    waited = Counter(line["consumer"] for line in lines(log, "ingest_waiting"))
    return all(waited[consumer] >= WAITS_EACH for consumer in CONSUMERS)


def _judge(chance: random.Random, loop: Loop, lost: Counter[Loop], sent: bytes) -> Fate:
    """A transaction on a new connection is about fifty requests, some of which are cut as well."""
    often = 0.33 if loop is Loop.INGEST else 0.1
    if b"COMMIT;" in sent and chance.random() < often:
        lost[loop] += 1
        return Fate.CUT_AFTER
    if chance.random() < 0.005:
        return chance.choice((Fate.CUT_BEFORE, Fate.CUT_AFTER))
    return Fate.PASS


async def test_work_waits_while_the_disk_is_full(
    stage: FaultStage, server: PostgresServer, tmp_path: Path
) -> None:
    """The journal is on a small file system, which is full for a while."""
    workload_ = first_days(chance_of_this_run(), ORGANIZATIONS)
    story = send_in_pieces(stage, workload_, of=PIECE)
    with ExitStack() as stack:
        try:
            disk = stack.enter_context(small_disk(owner=server.folder / "data"))
        except PermissionError as refused:
            pytest.skip(f"a small file system cannot be mounted here: {refused}")
        await server.execute(f"CREATE TABLESPACE small LOCATION '{disk.space}'")
        await server.execute("ALTER TABLE journal SET TABLESPACE small")
        async with worker_cluster(stage, tmp_path) as workers:
            await advance(story, 1)
            await until_settled(stage)
            for _ in range(2):
                disk.fill()
                await advance(story, 4)
                await workers.ingest_waits("DiskFullError", times=GROWN)
                disk.clear()
                await until_settled(stage)
            await advance(story)
            workers.require_alive()
            workers.require_growing_pauses()
        await require_as_simulated(stage, workload_)
        await server.execute("ALTER TABLE journal SET TABLESPACE pg_default")
        await server.execute("DROP TABLESPACE small")


async def test_workers_follow_postgres_to_another_address(
    pytestconfig: pytest.Config,
    kafka_bootstrap: str,
    server: PostgresServer,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """First a planned switchover, where the old server stays up, read-only; then a SIGKILL, and
    back to the first address.  The standby has all commits, because commits wait for it.
    """
    workload_ = first_days(chance_of_this_run(), ORGANIZATIONS)
    homes = tmp_path_factory.mktemp("standbys")
    async with AsyncExitStack() as stack:
        second = await stack.enter_async_context(standby_of(server, homes / "second"))
        address, other = (f"127.0.0.1:{port}" for port in (server.port, second.port))
        dsn = server.dsn.replace(address, f"{address},{other}")
        dsn += "?target_session_attrs=read-write"
        choice = pytestconfig.stash[servers.CHOICE]
        settings = settings_of(choice, tmp_path, kafka=kafka_bootstrap, dsn=dsn)
        stage = await stack.enter_async_context(staging(settings, tmp_path))
        story = send_in_pieces(stage, workload_, of=PIECE)
        async with worker_cluster(stage, tmp_path) as workers:
            await advance(story, 2)
            await until_settled(stage)

            await advance(story, 2)
            await server.configure("default_transaction_read_only", "on")
            await workers.ingest_waits("Postgres", times=2)
            await second.execute("SELECT pg_promote()")
            await stage.pool.expire_connections()  # otherwise read-only connections would stay
            await until_settled(stage)
            await server.stop()
            await second.configure("synchronous_standby_names", None)
            await advance(story, 2)
            await until_settled(stage)

            back = standby_of(second, homes / "first", port=server.port)
            first = await stack.enter_async_context(back)
            await advance(story, 2)
            await second.kill()
            await workers.ingest_waits("Connect")
            await first.execute("SELECT pg_promote()")
            await first.configure("synchronous_standby_names", None)
            await until_settled(stage)

            await advance(story)
            workers.require_alive()
        await require_as_simulated(stage, workload_)
