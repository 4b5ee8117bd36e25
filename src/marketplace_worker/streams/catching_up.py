"""Reads up to the newest record, so that under load no record waits for two batches.

aiokafka fetches ahead once: when records are taken it fetches those available then, and no more of
these partitions until those are taken too.  So the records that a busy consumer has fetched are
older than the batch that it has just handled; newer ones need one more fetch.
"""

import asyncio
import time
from collections.abc import Callable

import structlog
from aiokafka import AIOKafkaConsumer

from marketplace_worker.record import Record

FETCH_WAIT_S = 0.02
"""How long to wait for a fetch; one that finds records takes a few milliseconds."""

POLL_EVERY_S = 0.002

log = structlog.get_logger(__name__)


async def with_newer(
    consumer: AIOKafkaConsumer,
    at_hand: tuple[Record, ...],
    *,
    records_max: int,
    wanted_back: Callable[[], bool],
) -> tuple[Record, ...]:
    """The fetched records and, if there is room, newer ones, in order by partition.

    Fetched records are never lost: the consumer's position is after them, and FastStream restarts
    its task if this fails.

    `wanted_back`: whether partitions are to be revoked, or the worker stops.  Then nothing more is
    read, and above all not waited for: during a rebalance aiokafka's read waits for the new
    assignment, whatever its timeout, and the assignment waits until the fetched records are
    handled.
    """
    room = records_max - len(at_hand)
    until = time.monotonic() + FETCH_WAIT_S
    newer: list[Record] = []
    try:
        while room > 0 and not newer and time.monotonic() < until:
            await asyncio.sleep(POLL_EVERY_S)
            if wanted_back():
                break
            fetched = await consumer.getmany(timeout_ms=0, max_records=room)
            newer = [record for records in fetched.values() for record in records]
    except Exception as error:  # noqa: BLE001 - the next read meets it again, with nothing at hand
        log.warning("fetch_failed", reason=f"{type(error).__name__}: {error}")
    return (*at_hand, *newer)
