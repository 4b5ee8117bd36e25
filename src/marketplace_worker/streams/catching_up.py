"""Reads up to the newest record, so that under load no record waits for two batches.

aiokafka fetches ahead once: when records are taken it fetches what has come by then, and nothing
more of these partitions until that is taken too.  So what a busy consumer has at hand came before
the batch that it has just handled; what came during that is one fetch away.
"""

import asyncio
import time
from collections.abc import Callable

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord

FETCH_WAIT_S = 0.02
"""How long to wait for a fetch; one that finds records takes a few milliseconds."""

POLL_EVERY_S = 0.002

log = structlog.get_logger(__name__)


async def with_newer(
    consumer: AIOKafkaConsumer,
    at_hand: tuple[ConsumerRecord, ...],
    *,
    records_max: int,
    wanted_back: Callable[[], bool],
) -> tuple[ConsumerRecord, ...]:
    """What is at hand and, as far as there is room, what has come since, in order by partition.

    What is at hand is never lost: the consumer stands behind it already, and FastStream begins its
    task anew where that fails.

    `wanted_back`: whether partitions are to be given up, or the worker stops.  Then nothing more is
    read, and above all not waited for: amid a rebalance aiokafka's read waits for the new
    assignment, whatever its timeout, and that waits for what is at hand to be handled.
    """
    room = records_max - len(at_hand)
    until = time.monotonic() + FETCH_WAIT_S
    newer: list[ConsumerRecord] = []
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
