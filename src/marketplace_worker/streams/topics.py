"""The topics: created once by an operator, looked for at every start."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import (
    BrokerNotAvailableError,
    KafkaError,
    TopicAlreadyExistsError,
    for_code,
)

from marketplace_worker.errors import Misconfigured, Unavailable
from marketplace_worker.settings import Kafka, Topics
from marketplace_worker.streams.security import client_arguments

CONTROLLER_PAUSE_S = 0.1


class Presence(StrEnum):
    """What `create_topics` found."""

    CREATED = "created"
    EXISTED = "existed"


@dataclass(frozen=True, slots=True)
class TopicCreation:
    """What became of one topic."""

    topic: str
    presence: Presence


async def create_topics(
    kafka: Kafka, topics: Topics, *, partitions: int, replication_factor: int
) -> Sequence[TopicCreation]:
    """Create every topic that is not there yet; those that are stay as they are.

    `topics.state` is log-compacted.

    Raises:
        Misconfigured: the broker refuses one, for instance more replicas than brokers.
        Unavailable: Kafka does not answer.
    """
    wanted = [
        NewTopic(
            name=name,
            num_partitions=partitions,
            replication_factor=replication_factor,
            topic_configs={"cleanup.policy": "compact"} if name == topics.state else {},
        )
        for name in _all(topics)
    ]
    async with _administering(kafka) as admin:
        await _controlled(admin, within_s=kafka.request_timeout_ms / 1000)
        response = await admin.create_topics(wanted)
    return [_creation(name, code) for name, code, *_ in response.topic_errors]


async def missing_topics(kafka: Kafka, topics: Topics) -> Sequence[str]:
    """The topics that are not there (or that we may not see), sorted.

    Raises `Unavailable` where Kafka does not answer.
    """
    async with _administering(kafka) as admin:
        present = await admin.list_topics()
    return sorted(set(_all(topics)) - set(present))


async def require_topics(kafka: Kafka, topics: Topics) -> None:
    """Refuse to start without the topics: consumers and producers would wait for them in vain.

    Raises:
        Misconfigured: some are missing; the message names them and says what to type.
        Unavailable: Kafka does not answer.
    """
    missing = await missing_topics(kafka, topics)
    if missing:
        raise Misconfigured(
            f"Kafka has no topic {', '.join(missing)}: type `marketplace-worker topics create`, "
            "or set their names"
        )


def _all(topics: Topics) -> tuple[str, ...]:
    return (*topics.facts, *topics.activity, *topics.outbound)


def _creation(name: str, code: int) -> TopicCreation:
    error = for_code(code)
    if code == 0:
        return TopicCreation(name, Presence.CREATED)
    if error is TopicAlreadyExistsError:
        return TopicCreation(name, Presence.EXISTED)
    if error.retriable:
        raise Unavailable(f"Kafka did not create the topic {name}: {error.__name__}")
    raise Misconfigured(f"Kafka refused the topic {name}: {error.__name__}")


async def _controlled(admin: AIOKafkaAdminClient, *, within_s: float) -> None:
    """Wait until Kafka knows who leads it: a broker that is only just back knows nobody.

    aiokafka 0.14 does not expect that.  Raises `KafkaError` where it lasts.
    """
    client = admin._client  # noqa: SLF001 - there is no public way
    try:
        async with asyncio.timeout(within_s):
            while client.cluster.controller is None:
                await asyncio.sleep(CONTROLLER_PAUSE_S)
                await client.force_metadata_update()
    except TimeoutError:
        raise BrokerNotAvailableError("it has no controller") from None


@asynccontextmanager
async def _administering(kafka: Kafka) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(
        **client_arguments(kafka), request_timeout_ms=kafka.request_timeout_ms
    )
    try:
        await admin.start()
        yield admin
    except (KafkaError, OSError) as error:
        raise Unavailable(f"Kafka at {kafka.bootstrap_servers}: {error}") from error
    finally:
        await admin.close()
