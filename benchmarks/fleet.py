"""Builds fleets of any size with all kinds of organizations, to measure the effect of size.

One run concerns few organizations, which are spread over the whole fleet, as in production.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from benchmarks.cloning import clone, seed
from benchmarks.stage import Connection, Message
from benchmarks.workloads import ACTIVE, DUE, NOTIFIED, Kind, number_of, organization
from marketplace_worker.settings import Settings

FAR = datetime(2100, 1, 1, tzinfo=UTC)
"""The stored due time until `make_due` sets it; the worker derives the real one again."""

NOTIFIED_SHARE = 0.3
LEAVING_SHARE = 0.2
"""Shares of a fleet: organizations for notifications (a sixth of each kind); those to make due."""

DAILY_NOTIFICATIONS = 12
"""How many notifications a paying organization has received; with them the journal has ten rows per
organization on average."""


def _paying_history(number: str, now: datetime) -> Sequence[tuple[datetime, Message]]:
    """Daily notifications that an active organization's license is unchanged."""
    history = list(ACTIVE.history(number, now))
    began_at, (topic, key, value) = history[-1]
    for day in range(1, DAILY_NOTIFICATIONS + 1):
        at = began_at + timedelta(days=day)
        again = value.replace(_seconds(began_at), _seconds(at))
        history.append(
            (at, (topic, key, again.replace(b"-4a2c-0011-", b"-4a2c-%04d-" % (500 + day))))
        )
    return history


def _seconds(moment: datetime) -> bytes:
    return moment.isoformat(timespec="seconds").encode().replace(b"+00:00", b"Z")


PAYING = Kind("paying", _paying_history, ACTIVE.news)

DUE_SINCE = timedelta(hours=24)
"""How long ago the suspension of the `DUE` was due when they are built, without having fired."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """A fleet by numbers: organizations for notifications, then those to make due, then others."""

    size: int

    @property
    def notified(self) -> int:
        """How many organizations can get notifications: a multiple of the number of kinds."""
        return int(self.size * NOTIFIED_SHARE) // len(NOTIFIED) * len(NOTIFIED)

    @property
    def leaving(self) -> int:
        """How many organizations can be made due."""
        return int(self.size * LEAVING_SHARE)

    def sample(self, count: int) -> Sequence[int]:
        """Numbers of organizations for notifications, evenly spread, equally many of each kind.

        The mix depends only on the count, not on the fleet's size.
        """
        kinds = len(NOTIFIED)
        stride = max(1, self.notified // max(kinds, count))
        return [
            place * kinds * stride + kind
            for place in range(min(count, self.notified) // kinds)
            for kind in range(kinds)
        ]

    def leaving_sample(self, count: int) -> Sequence[int]:
        """Numbers of organizations that can be made due, evenly spread."""
        first, stride = self.notified, max(1, self.leaving // count)
        return range(first, first + min(count, self.leaving) * stride, stride)

    async def build(self, connection: Connection, settings: Settings) -> None:
        """Build the fleet in a database that has only the schema (`stage.template`)."""
        now = datetime.now(UTC)
        *notified_seeds, paying = await seed(settings, (*NOTIFIED, PAYING), now)
        [due] = await seed(
            settings, (DUE,), now, until=DUE_SINCE + timedelta(hours=1), first=paying + 1
        )
        await connection.execute(
            "UPDATE organizations SET next_due_at = $2 WHERE organization_id = $1",
            organization(number_of(due)),
            FAR,
        )
        leaving_from, paying_from = self.notified, self.notified + self.leaving
        async with without_indexes(connection):
            for kind, number in enumerate(notified_seeds):
                await clone(connection, number, range(kind, self.notified, len(NOTIFIED)))
            await clone(connection, due, range(leaving_from, paying_from))
            await clone(connection, paying, range(paying_from, self.size))


def news(number: int, at: datetime, run: int) -> Message:
    """A notification of an organization of `sample`; its identity differs in each run."""
    kind = NOTIFIED[number % len(NOTIFIED)]
    topic, key, value = kind.news(number_of(number), at)
    for same, other in (
        (b"709a3d39-", b"%08x-" % run),
        (b'"messageId": "2026', b'"messageId": "%d-' % run),
    ):
        value = value.replace(same, other)
    return topic, key, value


@asynccontextmanager
async def without_indexes(connection: Connection) -> AsyncIterator[None]:
    """Drop indexes and their constraints and disable autovacuum until the block is left, to insert
    millions of rows.
    """
    tables = await connection.fetch(
        "SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public'"
    )
    for each in tables:
        await connection.execute(f"ALTER TABLE {each['name']} SET (autovacuum_enabled = false)")
    constraints = await connection.fetch(
        "SELECT conrelid::regclass::text AS of, conname AS name,"
        " pg_get_constraintdef(oid) AS definition FROM pg_constraint"
        " WHERE contype IN ('p', 'u') AND connamespace = 'public'::regnamespace"
    )
    for each in constraints:
        await connection.execute(f'ALTER TABLE {each["of"]} DROP CONSTRAINT "{each["name"]}"')
    indexes = await connection.fetch(
        "SELECT indexname AS name, indexdef AS definition FROM pg_indexes"
        " WHERE schemaname = 'public'"
    )
    for each in indexes:
        await connection.execute(f'DROP INDEX "{each["name"]}"')
    await connection.execute("SET maintenance_work_mem = '1GB'; SET synchronous_commit = off")
    yield
    for each in constraints:
        await connection.execute(
            f'ALTER TABLE {each["of"]} ADD CONSTRAINT "{each["name"]}" {each["definition"]}'
        )
    for each in indexes:
        await connection.execute(each["definition"])
    for each in tables:
        await connection.execute(f"ALTER TABLE {each['name']} RESET (autovacuum_enabled)")


async def save(connection: Connection, numbers: Sequence[int]) -> None:
    """Save organizations and their subscriptions for `restore`."""
    ids = [organization(number_of(number)) for number in numbers]
    await connection.execute(
        "CREATE TABLE saved_organizations AS"
        " SELECT * FROM organizations WHERE organization_id = ANY($1::text[])",
        ids,
    )
    await connection.execute(
        "CREATE TABLE saved_subscriptions AS"
        " SELECT subscriptions.* FROM subscriptions JOIN links USING (marketplace, subscription_id)"
        " WHERE organization_id = ANY($1::text[])",
        ids,
    )
    await connection.execute("ANALYZE saved_organizations, saved_subscriptions")


async def restore(connection: Connection) -> None:
    """Restore everything saved, and empty the outbox."""
    for table, key in (
        ("organizations", ("organization_id",)),
        ("subscriptions", ("marketplace", "subscription_id")),
    ):
        columns = [
            row["name"]
            for row in await connection.fetch(
                "SELECT attname AS name FROM pg_attribute"
                " WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped",
                table,
            )
            if row["name"] not in key
        ]
        same = " AND ".join(f"{table}.{each} = saved.{each}" for each in key)
        changes = ", ".join(f"{each} = saved.{each}" for each in columns)
        await connection.execute(
            f"UPDATE {table} SET {changes} FROM saved_{table} AS saved WHERE {same}"
        )
    await connection.execute("TRUNCATE outbox")
    await connection.execute("VACUUM organizations, subscriptions")


async def make_due(connection: Connection, numbers: Sequence[int]) -> None:
    """Make organizations of `leaving_sample` due now."""
    await connection.execute(
        "UPDATE organizations SET next_due_at = now() WHERE organization_id = ANY($1::text[])",
        [organization(number_of(number)) for number in numbers],
    )
