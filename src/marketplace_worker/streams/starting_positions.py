"""Reports where partitions start to be read, before any record after that is handled.

aiokafka continues at the earliest record if Kafka has deleted or truncated what was to be read
next (`mends/partition_state.py`), and starts at the group's offset, whoever has set it.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from collections.abc import Set as AbstractSet

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from marketplace_worker.errors import Unavailable
from marketplace_worker.record import Record, StartOffset
from marketplace_worker.settings import Kafka
from marketplace_worker.streams.mends.partition_state import unsettled_beginnings
from marketplace_worker.streams.retrying import Handler
from marketplace_worker.streams.security import client_arguments

LOOK_TIMEOUT_S = 5.0
"""How long to search for a record; after that, one is assumed to exist."""

FETCH_WAIT_MS = 500

OnBeginning = Callable[[Sequence[StartOffset]], Awaitable[None]]
"""Called once for each start; called again with the same one if it raised `Unavailable`."""


class BeginningsReporter:
    """A handler that passes on where partitions began to be read before what was read there."""

    def __init__(
        self, handler: Handler, consumer: Callable[[], AIOKafkaConsumer | None], began: OnBeginning
    ) -> None:
        self._handler = handler
        self._consumer = consumer
        self._began = began

    async def __call__(self, records: Sequence[Record]) -> AbstractSet[str]:
        """Raises `Unavailable` if that cannot be checked now; then nothing is handled."""
        await self._report_beginnings()
        return await self._handler(records)

    async def idle(self) -> None:
        """Check also if nothing is read: there may be no more records."""
        with contextlib.suppress(Unavailable):
            await self._report_beginnings()

    async def _report_beginnings(self) -> None:
        consumer = self._consumer()
        begun = [] if consumer is None else unsettled_beginnings(consumer)
        if begun:
            await self._began([beginning for _, beginning in begun])
            for state, beginning in begun:
                state.settle(beginning)


async def holds_record(kafka: Kafka, beginning: StartOffset, since: int) -> bool:
    """Whether Kafka has, or had, any record for us between an offset and the start of a partition.

    Deleted records count.  Control records of transactions, and gaps of compaction, do not.

    Raises `Unavailable` if Kafka does not answer.
    """
    partition = TopicPartition(beginning.topic, beginning.partition)
    consumer = AIOKafkaConsumer(
        **client_arguments(kafka),
        request_timeout_ms=kafka.request_timeout_ms,
        isolation_level="read_committed",
        auto_offset_reset="none",
        enable_auto_commit=False,
    )
    try:
        await consumer.start()
        consumer.assign([partition])
        consumer.seek(partition, since)
        async with asyncio.timeout(LOOK_TIMEOUT_S):
            return await _finds(consumer, partition, before=beginning.offset)
    except (OffsetOutOfRangeError, TimeoutError):
        return True
    except (KafkaError, OSError) as error:
        raise Unavailable(f"Kafka at {kafka.bootstrap_servers}: {error!r}") from error
    finally:
        await consumer.stop()


async def _finds(consumer: AIOKafkaConsumer, partition: TopicPartition, *, before: int) -> bool:
    while await consumer.position(partition) < before:
        read = await consumer.getmany(partition, timeout_ms=FETCH_WAIT_MS, max_records=1)
        if any(record.offset < before for records in read.values() for record in records):
            return True
    return False
