"""Keeps the promises: sends what is in the outbox, and forgets what Kafka acknowledged."""

from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter

import structlog

from marketplace_worker.errors import Unavailable
from marketplace_worker.record import Outgoing
from marketplace_worker.store import outbox
from marketplace_worker.store.database import Pool, transaction

log = structlog.get_logger(__name__)

SHARDS_AT_ONCE = 4
"""How many shards one transaction leads: to wait for each by itself made messages wait for sixteen
commits, and of all shards most should go on where a relay is frozen amid a transaction."""

Publish = Callable[[Sequence[Outgoing]], Awaitable[Sequence[Exception | None]]]
"""Sends messages in order; None for each that was acknowledged."""


async def relay(pool: Pool, publish: Publish, *, limit: int) -> int:
    """Send some messages of each shard that no other relay leads, up to `limit` at a time; returns
    how many.

    Only what was acknowledged is deleted, in the transaction that leads the shards: a crash in
    between sends a message again, under the same id, and never loses one.

    Raises:
        Unavailable: Postgres or Kafka is away, or Kafka did not take everything; what some shards
            cannot get rid of does not keep the others waiting.
    """
    async with transaction(pool) as conn:
        shards = await outbox.waiting(conn)
    sent, refusals = 0, []
    for first in range(0, len(shards), SHARDS_AT_ONCE):
        some = shards[first : first + SHARDS_AT_ONCE]
        acknowledged, failures = await _relay_shards(pool, publish, some, limit)
        sent += acknowledged
        refusals += failures
    if refusals:
        raise Unavailable(f"Kafka did not acknowledge {len(refusals)} messages: {refusals[0]!r}")
    return sent


async def _relay_shards(
    pool: Pool, publish: Publish, shards: Sequence[int], limit: int
) -> tuple[int, list[Exception]]:
    """How many messages of some shards were acknowledged, and why the others were not."""
    began = perf_counter()
    async with transaction(pool) as conn:
        led = await outbox.lead(conn, shards)
        batch = await outbox.next_batch(conn, led, limit=limit) if led else ()
        if not batch:
            return 0, []
        results = await publish([unsent.message for unsent in batch])
        sent = [unsent.id for unsent, failed in zip(batch, results, strict=True) if failed is None]
        await outbox.forget(conn, sent)
    failures = [failed for failed in results if failed is not None]
    log.info(
        "batch_relayed",
        shards=len(led),
        messages=len(sent),
        failed=len(failures),
        took_ms=round((perf_counter() - began) * 1000, 1),
    )
    return len(sent), failures
