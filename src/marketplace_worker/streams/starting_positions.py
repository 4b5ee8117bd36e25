"""Sees where a partition begins to be read, and whether records were left unread before that.

aiokafka 0.14 goes on at the earliest record, without a word to anybody, where Kafka has deleted or
cut off what was to be read next; and it begins wherever its group's offset stands, whoever put it
there.  So each beginning is passed on, before any record behind it is handled.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from collections.abc import Set as AbstractSet

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.consumer import subscription_state
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from marketplace_worker.errors import Unavailable
from marketplace_worker.record import Record, StartOffset
from marketplace_worker.settings import Kafka
from marketplace_worker.streams.retrying import Handler
from marketplace_worker.streams.security import client_arguments

LOOK_TIMEOUT_S = 5.0
"""How long it is looked for a record; where none is found by then, there may be one."""

FETCH_WAIT_MS = 500

OnBeginning = Callable[[Sequence[StartOffset]], Awaitable[None]]
"""Asked once for each beginning; called again with it where it raised `Unavailable`."""


def install() -> None:
    """Make all consumers of this process remember where they began.  Twice is harmless."""
    subscription_state.TopicPartitionState = _State


class BeginningsReporter:
    """A handler that passes on where partitions began to be read before what was read there."""

    def __init__(
        self, handler: Handler, consumer: Callable[[], AIOKafkaConsumer | None], began: OnBeginning
    ) -> None:
        self._handler = handler
        self._consumer = consumer
        self._began = began

    async def __call__(self, records: Sequence[Record]) -> AbstractSet[str]:
        """Raises `Unavailable` where that cannot be looked into now; then nothing is handled."""
        await self._look()
        return await self._handler(records)

    async def idle(self) -> None:
        """Look where nothing is read as well: there may be nothing any more."""
        with contextlib.suppress(Unavailable):
            await self._look()

    async def _look(self) -> None:
        consumer = self._consumer()
        begun = [] if consumer is None else _begun(consumer)
        if begun:
            await self._began([beginning for _, beginning in begun])
            for state, beginning in begun:
                state.settle(beginning)


class _State(subscription_state.TopicPartitionState):  # type: ignore[misc]  # aiokafka has no types
    """What aiokafka knows of a partition of ours; and where it began to be read, until that is
    settled.
    """

    _begun: tuple[int, int | None] | None = None
    _refused: int | None = None
    timestamp: int | None

    def await_reset(self, strategy: int) -> None:
        self._refused = self._position
        super().await_reset(strategy)

    def reset_to(self, position: int) -> None:
        super().reset_to(position)
        self._begun, self._refused = (position, self._refused), None
        self.timestamp = None  # set by the first answer to a fetch from there

    def beginning(self, partition: TopicPartition) -> StartOffset | None:
        """Where it began, once Kafka has given something from there on."""
        if self._begun is None or self.timestamp is None:
            return None
        return StartOffset(partition.topic, partition.partition, *self._begun)

    def settle(self, beginning: StartOffset) -> None:
        """Forget it, unless there is another by now."""
        if self._begun == (beginning.offset, beginning.refused):
            self._begun = None


def _begun(consumer: AIOKafkaConsumer) -> list[tuple[_State, StartOffset]]:
    assignment = consumer._subscription.subscription.assignment  # noqa: SLF001 - as in membership
    if assignment is None:
        return []
    states = [(state, state.beginning(each)) for each, state in assignment._tp_state.items()]  # noqa: SLF001 - likewise
    return [(state, beginning) for state, beginning in states if beginning is not None]


async def holds_record(kafka: Kafka, beginning: StartOffset, since: int) -> bool:
    """Whether Kafka has, or had, anything for us from an offset on up to where a partition began.

    What it has deleted was something.  A transaction's mark, and what compaction took out of the
    middle, is nothing.

    Raises `Unavailable` where Kafka does not answer.
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
