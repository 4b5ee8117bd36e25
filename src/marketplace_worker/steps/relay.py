"""Keeps the promises: sends what is in the outbox, and forgets what Kafka acknowledged."""

from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter

import structlog

from marketplace_worker.errors import Unavailable
from marketplace_worker.record import Outgoing
from marketplace_worker.store import outbox
from marketplace_worker.store.database import Pool, transaction

log = structlog.get_logger(__name__)

Publish = Callable[[Sequence[Outgoing]], Awaitable[Sequence[Exception | None]]]
"""Sends messages in order; None for each that was acknowledged."""


async def relay(pool: Pool, publish: Publish, *, limit: int) -> int:
    """Send up to `limit` messages of each shard that no other relay leads; returns how many.

    Only what was acknowledged is deleted, in the transaction that leads the shard: a crash in
    between sends a message again, under the same id, and never loses one.

    Raises:
        Unavailable: Postgres or Kafka is away, or Kafka did not take everything; what a shard
            cannot get rid of does not keep the others waiting.
    """
    async with transaction(pool) as conn:
        shards = await outbox.waiting(conn)
    sent, refusals = 0, []
    for shard in shards:
        acknowledged, failures = await _relay_shard(pool, publish, shard, limit)
        sent += acknowledged
        refusals += failures
    if refusals:
        raise Unavailable(f"Kafka did not acknowledge {len(refusals)} messages: {refusals[0]!r}")
    return sent


async def _relay_shard(
    pool: Pool, publish: Publish, shard: int, limit: int
) -> tuple[int, list[Exception]]:
    """How many messages of a shard were acknowledged, and why the others were not."""
    began = perf_counter()
    async with transaction(pool) as conn:
        if not await outbox.lead(conn, shard):
            return 0, []
        batch = await outbox.next_batch(conn, shard, limit=limit)
        if not batch:
            return 0, []
        results = await publish([unsent.message for unsent in batch])
        sent = [unsent.id for unsent, failed in zip(batch, results, strict=True) if failed is None]
        await outbox.forget(conn, sent)
    failures = [failed for failed in results if failed is not None]
    log.info(
        "batch_relayed",
        shard=shard,
        messages=len(sent),
        failed=len(failures),
        took_ms=round((perf_counter() - began) * 1000, 1),
    )
    return len(sent), failures
