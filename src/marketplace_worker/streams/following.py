"""Follows a topic as it grows, without a consumer group: for `tail`."""

from collections.abc import AsyncGenerator, Sequence
from datetime import datetime

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from marketplace_worker.errors import Unavailable
from marketplace_worker.record import Record
from marketplace_worker.settings import Kafka
from marketplace_worker.streams.groupless import consuming_alone
from marketplace_worker.streams.mends.record_batches import UnreadableBatch
from marketplace_worker.streams.rights import Operation, Resource, Right, explained
from marketplace_worker.streams.topics import require_access

WAIT_MS = 500
"""How long one read waits for new records."""


async def follow(
    kafka: Kafka, topic: str, batch_bytes_max: int, *, since: datetime | None
) -> AsyncGenerator[Sequence[Record], None]:
    """Yield the records of a topic as they arrive, without end; each in the order of its partition.

    Args:
        kafka: how to connect.
        topic: its name in Kafka.
        batch_bytes_max: of a larger record batch only the beginning is read.
        since: from records of this time on (by their timestamps); None: only new ones.  On Tansu
            the last batch of each partition counts as new: it reports an end within it.

    Raises:
        Misconfigured: there is no such topic, or Kafka does not let us read it, or log in.
        Unavailable: Kafka does not answer at the start, or a batch cannot be read.
    """
    await require_access(kafka, [Right(Operation.READ, Resource.TOPIC, topic)])
    try:
        async with consuming_alone(kafka, [topic], batch_bytes_max) as consumer:
            unread_from = await _starting_offsets(consumer, since)
            while True:
                found = await consumer.getmany(timeout_ms=WAIT_MS)
                for partition, records in found.items():
                    if fresh := _fresh(records, unread_from.get(partition, 0), since):
                        unread_from[partition] = fresh[-1].offset + 1
                        yield fresh
    except (KafkaError, OSError) as error:
        reason = explained(kafka, error, Operation.READ) if str(error) else "no answer in time"
        raise Unavailable(f"Kafka at {kafka.bootstrap_servers}: {reason}") from error


async def _starting_offsets(
    consumer: AIOKafkaConsumer, since: datetime | None
) -> dict[TopicPartition, int]:
    """The first offset to read of each partition; sets the consumer's positions to them."""
    partitions = list(consumer.assignment())
    starts: dict[TopicPartition, int] = await consumer.end_offsets(partitions)
    if since is not None:
        since_ms = round(since.timestamp() * 1000)
        found = await consumer.offsets_for_times(dict.fromkeys(partitions, since_ms))
        starts |= {tp: each.offset for tp, each in found.items() if each is not None}
    for partition, offset in starts.items():
        consumer.seek(partition, offset)
    return starts


def _fresh(
    records: Sequence[Record | UnreadableBatch], unread_from: int, since: datetime | None
) -> list[Record]:
    """The records that were not read yet: after the topic got more partitions, aiokafka reads
    those that it had from their beginning again.
    """
    fresh = []
    for each in records:
        if isinstance(each, UnreadableBatch):
            raise Unavailable(f"the records cannot be read at {each.position}")
        if each.offset >= unread_from and (since is None or each.recorded_at >= since):
            fresh.append(each)
    return fresh
