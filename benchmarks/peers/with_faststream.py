"""FastStream: a subscriber of batches, which are acknowledged after the transaction."""

import asyncio
import logging
from datetime import datetime

import asyncpg
import uvloop
from faststream import AckPolicy
from faststream.kafka import KafkaBroker, KafkaMessage

from benchmarks.naive_usage import UsageEvent
from benchmarks.peers.counting import ADD, SESSION_TIMEOUT_MS, Job, main

BATCH_MAX = 1_000


def count(job: Job) -> None:
    """Run the subscriber."""
    uvloop.run(_count(job))


async def _count(job: Job) -> None:
    broker = KafkaBroker(job.kafka, logger=logging.getLogger("faststream"), log_level=logging.DEBUG)
    pool = await asyncpg.create_pool(job.dsn, min_size=1, max_size=4)
    add = ADD.replace("%s", "${}").format(1, 2, 3)

    @broker.subscriber(
        job.topic,
        group_id=job.group,
        auto_offset_reset="earliest",
        batch=True,
        max_records=BATCH_MAX,
        session_timeout_ms=SESSION_TIMEOUT_MS,
        ack_policy=AckPolicy.MANUAL,
    )
    async def used(events: list[UsageEvent], message: KafkaMessage) -> None:
        totals: dict[str, tuple[datetime, int]] = {}
        for event in events:
            newest, requests = totals.get(event.subject, (event.time, 0))
            totals[event.subject] = (max(newest, event.time), requests + event.data.requests)
        ids = sorted(totals)
        await pool.execute(
            add, ids, [totals[each][0] for each in ids], [totals[each][1] for each in ids]
        )
        await message.ack()

    async with broker:
        await broker.start()
        await asyncio.Event().wait()


if __name__ == "__main__":
    main(count)
