"""A lagging standby is promoted: its missing decisions are restored, and no wrong step is taken."""

import json
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

import servers
from acceptance.scenario import at, created, eventbridge, linked, support
from acceptance.stage import command
from faults.postgres_faults import PostgresServer, postgres_server, standby_of
from faults.worker_cluster import settings_of, staging
from faults.workers import FaultStage, eventually, lines, send, worker
from faults.workload_sender import until_settled

pytestmark = pytest.mark.faults

BY = ("--by", "olga", "--reason", "the standby lagged", "--execute", "--yes")


@pytest.fixture
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PostgresServer]:
    """A Postgres for each test."""
    async with postgres_server(tmp_path_factory.mktemp("own") / "postgres") as server:
        yield server


async def test_a_lagging_standby_is_promoted_and_no_wrong_step_is_taken(
    pytestconfig: pytest.Config,
    kafka_bootstrap: str,
    server: PostgresServer,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Acme was reinstated and globex deactivated in the lost interval.  The worker detects the loss
    and suspends nobody; the runbook restores both, with unused sequence numbers.
    """
    homes = tmp_path_factory.mktemp("standbys")
    async with AsyncExitStack() as stack:
        standby = await stack.enter_async_context(standby_of(server, homes / "second"))
        first, second = (f"127.0.0.1:{port}" for port in (server.port, standby.port))
        dsn = server.dsn.replace(first, f"{first},{second}") + "?target_session_attrs=read-write"
        choice = pytestconfig.stash[servers.CHOICE]
        settings = settings_of(choice, tmp_path, kafka=kafka_bootstrap, dsn=dsn)
        stage = await stack.enter_async_context(staging(settings, tmp_path))
        log = tmp_path / "before.log"
        async with worker(stage, log) as process:
            await _send_until_the_standby_lags(stage, server, standby)
            published = await _published(stage)

            await server.kill()
            await standby.execute("SELECT pg_promote()")
            await eventually(lambda: _logged(log, "database_set_back"))
            stage.clock_file.move(at(40))
            await until_settled(stage)
            assert await stage.states() == dict.fromkeys(("acme", "globex"), "control_plane_loss")
            process.terminate()  # a killed member would stay in its group for a while
            await process.wait()

        status, printed = await _run_command(
            stage, "guard", "release", "--by", "olga", "--reason", "why", "--yes"
        )
        assert status == 2
        assert "recover --from-restore" in printed
        await _set_groups_back(stage)
        status, printed = await _run_command(stage, "recover", "--from-restore", *BY)
        assert status == 0, printed
        assert "globex" in printed

        async with worker(stage, tmp_path / "after.log"):
            await until_settled(stage)
            await eventually(lambda: _stands(stage, acme="active", globex="control_plane_loss"))
            status, printed = await _run_command(stage, "recover", "--closed", "globex", *BY)
            assert status == 0, printed
            await until_settled(stage)
        assert await stage.states() == {"acme": "active", "globex": "deactivated"}
        status, printed = await _run_command(stage, "replay", "--verify")
        assert status == 0, printed
        _require_numbers_used_once(await _published(stage), published)


async def _send_until_the_standby_lags(
    stage: FaultStage, primary: PostgresServer, standby: PostgresServer
) -> None:
    await _send_at(stage, 0, created(0, "acme", tier="plus"), created(0, "globex", tier="plus"))
    for each in ("acme", "globex"):
        await _send_at(stage, 0.1, linked(0.1, each, "aws", f"agmt-{each}"))
        canceled = {"id": f"agmt-{each}", "status": "CANCELLED"}
        await _send_at(stage, 1, eventbridge(1, "Purchase Agreement Ended", canceled))
    stage.clock_file.move(at(5))
    await until_settled(stage)
    assert await stage.states() == dict.fromkeys(("acme", "globex"), "control_plane_loss")
    await primary.configure("synchronous_standby_names", None)
    await standby.configure("primary_conninfo", "")
    await eventually(lambda: _has_no_standby(primary))
    await _send_at(
        stage,
        6,
        linked(6, "acme", "aws", "agmt-again"),
        support(6, "deactivate_organization", "globex"),
    )
    assert await stage.states() == {"acme": "active", "globex": "deactivated"}


async def _send_at(stage: FaultStage, day: float, *sent: dict[str, Any]) -> None:
    """Send some lines of a scenario; returns when they are decided and published."""
    stage.clock_file.move(max(at(day), stage.clock_file.now))
    messages = [
        (each["topic"], _key(each["value"]), json.dumps(each["value"]).encode()) for each in sent
    ]
    await send(stage, messages, at=at(day))
    await until_settled(stage)


def _key(value: dict[str, Any]) -> bytes:
    return str(value.get("subject", "")).encode()


async def _has_no_standby(primary: PostgresServer) -> bool:
    async with primary.session() as session:
        return not await session.fetchval("SELECT count(*) FROM pg_stat_replication")


async def _logged(log: Path, event: str) -> bool:
    return bool(lines(log, event))


async def _stands(stage: FaultStage, **states: str) -> bool:
    return await stage.states() == states


async def _published(stage: FaultStage) -> list[dict[str, Any]]:
    values = await stage.published(stage.settings.topics.lifecycle)
    return [json.loads(each) for each in values]


def _require_numbers_used_once(
    published: list[dict[str, Any]], before: list[dict[str, Any]]
) -> None:
    """Each sequence number has one event, and the numbers after the loss continue."""
    ids: dict[tuple[str, str], set[str]] = defaultdict(set)
    for event in published:
        ids[event["subject"], event["sequence"]].add(event["id"])
    assert [number for number, events in ids.items() if len(events) > 1] == []
    newest = max(event["sequence"] for event in before if event["subject"] == "acme")
    kinds = [e["type"] for e in published if e["subject"] == "acme" and e["sequence"] > newest]
    assert any("organization.reinstated" in kind for kind in kinds)


async def _run_command(stage: FaultStage, *arguments: str) -> tuple[int | None, str]:
    async with command(*arguments, settings=stage.settings) as process:
        output, _ = await process.communicate()
    return process.returncode, output.decode()


async def _set_groups_back(stage: FaultStage) -> None:
    """As `kafka-consumer-groups.sh --reset-offsets --to-earliest` does."""
    kafka, topics = stage.settings.kafka, stage.settings.topics
    for group, read in (
        (kafka.facts_group, topics.facts),
        (kafka.activity_group, topics.activity),
    ):
        async with _member_of_none(kafka.bootstrap_servers, group) as consumer:
            partitions = [TopicPartition(topic, n) for topic in read for n in range(4)]
            consumer.assign(partitions)
            await consumer.commit(dict.fromkeys(partitions, 0))


@asynccontextmanager
async def _member_of_none(bootstrap: str, group: str) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False
    )
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()
