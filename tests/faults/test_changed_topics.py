"""Clients refresh their metadata: new or recreated topics, partitions, addresses of brokers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic

import servers
from faults.kafka_faults import kafka_server
from faults.proxy import proxying
from faults.worker_cluster import (
    chance_of_this_run,
    first_days,
    require_as_simulated,
    settings_of,
    staging,
    through,
    worker_cluster,
)
from faults.workers import CONSUMERS, eventually
from faults.workload_sender import advance, send_in_pieces, until_settled
from marketplace_worker.errors import Unavailable
from marketplace_worker.settings import Settings
from marketplace_worker.streams import joining, producer, renewing
from marketplace_worker.streams.consumer import Consumer
from marketplace_worker.streams.producer import producing
from marketplace_worker.streams.renewing import Renewal
from marketplace_worker.streams.topics import create_topics
from streams.recording_handler import RecordingHandler, consuming_facts

pytestmark = pytest.mark.faults

SOON_MS = 300
NEVER_MS = 300_000
"""The maximum age of a client's metadata: aiokafka's default is the latter."""


@pytest.fixture
async def admin(kafka_bootstrap: str) -> AsyncIterator[AIOKafkaAdminClient]:
    """An admin client, to change topics."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_bootstrap)
    await admin.start()
    yield admin
    await admin.close()


async def write(settings: Settings, topic: str, value: bytes, *, partition: int) -> None:
    """Write to a partition, once Kafka has it.

    Uses a new producer: metadata requests of an old one would recreate a deleted topic.
    """
    async with AIOKafkaProducer(
        bootstrap_servers=settings.kafka.bootstrap_servers, metadata_max_age_ms=SOON_MS
    ) as producer:

        async def known() -> bool:
            return partition in (await producer.partitions_for(topic))

        await eventually(known)
        await producer.send_and_wait(topic, value, partition=partition)


@asynccontextmanager
async def renewed(consumer: Consumer, settings: Settings) -> AsyncIterator[None]:
    """Check the consumer's topics continuously, as a worker does every two seconds."""
    renewal = Renewal(consumer, settings.kafka)

    async def check_repeatedly() -> None:
        while True:
            with suppress(Unavailable):
                await renewal.check()
            await asyncio.sleep(0.05)

    checking = asyncio.create_task(check_repeatedly())
    try:
        yield
        assert not checking.done(), checking.result()
    finally:
        checking.cancel()
        await asyncio.wait({checking})


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the interval of metadata requests."""
    for module in (joining, producer):
        monkeypatch.setattr(module, "METADATA_AGE_MS", SOON_MS)
    monkeypatch.setattr(renewing, "SURVEY_EVERY_S", 0.3)
    monkeypatch.setattr(renewing, "SURVEY_AGAIN_S", 0.3)


async def test_clients_refresh_their_metadata_every_half_minute(settings: Settings) -> None:
    """With aiokafka's default, new partitions would be unread for five minutes."""
    await create_topics(settings.kafka, settings.topics, partitions=1, replication_factor=1)
    async with (
        consuming_facts(settings, RecordingHandler()) as consumers,
        producing(settings.kafka, settings.relay) as publisher,
    ):
        facts, activity = (each.subscriber.consumer for each in consumers.members)
        assert facts is not None
        assert activity is not None
        assert publisher._producer is not None
        clients = (facts._client, activity._client, publisher._producer.client)
        assert [each._metadata_max_age_ms for each in clients] == [30_000] * 3


@pytest.mark.usefixtures("hurried")
async def test_new_partitions_and_recreated_topics_are_read(
    settings: Settings, admin: AIOKafkaAdminClient
) -> None:
    """Meanwhile the missing topic is named, and the others are read."""
    await create_topics(settings.kafka, settings.topics, partitions=1, replication_factor=1)
    topic, other = settings.topics.aws_notifications, settings.topics.gcp_notifications
    seen = RecordingHandler()

    async def all_ingested(*values: bytes) -> None:
        await seen.until(lambda: {record.value for record in seen.records} >= set(values))

    async def lacks(words: str) -> bool:
        return words in consumers.facts[0].not_ready_reason

    async def lacks_nothing() -> bool:
        return consumers.facts[0].not_ready_reason == ""

    async with consuming_facts(settings, seen) as consumers, renewed(consumers.facts[0], settings):
        await admin.create_partitions({topic: NewPartitions(total_count=3)})
        await write(settings, topic, b"in a new partition", partition=2)
        await all_ingested(b"in a new partition")
        await eventually(lacks_nothing)

        await admin.delete_topics([topic])
        await eventually(lambda: lacks(f"Kafka no longer has the topic {topic}"))
        await write(settings, other, b"of another topic", partition=0)
        await all_ingested(b"of another topic")

        await admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)])
        await eventually(lacks_nothing)
        await write(settings, topic, b"made anew", partition=0)
        await all_ingested(b"made anew")


@pytest.mark.usefixtures("hurried")
async def test_unassigned_partitions_are_named_and_counted(
    settings: Settings,
    admin: AIOKafkaAdminClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Here the leader of the group is a client that refreshes its metadata too seldom."""
    for module in (joining, producer):
        monkeypatch.setattr(module, "METADATA_AGE_MS", NEVER_MS)
    await create_topics(settings.kafka, settings.topics, partitions=1, replication_factor=1)
    topic, seen = settings.topics.logins, RecordingHandler()
    async with (
        consuming_facts(settings, seen) as consumers,
        renewed(consumers.activity[0], settings),
    ):
        await admin.create_partitions({topic: NewPartitions(total_count=3)})
        await write(settings, topic, b"unread", partition=2)
        await write(settings, topic, b"unread", partition=2)

        async def is_logged() -> bool:
            reason = consumers.activity[0].not_ready_reason
            return f"{topic}/2" in reason and consumers.lag()["activity"].get(topic) == 2

        await eventually(is_logged)
        assert "reads 2 partitions" in consumers.activity[0].not_ready_reason


async def test_consumers_and_relays_follow_brokers_to_new_addresses(
    pytestconfig: pytest.Config,
    tmp_path_factory: pytest.TempPathFactory,
    postgres_dsn: str,
    tmp_path: Path,
) -> None:
    """Only the bootstrap address stays; all other addresses known to the clients are invalid."""
    choice, workload_ = pytestconfig.stash[servers.CHOICE], first_days(chance_of_this_run(), 20)
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        broker = await enter(kafka_server(tmp_path_factory.mktemp("own") / "kafka"))
        before, after = broker.proxy, await enter(proxying())
        bootstrap = await enter(proxying(before.target))
        settings = settings_of(choice, tmp_path, kafka=broker.address, dsn=postgres_dsn)
        stage = await enter(staging(settings, tmp_path))
        story = send_in_pieces(stage, workload_, of=100)
        ways = through(kafka=f"127.0.0.1:{bootstrap.port}")
        workers = await enter(worker_cluster(stage, tmp_path, variables=ways))
        await advance(story, 1)
        await until_settled(stage)
        await broker.move(after)
        bootstrap.target, before.refusing = after.target, True
        await advance(story)
        await require_as_simulated(stage, workload_)
        workers.require_alive()
        assert {line["consumer"] for line in workers.lines("consumer_renewed")} == CONSUMERS
