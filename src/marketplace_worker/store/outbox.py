"""The outbox table: messages to be sent to Kafka.  The SQL is in outbox.sql."""

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
"""Number of shards of the outbox; one relay at a time leads a shard.  Each row stores its shard, so
this must not become a setting: rows of shards that no longer exist would never be sent.
"""


WHOLE = -1
"""With an empty topic, the key under which the bound of the whole outbox is kept."""


@dataclass(frozen=True, slots=True)
class Unsent:
    """A message and the id of its row.  `refusals`: how often Kafka refused it."""

    id: int
    message: Outgoing
    refusals: int = 0


@dataclass(frozen=True, slots=True)
class WaitingMessages:
    """What is to be sent to a topic: the number of messages in line, counted up to one above the
    limit; their shards; and the shards with refused messages that are due for a retry.
    """

    messages: int
    shards: Sequence[int]
    due: Sequence[int]


@dataclass(frozen=True, slots=True)
class OutboxBatch:
    """Messages to send, in the order of their ids; and the ids of messages that must wait, because
    an earlier message of the same key is held.
    """

    unsent: Sequence[Unsent]
    behind: Sequence[int]


async def append(conn: Connection, messages: Sequence[Outgoing], *, written_at: datetime) -> None:
    """Append messages, in order, inside the transaction whose decisions they publish.

    Kafka must be able to accept each of them: events that can grow too large have a bounded form.
    """
    for message in messages:
        assert message.size_bytes <= MESSAGE_BYTES_MAX, f"too large for {message.topic}"
    headers = {each: headers_to_json(each) for each in {message.headers for message in messages}}
    await conn.copy_records_to_table(
        "outbox",
        columns=("shard", "topic", "key", "value", "headers", "written_at"),
        records=[
            (
                crc32(message.key or b"") % SHARDS,
                message.topic,
                message.key,
                message.value,
                headers[message.headers],
                written_at,
            )
            for message in messages
        ],
    )


async def topics(conn: Connection) -> set[str]:
    """The topics that have messages in the outbox."""
    return {row["topic"] for row in await conn.fetch(SQL["topics"])}


async def waiting(conn: Connection, topic: str, floors: Floors, *, limit: int) -> WaitingMessages:
    """What is to be sent to a topic, in all shards; counted up to one above `limit`."""
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
    """Try to lead some shards of a topic; returns those that this transaction leads.

    Only the leader may send a shard's messages.  It leads until its transaction ends, or has been
    idle for `silent_max_s` seconds.
    """
    silent_max_ms = str(round(silent_max_s * 1000))
    rows = await conn.fetch(SQL["lead"], topic, list(shards), silent_max_ms)
    return [row["shard"] for row in rows]


async def next_batch(
    conn: Connection, topic: str, shards: Sequence[int], floors: Floors, *, of_each: int, limit: int
) -> OutboxBatch:
    """The oldest messages in line of some shards of a topic, at most `limit`, in order of ids.

    Only the leader of the shards may call it.
    """
    seen = await floors.observe(conn)
    bounds = [floors.of(seen, topic, shard) for shard in shards]
    rows = await conn.fetch(SQL["next_batch"], topic, shards, bounds, of_each, limit)
    lowest = {row["shard"]: row["id"] for row in reversed(rows)}
    known = shards if len(rows) < limit else lowest.keys()
    for shard in known:
        floors.keep(seen, topic, shard, lowest.get(shard))
    return _batch(rows)


async def due(conn: Connection, topic: str, shards: Sequence[int], *, of_each: int) -> OutboxBatch:
    """The held messages that are to be sent now: refused ones, and those behind a refused one.

    Only the leader of the shards may call it.
    """
    return _batch(await conn.fetch(SQL["due"], topic, shards, of_each))


async def hold(conn: Connection, refused: Collection[tuple[Unsent, float]]) -> None:
    """Hold messages that Kafka refused, each for the given number of seconds."""
    await conn.execute(
        SQL["hold"],
        [unsent.id for unsent, _ in refused],
        [unsent.refusals + 1 for unsent, _ in refused],
        [pause_s for _, pause_s in refused],
    )


async def hold_behind(conn: Connection, ids: Collection[int]) -> None:
    """Hold messages behind a refused one of the same key, until that one is sent."""
    await conn.execute(SQL["hold_behind"], list(ids))


async def release(conn: Connection, ids: Collection[int]) -> None:
    """Make the messages behind these due: these were held, and Kafka has acknowledged them."""
    await conn.execute(SQL["release"], list(ids))


def _batch(rows: Sequence[asyncpg.Record]) -> OutboxBatch:
    # Most messages have the same headers, and need only be read once.
    headers = {text: headers_from_json(text) for text in {row["headers"] for row in rows}}
    return OutboxBatch(
        [
            Unsent(
                row["id"],
                Outgoing(row["topic"], row["key"], row["value"], headers[row["headers"]]),
                row["refusals"],
            )
            for row in rows
            if not row["behind"]
        ],
        [row["id"] for row in rows if row["behind"]],
    )


async def forget(conn: Connection, ids: Collection[int]) -> None:
    """Delete messages that Kafka acknowledged.  Idempotent."""
    await conn.execute(SQL["forget"], list(ids))


async def oldest_s(conn: Connection, floors: Floors) -> float:
    """Age of the oldest message in line, in seconds; 0 if none waits."""
    seen = await floors.observe(conn)
    row = await conn.fetchrow(SQL["oldest"], floors.of(seen, "", WHOLE))
    floors.keep(seen, "", WHOLE, row["id"] if row else None)
    return float(row["age_s"]) if row else 0.0


async def held(conn: Connection) -> int:
    """How many messages are held because Kafka refused them."""
    return int(await conn.fetchval(SQL["held"]))


def headers_to_json(headers: Headers) -> str:
    """Headers in their order, as JSON; values may be binary and are in base64.

    Bytes of a name that are not UTF-8 are escaped with a backslash: Kafka does not allow them.
    """
    return json.dumps(
        [
            (header_name_text(name), None if value is None else b64encode(value).decode())
            for name, value in headers
        ]
    )


def headers_from_json(text: str) -> Headers:
    """Read the headers that `headers_to_json` wrote."""
    return tuple(
        (name, None if value is None else b64decode(value)) for name, value in json.loads(text)
    )
