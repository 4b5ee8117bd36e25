"""Reads our published messages without a consumer group, so without commits or rebalances."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from marketplace_worker.contract.published import numbered_topics
from marketplace_worker.errors import Unavailable
from marketplace_worker.record import Record
from marketplace_worker.settings import Settings
from marketplace_worker.streams.groupless import consuming_alone
from marketplace_worker.streams.mends.record_batches import UnreadableBatch
from marketplace_worker.streams.rights import Operation, explained

BATCH_RECORDS_MAX = 1_000

WAIT_MS = 200
"""How long one read waits for Kafka to answer."""

ReadBack = Callable[[int | None], AsyncIterator[Sequence[Record]]]
"""Yields what our topics hold, in order by partition: of each partition the newest so many, or
(None) all, up to where it ended at the call."""


async def read_back(
    settings: Settings, newest: int | None = None
) -> AsyncIterator[Sequence[Record]]:
    """See `ReadBack`.

    Raises:
        Unavailable: Kafka does not answer, does not let us read them, or a batch cannot be read:
            then nothing is known about the records behind it.
    """
    kafka = settings.kafka
    try:
        topics = numbered_topics(settings.topics)
        async with consuming_alone(kafka, topics, settings.ingest.batch_bytes_max) as consumer:
            ends = await _ends(consumer, newest)
            async for records in _until(consumer, ends, kafka.request_timeout_ms / 1000):
                yield records
    except (KafkaError, OSError) as error:
        reason = explained(kafka, error, Operation.READ) if str(error) else "no answer in time"
        raise Unavailable(f"Kafka at {kafka.bootstrap_servers}: {reason}") from error


async def _until(
    consumer: AIOKafkaConsumer, ends: dict[TopicPartition, int], silent_max_s: float
) -> AsyncIterator[Sequence[Record]]:
    """The records of each partition before its end.  Raises `Unavailable` if Kafka returns nothing
    for `silent_max_s`.
    """
    silent_s, asked = 0.0, set(ends)
    while ends:
        found = await consumer.getmany(*ends, timeout_ms=WAIT_MS, max_records=BATCH_RECORDS_MAX)
        # Tansu reports an end within the last batch of a partition, until that batch was read.
        read = {tp: end for tp in asked if (end := consumer.highwater(tp)) is not None}
        ends |= {tp: max(end, ends[tp]) for tp, end in read.items() if tp in ends}
        asked -= read.keys()
        if records := [each for of_one in found.values() for each in of_one]:
            yield _before(ends, records)
        left = [tp for tp, end in ends.items() if await consumer.position(tp) < end]
        silent_s = 0.0 if records or len(left) < len(ends) else silent_s + WAIT_MS / 1000
        if silent_s > silent_max_s:
            raise Unavailable(f"Kafka does not return the published records of {left[0].topic}")
        ends = {tp: ends[tp] for tp in left}


def _before(ends: Mapping[TopicPartition, int], records: Sequence[Record]) -> Sequence[Record]:
    for each in records:
        if isinstance(each, UnreadableBatch):
            raise Unavailable(f"the published records cannot be read at {each.position}")
    return [
        each for each in records if each.offset < ends[TopicPartition(each.topic, each.partition)]
    ]


async def _ends(consumer: AIOKafkaConsumer, newest: int | None) -> dict[TopicPartition, int]:
    """The end of each partition that has records; sets the consumer's position to the beginning."""
    partitions = list(consumer.assignment())
    ends = await consumer.end_offsets(partitions)
    begins = await consumer.beginning_offsets(partitions)
    for tp in partitions:
        first = begins[tp] if newest is None else max(begins[tp], ends[tp] - newest)
        consumer.seek(tp, first)
    return {tp: end for tp, end in ends.items() if begins[tp] < end}
