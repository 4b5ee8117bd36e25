"""A message that Kafka refuses permanently is identified, and the others of its batch are sent."""

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from marketplace_worker.errors import MessageRefused
from marketplace_worker.record import Outgoing
from marketplace_worker.settings import Settings
from marketplace_worker.streams.producer import producing
from streams.recording_handler import read_all

pytestmark = pytest.mark.faults


@asynccontextmanager
async def topic_of(settings: Settings, configuration: Mapping[str, str]) -> AsyncIterator[str]:
    """A topic with one partition, so that all its messages share batches."""
    name = settings.topics.lifecycle
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka.bootstrap_servers)
    await admin.start()
    try:
        await admin.create_topics(
            [NewTopic(name, 1, 1, topic_configs=dict(configuration))], timeout_ms=10_000
        )
        yield name
    finally:
        await admin.close()


async def test_only_the_too_large_message_of_a_batch_is_rejected(
    settings: Settings,
) -> None:
    """Kafka refuses a batch as a whole, even if only the batch itself is too large."""
    async with (
        topic_of(settings, {"max.message.bytes": "20000"}) as topic,
        producing(settings.kafka, settings.relay) as publisher,
    ):
        small = [Outgoing(topic, bytes([n]), os.urandom(500)) for n in range(100)]
        large = Outgoing(topic, b"large", os.urandom(30_000))
        behind = Outgoing(topic, b"large", b"small")
        messages = [*small[:50], large, behind, *small[50:]]
        results = list(await publisher.publish(messages))
        assert [type(each) for each in results[50:52]] == [MessageRefused, MessageRefused]
        while left := [
            (each, failed)
            for each, failed in zip(messages, results, strict=True)
            if failed is not None and each.key != b"large"
        ]:
            assert not any(isinstance(failed, MessageRefused) for _, failed in left)
            messages = [each for each, _ in left]
            results = list(await publisher.publish(messages))
        keys = {each.key for each in await read_all(settings.kafka.bootstrap_servers, topic, 100)}
        assert keys >= {each.key for each in small}


async def test_only_the_invalid_message_of_a_batch_is_rejected(
    settings: Settings,
) -> None:
    """A compacted topic accepts no message without a key."""
    async with (
        topic_of(settings, {"cleanup.policy": "compact"}) as topic,
        producing(settings.kafka, settings.relay) as publisher,
    ):
        messages = [
            Outgoing(topic, b"a", b"1"),
            Outgoing(topic, None, b"2"),
            Outgoing(topic, b"c", b"3"),
        ]
        results = await publisher.publish(messages)
        assert isinstance(results[1], MessageRefused)
        assert not isinstance(results[0], MessageRefused)
        assert not isinstance(results[2], MessageRefused)
        assert await publisher.publish([messages[0], messages[2]]) == [None, None]
