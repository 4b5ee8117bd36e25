"""Sends messages in bulk, and reports which of them Kafka acknowledged.

Nothing is sent after `publish` has returned: messages not acknowledged by then are discarded
together with the producer that held them, or an old snapshot could follow a newer one.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Any

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    BrokerResponseError,
    CorruptRecordException,
    IncompatibleBrokerVersion,
    InvalidTimestampError,
    KafkaError,
    MessageSizeTooLargeError,
    PolicyViolationError,
    RecordListTooLargeError,
    TopicAuthorizationFailedError,
    UnknownError,
)
from aiokafka.partitioner import DefaultPartitioner, murmur2

from marketplace_worker.errors import MessageRefused, Misconfigured, Unavailable
from marketplace_worker.record import Outgoing
from marketplace_worker.settings import Kafka, Relay
from marketplace_worker.settings.credentials import Credentials
from marketplace_worker.streams.connection_errors import connection_error
from marketplace_worker.streams.mends import compression
from marketplace_worker.streams.mends.stopping import abandon
from marketplace_worker.streams.rights import Operation, explained
from marketplace_worker.streams.security import METADATA_AGE_MS, client_arguments

BATCH_BYTES_MAX = 256 * 1024
ALONE_BYTES = 1
"""A batch accepts its first message whatever its size, and no more than these bytes after it."""

REQUEST_BYTES_MAX = 16 * 1024 * 1024
"""Far above our messages; a dead letter may be larger than its record.  The broker decides."""

TOPIC_KNOWN_WITHIN_S = 1.0
"""How long the messages of other topics wait for the metadata of an unknown topic."""

KEPT_KEY_BYTES_MAX = 128
"""The maximum length of keys whose hashes are kept; an organization's id is shorter."""

REFUSALS = (
    CorruptRecordException,
    InvalidTimestampError,
    MessageSizeTooLargeError,
    PolicyViolationError,
    RecordListTooLargeError,
    UnknownError,
)
"""Kafka's permanent refusals of a message, as long as the topic's configuration stays.  The last is
aiokafka's error for unknown codes, such as that a record is invalid (87): a message without a key
in a compacted topic, or one that does not match its topic's schema.
"""

log = structlog.get_logger(__name__)


class NotSent(Exception):
    """Not passed to Kafka: an earlier message of its key failed, the time was up, or Kafka does not
    report its topic.
    """


class TopicUnknown(NotSent):
    """The topic does not exist, or the brokers that the producer knows are gone."""


class Publisher:
    """Sends messages; made by `producing`.  Several tasks may use it at once."""

    def __init__(
        self, kafka: Kafka, relay: Relay, *, batch_bytes_max: int = BATCH_BYTES_MAX
    ) -> None:
        self._kafka = kafka
        self._relay = relay
        self._batch_bytes_max = batch_bytes_max
        self._starting = asyncio.Lock()
        self._producer: AIOKafkaProducer | None = None
        self._was_connected = False
        self._credentials = Credentials(kafka)

    async def start(self) -> None:
        """Connect, if not connected; reconnect if the credentials have changed.

        Call when no `publish` is under way.

        Raises:
            Unavailable: Kafka does not answer, or refuses a login that worked before: its
                credentials may be renewed under a running worker.
            Misconfigured: it refuses the first login.
        """
        if self._producer is not None and self._credentials.changed:
            await self.stop()
            log.info("credentials_renewed", client="producer")
        await self._started()

    async def stop(self) -> None:
        """Disconnect.  Call when no `publish` is under way."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await abandon(producer)

    async def publish(self, messages: Sequence[Outgoing]) -> Sequence[Exception | None]:
        """Send in order; the result for each message is None if Kafka acknowledged it,
        `MessageRefused` if it refuses the message permanently, else why it is uncertain.

        A message behind a failed one of the same topic and key counts as failed too: sending all
        failed ones again, in order, ends with the newest.  Kafka refuses batches as a whole, so a
        refused batch is sent once more, each message in its own batch.  Each of the two takes
        `acknowledge_timeout_ms` at most, and `request_timeout_ms` more if Kafka has to be found
        again.

        Raises:
            Unavailable: Kafka does not answer at all; nothing was sent.
        """
        results = list(await self._publish(messages))
        again = [place for place, each in enumerate(results) if isinstance(each, MessageRefused)]
        if again:
            alone = Publisher(self._kafka, self._relay, batch_bytes_max=ALONE_BYTES)
            alone._was_connected = self._was_connected
            try:
                tried = await alone._publish([messages[place] for place in again])
            finally:
                await alone.stop()
            for place, result in zip(again, tried, strict=True):
                results[place] = result
        return results

    async def _publish(self, messages: Sequence[Outgoing]) -> Sequence[Exception | None]:
        producer = await self._started()
        sent: list[asyncio.Future[Any] | Exception] = []
        clean = False
        try:
            async with asyncio.timeout(self._relay.acknowledge_timeout_ms / 1000):
                await _send(producer, self._kafka, messages, sent)
                await _settled(sent)
            clean = not any(map(_spoils, sent)) and not _knows_no_topic(sent)
        except TimeoutError:
            pass
        finally:
            # A batch that failed leaves a gap in an idempotent producer's numbers, and one that
            # is still waiting would be sent later: neither producer may be used again.
            if not clean:
                await self._give_up(producer, sent)
        results = [_result(self._kafka, each) for each in sent]
        results += [NotSent("the time was up")] * (len(messages) - len(sent))
        return _in_order(messages, results)

    async def _started(self) -> AIOKafkaProducer:
        async with self._starting:
            if self._producer is None:
                self._credentials.use()
                try:
                    self._producer = await _start(self._kafka, self._relay, self._batch_bytes_max)
                except Misconfigured as refused:
                    if not self._was_connected:
                        raise
                    raise Unavailable(str(refused)) from refused
                self._was_connected = True
            return self._producer

    async def _give_up(
        self, producer: AIOKafkaProducer, sent: Sequence[asyncio.Future[Any] | Exception]
    ) -> None:
        if self._producer is producer:
            self._producer = None
        for each in sent:
            if isinstance(each, asyncio.Future):
                each.cancel()
        await abandon(producer)
        log.warning("producer_given_up", messages=len(sent))


@asynccontextmanager
async def producing(kafka: Kafka, relay: Relay) -> AsyncIterator[Publisher]:
    """A connected publisher.

    It is idempotent if the broker supports that, which is requested at each start; the log line
    `producer_started` has the answer.

    Raises:
        Unavailable: Kafka does not answer.
        Misconfigured: a certificate or key file cannot be used, or Kafka refuses our login.
    """
    publisher = Publisher(kafka, relay)
    await publisher.start()
    try:
        yield publisher
    finally:
        await publisher.stop()


async def _start(kafka: Kafka, relay: Relay, batch_bytes_max: int) -> AIOKafkaProducer:
    """A connected producer, idempotent unless the broker answers that it cannot be.

    Raises:
        Unavailable: there is none within `request_timeout_ms`.
        Misconfigured: nor will there be one until a person has changed something.
    """
    try:
        async with asyncio.timeout(kafka.request_timeout_ms / 1000):
            return await _connected(kafka, relay, batch_bytes_max)
    except (KafkaError, OSError) as error:
        raise await connection_error(kafka, error) from error


async def _connected(kafka: Kafka, relay: Relay, batch_bytes_max: int) -> AIOKafkaProducer:
    producer = _producer(kafka, relay, batch_bytes_max, enable_idempotence=True)
    try:
        await _connect(producer)
    except (BrokerResponseError, IncompatibleBrokerVersion) as answer:
        if answer.retriable:
            raise
        producer = _producer(kafka, relay, batch_bytes_max, enable_idempotence=False)
        await _connect(producer)
        log.info("producer_started", idempotent=False, reason=type(answer).__name__)
    else:
        log.info("producer_started", idempotent=True, reason="the broker gave a producer id")
    return producer


def _producer(
    kafka: Kafka, relay: Relay, batch_bytes_max: int, *, enable_idempotence: bool
) -> AIOKafkaProducer:
    compression.install()
    return AIOKafkaProducer(
        **client_arguments(kafka),
        metadata_max_age_ms=METADATA_AGE_MS,
        acks="all",
        enable_idempotence=enable_idempotence,
        linger_ms=relay.linger_ms,
        max_batch_size=batch_bytes_max,
        max_request_size=REQUEST_BYTES_MAX,
        partitioner=partition_of,
        compression_type=None if relay.compression == "none" else relay.compression,
        request_timeout_ms=relay.acknowledge_timeout_ms,
    )


def partition_of(key: bytes | None, all_partitions: Sequence[int], available: Sequence[int]) -> int:
    """The partition of a key, as aiokafka and Kafka's own clients compute it.

    An organization has several messages in a row, and hashing its key in Python takes a tenth of
    the time for sending a message, so the newest hashes are kept.
    """
    if key is None or len(key) > KEPT_KEY_BYTES_MAX:
        chosen: int = DefaultPartitioner()(key, all_partitions, available)
        return chosen
    return all_partitions[_hash(key) % len(all_partitions)]


@lru_cache(maxsize=4_096)
def _hash(key: bytes) -> int:
    return int(murmur2(key)) & 0x7FFFFFFF


async def _connect(producer: AIOKafkaProducer) -> None:
    """Start a producer.  A lost connection is no answer: aiokafka would retry forever."""
    connected = False
    try:
        await producer.start()
        connected = True
    finally:
        if not connected:
            await producer.stop()


async def _send(
    producer: AIOKafkaProducer,
    kafka: Kafka,
    messages: Sequence[Outgoing],
    sent: list[asyncio.Future[Any] | Exception],
) -> None:
    """Pass all to the producer, without waiting for delivery; fills `sent` on the way."""
    unknown = await _unknown(producer, kafka, {message.topic for message in messages})
    blocked: set[tuple[str, bytes | None]] = set()
    for message in messages:
        if message.topic in unknown:
            sent.append(unknown[message.topic])
            continue
        if (message.topic, message.key) in blocked:
            sent.append(NotSent("an earlier message of its key failed"))
            continue
        keyless_tombstone = message.key is None and message.value is None
        try:
            acknowledged = await producer.send(
                message.topic,
                value=b"" if keyless_tombstone else message.value,
                key=message.key,
                headers=list(message.headers),
            )
        except MessageSizeTooLargeError as error:
            sent.append(MessageRefused(str(error)))
            if message.key is not None:
                blocked.add((message.topic, message.key))
        except KafkaError as error:
            sent.append(error)
            if message.key is not None:
                blocked.add((message.topic, message.key))
        else:
            sent.append(acknowledged)


async def _unknown(
    producer: AIOKafkaProducer, kafka: Kafka, topics: Iterable[str]
) -> Mapping[str, NotSent]:
    """The topics that Kafka does not report, with the reason; a message for one would delay all."""

    async def why_unknown(topic: str) -> NotSent | None:
        try:
            async with asyncio.timeout(TOPIC_KNOWN_WITHIN_S):
                await producer.partitions_for(topic)
        except TopicAuthorizationFailedError as error:
            return NotSent(explained(kafka, error, Operation.WRITE))
        except (KafkaError, TimeoutError):
            return TopicUnknown(f"Kafka returns no metadata of the topic {topic}")
        return None

    named = tuple(topics)
    found = await asyncio.gather(*(why_unknown(topic) for topic in named))
    return {topic: why for topic, why in zip(named, found, strict=True) if why is not None}


async def _settled(sent: Sequence[asyncio.Future[Any] | Exception]) -> None:
    futures = [each for each in sent if isinstance(each, asyncio.Future)]
    if futures:
        await asyncio.wait(futures)


def _knows_no_topic(sent: Sequence[asyncio.Future[Any] | Exception]) -> bool:
    """Whether the producer may know only brokers that are gone: all messages were for unknown
    topics.
    """
    return bool(sent) and all(isinstance(each, TopicUnknown) for each in sent)


def _spoils(each: asyncio.Future[Any] | Exception) -> bool:
    """Whether the producer cannot be used again; a message refused before sending does no harm."""
    if isinstance(each, asyncio.Future):
        return each.cancelled() or each.exception() is not None
    return not isinstance(each, NotSent | MessageRefused)


def _result(kafka: Kafka, each: asyncio.Future[Any] | Exception) -> Exception | None:
    if isinstance(each, Exception):
        return each
    if each.cancelled() or not each.done():
        return NotSent("the time was up")
    error = each.exception()
    assert error is None or isinstance(error, Exception)
    if isinstance(error, TopicAuthorizationFailedError):
        return NotSent(explained(kafka, error, Operation.WRITE))
    if isinstance(error, REFUSALS):
        return MessageRefused(f"{type(error).__name__}: {error}")
    return error


def _in_order(
    messages: Sequence[Outgoing], results: Sequence[Exception | None]
) -> Sequence[Exception | None]:
    """The results, with a failure spread to what follows under the same topic and key."""
    failed: dict[tuple[str, bytes], Exception] = {}
    spread: list[Exception | None] = []
    for message, result in zip(messages, results, strict=True):
        if message.key is None:
            spread.append(result)
            continue
        where = (message.topic, message.key)
        if where not in failed and result is not None:
            failed[where] = result
        spread.append(failed.get(where))
    return spread
