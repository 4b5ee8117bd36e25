"""Reads the whole content of a database for comparison, and restores an earlier content."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import asyncpg

from marketplace_worker.record import Outgoing
from marketplace_worker.store.outbox import headers_from_json

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]
else:
    Connection = Any

Content = Mapping[str, Sequence[str]]
"""The rows of each table, without ids and times that the database generates."""

TABLES = """
SELECT relname AS name, array(
    SELECT attname::text FROM pg_attribute WHERE attrelid = t.oid AND attidentity <> ''
) AS own_numbers
FROM pg_class AS t
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
ORDER BY relname
"""
INDEXES = "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1"
OTHERS = """
SELECT EXISTS (
    SELECT FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'marketplace-worker'
)
"""
GONE_WITHIN_S = 60
OWN_VALUES = (
    "applied_at", "journal_id", "salt", "content_hash", "previous_hash", "hash", "head",
    "started_at", "seen_at", "clock_ahead",
)  # fmt: skip
"""Ignored: the time of a migration, the id of a row, its salt, and the hashes derived from it; and
of a worker, when it ran, and its clock.
"""


@dataclass
class Database:
    """A connection to a database, as its owner."""

    dsn: str
    _conn: Connection
    _kept: list[str] = field(default_factory=list)

    @classmethod
    @asynccontextmanager
    async def at(cls, dsn: str) -> AsyncIterator["Database"]:
        """Connected until the block is left."""
        connection = await asyncpg.connect(dsn)
        try:
            yield cls(dsn, connection)
        finally:
            await connection.close()

    async def content(self) -> Content:
        """All rows and indexes; rows in the order of their ids."""
        content = {"indexes": await self._column(INDEXES)}
        for table in await self._conn.fetch(TABLES):
            numbers = table["own_numbers"]
            left_out = ",".join((*numbers, *OWN_VALUES))
            rows = await self._column(
                f"SELECT (to_jsonb(t) - '{{{left_out}}}'::text[])::text"
                f" FROM {table['name']} AS t ORDER BY {', '.join(numbers) or '1'}"
            )
            content[table["name"]] = rows
        return content

    async def keep(self) -> None:
        """Save the content for `restore`."""
        self._kept = await self._column(TABLES)
        copies = [f"CREATE TABLE kept.{name} AS TABLE public.{name};" for name in self._kept]
        await self._conn.execute("CREATE SCHEMA kept;" + "".join(copies))

    async def restore(self) -> None:
        """Restore the saved content, after all other sessions have ended."""
        if not self._kept:
            await self._conn.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public;")
            return
        await self._conn.execute(
            "BEGIN; SET LOCAL session_replication_role = replica;"
            + "".join(f"DELETE FROM public.{name};" for name in self._kept)
            + "".join(
                f"INSERT INTO public.{name} OVERRIDING SYSTEM VALUE TABLE kept.{name};"
                for name in self._kept
            )
            + "COMMIT;"
        )

    async def until_alone(self) -> None:
        """Wait until Postgres has ended the sessions of killed processes."""
        async with asyncio.timeout(GONE_WITHIN_S):
            while await self._conn.fetchval(OTHERS):  # noqa: ASYNC110 - Postgres has no notification for it
                await asyncio.sleep(0.002)

    async def outgoing(self) -> list[Outgoing]:
        """The messages in the outbox, in order."""
        if not await self._conn.fetchval("SELECT to_regclass('public.outbox')"):
            return []
        rows = await self._conn.fetch("SELECT topic, key, value, headers FROM outbox ORDER BY id")
        return [
            Outgoing(row["topic"], row["key"], row["value"], headers_from_json(row["headers"]))
            for row in rows
        ]

    async def _column(self, query: str) -> list[str]:
        return [row[0] for row in await self._conn.fetch(query)]


def differing_rows(want: Content, came: Content) -> list[str]:
    """The first differing rows of each table: `-` expected, `+` actual."""
    return [
        f"{table}: - {_only(want, came, table)} + {_only(came, want, table)}"
        for table in sorted(want.keys() | came.keys())
        if want.get(table) != came.get(table)
    ]


def _only(those: Content, others: Content, table: str) -> list[str]:
    return sorted(set(those.get(table, ())) - set(others.get(table, ())))[:3]
