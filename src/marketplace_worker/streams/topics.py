"""The topics: created once by an operator, looked for at every start."""

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import (
    BrokerNotAvailableError,
    BrokerResponseError,
    KafkaError,
    NoError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    for_code,
)

from marketplace_worker.errors import Misconfigured, Unavailable
from marketplace_worker.settings import Kafka, Topics
from marketplace_worker.streams.authorized import ask
from marketplace_worker.streams.refusals import refusal
from marketplace_worker.streams.rights import Operation, Resource, Right, not_allowed
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
        Misconfigured: the broker refuses one, for instance more replicas than brokers, or lets us
            make none; the message says what to type.
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
    async with administering(kafka) as admin:
        await _controlled(admin, within_s=kafka.request_timeout_ms / 1000)
        response = await admin.create_topics(wanted)
    codes = {name: for_code(code) for name, code, *_ in response.topic_errors}
    refused = [name for name, error in codes.items() if error is TopicAuthorizationFailedError]
    if refused:
        rights = [Right(Operation.CREATE, Resource.TOPIC, name) for name in refused]
        raise Misconfigured(not_allowed(kafka, rights))
    return [_creation(name, error) for name, error in codes.items()]


async def require_access(kafka: Kafka, rights: Collection[Right]) -> None:
    """Refuse to start without the topics and the rights: consumers and producers would wait in
    vain, and a dead letter that may not be written is noticed only when there is one.

    Raises:
        Misconfigured: something is missing, or Kafka does not let us log in; the message names all
            of it and says what to type.
        Unavailable: Kafka does not answer.
    """
    if not rights:
        return
    async with administering(kafka) as admin:
        answer = await ask(admin, rights)
    sentences = []
    if answer.missing:
        sentences.append(
            f"Kafka has no topic {', '.join(answer.missing)}: type `marketplace-worker topics "
            "create`, or set their names"
        )
    if answer.refused:
        sentences.append(not_allowed(kafka, answer.refused))
    if sentences:
        raise Misconfigured("; ".join(sentences))


def _all(topics: Topics) -> tuple[str, ...]:
    return (*topics.facts, *topics.activity, *topics.outbound)


def _creation(name: str, error: type[BrokerResponseError]) -> TopicCreation:
    if error is NoError:
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
async def administering(kafka: Kafka) -> AsyncIterator[AIOKafkaAdminClient]:
    """A client for questions and orders; raises `Unavailable` and `Misconfigured` as above."""
    admin = AIOKafkaAdminClient(
        **client_arguments(kafka), request_timeout_ms=kafka.request_timeout_ms
    )
    try:
        await admin.start()
        yield admin
    except (KafkaError, OSError) as error:
        raise await refusal(kafka, error) from error
    finally:
        await admin.close()
