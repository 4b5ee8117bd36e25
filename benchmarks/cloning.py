"""Builds fleets: the product's own steps create one organization of each kind, and SQL copies it.

Copies are consistent enough for decisions: every id, in columns and documents, is the copy's own.
Only the hashes of the journal's chain are wrong; nothing but `replay --verify` reads them.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

import asyncpg

from benchmarks.stage import EMAIL_KEY, Connection, Message
from benchmarks.workloads import Kind, number_of, owner
from marketplace_worker.contract.emails import email_hasher
from marketplace_worker.policy_reading import read_policy
from marketplace_worker.record import Record
from marketplace_worker.runtime.worker import Worker, worker_of
from marketplace_worker.settings import Settings
from marketplace_worker.steps.deadlines import fire_due
from marketplace_worker.steps.ingest import ingest
from marketplace_worker.store import policies
from marketplace_worker.store.database import connecting, transaction

SEEDS_FROM = 90_000_000
"""Numbers from here on belong to the organizations that are copied."""

TABLES = (
    "organizations",
    "subscriptions",
    "links",
    "billing_accounts",
    "activity",
    "journal",
    "decisions",
)

WITHOUT_HISTORY = tuple(table for table in TABLES if table != "decisions")
"""All tables but the history, which notifications and deadlines do not read, and which is slow to
copy.
"""

FORGOTTEN = (
    "activity_offsets",
    "feed_days",
    "topic_days",
    "possible_use",
    "outbox",
    "dead_letters",
)
"""Rows of the seeds that belong to no organization: read positions and outgoing messages."""


_SEED = """
CREATE TEMP TABLE seed AS
SELECT *, row_number() OVER (ORDER BY place) AS seed_row
FROM (
    SELECT *, ctid AS place
    FROM {table} AS every
    WHERE every::text LIKE '%{old}%'
    ORDER BY ctid DESC
    LIMIT {newest}
) AS newest;
"""
"""Copies rows in the order in which they were written: either the seed only inserted into the
table, or the order is irrelevant."""

_INSERT = """
INSERT INTO {table} ({columns})
SELECT {values}
FROM seed, (
    SELECT lpad(n::text, 8, '0') AS number, encode(sha256(n::text::bytea), 'hex') AS email
    FROM generate_series({wanted.start}, {wanted.stop} - 1, {wanted.step}) AS n
) AS new
WHERE seed_row = {{row}};
"""


class SetClock:
    """A clock that the caller sets."""

    def __init__(self, now: datetime) -> None:
        """Set it to a first time."""
        self.now = now

    async def __call__(self, _: object) -> datetime:
        """The time, for use as the worker's clock."""
        return self.now

    def of_machine(self) -> datetime:
        """The time, for use as the worker's local clock."""
        return self.now


async def seed(
    settings: Settings,
    kinds: Sequence[Kind],
    now: datetime,
    *,
    until: timedelta = timedelta(0),
    first: int = SEEDS_FROM,
    news: bool = False,
) -> list[int]:
    """Create one organization of each kind with the product; returns their numbers, from `first`.

    Messages are ingested and deadlines fire at their own times, up to `until` before now.  `news`:
    ingest also the measured notifications; their messages stay in the outbox.
    """
    clock = SetClock(now)
    numbers = [first + place for place, _ in enumerate(kinds)]
    async with connecting(settings.postgres) as pool:
        worker = worker_of(
            settings, read_policy(settings.policy_file), pool, clock, clock.of_machine
        )
        async with transaction(pool) as conn:
            await policies.register(conn, worker.policies.current, now=now)
        for place, (number, kind) in enumerate(zip(numbers, kinds, strict=True)):
            for at, message in kind.history(number_of(number), now):
                await pass_time(worker, clock, at)
                # A unique offset: some messages are identified by their position only.
                await ingest([_record(message, 1_000 * place + int(at.timestamp()), at)], worker)
            await pass_time(worker, clock, now - until)
        await _forget(worker)
        for place, number in enumerate(numbers if news else ()):
            message = kinds[place].news(number_of(number), now)
            await ingest([_record(message, place, now)], worker)
    return numbers


async def _forget(worker: Worker) -> None:
    async with transaction(worker.pool) as conn:
        await conn.execute("SET LOCAL ROLE NONE")
        await conn.execute("".join(f"DELETE FROM {table};" for table in FORGOTTEN))


async def pass_time(worker: Worker, clock: SetClock, until: datetime) -> None:
    """Fire every deadline at its own time."""
    while True:
        due_at = await worker.pool.fetchval("SELECT min(next_due_at) FROM organizations")
        if due_at is None or due_at > until:
            break
        clock.now = due_at
        await fire_due(worker, limit=100)
    clock.now = until


def _record(message: Message, offset: int, at: datetime) -> Record:
    topic, key, value = message
    return Record(topic, 0, offset, at, key, value)


async def clone(
    connection: Connection,
    number: int,
    wanted: range,
    *,
    tables: Sequence[str] = TABLES,
    journal_rows: int | None = None,
) -> None:
    """Copy one organization, with all that belongs to it, once for each of the `wanted` numbers.

    Args:
        connection: to its database.
        number: the organization.
        wanted: the numbers of the copies, a range with any step.
        tables: the tables to copy.
        journal_rows: how many of its newest journal rows to copy; None for all.
    """
    old, email = number_of(number), email_of(number)
    for table in tables:
        newest = journal_rows if table == "journal" else None
        # In a separate table, so that the copying statement does not read its own rows.
        await connection.execute(_SEED.format(table=table, old=old, newest=newest or "ALL"))
        rows = await connection.fetchval("SELECT count(*) FROM seed")
        columns = await _columns(connection, table)
        values = [_copied(name, kind, old, email) for name, kind in columns.items()]
        insert = _INSERT.format(
            table=table, columns=", ".join(columns), values=", ".join(values), wanted=wanted
        )
        for row in range(rows):  # one by one, so that an organization's rows are spread on disk
            await connection.execute(insert.format(row=row + 1))
        await connection.execute("DROP TABLE seed")


def email_of(number: int) -> str:
    """The hash of the email address of a seed's owner."""
    return email_hasher(EMAIL_KEY.encode())(owner(number_of(number)))


async def _columns(connection: Connection, table: str) -> dict[str, str]:
    """The written columns of a table, and their types."""
    rows: list[asyncpg.Record] = await connection.fetch(
        "SELECT column_name::text, data_type::text FROM information_schema.columns"
        " WHERE table_schema = 'public' AND table_name = $1 AND is_identity = 'NO'"
        " ORDER BY ordinal_position",
        table,
    )
    return {row["column_name"]: row["data_type"] for row in rows}


def _copied(name: str, kind: str, old: str, email: str) -> str:
    """The SQL expression for a column of a copy."""
    if kind not in {"text", "json", "jsonb"}:
        return name
    numbered = f"replace({name}::text, '{old}', number)"
    if name in {"document", "owner_email", "locked_email", "fact"}:
        numbered = f"replace({numbered}, '{email}', email)"
    return numbered if kind == "text" else f"{numbered}::{kind}"
