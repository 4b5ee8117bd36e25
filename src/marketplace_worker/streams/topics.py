"""The topics: created once by an operator, and checked at every start."""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum

import structlog
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    BrokerResponseError,
    KafkaError,
    LeaderNotAvailableError,
    NoError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
    for_code,
)

from marketplace_worker.errors import Misconfigured, Unavailable
from marketplace_worker.settings import Kafka, Topics
from marketplace_worker.streams.authorized import ask
from marketplace_worker.streams.connection_errors import connection_error
from marketplace_worker.streams.mends.admin import wait_for_controller
from marketplace_worker.streams.rights import Operation, Resource, Right, not_allowed
from marketplace_worker.streams.security import client_arguments

CONTROLLER_PAUSE_S = 0.1

RETENTION_MIN_MS = 3 * 24 * 3_600_000
"""As long as an outage over a weekend may last."""

_NOT_KNOWN_YET = {UnknownTopicOrPartitionError, LeaderNotAvailableError}

_POLICY, _RETENTION = "cleanup.policy", "retention.ms"

log = structlog.get_logger(__name__)


class Presence(StrEnum):
    """What `create_topics` found."""

    CREATED = "created"
    EXISTED = "existed"


@dataclass(frozen=True, slots=True)
class TopicCreation:
    """The result for one topic."""

    topic: str
    presence: Presence


@dataclass(frozen=True, slots=True)
class TopicWarning:
    """A setting of a topic in Kafka that may lose something, as a sentence without its subject."""

    topic: str
    sentence: str


async def create_topics(
    kafka: Kafka, topics: Topics, *, partitions: int, replication_factor: int
) -> Sequence[TopicCreation]:
    """Create every missing topic; existing ones are not changed.

    `topics.state` is log-compacted.

    Raises:
        Misconfigured: the broker refuses one, for instance more replicas than brokers, or does not
            let us create any; the message names the remedy.
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
        await wait_for_controller(admin, within_s=kafka.request_timeout_ms / 1000)
        response = await admin.create_topics(wanted)
        codes = {name: for_code(code) for name, code, *_ in response.topic_errors}
        made = [name for name, error in codes.items() if error is NoError]
        await _known(admin, made, within_s=kafka.request_timeout_ms / 1000)
    refused = [name for name, error in codes.items() if error is TopicAuthorizationFailedError]
    if refused:
        rights = [Right(Operation.CREATE, Resource.TOPIC, name) for name in refused]
        raise Misconfigured(not_allowed(kafka, rights))
    return [_creation(name, error) for name, error in codes.items()]


async def require_access(kafka: Kafka, rights: Collection[Right]) -> None:
    """Refuse to start without the topics and the rights: consumers and producers would wait in
    vain, and a missing right to write dead letters would be noticed only with the first one.

    Raises:
        Misconfigured: something is missing, or Kafka refuses our login; the message names all of
            it and the remedy.
        Unavailable: Kafka does not answer.
    """
    if not rights:
        return
    async with administering(kafka) as admin:
        answer = await ask(admin, rights)
    sentences = []
    if answer.missing:
        sentences.append(
            f"Kafka has no topic {', '.join(answer.missing)}: run `marketplace-worker topics "
            "create`, or correct their names in the settings"
        )
    if answer.refused:
        sentences.append(not_allowed(kafka, answer.refused))
    if sentences:
        raise Misconfigured("; ".join(sentences))


async def find_topic_warnings(
    kafka: Kafka, state: str, rights: Collection[Right]
) -> Sequence[TopicWarning]:
    """Possible losses by Kafka's configuration of the topics that we read, and of `state` if we
    write it; empty if we may not read it, or Kafka does not answer: that is no reason not to start.
    """
    used = [right for right in rights if right.resource is Resource.TOPIC]
    written = {right.name for right in used if right.operation is Operation.WRITE}
    doubts: list[TopicWarning] = []
    if not used:
        return doubts
    try:
        async with administering(kafka) as admin:
            for right in used:
                if right.operation is Operation.READ and right.name not in written:
                    doubts += _doubts_inbound(right.name, await _settings_of(admin, right.name))
                elif right.name == state:
                    doubts += _doubts_state(state, await _settings_of(admin, state))
    except (Misconfigured, Unavailable) as error:
        log.info("topic_settings_unread", reason=str(error))
    return doubts


async def _settings_of(admin: AIOKafkaAdminClient, topic: str) -> Mapping[str, str]:
    """The configuration of all of them, except those that Kafka does not let us read."""
    (response,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    (code, _, _, _, entries), *_ = response.resources
    if for_code(code) is not NoError:
        log.info("topic_settings_unread", topic=topic, reason=for_code(code).__name__)
        return {}
    return {name: value for name, value, *_ in entries if value is not None}


def _doubts_inbound(topic: str, config: Mapping[str, str]) -> Iterator[TopicWarning]:
    if "compact" in config.get(_POLICY, ""):
        yield TopicWarning(
            topic,
            "is compacted: Kafka keeps only the last record of each key, so messages that were not "
            f"read yet are lost; set {_POLICY}=delete",
        )
    retained_ms = int(config.get(_RETENTION, "-1"))
    if 0 <= retained_ms < RETENTION_MIN_MS:
        yield TopicWarning(
            topic,
            f"keeps its records for only {retained_ms / 3_600_000:g} h: messages that a longer "
            f"outage leaves unread are lost; set {_RETENTION} to {RETENTION_MIN_MS} or more",
        )


def _doubts_state(topic: str, config: Mapping[str, str]) -> Iterator[TopicWarning]:
    if "compact" not in config.get(_POLICY, "compact"):
        yield TopicWarning(
            topic,
            "is not compacted: snapshots of organizations that do not change expire; "
            f"set {_POLICY}=compact",
        )


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


async def _known(admin: AIOKafkaAdminClient, names: Sequence[str], *, within_s: float) -> None:
    """Wait until Kafka reports topics that it has just created: at first it may report them as
    unknown.  It is no failure if that persists.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            while names:
                described = await admin.describe_topics(list(names))
                if not {for_code(each["error_code"]) for each in described} & _NOT_KNOWN_YET:
                    return
                await asyncio.sleep(CONTROLLER_PAUSE_S)


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
        raise await connection_error(kafka, error) from error
    finally:
        await admin.close()
