"""Taking records in: two consumer groups, each handing batches to one handler.

Offsets are committed after the handler has returned, and never before.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, NoReturn

import structlog
from aiokafka import (
    AIOKafkaConsumer,
    ConsumerRebalanceListener,
    ConsumerRecord,
    TopicPartition,
)
from aiokafka.coordinator.assignors.sticky.sticky_assignor import (
    StickyPartitionAssignor,
)
from aiokafka.errors import (
    BrokerResponseError,
    CommitFailedError,
    IllegalStateError,
    KafkaError,
)
from faststream import AckPolicy
from faststream.exceptions import NackMessage
from faststream.kafka import KafkaBroker
from faststream.kafka.message import KafkaAckableMessage

from marketplace_worker.errors import Misconfigured, Unavailable
from marketplace_worker.record import Record
from marketplace_worker.settings import Kafka, Settings
from marketplace_worker.streams.patience import Disturbance, Handler, Patient, Pauses
from marketplace_worker.streams.security import security, servers

IDLE_WAIT_MS = 50
"""How long to wait for a record before looking whether to stop, and the pause after that."""

PARTITION_FETCH_BYTES_MAX = 1024 * 1024
"""How much of one partition is fetched at once; a larger record comes alone."""

FATAL_ERRORS_MAX = 3
FATAL_ERRORS_WITHIN_S = 60.0
"""Errors that do not pass by waiting: so many so close together, and the consumer is dead."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

log = structlog.get_logger(__name__)


class ConsumerDied(Exception):
    """A consumer cannot go on: the process must end, and be started anew."""


def to_record(raw: ConsumerRecord, *, arrived_at: datetime) -> Record:
    """A record as it came, with `arrived_at` (UTC) where its own timestamp is unusable."""
    try:
        recorded_at = _EPOCH + timedelta(milliseconds=raw.timestamp)
    except OverflowError:
        recorded_at = arrived_at
    return Record(
        topic=raw.topic,
        partition=raw.partition,
        offset=raw.offset,
        recorded_at=recorded_at if raw.timestamp >= 0 else arrived_at,
        key=raw.key,
        value=raw.value,
        headers=tuple(raw.headers),
    )


class Consumer:
    """One consumer group's member; made by `consuming`."""

    def __init__(
        self,
        name: str,
        group: str,
        topics: Sequence[str],
        handler: Handler,
        *,
        settings: Settings,
        clock: Callable[[], datetime],
        died: asyncio.Future[None],
    ) -> None:
        kafka, ingest = settings.kafka, settings.ingest
        self.name = name
        self._settings = settings
        self._clock = clock
        self._rebalance_s = kafka.rebalance_timeout_ms / 1000
        pauses = Pauses(
            first_s=ingest.retry_pause_min_ms / 1000,
            longest_s=ingest.retry_pause_max_ms / 1000,
            delivery_s=self._rebalance_s / 2,
        )
        self._patient = Patient(name, handler, pauses)
        self._idle = asyncio.Event()
        self._idle.set()
        self._assigned: frozenset[str] = frozenset()
        self.broker = _broker(kafka, _FrameworkLog(name, died), settings.stop_timeout_ms)
        self.subscriber = self.broker.subscriber(
            *topics,
            batch=True,
            group_id=group,
            ack_policy=AckPolicy.NACK_ON_ERROR,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            max_records=ingest.batch_rows_max,
            batch_timeout_ms=IDLE_WAIT_MS,
            fetch_max_wait_ms=ingest.fetch_wait_ms,
            fetch_max_bytes=ingest.fetch_bytes_max,
            max_partition_fetch_bytes=PARTITION_FETCH_BYTES_MAX,
            partition_assignment_strategy=(StickyPartitionAssignor,),
            session_timeout_ms=kafka.session_timeout_ms,
            heartbeat_interval_ms=min(3_000, kafka.session_timeout_ms // 3),
            rebalance_timeout_ms=kafka.rebalance_timeout_ms,
            listener=_HandOver(self),
            parser=self._parse,
            decoder=_undecoded,
        )
        self.subscriber(self._take)

    @property
    def assigned(self) -> frozenset[str]:
        """The partitions that are ours now, each `topic/partition`."""
        return self._assigned

    async def start(self) -> None:
        """Join the group; returns once partitions are assigned (maybe none).

        Raises:
            Unavailable: Kafka does not answer, or has not all topics.
            Misconfigured: it refuses the group, the session's timeout, or who we are.
        """
        try:
            await self.broker.start()
        except (KafkaError, OSError) as error:
            said = f"Kafka at {self._settings.kafka.bootstrap_servers}: {error}"
            if isinstance(error, BrokerResponseError) and not error.retriable:
                raise Misconfigured(said) from error
            raise Unavailable(said) from error

    async def stop(self) -> None:
        """Finish the batch in flight, commit it, and leave the group; all of it bounded."""
        self._patient.disturb(Disturbance.STOP)
        stop_s = self._settings.stop_timeout_ms / 1000
        try:
            # The batch has its own bound within this one; the rest is for leaving the group.
            async with asyncio.timeout(stop_s + 1):
                await self.broker.stop()
        except TimeoutError:
            log.warning("consumer_left_without_goodbye", consumer=self.name)

    async def hand_over(self, revoked: frozenset[str]) -> None:
        """Let the batch in flight be finished and committed before partitions are given up."""
        self._patient.disturb(Disturbance.REVOCATION)
        started = time.monotonic()
        try:
            await asyncio.wait_for(self._idle.wait(), timeout=self._rebalance_s * 0.8)
        except TimeoutError:
            log.warning("hand_over_timed_out", consumer=self.name)
        self._assigned = frozenset()
        if revoked:
            waited_ms = round((time.monotonic() - started) * 1000)
            log.info(
                "partitions_revoked", consumer=self.name, partitions=len(revoked), took_ms=waited_ms
            )

    def take_over(self, assigned: frozenset[str]) -> None:
        """Partitions are ours."""
        self._assigned = assigned
        self._patient.calm(Disturbance.REVOCATION)
        log.info("partitions_assigned", consumer=self.name, partitions=sorted(assigned))

    async def _parse(self, batch: tuple[ConsumerRecord, ...]) -> KafkaAckableMessage:
        """A message that keeps the records as they are; the stock parser fails on a null header."""
        self._idle.clear()
        consumer = self.subscriber.consumer
        assert consumer is not None
        return _Batch(
            raw_message=batch,
            body=batch,
            message_id=batch[0].offset,
            correlation_id="",
            consumer=consumer,
            commit_timeout_s=self._settings.stop_timeout_ms / 2000,
            on_settled=self._idle.set,
        )

    async def _take(self, batch: tuple[ConsumerRecord, ...]) -> None:
        arrived_at = self._clock()
        try:
            await self._patient.handle([to_record(raw, arrived_at=arrived_at) for raw in batch])
        except asyncio.CancelledError:
            self._idle.set()
            raise
        except Exception as error:
            raise NackMessage from error


class _Batch(KafkaAckableMessage):
    """A batch whose commit cannot block for ever, and which tells when it is settled."""

    def __init__(
        self,
        *,
        consumer: AIOKafkaConsumer,
        commit_timeout_s: float,
        on_settled: Callable[[], None],
        **message: Any,  # noqa: ANN401 - FastStream's own arguments
    ) -> None:
        super().__init__(consumer=consumer, **message)
        self._commit_timeout_s = commit_timeout_s
        self._on_settled = on_settled

    async def ack(self) -> None:
        try:
            async with asyncio.timeout(self._commit_timeout_s):
                await super().ack()
        except (CommitFailedError, IllegalStateError, TimeoutError) as error:
            # The work is done and the journal knows it: whoever gets the batch again skips it.
            log.warning("commit_failed", reason=type(error).__name__)
        finally:
            self._on_settled()

    async def nack(self) -> None:
        try:
            await super().nack()
        except IllegalStateError:
            # No longer ours, so there is nothing to rewind.
            log.info("partitions_lost_before_nack")
        finally:
            self._on_settled()


class _HandOver(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """Tells the consumer what the group decided; heartbeats go on while it waits."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        await self._consumer.hand_over(_names(revoked))

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        self._consumer.take_over(_names(assigned))


class _FrameworkLog:
    """FastStream's log: its errors only, and the place where a consumer that died is noticed.

    FastStream tries again for ever, whatever happened; only here it tells what.
    """

    def __init__(self, name: str, died: asyncio.Future[None]) -> None:
        self._name = name
        self._died = died
        self._fatal_at: list[float] = []

    def log(
        self,
        level: int,
        msg: Any,  # noqa: ANN401 - FastStream's protocol
        /,
        *,
        exc_info: Any = None,  # noqa: ANN401 - likewise
        extra: Mapping[str, Any] | None = None,  # noqa: ARG002 - likewise
    ) -> None:
        if level < logging.ERROR:
            return
        log.error("consumer_error", consumer=self._name, message=str(msg), exc_info=exc_info)
        if isinstance(exc_info, KafkaError) and exc_info.retriable:
            return
        now = time.monotonic()
        self._fatal_at = [at for at in self._fatal_at if now - at < FATAL_ERRORS_WITHIN_S]
        self._fatal_at.append(now)
        if len(self._fatal_at) >= FATAL_ERRORS_MAX and not self._died.done():
            self._died.set_exception(ConsumerDied(f"the consumer {self._name}: {exc_info!r}"))


class Consumers:
    """Both consumers, joined to their groups."""

    def __init__(self, facts: Consumer, activity: Consumer, died: asyncio.Future[None]) -> None:
        self.facts = facts
        self.activity = activity
        self._died = died

    def assigned(self) -> Mapping[str, frozenset[str]]:
        """By consumer, its partitions, each `topic/partition`."""
        return {each.name: each.assigned for each in (self.facts, self.activity)}

    async def wait_failed(self) -> NoReturn:
        """Wait until one of them cannot go on.  Raises `ConsumerDied`."""
        loops = (*self.facts.subscriber.tasks, *self.activity.subscriber.tasks)
        await asyncio.wait({self._died, *loops}, return_when=asyncio.FIRST_COMPLETED)
        if self._died.done():
            self._died.result()
        raise ConsumerDied("a consumer stopped reading")


@asynccontextmanager
async def consuming(
    settings: Settings, *, facts: Handler, activity: Handler, clock: Callable[[], datetime]
) -> AsyncIterator[Consumers]:
    """Both consumers, reading; on leaving, they finish their batches and leave their groups.

    Args:
        settings: the settings.
        facts: what is done with batches of the topics that become facts.
        activity: the same for logins and API usage.
        clock: the time (UTC), for records that bring none.

    Raises:
        Unavailable: Kafka does not answer, or has not all topics.
        Misconfigured: a certificate or key file cannot be used, or Kafka refuses what is set.
    """
    kafka, topics = settings.kafka, settings.topics
    died: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    member = partial(Consumer, settings=settings, clock=clock, died=died)
    both = Consumers(
        member("facts", kafka.facts_group, topics.facts, facts),
        member("activity", kafka.activity_group, topics.activity, activity),
        died,
    )
    async with AsyncExitStack() as stack:
        stack.push_async_callback(_all_of, both.facts.stop, both.activity.stop)
        await _all_of(both.facts.start, both.activity.start)
        yield both


async def _all_of(*steps: Callable[[], Any]) -> None:
    """Take the steps at once, each to its end; raises what the first of them raised."""
    outcomes = await asyncio.gather(*(step() for step in steps), return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome


def _broker(kafka: Kafka, framework_log: _FrameworkLog, stop_timeout_ms: int) -> KafkaBroker:
    return KafkaBroker(
        servers(kafka),
        client_id=kafka.client_id,
        security=security(kafka),
        request_timeout_ms=kafka.request_timeout_ms,
        consumer_only=True,
        allow_auto_create_topics=False,
        graceful_timeout=stop_timeout_ms / 1000,
        apply_types=False,
        logger=framework_log,
        log_level=logging.DEBUG,
    )


async def _undecoded(message: KafkaAckableMessage) -> Any:  # noqa: ANN401 - FastStream's type
    return message.body


def _names(partitions: set[TopicPartition]) -> frozenset[str]:
    return frozenset(f"{each.topic}/{each.partition}" for each in partitions)
