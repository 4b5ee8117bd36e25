"""Kafka is killed, slow, stalled or loses its offsets: messages wait, and none is lost."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import servers
from faults.kafka_faults import KafkaServer, open_transaction
from faults.worker_cluster import (
    WorkerCluster,
    chance_of_this_run,
    first_days,
    require_as_simulated,
    settings_of,
    staging,
    through,
    worker_cluster,
)
from faults.workers import FaultStage, eventually
from faults.workload_sender import advance, send_in_pieces, until_settled

pytestmark = pytest.mark.faults

ORGANIZATIONS = 40
PIECE = 16


@pytest.fixture
async def stage(
    pytestconfig: pytest.Config, broker: KafkaServer, postgres_dsn: str, tmp_path: Path
) -> AsyncIterator[FaultStage]:
    """A stage on this broker."""
    choice = pytestconfig.stash[servers.CHOICE]
    settings = settings_of(choice, tmp_path, kafka=broker.address, dsn=postgres_dsn)
    async with staging(settings, tmp_path) as stage:
        yield stage


async def test_a_kafka_that_refuses_delays_or_stalls_loses_nothing(
    stage: FaultStage, broker: KafkaServer, tmp_path: Path
) -> None:
    """
    No worker is restarted: decisions wait in the outbox, and records to be ingested wait in Kafka.
    A topic that refuses all messages does not delay the others.
    """
    chance = chance_of_this_run()
    workload_ = first_days(chance, ORGANIZATIONS)
    story = send_in_pieces(stage, workload_, of=PIECE)
    lifecycle = stage.settings.topics.lifecycle
    async with worker_cluster(
        stage, tmp_path, variables=through(kafka=broker.proxied_address)
    ) as workers:
        await advance(story, 1)
        await until_settled(stage)

        await broker.refuse(lifecycle)
        while not await _is_in_outbox(stage, lifecycle):
            await advance(story, 1)
            await eventually(stage.all_committed)
        await eventually(lambda: _is_refused(workers, twice=lifecycle))
        await eventually(lambda: _only_waits(stage, lifecycle))
        await broker.accept(lifecycle)
        await until_settled(stage)

        broker.proxy.latency_s = 0.1
        await advance(story, 1)
        await until_settled(stage)
        broker.proxy.heal()
        broker.proxy.bytes_per_s = 50_000
        await advance(story, 1)
        await until_settled(stage)
        broker.proxy.heal()

        for _ in range(3):
            await advance(story, 1)
            broker.proxy.cut()
            await advance(story, 1)
            for _ in range(3):
                broker.proxy.cut_one(chance)
            await until_settled(stage)

        broker.proxy.stall()
        await advance(story, 1)
        await eventually(lambda: broker.members(stage.settings.kafka.facts_group, 0))
        broker.proxy.flow()
        await until_settled(stage)

        await advance(story)
        workers.require_alive()
    await require_as_simulated(stage, workload_)


async def _is_in_outbox(stage: FaultStage, topic: str) -> bool:
    """Whether the outbox has messages for a topic."""
    query = "SELECT EXISTS (SELECT FROM outbox WHERE topic = $1)"
    return bool(await stage.pool.fetchval(query, topic))


async def _only_waits(stage: FaultStage, topic: str) -> bool:
    """Whether the outbox has messages for this topic only."""
    query = "SELECT NOT EXISTS (SELECT FROM outbox WHERE topic <> $1)"
    return bool(await stage.pool.fetchval(query, topic))


async def _is_refused(workers: WorkerCluster, *, twice: str) -> bool:
    """Whether a message of that topic was refused, held, and refused again."""
    lines = workers.lines("message_refused")
    return any(line["refusals"] == 2 and line["topic"] == twice for line in lines)


async def test_a_stalled_partition_does_not_delay_the_others(
    stage: FaultStage, broker: KafkaServer, tmp_path: Path
) -> None:
    """An open transaction of another producer stalls it: only committed records are read, and
    aborted ones are never ingested.
    """
    workload_ = first_days(chance_of_this_run(), ORGANIZATIONS)
    story = send_in_pieces(stage, workload_, of=PIECE)
    topic = stage.settings.topics.organization_changes
    async with worker_cluster(stage, tmp_path) as workers:
        await advance(story, 1)
        await until_settled(stage)

        async with open_transaction(broker.address, topic, b"never to be seen") as partition:
            before = stage.ends.get((topic, partition), 0)
            while stage.ends.get((topic, partition), 0) == before:
                await advance(story, 1)
            waiting = stage.ends.pop((topic, partition))
            await eventually(stage.all_committed)
            stage.ends[topic, partition] = waiting
            assert not await stage.all_committed(), "the one partition waits"
        await until_settled(stage)

        await broker.throttle_fetches(stage.settings.kafka.client_id, 4_000)
        await advance(story, 2)
        await until_settled(stage)
        await broker.throttle_fetches(stage.settings.kafka.client_id, None)

        await advance(story)
        workers.require_alive()
    await require_as_simulated(stage, workload_)


async def test_redelivery_after_a_loss_of_all_offsets_changes_nothing(
    stage: FaultStage, broker: KafkaServer, tmp_path: Path
) -> None:
    """The broker dies and loses its offsets topic; the groups start at the first record again."""
    workload_ = first_days(chance_of_this_run(), ORGANIZATIONS)
    story = send_in_pieces(stage, workload_, of=PIECE)
    async with worker_cluster(stage, tmp_path) as workers:
        await advance(story, 12)
        await until_settled(stage)
        journalled = await stage.pool.fetchval("SELECT count(*) FROM journal")
        known = sum(line["duplicates"] for line in workers.lines("batch_ingested"))
        await broker.kill()
        assert broker.lose_offsets()
        await broker.start()
        await until_settled(stage)
        now_known = sum(line["duplicates"] for line in workers.lines("batch_ingested"))
        assert now_known - known >= journalled, "everything was redelivered"
        assert await stage.pool.fetchval("SELECT count(*) FROM journal") == journalled
        await advance(story)
        workers.require_alive()
    await require_as_simulated(stage, workload_)
