"""Pauses partitions: they are not read for a while, and nothing is committed past them."""

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import suppress

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import IllegalStateError

PAUSE_S = 5.0
"""After how long a paused partition is read again."""


def pause_at(consumer: AIOKafkaConsumer, places: Mapping[TopicPartition, int]) -> None:
    """Read these partitions again from these offsets, but not before `PAUSE_S` have passed.

    Call before the commit: it commits each partition's position.  A rebalance forgets the pause;
    then the records come at once, and may be held back again.
    """
    held = []
    for partition, offset in places.items():
        # One that is no longer ours has nothing to hold back.
        with suppress(IllegalStateError):
            consumer.seek(partition, offset)
            consumer.pause(partition)
            held.append(partition)
    asyncio.get_running_loop().call_later(PAUSE_S, _go_on, consumer, held)


def _go_on(consumer: AIOKafkaConsumer, partitions: Iterable[TopicPartition]) -> None:
    for each in partitions:
        with suppress(IllegalStateError):
            consumer.resume(each)
