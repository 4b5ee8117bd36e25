"""Requests from Kafka which topics exist and what we may do with them."""

from collections.abc import Collection
from dataclasses import dataclass

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    KafkaError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
    for_code,
)

from marketplace_worker.streams.mends.admin import describe_topics_with_rights
from marketplace_worker.streams.rights import Operation, Resource, Right

_BITS = {Operation.READ: 1 << 3, Operation.WRITE: 1 << 4}
_DESCRIBE = 1 << 8


@dataclass(frozen=True, slots=True)
class RightsAnswer:
    """Kafka's answer.

    Args:
        missing: the topics that do not exist, sorted.
        refused: the rights that we lack, sorted.
        partitions: of the existing topics.
    """

    missing: tuple[str, ...]
    refused: tuple[Right, ...]
    partitions: frozenset[TopicPartition]


async def ask(admin: AIOKafkaAdminClient, rights: Collection[Right]) -> RightsAnswer:
    """Request the topics and rights that we need.  A broker that does not report rights is assumed
    to grant them.

    Raises `KafkaError` if Kafka does not answer.
    """
    missing, refused, partitions = await _ask_for_topics(
        admin, [right for right in rights if right.resource is Resource.TOPIC]
    )
    for right in rights:
        if right.resource is Resource.GROUP and await _is_closed(admin, right.name):
            refused.append(right)
    return RightsAnswer(tuple(sorted(missing)), tuple(sorted(refused)), partitions)


async def _ask_for_topics(
    admin: AIOKafkaAdminClient, rights: Collection[Right]
) -> tuple[list[str], list[Right], frozenset[TopicPartition]]:
    topics = await describe_topics_with_rights(admin, {right.name for right in rights})
    missing, refused = [], []
    for right in rights:
        topic = topics[right.name]
        error = for_code(topic["error_code"])
        if error is UnknownTopicOrPartitionError:
            missing.append(right.name)
        elif error is TopicAuthorizationFailedError or not _allows(topic, right.operation):
            refused.append(right)
    partitions = frozenset(
        TopicPartition(name, each["partition"])
        for name, topic in topics.items()
        for each in topic["partitions"]
    )
    return missing, refused, partitions


def _allows(topic: dict[str, int], operation: Operation) -> bool:
    """Whether the answer's bits allow it, if there are any; a resource that may not be described is
    omitted.
    """
    bits = topic.get("authorized_operations", 0)
    # The minimum value means that the broker does not know.
    reported = bits > 0 and bits & _DESCRIBE
    return not reported or bool(bits & _BITS[operation])


async def _is_closed(admin: AIOKafkaAdminClient, group: str) -> bool:
    """Whether we may not even describe the group.  The join itself shows whether it may be
    joined.
    """
    try:
        await admin.find_coordinator(group)
    except GroupAuthorizationFailedError:
        return True
    except KafkaError as error:
        # A new cluster creates its offsets topic on the first request.
        if not error.retriable:
            raise
    return False
