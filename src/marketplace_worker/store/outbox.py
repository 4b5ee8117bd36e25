"""The outbox table: what was promised and is not yet in Kafka.  The SQL is in outbox.sql."""

import json
from base64 import b64decode, b64encode
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from zlib import crc32

from marketplace_worker.record import Headers, Outgoing
from marketplace_worker.store.database import Connection
from marketplace_worker.store.queries import queries

SQL = queries("outbox")

SHARDS = 16
"""Into how many parts, each led by one relay at a time, the outbox is divided.  A row's shard is
written with it, so no setting can orphan one."""


@dataclass(frozen=True, slots=True)
class Unsent:
    """A promise, by its row's id."""

    id: int
    message: Outgoing


async def append(conn: Connection, messages: Sequence[Outgoing], *, written_at: datetime) -> None:
    """Promise messages, in order.  Call inside the transaction that made them true."""
    await conn.execute(
        SQL["append"],
        [crc32(message.key or b"") % SHARDS for message in messages],
        [message.topic for message in messages],
        [message.key for message in messages],
        [message.value for message in messages],
        [headers_to_json(message.headers) for message in messages],
        written_at,
    )


async def waiting(conn: Connection) -> Sequence[int]:
    """The shards that have anything to send."""
    return [row["shard"] for row in await conn.fetch(SQL["waiting"])]


async def holds_more_than(conn: Connection, messages: int) -> bool:
    """Whether more than so many messages wait, whoever leads their shards."""
    return bool(await conn.fetchval(SQL["holds_more_than"], messages))


async def lead(conn: Connection, shards: Collection[int], *, silent_max_s: float) -> Sequence[int]:
    """Those of these shards whose messages this transaction may send; no other may until it ends,
    or has asked for nothing for `silent_max_s`.
    """
    silent_max_ms = str(round(silent_max_s * 1000))
    return [row["shard"] for row in await conn.fetch(SQL["lead"], list(shards), silent_max_ms)]


async def next_batch(
    conn: Connection, shards: Sequence[int], *, of_each: int, limit: int
) -> Sequence[Unsent]:
    """The oldest unsent messages of some shards, at most `limit` in all, in the order in which they
    were promised; only for who leads these shards.
    """
    return [
        Unsent(
            row["id"],
            Outgoing(row["topic"], row["key"], row["value"], headers_from_json(row["headers"])),
        )
        for row in await conn.fetch(SQL["next_batch"], shards, of_each, limit)
    ]


async def forget(conn: Connection, ids: Collection[int]) -> None:
    """Delete the messages that Kafka acknowledged.  Twice is harmless."""
    await conn.execute(SQL["forget"], list(ids))


async def oldest_s(conn: Connection) -> float:
    """How long the oldest promise has waited to be sent, in seconds; 0 if none waits."""
    return float(await conn.fetchval(SQL["oldest_s"]) or 0.0)


def headers_to_json(headers: Headers) -> str:
    """Headers in their order; a value may be binary, so it is kept in base64.

    Bytes of a name that are not UTF-8 are written out, with a backslash: Kafka cannot have them.
    """
    return json.dumps(
        [
            (_written_out(name), None if value is None else b64encode(value).decode())
            for name, value in headers
        ]
    )


def _written_out(name: str) -> str:
    return name.encode(errors="surrogateescape").decode(errors="backslashreplace")


def headers_from_json(text: str) -> Headers:
    """Headers as they were when `headers_to_json` wrote them."""
    return tuple(
        (name, None if value is None else b64decode(value)) for name, value in json.loads(text)
    )
