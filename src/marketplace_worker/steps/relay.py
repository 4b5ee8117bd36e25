"""Sends the messages in the outbox, and deletes those that Kafka acknowledged.

Each topic is relayed by itself: one that cannot be written to does not delay the others.  Within a
topic, a message that Kafka refuses for good delays only those of its key.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
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
"""How many shards one transaction leads if more messages wait than one can send: other relays take
the others.  A few messages are sent in one transaction, because each waits for the disk and Kafka.
"""

Publish = Callable[[Sequence[Outgoing]], Awaitable[Sequence[Exception | None]]]
"""Sends messages in order; None for each that was acknowledged."""


FROZEN_AFTER_S = 10.0
"""A relay that is silent for so much longer than it may wait for Kafka loses its shards."""

REFUSED_PAUSE_MIN_S = 1.0
REFUSED_PAUSE_MAX_S = 300.0
"""How long a refused message is held: the pause doubles from the minimum to the maximum.  An
operator must correct the topic; sending then continues by itself.
"""

DUE_ROWS_MAX = 100
"""How many of a shard's refused messages are sent again at once."""

DEAD_LETTER_POSITION = ("dead-letter-topic", "dead-letter-partition", "dead-letter-offset")
"""The headers that name a dead letter's record; its key belongs to the original producer."""

KEY_CHARACTERS_MAX = 100
"""How much of a key is logged."""


async def relay(
    pool: Pool,
    publish: Publish,
    topic: str,
    floors: Floors,
    *,
    limit: int,
    publish_max_s: float,
) -> int:
    """Send messages of a topic, of each shard that no other relay leads, up to `limit` at a time;
    returns their number.  `publish` takes at most `publish_max_s`; `floors` is kept between calls.

    Only acknowledged messages are deleted, in the transaction that leads the shards: a crash in
    between sends a message again, under the same id, and never loses one.  A message that Kafka
    refuses permanently is held with those behind it of its key, and retried after growing pauses.

    Raises:
        Unavailable: Postgres or Kafka is away, or Kafka did not acknowledge everything.
    """
    async with transaction(pool) as conn:
        waiting = await outbox.waiting(conn, topic, floors, limit=limit)
    many = waiting.messages > limit
    at_once = SHARDS_OF_MANY if many else outbox.SHARDS
    shards = range(outbox.SHARDS) if many else sorted({*waiting.shards, *waiting.due})
    of_each = max(1, limit // at_once) if many else limit
    silent_max_s = publish_max_s + FROZEN_AFTER_S
    send = partial(_relay_shards, pool, publish, topic, floors)
    sent, failures = 0, []
    for first in range(0, len(shards), at_once):
        acknowledged, failed = await send(
            shards[first : first + at_once],
            limit=limit,
            of_each=of_each,
            silent_max_s=silent_max_s,
        )
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
    """The number of acknowledged messages of some shards, and why others are to be sent again at
    once.

    Messages that cannot be sent leave room for other shards: at most `of_each` are taken.  Messages
    refused before are sent separately, after the others, because a refusal costs the others of
    their batch another attempt.
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
    """Send these, delete acknowledged ones, and hold refused ones.

    `of_held`: these were held, and others may wait behind them.
    """
    if batch.behind:
        await outbox.hold_behind(conn, batch.behind)
    if not batch.unsent:
        return 0, []
    began = perf_counter()
    results = await publish([each.message for each in batch.unsent])
    outcome = _outcome_of(batch.unsent, results)
    sent = [each.id for each in outcome.sent]
    await _hold(conn, outcome.refused)
    if outcome.behind:
        await outbox.hold_behind(conn, outcome.behind)
    if of_held:
        await outbox.release(conn, sent)
    await outbox.forget(conn, sent)
    for each in outcome.sent:
        if each.refusals:
            log.info("refused_message_sent", **_named(each), refusals=each.refusals)
    log.info(
        "batch_relayed",
        topic=topic,
        messages=len(sent),
        failed=len(outcome.failures),
        refused=len(outcome.refused),
        took_ms=round((perf_counter() - began) * 1000, 1),
    )
    return len(sent), outcome.failures


@dataclass(slots=True)
class _Outcome:
    """The result of sending a batch; `behind` are the ids behind a refused message of their key."""

    sent: list[Unsent] = field(default_factory=list)
    refused: list[tuple[Unsent, MessageRefused]] = field(default_factory=list)
    behind: list[int] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)


def _outcome_of(unsent: Sequence[Unsent], results: Sequence[Exception | None]) -> _Outcome:
    outcome = _Outcome()
    keys: set[bytes] = set()
    for each, failed in zip(unsent, results, strict=True):
        match failed:
            case None:
                outcome.sent.append(each)
            case MessageRefused() if each.message.key in keys:
                outcome.behind.append(each.id)
            case MessageRefused():
                outcome.refused.append((each, failed))
                if each.message.key is not None:
                    keys.add(each.message.key)
            case _:
                outcome.failures.append(failed)
    return outcome


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
