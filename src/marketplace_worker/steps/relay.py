"""Keeps the promises: sends what is in the outbox, and forgets what Kafka acknowledged.

Each topic has a line of its own, so that one which cannot be written to keeps no other waiting; in
it, a message that Kafka refuses for good holds back only those of its key.
"""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from time import perf_counter

import structlog

from marketplace_worker.errors import MessageRefused, Unavailable
from marketplace_worker.record import Outgoing
from marketplace_worker.store import outbox
from marketplace_worker.store.database import Connection, Pool, transaction
from marketplace_worker.store.floors import Floors
from marketplace_worker.store.outbox import OutboxBatch, Unsent

log = structlog.get_logger(__name__)

SHARDS_OF_MANY = 4
"""How many shards one transaction leads where more waits than one can send: other relays take the
others.  A few messages go in one transaction, for each costs a wait for the disk and for Kafka."""

Publish = Callable[[Sequence[Outgoing]], Awaitable[Sequence[Exception | None]]]
"""Sends messages in order; None for each that was acknowledged."""


FROZEN_AFTER_S = 10.0
"""A relay that is silent for so much longer than it may wait for Kafka loses its shards."""

REFUSED_PAUSE_MIN_S = 1.0
REFUSED_PAUSE_MAX_S = 300.0
"""How long a message that Kafka refused is held: the pause doubles from the one to the other.  A
person must mend the topic, and need do nothing more then."""

DUE_ROWS_MAX = 100
"""How many of a shard's that were refused are sent again at once."""

DEAD_LETTER_POSITION = ("dead-letter-topic", "dead-letter-partition", "dead-letter-offset")
"""The headers that say which record a dead letter is of; its key is somebody else's."""

KEY_CHARACTERS_MAX = 100
"""How much of a key the log shows."""


async def relay(
    pool: Pool,
    publish: Publish,
    topic: str,
    floors: Floors,
    *,
    limit: int,
    publish_max_s: float,
) -> int:
    """Send some messages of a topic, of each shard that no other relay leads, up to `limit` at a
    time; returns how many.  `publish` takes `publish_max_s` at most; `floors` is kept from one
    call to the next.

    Only what was acknowledged is deleted, in the transaction that leads the shards: a crash in
    between sends a message again, under the same id, and never loses one.  What Kafka refuses for
    good is held, and with it what its key has behind it; it is sent again after growing pauses.

    Raises:
        Unavailable: Postgres or Kafka is away, or Kafka did not take everything for now; what some
            shards cannot get rid of does not keep the others waiting.
    """
    async with transaction(pool) as conn:
        waiting = await outbox.waiting(conn, topic, floors, limit=limit)
    many = waiting.messages > limit
    at_once = SHARDS_OF_MANY if many else outbox.SHARDS
    shards = range(outbox.SHARDS) if many else sorted({*waiting.shards, *waiting.due})
    send = partial(
        _relay_shards,
        pool,
        publish,
        topic,
        floors,
        limit=limit,
        of_each=max(1, limit // at_once) if many else limit,
        silent_max_s=publish_max_s + FROZEN_AFTER_S,
    )
    sent, failures = 0, []
    for first in range(0, len(shards), at_once):
        acknowledged, failed = await send(shards[first : first + at_once])
        sent += acknowledged
        failures += failed
    if failures:
        raise Unavailable(f"Kafka did not acknowledge {len(failures)} messages: {failures[0]!r}")
    return sent


async def _relay_shards(
    pool: Pool,
    publish: Publish,
    topic: str,
    floors: Floors,
    shards: Sequence[int],
    *,
    limit: int,
    of_each: int,
    silent_max_s: float,
) -> tuple[int, list[Exception]]:
    """How many messages of some shards were acknowledged, and why others will be sent again at
    once.

    What one shard cannot get rid of leaves room for the others: at most `of_each` are taken.  What
    was refused before is sent by itself, after the others: a refusal costs its neighbours in Kafka
    another attempt.
    """
    async with transaction(pool) as conn:
        led = await outbox.lead(conn, topic, shards, silent_max_s=silent_max_s)
        batch = await outbox.next_batch(conn, topic, led, floors, of_each=of_each, limit=limit)
        sent, failures = await _send(conn, publish, topic, batch, of_held=False)
        due = await outbox.due(conn, topic, led, of_each=DUE_ROWS_MAX)
        sent_at_last, failures_again = await _send(conn, publish, topic, due, of_held=True)
    return sent + sent_at_last, failures + failures_again


async def _send(
    conn: Connection,
    publish: Publish,
    topic: str,
    batch: OutboxBatch,
    *,
    of_held: bool,
) -> tuple[int, list[Exception]]:
    """Send these, forget what was acknowledged, and hold what was refused.

    `of_held`: these were held, and others may stand behind them.
    """
    if batch.behind:
        await outbox.hold_behind(conn, batch.behind)
    if not batch.unsent:
        return 0, []
    began = perf_counter()
    results = await publish([each.message for each in batch.unsent])
    sent, failures, refused, behind = [], [], [], []
    keys: set[bytes] = set()
    for each, failed in zip(batch.unsent, results, strict=True):
        match failed:
            case None:
                sent.append(each)
            case MessageRefused() if each.message.key in keys:
                behind.append(each.id)
            case MessageRefused():
                refused.append((each, failed))
                if each.message.key is not None:
                    keys.add(each.message.key)
            case _:
                failures.append(failed)
    await _hold(conn, refused)
    if behind:
        await outbox.hold_behind(conn, behind)
    if of_held:
        await outbox.release(conn, [each.id for each in sent])
    await outbox.forget(conn, [each.id for each in sent])
    for each in sent:
        if each.refusals:
            log.info("refused_message_sent", **_named(each), refusals=each.refusals)
    log.info(
        "batch_relayed",
        topic=topic,
        messages=len(sent),
        failed=len(failures),
        refused=len(refused),
        took_ms=round((perf_counter() - began) * 1000, 1),
    )
    return len(sent), failures


async def _hold(conn: Connection, refused: Sequence[tuple[Unsent, MessageRefused]]) -> None:
    """Each for a pause that grows, with a line that names it."""
    if not refused:
        return
    await outbox.hold(conn, [(each, _pause_s(each)) for each, _ in refused])
    for each, error in refused:
        log.error(
            "message_refused",
            **_named(each),
            reason=str(error),
            refusals=each.refusals + 1,
            pause_s=_pause_s(each),
        )


def _pause_s(unsent: Unsent) -> float:
    return min(REFUSED_PAUSE_MIN_S * 2.0 ** min(unsent.refusals, 16), REFUSED_PAUSE_MAX_S)


def _named(unsent: Unsent) -> dict[str, object]:
    """Which message it is: by its row, and by its key, where the key is one of ours."""
    message = unsent.message
    named = {"outbox_id": unsent.id, "topic": message.topic, "bytes": message.size_bytes}
    headers = dict(message.headers)
    if DEAD_LETTER_POSITION[0] in headers:
        position = b"/".join(headers[name] or b"" for name in DEAD_LETTER_POSITION)
        return {**named, "position": position.decode(errors="backslashreplace")}
    key = (message.key or b"").decode(errors="backslashreplace")
    return {**named, "key": key[:KEY_CHARACTERS_MAX]}
