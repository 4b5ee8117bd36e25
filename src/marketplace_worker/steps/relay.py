"""Keeps the promises: sends what is in the outbox, and forgets what Kafka acknowledged."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from time import perf_counter

import structlog

from marketplace_worker.errors import Unavailable
from marketplace_worker.record import Outgoing
from marketplace_worker.store import outbox
from marketplace_worker.store.database import Pool, transaction

log = structlog.get_logger(__name__)

SHARDS_OF_MANY = 4
"""How many shards one transaction leads where more waits than one can send: other relays take the
others.  A few messages go in one transaction, for each costs a wait for the disk and for Kafka."""

Publish = Callable[[Sequence[Outgoing]], Awaitable[Sequence[Exception | None]]]
"""Sends messages in order; None for each that was acknowledged."""


FROZEN_AFTER_S = 10.0
"""A relay that is silent for so much longer than it may wait for Kafka loses its shards."""


async def relay(pool: Pool, publish: Publish, *, limit: int, publish_max_s: float) -> int:
    """Send some messages of each shard that no other relay leads, up to `limit` at a time; returns
    how many.  `publish` takes `publish_max_s` at most.

    Only what was acknowledged is deleted, in the transaction that leads the shards: a crash in
    between sends a message again, under the same id, and never loses one.

    Raises:
        Unavailable: Postgres or Kafka is away, or Kafka did not take everything; what some shards
            cannot get rid of does not keep the others waiting.
    """
    async with transaction(pool) as conn:
        shards = await outbox.waiting(conn)
        many = await outbox.holds_more_than(conn, limit)
    at_once = SHARDS_OF_MANY if many else outbox.SHARDS
    send = partial(
        _relay_shards,
        pool,
        publish,
        limit=limit,
        of_each=max(1, limit // at_once) if many else limit,
        silent_max_s=publish_max_s + FROZEN_AFTER_S,
    )
    sent, refusals = 0, []
    for first in range(0, len(shards), at_once):
        acknowledged, failures = await send(shards[first : first + at_once])
        sent += acknowledged
        refusals += failures
    if refusals:
        raise Unavailable(f"Kafka did not acknowledge {len(refusals)} messages: {refusals[0]!r}")
    return sent


async def _relay_shards(
    pool: Pool,
    publish: Publish,
    shards: Sequence[int],
    *,
    limit: int,
    of_each: int,
    silent_max_s: float,
) -> tuple[int, list[Exception]]:
    """How many messages of some shards were acknowledged, and why the others were not.

    What one shard cannot get rid of leaves room for the others: at most `of_each` are taken.
    """
    began = perf_counter()
    async with transaction(pool) as conn:
        led = await outbox.lead(conn, shards, silent_max_s=silent_max_s)
        batch = await outbox.next_batch(conn, led, of_each=of_each, limit=limit)
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
