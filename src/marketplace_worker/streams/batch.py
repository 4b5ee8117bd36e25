"""A batch as FastStream knows it: how it is committed, or given again; and a record as we do."""

import asyncio
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, TopicAuthorizationFailedError
from faststream.kafka.message import KafkaAckableMessage

from marketplace_worker.record import EPOCH, Record
from marketplace_worker.streams.mends.record_batches import LeftOut

_END_OF_CALENDAR = datetime(9999, 12, 31, tzinfo=UTC)

log = structlog.get_logger(__name__)


def to_record(raw: ConsumerRecord) -> Record:
    """A record as it came; a time that the calendar does not have is moved to its end.

    So that it is the same record when it comes again: nothing here depends on when it came.
    """
    try:
        recorded_at = EPOCH + timedelta(milliseconds=max(raw.timestamp, 0))
    except OverflowError:
        recorded_at = _END_OF_CALENDAR
    is_left_out = isinstance(raw, LeftOut)
    return Record(
        topic=raw.topic,
        partition=raw.partition,
        offset=raw.offset,
        recorded_at=recorded_at,
        key=raw.key,
        value=raw.value,
        headers=tuple(raw.headers),
        left_out_bytes=raw.left_out_bytes if is_left_out else None,
        omitted_after=raw.behind if is_left_out else 0,
    )


class BatchMessage(KafkaAckableMessage):
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
        self._assignment: Callable[[], AbstractSet[TopicPartition]] = consumer.assignment
        self._commit_timeout_s = commit_timeout_s
        self._on_settled = on_settled

    async def ack(self) -> None:
        """Commit it; it is settled then, whether that went well or not."""
        try:
            async with asyncio.timeout(self._commit_timeout_s):
                await super().ack()
        except (
            CommitFailedError,
            IllegalStateError,
            TimeoutError,
            TopicAuthorizationFailedError,  # of one topic: those of the others are committed
        ) as error:
            # The work is done and the journal knows it: whoever gets the batch again skips it.
            log.warning("commit_failed", reason=type(error).__name__)
        finally:
            self._on_settled()

    async def nack(self) -> None:
        """Have it given again, as far as its partitions are still ours."""
        ours = self._assignment()
        # To rewind any other fails, and would leave those behind it as they are.
        self.raw_message = tuple(
            raw for raw in self.raw_message if TopicPartition(raw.topic, raw.partition) in ours
        )
        try:
            await super().nack()
        finally:
            self._on_settled()
