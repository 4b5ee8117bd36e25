"""The topics are created once, and a start without them is refused with a message."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import (
    ConfigResource,
    ConfigResourceType,
)

from marketplace_worker.errors import Misconfigured, Unavailable
from marketplace_worker.settings import Settings, Topics
from marketplace_worker.streams.rights import Right, to_read, to_read_back, to_write
from marketplace_worker.streams.topics import (
    Presence,
    TopicWarning,
    create_topics,
    find_topic_warnings,
    require_access,
)
from streams.recording_handler import PATIENCE_S

pytestmark = pytest.mark.broker


def every(topics: Topics) -> set[str]:
    """The names of all ten topics."""
    return {*topics.facts, *topics.activity, *topics.outbound}


def rights(settings: Settings) -> list[Right]:
    """The rights that a worker with all loops needs."""
    return [*to_read(settings.kafka, settings.topics), *to_write(settings.topics)]


@asynccontextmanager
async def administrator(settings: Settings) -> AsyncIterator[AIOKafkaAdminClient]:
    """An admin client that creates topics with other settings than ours."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka.bootstrap_servers)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


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


async def test_topics_that_may_lose_records_are_named(settings: Settings) -> None:
    """Inbound topics that are compacted or keep records for hours; a snapshot topic that is not
    compacted.  Another program may have created them.
    """
    kafka, topics = settings.kafka, settings.topics
    odd = {
        topics.logins: {"cleanup.policy": "compact"},
        topics.support_requests: {"cleanup.policy": "delete", "retention.ms": "7200000"},
        topics.state: {"cleanup.policy": "delete"},
    }
    async with administrator(settings) as admin:
        await admin.create_topics(
            [NewTopic(name, 1, 1, topic_configs=configs) for name, configs in odd.items()]
        )
    await create_topics(kafka, topics, partitions=1, replication_factor=1)

    doubts = await find_topic_warnings(kafka, topics.state, rights(settings))

    assert {each.topic for each in doubts} == set(odd)
    sentence_of = {each.topic: each.sentence for each in doubts}
    assert sentence_of[topics.logins].startswith("is compacted: ")
    assert sentence_of[topics.support_requests].startswith("keeps its records for only 2 h: ")
    assert sentence_of[topics.state].startswith("is not compacted: ")


async def test_topics_that_we_create_cause_no_warning(settings: Settings) -> None:
    """No warning for topics of `topics create`, nor for an unreachable Kafka."""
    kafka, topics = settings.kafka, settings.topics
    await create_topics(kafka, topics, partitions=1, replication_factor=1)
    read_back = to_read_back(topics)

    found: list[TopicWarning] = []
    found += await find_topic_warnings(kafka, topics.state, (*rights(settings), *read_back))
    nowhere = kafka.model_copy(update={"bootstrap_servers": "127.0.0.1:1"})
    found += await find_topic_warnings(nowhere, topics.state, rights(settings))

    assert found == []


async def test_only_the_snapshots_are_compacted(settings: Settings, topics: Topics) -> None:
    """Compacting any other topic would delete events."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka.bootstrap_servers)
    await admin.start()
    try:
        async with asyncio.timeout(PATIENCE_S):
            # A broker learns of a new topic a moment after the controller has created it.
            while await compacted(admin, every(topics)) != {topics.state}:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    finally:
        await admin.close()


async def test_no_broker_is_unavailable(settings: Settings) -> None:
    """A missing topic and a missing broker have different messages."""
    nowhere = settings.kafka.model_copy(update={"bootstrap_servers": "127.0.0.1:1"})
    with pytest.raises(Unavailable):
        await require_access(nowhere, rights(settings))
