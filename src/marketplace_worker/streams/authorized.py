"""Asks Kafka which topics there are and what we may do with them.

aiokafka's own request does not ask for the rights, so the wire format of a newer version stands
here (https://kafka.apache.org/protocol, Metadata 8, read 2026-11-30).
"""

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
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.metadata import MetadataRequest_v4
from aiokafka.protocol.types import Array, Boolean, Int16, Int32, Schema, String

from marketplace_worker.streams.rights import Operation, Resource, Right

_BITS = {Operation.READ: 1 << 3, Operation.WRITE: 1 << 4}
_DESCRIBE = 1 << 8


@dataclass(frozen=True, slots=True)
class Answer:
    """What Kafka said.

    Args:
        missing: the topics that are not there, sorted.
        refused: the rights that we lack, sorted.
        partitions: of the topics that are there.
    """

    missing: tuple[str, ...]
    refused: tuple[Right, ...]
    partitions: frozenset[TopicPartition]


async def ask(admin: AIOKafkaAdminClient, rights: Collection[Right]) -> Answer:
    """Ask for what we need.  A broker that does not tell rights is believed to grant them.

    Raises `KafkaError` where Kafka does not answer.
    """
    missing, refused, partitions = await _ask_for_topics(
        admin, [right for right in rights if right.resource is Resource.TOPIC]
    )
    for right in rights:
        if right.resource is Resource.GROUP and await _is_closed(admin, right.name):
            refused.append(right)
    return Answer(tuple(sorted(missing)), tuple(sorted(refused)), partitions)


async def _ask_for_topics(
    admin: AIOKafkaAdminClient, rights: Collection[Right]
) -> tuple[list[str], list[Right], frozenset[TopicPartition]]:
    client = admin._client  # noqa: SLF001 - there is no public way to send a request of our own
    request = _MetadataRequest(sorted({right.name for right in rights}))
    response = (await client.send(client.get_random_node(), request)).to_object()
    topics = {topic["topic"]: topic for topic in response["topics"]}
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
    """By the bits of the answer, where there are any: what may not be described is not told of."""
    bits = topic.get("authorized_operations", 0)
    # The least number says that the broker does not know.
    told = bits > 0 and bits & _DESCRIBE
    return not told or bool(bits & _BITS[operation])


async def _is_closed(admin: AIOKafkaAdminClient, group: str) -> bool:
    """Whether we may not even see the group.  That it is to be joined as well, the join tells."""
    try:
        await admin.find_coordinator(group)
    except GroupAuthorizationFailedError:
        return True
    except KafkaError as error:
        # A new cluster makes the topic of the offsets when it is first asked.
        if not error.retriable:
            raise
    return False


class _MetadataResponse_v8(Response):  # type: ignore[misc]  # noqa: N801 - aiokafka's manner
    API_KEY = 3
    API_VERSION = 8
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            Array(
                ("node_id", Int32),
                ("host", String("utf-8")),
                ("port", Int32),
                ("rack", String("utf-8")),
            ),
        ),
        ("cluster_id", String("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            Array(
                ("error_code", Int16),
                ("topic", String("utf-8")),
                ("is_internal", Boolean),
                (
                    "partitions",
                    Array(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", Array(Int32)),
                        ("isr", Array(Int32)),
                        ("offline_replicas", Array(Int32)),
                    ),
                ),
                ("authorized_operations", Int32),
            ),
        ),
        ("cluster_authorized_operations", Int32),
    )


class _MetadataRequest_v8(RequestStruct):  # type: ignore[misc]  # noqa: N801 - likewise
    API_KEY = 3
    API_VERSION = 8
    RESPONSE_TYPE = _MetadataResponse_v8
    SCHEMA = Schema(
        ("topics", Array(String("utf-8"))),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
    )


class _MetadataRequest(Request[MetadataRequest_v4 | _MetadataRequest_v8]):  # type: ignore[misc]
    """About topics by name, which are not made by being asked for; of an older broker (before
    Kafka 2.3) without the rights.
    """

    API_KEY = 3

    def __init__(self, topics: list[str]) -> None:
        self._topics = topics

    def build(self, struct: type[RequestStruct]) -> RequestStruct:
        if struct is _MetadataRequest_v8:
            return struct(self._topics, False, False, True)  # noqa: FBT003 - aiokafka's manner
        return struct(self._topics, False)  # noqa: FBT003 - likewise
