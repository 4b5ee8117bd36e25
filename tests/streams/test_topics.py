"""The topics are created once, and a start without them is refused with a sentence."""

import asyncio

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import (
    ConfigResource,
    ConfigResourceType,
)

from marketplace_worker.errors import Misconfigured, Unavailable
from marketplace_worker.settings import Settings, Topics
from marketplace_worker.streams.rights import Right, to_read, to_write
from marketplace_worker.streams.topics import Presence, create_topics, require_access
from streams.streaming import PATIENCE_S

pytestmark = pytest.mark.broker


def every(topics: Topics) -> set[str]:
    """The names of all ten."""
    return {*topics.facts, *topics.activity, *topics.outbound}


def rights(settings: Settings) -> list[Right]:
    """What a worker with all loops needs."""
    return [*to_read(settings.kafka, settings.topics), *to_write(settings.topics)]


async def compacted(admin: AIOKafkaAdminClient, names: set[str]) -> set[str]:
    """Those of the topics that are log-compacted."""
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    found = set()
    for resource in resources:
        (answer,) = await admin.describe_configs([resource])
        if ("cleanup.policy", "compact") in {entry[:2] for entry in answer.resources[0][4]}:
            found.add(resource.name)
    return found


async def test_creating_the_topics_twice_is_harmless(settings: Settings) -> None:
    """All ten are created, then all are found."""
    kafka, topics = settings.kafka, settings.topics
    with pytest.raises(Misconfigured, match="topics create") as refused:
        await require_access(kafka, rights(settings))
    assert all(name in str(refused.value) for name in every(topics))
    first = await create_topics(kafka, topics, partitions=2, replication_factor=1)
    again = await create_topics(kafka, topics, partitions=2, replication_factor=1)
    await require_access(kafka, rights(settings))
    assert {each.topic for each in first} == every(topics)
    assert {each.presence for each in first} == {Presence.CREATED}
    assert {each.presence for each in again} == {Presence.EXISTED}


async def test_only_the_snapshots_are_compacted(settings: Settings, topics: Topics) -> None:
    """Compacting any other topic would delete events."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka.bootstrap_servers)
    await admin.start()
    try:
        async with asyncio.timeout(PATIENCE_S):
            # A broker of Kafka learns of a topic a moment after the controller created it.
            while await compacted(admin, every(topics)) != {topics.state}:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    finally:
        await admin.close()


async def test_no_broker_is_unavailable(settings: Settings) -> None:
    """Missing topics and a missing broker are different sentences."""
    nowhere = settings.kafka.model_copy(update={"bootstrap_servers": "127.0.0.1:1"})
    with pytest.raises(Unavailable):
        await require_access(nowhere, rights(settings))
