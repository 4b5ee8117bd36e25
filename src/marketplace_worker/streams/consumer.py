"""A member of a consumer group, which passes batches to one handler.

Offsets are committed after the handler has returned, and never before.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import BrokerResponseError, KafkaError, TopicAuthorizationFailedError
from faststream.exceptions import NackMessage
from faststream.kafka.message import KafkaAckableMessage

from marketplace_worker.errors import Misconfigured, Unavailable
from marketplace_worker.record import Record
from marketplace_worker.settings import Settings
from marketplace_worker.streams import membership, starting_positions
from marketplace_worker.streams.catching_up import with_newer
from marketplace_worker.streams.connection_errors import connection_error, find_connection_error
from marketplace_worker.streams.failure_detection import FailureDetector, FrameworkLog
from marketplace_worker.streams.joining import client, member
from marketplace_worker.streams.mends import stopping
from marketplace_worker.streams.mends.batch_message import BatchMessage
from marketplace_worker.streams.mends.record_batches import UnreadableBatch
from marketplace_worker.streams.pausing import pause_at
from marketplace_worker.streams.retrying import Handler, Interruption, RetryDelays, RetryingHandler
from marketplace_worker.streams.rights import Operation, explained, not_joined
from marketplace_worker.streams.surveying import Survey

LEAVE_TIMEOUT_S = 0.8
"""How long leaving a group may take, before it is done past aiokafka."""

CLOSE_TIMEOUT_S = 0.2

SILENT_MAX_S = 10.0
"""Kafka answers a fetch within `fetch_wait_ms`, also where there is nothing new."""

FAILURES_MAX = 2
"""Failures in a row that still count as ready: a deadlock, a lost connection."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ConsumerHooks:
    """What a consumer calls.

    Args:
        on_turn: called at each turn of a consumer, with its name.
        work_left_s: asked at the stop: how long a batch in flight may still take, in seconds.
        on_beginning: called before what was read is handled: where partitions began to be read.
    """

    on_turn: Callable[[str], None]
    work_left_s: Callable[[], float]
    on_beginning: starting_positions.OnBeginning


class Consumer:
    """One member of a consumer group; created by `consuming`."""

    def __init__(
        self,
        name: str,
        group: str,
        topics: Sequence[str],
        handler: Handler,
        records_max: int,
        *,
        settings: Settings,
        hooks: ConsumerHooks,
        failed: asyncio.Future[None],
    ) -> None:
        kafka, ingest = settings.kafka, settings.ingest
        self.name, self.group = name, group
        self._settings = settings
        self._records_max = records_max
        self._hooks = hooks
        self._rebalance_s = kafka.rebalance_timeout_ms / 1000
        pauses = RetryDelays(
            first_s=ingest.retry_pause_min_ms / 1000,
            longest_s=ingest.retry_pause_max_ms / 1000,
            delivery_s=self._rebalance_s / 2,
        )
        self._beginnings = starting_positions.BeginningsReporter(
            handler, lambda: self.subscriber.consumer, hooks.on_beginning
        )
        self._handler = RetryingHandler(name, self._beginnings, pauses)
        self._idle = asyncio.Event()
        self._idle.set()
        self._assigned: frozenset[str] = frozenset()
        self._joined = False
        self._fetch_silence = membership.FetchSilence()
        self._failures = FailureDetector(name, failed)
        self._busy = False
        self.topics = frozenset(topics)
        self.survey = Survey(self.topics, "", Counter())
        self._connect(self.topics)

    def _connect(self, topics: AbstractSet[str]) -> None:
        """Make the client, which reads these topics once it is started."""
        self.subscribed = frozenset(topics)
        self.broker = client(
            self._settings.kafka, FrameworkLog(self.name), self._failures.middleware
        )
        self.subscriber = member(
            self.broker,
            topics,
            self.group,
            self._settings,
            records_max=self._records_max,
            listener=_HandOver(self),
            parser=self._parse,
        )
        self.subscriber(self._handle)
        self._read = self.subscriber.get_msg
        self.subscriber.get_msg = self._next_batch  # type: ignore[method-assign]  # called each turn

    @property
    def assigned(self) -> frozenset[str]:
        """The partitions that are ours now, each `topic/partition`."""
        return self._assigned

    @property
    def not_ready_reason(self) -> str:
        """Why nothing can be taken in now, in words; empty if it can, or if nothing is ours.

        Ask every few seconds: how long Kafka has been silent is seen from one time to the next.
        """
        consumer = self.subscriber.consumer
        if consumer is None or not self._joined:
            return "is not in its group, or the group is rebalancing"
        if not membership.reaches_coordinator(consumer):
            return "does not reach the coordinator of its group"
        silent_s = self._fetch_silence.silent_s(consumer, busy=not self._idle.is_set())
        if silent_s > SILENT_MAX_S:
            return f"has received nothing from Kafka for {silent_s:.0f} s"
        if self._handler.failures > FAILURES_MAX:
            return f"failed {self._handler.failures} times in a row"
        return self.survey.not_ready_reason

    @property
    def reaches_coordinator(self) -> bool:
        """Whether it knows the broker that leads its group, and has not lost it."""
        consumer = self.subscriber.consumer
        return consumer is not None and membership.reaches_coordinator(consumer)

    async def ask_why(self) -> str:
        """Why Kafka is not reached, as it answers now; empty if it is, or if it does not say."""
        consumer = self.subscriber.consumer
        if consumer is not None and membership.reaches_coordinator(consumer):
            return ""
        return str(await find_connection_error(self._settings.kafka) or "")

    @property
    def waits_for_kafka(self) -> bool:
        """Whether Kafka went away during a rebalance, for whose end aiokafka's read waits."""
        consumer = self.subscriber.consumer
        return (
            consumer is not None
            and not self._joined
            and self._idle.is_set()
            and not membership.reaches_coordinator(consumer)
        )

    @property
    def lag(self) -> Counter[str]:
        """By topic, how many records of our partitions were not handled yet, by Kafka's last
        answer.
        """
        consumer = self.subscriber.consumer
        return Counter() if consumer is None else membership.lag(consumer)

    async def start(self) -> None:
        """Join the group; returns once partitions are assigned (maybe none).

        Raises:
            Unavailable: Kafka does not answer, has not all topics, or gives no assignment in time.
            Misconfigured: it refuses the group, the session's timeout, or who we are.
        """
        kafka = self._settings.kafka
        within_s = (kafka.request_timeout_ms + kafka.rebalance_timeout_ms) / 1000
        try:
            async with asyncio.timeout(within_s):
                await self.broker.start()
            for task in self.subscriber.tasks:
                task.add_done_callback(self._reading_ended)
        except TimeoutError as error:
            raise Unavailable(
                f"Kafka at {kafka.bootstrap_servers}: no assignment in the group {self.group} "
                f"within {within_s:.0f} s"
            ) from error
        except (KafkaError, OSError) as error:
            if isinstance(error, BrokerResponseError) and not error.retriable:
                raise Misconfigured(not_joined(kafka, self.group, error)) from error
            raise await connection_error(kafka, error) from error

    async def stop(self) -> None:
        """Finish the batch in flight, commit it, and leave the group; all of it bounded."""
        self._handler.interrupt(Interruption.STOP)
        await self._leave(work_left_s=self._hooks.work_left_s())

    async def renew(self, topics: AbstractSet[str]) -> None:
        """Leave the group, and join it as a client that knows nothing of before, for these topics.

        Raises what `start` does; then it is in no group, and this may be called again.
        """
        self._handler.interrupt(Interruption.REVOCATION)
        try:
            await self._leave(work_left_s=self._rebalance_s * 0.8)
        finally:
            self._handler.end_interruption(Interruption.REVOCATION)
        self._connect(topics)
        try:
            await self.start()
        except (Unavailable, Misconfigured):
            await self._leave(work_left_s=0.0)
            raise

    def subscribe(self, topics: AbstractSet[str]) -> None:
        """Read these topics from now on: the group shares out their partitions."""
        consumer = self.subscriber.consumer
        if consumer is not None and topics != self.subscribed:
            log.warning(
                "topics_changed",
                consumer=self.name,
                left=sorted(self.subscribed - topics),
                added=sorted(topics - self.subscribed),
            )
            self.subscribed = frozenset(topics)
            consumer.subscribe(sorted(topics), listener=_HandOver(self))

    async def _leave(self, *, work_left_s: float) -> None:
        self.subscriber.running = False
        reading, consumer = list(self.subscriber.tasks), self.subscriber.consumer
        for task in reading:
            task.remove_done_callback(self._reading_ended)
        try:
            await asyncio.wait_for(self._idle.wait(), timeout=work_left_s)
        except TimeoutError:
            log.warning("batch_given_up", consumer=self.name)
        # FastStream has no patience (`graceful_timeout`): a batch that is still there is cancelled.
        leaving = asyncio.create_task(self.broker.stop())
        done, _ = await asyncio.wait({leaving}, timeout=LEAVE_TIMEOUT_S)
        if consumer is not None and not done:
            await stopping.leave_at_once(consumer)
            done, _ = await asyncio.wait({leaving}, timeout=CLOSE_TIMEOUT_S)
        leaving.cancel()  # does nothing where it is done
        await asyncio.wait({leaving, *reading}, timeout=CLOSE_TIMEOUT_S)
        if leaving.cancelled() or not leaving.done() or leaving.exception() is not None:
            log.warning("consumer_cut_off", consumer=self.name)
            if consumer is not None:
                await stopping.disconnect(consumer)
        self._assigned, self._joined = frozenset(), False
        self._busy = False
        self._idle.set()

    def _reading_ended(self, _: asyncio.Task[Any]) -> None:
        self._failures.fail("stopped reading")

    async def release_partitions(self, revoked: frozenset[str]) -> None:
        """Let the batch in flight be finished and committed before partitions are given up."""
        self._joined = False
        self._handler.interrupt(Interruption.REVOCATION)
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

    def accept_partitions(self, assigned: frozenset[str]) -> None:
        """Partitions were assigned to us."""
        self._assigned = assigned
        self._joined = True
        self._handler.end_interruption(Interruption.REVOCATION)
        log.info("partitions_assigned", consumer=self.name, partitions=sorted(assigned))

    async def _next_batch(self, consumer: AIOKafkaConsumer) -> tuple[Record, ...]:
        """Read the next batch; FastStream calls this at each turn."""
        self._hooks.on_turn(self.name)
        if ended := membership.ended(consumer):
            self._failures.fail(f"{ended} ended")
        try:
            return await self._read_batch(consumer)
        except Exception as error:
            self._failures.record(error)
            raise

    async def _read_batch(self, consumer: AIOKafkaConsumer) -> tuple[Record, ...]:
        """Read; if the last turn had records too, read on to the newest."""
        try:
            records = await self._read(consumer)
        except TopicAuthorizationFailedError as forbidden:
            self._leave_out(forbidden)
            return ()
        if not records:
            await self._beginnings.idle()
        elif self._busy:
            records = await self._with_newer(consumer, records)
        self._busy = bool(records)
        return records

    async def _with_newer(
        self, consumer: AIOKafkaConsumer, records: tuple[Record, ...]
    ) -> tuple[Record, ...]:
        self._idle.clear()  # these records are handled before their partitions are given up
        try:
            newest = await with_newer(
                consumer,
                records,
                records_max=self._records_max,
                wanted_back=lambda: self._handler.interrupted,
            )
        except BaseException:
            self._idle.set()
            raise
        if not self.subscriber.running:
            self._idle.set()  # FastStream drops the batch; it is delivered again
        return newest

    def _leave_out(self, forbidden: TopicAuthorizationFailedError) -> None:
        """Go on without a topic that may not be read any more; raise it where no other is left."""
        readable = self.subscribed - set(forbidden.args)
        if not readable:
            raise forbidden
        lacks = explained(self._settings.kafka, forbidden, Operation.READ)
        log.error("topic_not_allowed", consumer=self.name, reason=lacks)
        self.survey = Survey(readable, lacks, self.survey.unread_records)
        self.subscribe(readable)

    async def _parse(self, batch: tuple[Record, ...]) -> KafkaAckableMessage:
        """A message that keeps the records as they are; the stock parser fails on a null header."""
        self._idle.clear()
        consumer = self.subscriber.consumer
        assert consumer is not None
        return BatchMessage(
            raw_message=batch,
            body=batch,
            message_id=batch[0].offset,
            correlation_id="",
            consumer=consumer,
            commit_timeout_s=self._settings.stop_timeout_ms / 2000,
            on_settled=self._idle.set,
            on_error=self._failures.record,
        )

    async def _handle(self, batch: tuple[Record, ...]) -> None:
        readable = [each for each in batch if not isinstance(each, UnreadableBatch)]
        try:
            stopped = await self._handler.handle(readable) if readable else frozenset()
            if stopped or len(readable) < len(batch):
                self._hold_back(batch, stopped)
        except asyncio.CancelledError:
            self._idle.set()
            raise
        except Exception as error:
            raise NackMessage from error

    def _hold_back(self, batch: Iterable[Record], stopped: AbstractSet[str]) -> None:
        """Pause partitions of which something was not applied; nothing is committed past it."""
        places: dict[TopicPartition, int] = {}
        for each in batch:
            if isinstance(each, UnreadableBatch):
                log.error("records_unreadable", position=each.position, reason=each.reason)
            elif each.topic not in stopped:
                continue
            places.setdefault(TopicPartition(each.topic, each.partition), each.offset)
        if places and (consumer := self.subscriber.consumer) is not None:
            pause_at(consumer, places)


class _HandOver(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """Passes the group's decisions to the consumer; heartbeats continue while it waits."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        await self._consumer.release_partitions(_names(revoked))

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        self._consumer.accept_partitions(_names(assigned))


def _names(partitions: set[TopicPartition]) -> frozenset[str]:
    return frozenset(f"{each.topic}/{each.partition}" for each in partitions)
