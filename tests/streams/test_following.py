"""Following a topic: what is new, or since a time, once, and without a consumer group."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions

from marketplace_worker.errors import Misconfigured, Unavailable
from marketplace_worker.settings import Settings, Topics
from marketplace_worker.streams.following import follow

pytestmark = pytest.mark.broker

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
BATCH_BYTES_MAX = 2**20


async def send(writer: AIOKafkaProducer, topic: str, *values: str, at: datetime = NOON) -> None:
    """Send records of one time, to alternating partitions."""
    for number, value in enumerate(values):
        await writer.send_and_wait(
            topic,
            value.encode(),
            partition=number % 2,
            timestamp_ms=round(at.timestamp() * 1000),
        )


async def values(settings: Settings, topic: str, since: datetime | None) -> AsyncIterator[str]:
    """The values that arrive."""
    kafka = settings.kafka
    async with aclosing(follow(kafka, topic, BATCH_BYTES_MAX, since=since)) as batches:
        async for records in batches:
            for each in records:
                yield (each.value or b"").decode()


async def first(count: int, found: AsyncIterator[str]) -> set[str]:
    """So many values, in any order."""
    async with asyncio.timeout(20):
        return {await anext(found) for _ in range(count)}


async def test_records_are_followed_from_a_time_on(
    settings: Settings, topics: Topics, writer: AIOKafkaProducer
) -> None:
    """Of all partitions; then as they arrive."""
    hour = timedelta(hours=1)
    await send(writer, topics.lifecycle, "old 1", "old 2", at=NOON - hour)
    await send(writer, topics.lifecycle, "new 1", "new 2", at=NOON + hour)
    found = values(settings, topics.lifecycle, NOON)
    assert await first(2, found) == {"new 1", "new 2"}
    await send(writer, topics.lifecycle, "live 1", "live 2", at=NOON + hour)
    assert await first(2, found) == {"live 1", "live 2"}


async def test_without_a_time_only_new_records_are_followed(
    settings: Settings, topics: Topics, writer: AIOKafkaProducer
) -> None:
    """On Tansu the last batch of a partition counts as new, so nothing but that may come."""
    await send(writer, topics.lifecycle, "old 1", "old 2", "last 1", "last 2")
    found = values(settings, topics.lifecycle, None)
    sending = asyncio.create_task(_keep_sending(writer, topics.lifecycle))
    came: set[str] = set()
    async with asyncio.timeout(20):
        while "live" not in came:
            came.add(await anext(found))
    sending.cancel()
    assert came <= {"live", "last 1", "last 2"}


async def _keep_sending(writer: AIOKafkaProducer, topic: str) -> None:
    while True:
        await send(writer, topic, "live", "live")
        await asyncio.sleep(0.1)


async def test_a_topic_that_does_not_exist_is_reported(settings: Settings) -> None:
    """With the command that creates it."""
    with pytest.raises(Misconfigured, match="marketplace-worker topics create"):
        await anext(values(settings, settings.topics.lifecycle, None))


async def test_an_unreachable_kafka_is_reported(settings: Settings) -> None:
    """At once, with its address."""
    kafka = settings.kafka.model_copy(update={"bootstrap_servers": "127.0.0.1:1"})
    unreachable = settings.model_copy(update={"kafka": kafka})
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1"):
        await anext(values(unreachable, settings.topics.lifecycle, None))


@pytest.mark.apache
async def test_a_topic_that_gets_more_partitions_is_followed_without_repeats(
    settings: Settings, topics: Topics, writer: AIOKafkaProducer
) -> None:
    """Aiokafka then reads the partitions that it had from their beginning again."""
    await send(writer, topics.lifecycle, "one", "two")
    found = values(settings, topics.lifecycle, NOON)
    assert await first(2, found) == {"one", "two"}
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka.bootstrap_servers)
    await admin.start()
    await admin.create_partitions({topics.lifecycle: NewPartitions(3)})
    await admin.close()
    await writer.client.force_metadata_update()
    await writer.send_and_wait(topics.lifecycle, b"three", partition=2)
    async with asyncio.timeout(60):
        assert await anext(found) == "three"
