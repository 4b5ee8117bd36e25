"""The outbox table: messages that are decided and not yet in Kafka.  The SQL is in outbox.sql."""

import json
from base64 import b64decode, b64encode
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from zlib import crc32

import asyncpg

from marketplace_worker.record import MESSAGE_BYTES_MAX, Headers, Outgoing, header_name_text
from marketplace_worker.store.database import Connection
from marketplace_worker.store.floors import Floors
from marketplace_worker.store.queries import queries

SQL = queries("outbox")

SHARDS = 16
"""Into how many parts, each led by one relay at a time, the outbox is divided.  A row's shard is
written with it, so no setting can orphan one."""


WHOLE = -1
"""Stands, with no topic, for all of the outbox where a bound is kept."""


@dataclass(frozen=True, slots=True)
class Unsent:
    """A message and the id of its row.  `refusals`: how often Kafka refused it."""

    id: int
    message: Outgoing
    refusals: int = 0


@dataclass(frozen=True, slots=True)
class WaitingMessages:
    """What of a topic is to be sent: how many messages are in line, counted up to one more than was
    asked; in which shards these are; and the shards of refused ones that are due again.
    """

    messages: int
    shards: Sequence[int]
    due: Sequence[int]


@dataclass(frozen=True, slots=True)
class OutboxBatch:
    """Messages in the order in which they were promised; and the ids of others, before which one of
    their key is held.
    """

    unsent: Sequence[Unsent]
    behind: Sequence[int]


async def append(conn: Connection, messages: Sequence[Outgoing], *, written_at: datetime) -> None:
    """Append messages, in order.  Call inside the transaction that made them true.

    Each must be one that Kafka can take: what can be too large has a bounded form.
    """
    for message in messages:
        assert message.size_bytes <= MESSAGE_BYTES_MAX, f"too large for {message.topic}"
    await conn.execute(
        SQL["append"],
        [crc32(message.key or b"") % SHARDS for message in messages],
        [message.topic for message in messages],
        [message.key for message in messages],
        [message.value for message in messages],
        [headers_to_json(message.headers) for message in messages],
        written_at,
    )


async def topics(conn: Connection) -> set[str]:
    """The topics that have messages in the outbox."""
    return {row["topic"] for row in await conn.fetch(SQL["topics"])}


async def waiting(conn: Connection, topic: str, floors: Floors, *, limit: int) -> WaitingMessages:
    """What of a topic is to be sent, whoever leads its shards; counted up to one above `limit`."""
    seen = await floors.observe(conn)
    bounds = [floors.of(seen, topic, shard) for shard in range(SHARDS)]
    row = await conn.fetchrow(SQL["waiting"], topic, bounds, limit)
    assert row is not None
    if not row["messages"]:
        for shard in range(SHARDS):
            floors.keep(seen, topic, shard, None)
    return WaitingMessages(row["messages"], row["shards"] or [], row["due"])


async def lead(
    conn: Connection, topic: str, shards: Collection[int], *, silent_max_s: float
) -> Sequence[int]:
    """Those of these shards of a topic whose messages this transaction may send; no other may until
    it ends, or has asked for nothing for `silent_max_s`.
    """
    silent_max_ms = str(round(silent_max_s * 1000))
    rows = await conn.fetch(SQL["lead"], topic, list(shards), silent_max_ms)
    return [row["shard"] for row in rows]


async def next_batch(
    conn: Connection, topic: str, shards: Sequence[int], floors: Floors, *, of_each: int, limit: int
) -> OutboxBatch:
    """The oldest messages in line of some shards of a topic, at most `limit` in all, in the order
    in which they were promised; only for who leads these shards.
    """
    seen = await floors.observe(conn)
    bounds = [floors.of(seen, topic, shard) for shard in shards]
    rows = await conn.fetch(SQL["next_batch"], topic, shards, bounds, of_each, limit)
    lowest = {row["shard"]: row["id"] for row in reversed(rows)}
    known = shards if len(rows) < limit else lowest.keys()
    for shard in known:
        floors.keep(seen, topic, shard, lowest.get(shard))
    return OutboxBatch(
        [Unsent(row["id"], _message(row)) for row in rows if not row["behind"]],
        [row["id"] for row in rows if row["behind"]],
    )


async def due(conn: Connection, topic: str, shards: Sequence[int], *, of_each: int) -> OutboxBatch:
    """The messages that were refused, or stood behind one that was, and are to be sent again now;
    only for who leads these shards.
    """
    rows = await conn.fetch(SQL["due"], topic, shards, of_each)
    return OutboxBatch(
        [Unsent(row["id"], _message(row), row["refusals"]) for row in rows if not row["behind"]],
        [row["id"] for row in rows if row["behind"]],
    )


async def hold(conn: Connection, refused: Collection[tuple[Unsent, float]]) -> None:
    """Hold what Kafka refused once more, each for so many seconds."""
    await conn.execute(
        SQL["hold"],
        [unsent.id for unsent, _ in refused],
        [unsent.refusals + 1 for unsent, _ in refused],
        [pause_s for _, pause_s in refused],
    )


async def hold_behind(conn: Connection, ids: Collection[int]) -> None:
    """Hold what stands behind a refused message of its key, until that is sent."""
    await conn.execute(SQL["hold_behind"], list(ids))


async def release(conn: Connection, ids: Collection[int]) -> None:
    """Let what stands behind these be sent next: they were held, and are acknowledged."""
    await conn.execute(SQL["release"], list(ids))


def _message(row: asyncpg.Record) -> Outgoing:
    headers = headers_from_json(row["headers"])
    return Outgoing(row["topic"], row["key"], row["value"], headers)


async def forget(conn: Connection, ids: Collection[int]) -> None:
    """Delete the messages that Kafka acknowledged.  Twice is harmless."""
    await conn.execute(SQL["forget"], list(ids))


async def oldest_s(conn: Connection, floors: Floors) -> float:
    """Age of the oldest message in line, in seconds; 0 if none waits."""
    seen = await floors.observe(conn)
    row = await conn.fetchrow(SQL["oldest"], floors.of(seen, "", WHOLE))
    floors.keep(seen, "", WHOLE, row["id"] if row else None)
    return float(row["age_s"]) if row else 0.0


async def held(conn: Connection) -> int:
    """How many messages wait because Kafka refused them."""
    return int(await conn.fetchval(SQL["held"]))


def headers_to_json(headers: Headers) -> str:
    """Headers in their order; a value may be binary, so it is kept in base64.

    Bytes of a name that are not UTF-8 are written out, with a backslash: Kafka cannot have them.
    """
    return json.dumps(
        [
            (header_name_text(name), None if value is None else b64encode(value).decode())
            for name, value in headers
        ]
    )


def headers_from_json(text: str) -> Headers:
    """Headers as they were when `headers_to_json` wrote them."""
    return tuple(
        (name, None if value is None else b64decode(value)) for name, value in json.loads(text)
    )
