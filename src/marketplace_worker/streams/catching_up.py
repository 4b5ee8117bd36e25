"""Reads on to what is newest, so that under load no record waits for two batches.

aiokafka fetches ahead once: when records are taken it fetches what has come by then, and nothing
more of these partitions until that is taken too.  So what a busy consumer has at hand came before
the batch that it has just handled; what came during that is one fetch away.
"""

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord

FETCH_WAIT_MS = 20
"""A fetch of what is there takes a few; where nothing is, so long is waited in vain."""

log = structlog.get_logger(__name__)


async def with_newer(
    consumer: AIOKafkaConsumer, at_hand: tuple[ConsumerRecord, ...], *, records_max: int
) -> tuple[ConsumerRecord, ...]:
    """What is at hand and, as far as there is room, what has come since, in order by partition.

    What is at hand is never lost: the consumer stands behind it already, and FastStream begins its
    task anew where that fails.
    """
    room = records_max - len(at_hand)
    if room <= 0:
        return at_hand
    try:
        newer = await consumer.getmany(timeout_ms=FETCH_WAIT_MS, max_records=room)
    except Exception as error:  # noqa: BLE001 - the next read meets it again, with nothing at hand
        log.warning("fetch_failed", reason=f"{type(error).__name__}: {error}")
        return at_hand
    return (*at_hand, *(record for records in newer.values() for record in records))
