"""Shared helpers: a handler that records its input, and functions that read from the broker."""

import asyncio
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractAsyncContextManager
from typing import Any

from aiokafka import (
    AIOKafkaConsumer,
    AIOKafkaProducer,
    TopicPartition,
)

from marketplace_worker.record import Record, StartOffset
from marketplace_worker.settings import Settings
from marketplace_worker.streams.consumer import ConsumerHooks
from marketplace_worker.streams.consuming import Consumers, consuming
from marketplace_worker.streams.retrying import Handler

PATIENCE_S = 20.0
"""How long a test waits for an expected result; far longer than it takes."""


class RecordingHandler:
    """A handler that records its input, and lets a test wait for it."""

    def __init__(self) -> None:
        self.batches: list[Sequence[Record]] = []
        self._more = asyncio.Event()

    async def __call__(self, records: Sequence[Record]) -> AbstractSet[str]:
        self.batches.append(records)
        self._more.set()
        return frozenset()

    @property
    def records(self) -> list[Record]:
        return [record for batch in self.batches for record in batch]

    @property
    def positions(self) -> list[str]:
        return [record.position for record in self.records]

    async def until(self, enough: Callable[[], bool]) -> None:
        """Wait until the condition is true; it is checked after every batch."""
        async with asyncio.timeout(PATIENCE_S):
            while not enough():
                self._more.clear()
                await self._more.wait()


async def ignore(_records: Sequence[Record]) -> AbstractSet[str]:
    """A handler for the consumer that is not under test."""
    return frozenset()


async def ignore_beginnings(_begun: Sequence[StartOffset]) -> None:
    """Ignore the start offsets of partitions."""


NO_OVERSIGHT = ConsumerHooks(
    on_turn=lambda _: None, work_left_s=lambda: 3.0, on_beginning=ignore_beginnings
)
"""No probe runs; at the stop, a batch in flight may take three seconds more."""


def consuming_facts(settings: Settings, facts: Handler) -> AbstractAsyncContextManager[Consumers]:
    """One member of each group, with a handler for facts."""
    return consuming(settings, facts=[facts], activity=[ignore], hooks=NO_OVERSIGHT)


async def write(writer: AIOKafkaProducer, topic: str, *values: bytes, partition: int = 0) -> None:
    """Write values to one partition, in order."""
    sent = [await writer.send(topic, value, partition=partition) for value in values]
    await asyncio.gather(*sent)


async def committed(settings: Settings, topic: str) -> dict[int, int | None]:
    """The committed offsets of the facts' group, by partition; None without one."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.kafka.bootstrap_servers,
        group_id=settings.kafka.facts_group,
        enable_auto_commit=False,
    )
    await consumer.start()
    try:
        return {part: await consumer.committed(TopicPartition(topic, part)) for part in (0, 1)}
    finally:
        await consumer.stop()


async def read_all(bootstrap: str, topic: str, count: int) -> list[Any]:
    """The first `count` records of a topic, of all partitions."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topic, part) for part in (0, 1)])
        async with asyncio.timeout(PATIENCE_S):
            return [await consumer.getone() for _ in range(count)]
    finally:
        await consumer.stop()
