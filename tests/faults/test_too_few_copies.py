"""The broker with the second replica of a topic is down: Kafka refuses writes to the topic."""

from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

import servers
from faults.conftest import PARTITIONS
from faults.kafka_faults import kafka_server, second_broker
from faults.worker_cluster import (
    WorkerCluster,
    chance_of_this_run,
    first_days,
    require_as_simulated,
    settings_of,
    staging,
    worker_cluster,
)
from faults.workers import FaultStage, eventually
from faults.workload_sender import advance, send_in_pieces, until_settled
from marketplace_worker.settings import Settings
from marketplace_worker.streams.topics import create_topics

pytestmark = pytest.mark.faults

ORGANIZATIONS = 40
PIECE = 16


async def test_only_a_topic_with_too_few_replicas_waits_and_loses_nothing(
    pytestconfig: pytest.Config, postgres_dsn: str, tmp_path: Path
) -> None:
    """`min.insync.replicas` is two, and one of the two brokers dies: NOT_ENOUGH_REPLICAS.  The
    other topics have one replica each, on the remaining broker, and are published meanwhile.
    """
    choice = pytestconfig.stash[servers.CHOICE]
    workload = first_days(chance_of_this_run(), ORGANIZATIONS)
    async with kafka_server(tmp_path / "kafka") as broker:
        alone = settings_of(choice, tmp_path, kafka=broker.address, dsn=postgres_dsn)
        await create_topics(alone.kafka, alone.topics, partitions=PARTITIONS, replication_factor=1)
        # Asking for a group creates the topic of all groups: on this broker.
        await eventually(lambda: broker.members("any", 0))
        async with second_broker(broker) as second:
            settings = await _with_two_replicas(alone)
            snapshots = settings.topics.state
            async with staging(settings, tmp_path) as stage:
                async with worker_cluster(stage, tmp_path) as workers:
                    story = send_in_pieces(stage, workload, of=PIECE)
                    await advance(story, 2)
                    await until_settled(stage)

                    await second.kill()
                    while not await _is_in_outbox(stage, snapshots):
                        await advance(story, 1)
                        await eventually(stage.all_committed)
                    await workers.waits("loop_waiting", "Kafka did not acknowledge", loop="relay")
                    await eventually(lambda: _is_reported(workers))
                    await eventually(lambda: _waits_alone(stage, snapshots))

                    await second.start()
                    await until_settled(stage)
                    await advance(story)
                    workers.require_alive()
                    assert not workers.lines("message_refused"), "it is not the messages' fault"
                await require_as_simulated(stage, workload)


async def _with_two_replicas(settings: Settings) -> Settings:
    """The same with another topic for snapshots, with two replicas, which is writable only with
    both.

    Its partitions are led by the remaining broker.
    """
    topics = settings.topics.model_copy(update={"state": f"{settings.topics.state}-copied"})
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka.bootstrap_servers)
    await admin.start()
    try:
        copied = NewTopic(
            topics.state,
            -1,
            -1,
            replica_assignments={partition: [1, 2] for partition in range(PARTITIONS)},
            topic_configs={"min.insync.replicas": "2"},
        )
        await admin.create_topics([copied])
    finally:
        await admin.close()
    return settings.model_copy(update={"topics": topics})


async def _is_reported(workers: WorkerCluster) -> bool:
    """Whether the log names the reason of Kafka's refusal."""
    return any("NotEnoughReplicas" in line["message"] for line in workers.lines("library_logged"))


async def _is_in_outbox(stage: FaultStage, topic: str) -> bool:
    """Whether the outbox has messages for that topic."""
    query = "SELECT EXISTS (SELECT FROM outbox WHERE topic = $1)"
    return bool(await stage.pool.fetchval(query, topic))


async def _waits_alone(stage: FaultStage, topic: str) -> bool:
    """Whether the outbox has messages for that topic and for no other."""
    query = "SELECT array_agg(DISTINCT topic) = ARRAY[$1::text] FROM outbox"
    return bool(await stage.pool.fetchval(query, topic))
