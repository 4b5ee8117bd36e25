"""Requests over a new connection what a long-lived consumer learned only once: which of its topics
exist, which it may read, and whether its group reads all of their partitions.

The connection starts at the bootstrap servers, with the current credentials.
"""

import asyncio
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.protocol import ConsumerProtocol
from aiokafka.errors import KafkaError

from marketplace_worker.errors import Unavailable
from marketplace_worker.settings import Kafka
from marketplace_worker.streams.authorized import ask
from marketplace_worker.streams.rights import Operation, Resource, Right, not_allowed
from marketplace_worker.streams.security import client_arguments
from marketplace_worker.streams.topics import administering

ANSWER_TIMEOUT_MS = 10_000


@dataclass(frozen=True, slots=True)
class Survey:
    """Kafka's answer.

    Args:
        readable: the topics that exist and may be read.
        lacks: what is wrong, in words; empty if nothing is.
        unread_records: by topic, how many wait in partitions that no member of the group reads.
    """

    readable: frozenset[str]
    not_ready_reason: str
    unread_records: Counter[str]


async def survey(kafka: Kafka, group: str, topics: Collection[str]) -> Survey:
    """Request once.

    Raises:
        Unavailable: Kafka does not answer.
        Misconfigured: it refuses our login, or a certificate cannot be used.
    """
    within_ms = min(kafka.request_timeout_ms, ANSWER_TIMEOUT_MS)
    quick = kafka.model_copy(update={"request_timeout_ms": within_ms})
    rights = [Right(Operation.READ, Resource.TOPIC, name) for name in topics]
    async with administering(quick) as admin:
        answer = await ask(admin, rights)
        refused = {right.name for right in answer.refused}
        readable = frozenset(topics) - refused - set(answer.missing)
        there = {each for each in answer.partitions if each.topic in readable}
        unread = await _unread(admin, group, there)
    sentences = []
    if answer.missing:
        sentences.append(f"Kafka no longer has the topic {', '.join(answer.missing)}")
    if answer.refused:
        sentences.append(not_allowed(kafka, answer.refused))
    if unread:
        named = ", ".join(f"{each.topic}/{each.partition}" for each in sorted(unread)[:10])
        sentences.append(f"no member of the group {group} reads {len(unread)} partitions: {named}")
    waiting = await _waiting(quick, group, unread) if unread else Counter[str]()
    return Survey(readable, "; ".join(sentences), waiting)


async def _unread(
    admin: AIOKafkaAdminClient, group: str, partitions: set[TopicPartition]
) -> set[TopicPartition]:
    """The partitions that no member of a group is assigned; none during a rebalance."""
    try:
        (answer,) = await admin.describe_consumer_groups([group])
        (described,) = answer.to_object()["groups"]
    except KafkaError:
        return set()  # not every broker describes groups
    if described["state"] != "Stable":
        return set()
    read: set[TopicPartition] = set()
    for member in described["members"]:
        read.update(ConsumerProtocol.ASSIGNMENT.decode(member["member_assignment"]).partitions())
    return partitions - read


async def _waiting(kafka: Kafka, group: str, partitions: set[TopicPartition]) -> Counter[str]:
    """By topic, the number of records after a group's committed offsets."""
    # It is not subscribed, so it does not join the group.
    consumer = AIOKafkaConsumer(
        **client_arguments(kafka),
        group_id=group,
        enable_auto_commit=False,
        request_timeout_ms=kafka.request_timeout_ms,
    )
    try:
        async with asyncio.timeout(kafka.request_timeout_ms / 1000):
            await consumer.start()
            ends = await consumer.end_offsets(partitions)
            begins = await consumer.beginning_offsets(partitions)
            waiting = Counter[str]()
            for each in partitions:
                begin = max(begins[each], await consumer.committed(each) or 0)
                waiting[each.topic] += max(0, ends[each] - begin)
    except (KafkaError, OSError) as error:
        raise Unavailable(f"Kafka at {kafka.bootstrap_servers}: {error!r}") from error
    finally:
        await consumer.stop()
    return waiting
