"""The activity tables: logins and API usage, aggregated by organization.

The SQL is in activity.sql.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from operator import attrgetter

import asyncpg
from msgspec import Struct

from marketplace_worker.lifecycle.inactivity import (
    LOGINS_KEPT,
    DayRange,
    Feeds,
    LastSeen,
    first_kept,
)
from marketplace_worker.lifecycle.vocabulary import ActivityFeed, OrganizationId
from marketplace_worker.record import Record
from marketplace_worker.store.database import Connection
from marketplace_worker.store.queries import queries

SQL = queries("activity")

TopicPartition = tuple[str, int]
"""A topic and a partition."""


FeedDay = tuple[ActivityFeed, date, int]
"""A feed, a UTC day and a partition."""


class ActivityCounts(Struct):
    """The activity of one organization in one batch.

    A Struct of msgspec, not a dataclass: most organizations of a batch have one event in it.
    """

    organization: OrganizationId
    last_login_at: datetime | None = None
    last_request_at: datetime | None = None
    logins: int = 0
    requests: int = 0
    login_days: dict[date, DayRange] = {}

    def add_login(self, at: datetime) -> None:
        """Count a login."""
        self.logins += 1
        self.last_login_at = max(self.last_login_at or at, at)
        day = at.date()
        known = self.login_days.get(day)
        self.login_days[day] = known.including(at) if known else DayRange(at, at)

    def add_requests(self, at: datetime, requests: int) -> None:
        """Count `requests` API requests, all made at the same moment."""
        self.requests += requests
        if self.last_request_at is None or at > self.last_request_at:
            self.last_request_at = at


@dataclass(slots=True)
class ReadProgress:
    """How far one partition was read: the next offset, and the newest timestamp before it."""

    next_offset: int
    newest_at: datetime

    def advance(self, record: Record) -> bool:
        """Move past a record; returns False if it was read before.

        A redelivered record was read before.  A record below `next_offset` that is newer than all
        records read so far was not: its topic was deleted and created again.
        """
        if record.offset < self.next_offset and record.recorded_at <= self.newest_at:
            return False
        self.next_offset = record.offset + 1
        self.newest_at = max(self.newest_at, record.recorded_at)
        return True


async def lock_progress(
    conn: Connection, partitions: Collection[TopicPartition]
) -> dict[TopicPartition, ReadProgress]:
    """The read progress of each partition, locked until the transaction ends."""
    return _progress(await conn.fetch(SQL["lock_offsets"], *_columns(sorted(partitions))))


async def progress(
    conn: Connection, partitions: Collection[TopicPartition]
) -> dict[TopicPartition, ReadProgress]:
    """The read progress of each partition, without a lock; unread partitions are left out."""
    return _progress(await conn.fetch(SQL["offsets"], *_columns(sorted(partitions))))


async def save_progress(conn: Connection, progress: Mapping[TopicPartition, ReadProgress]) -> None:
    """Store the read progress of each partition."""
    partitions = sorted(progress)
    await conn.execute(
        SQL["move_offsets"],
        *_columns(partitions),
        [progress[partition].next_offset for partition in partitions],
        [progress[partition].newest_at for partition in partitions],
    )


async def newest_record_at(conn: Connection, *, until: datetime) -> datetime | None:
    """The newest Kafka timestamp of the records read so far, ignoring those after `until`.

    None if no partition was read yet.
    """
    newest: datetime | None = await conn.fetchval(SQL["newest_record_at"], until)
    return newest


async def count(conn: Connection, counted: Collection[ActivityCounts]) -> None:
    """Add the activity of a batch.  The newest moments win, so batches may come in any order."""
    rows = sorted(counted, key=attrgetter("organization"))
    await conn.execute(
        SQL["count"],
        [each.organization for each in rows],
        [each.last_login_at for each in rows],
        [each.last_request_at for each in rows],
        [each.logins for each in rows],
        [each.requests for each in rows],
    )
    days = [
        (each.organization, *day)
        for each in rows
        if each.logins
        for day in sorted(each.login_days.items())
    ]
    if days:
        await conn.execute(
            SQL["count_logins"],
            [organization for organization, _, _ in days],
            [day for _, day, _ in days],
            [span.first_at for _, _, span in days],
            [span.last_at for _, _, span in days],
            LOGINS_KEPT,
        )


async def lock(conn: Connection, ids: Collection[OrganizationId]) -> dict[OrganizationId, LastSeen]:
    """Lock and read the last activity of each; of the logins only the newest (`with_logins`).

    Until the transaction ends no other transaction counts activity of these organizations.  So a
    login that was counted because no decision waited for it is seen by this transaction's decision.
    """
    in_order = sorted(ids)
    await conn.execute(SQL["ensure"], in_order)
    return _seen(await conn.fetch(SQL["lock"], in_order))


async def read(conn: Connection, ids: Collection[OrganizationId]) -> dict[OrganizationId, LastSeen]:
    """The last activity of each and its stored logins, without a lock.

    Organizations without any activity are left out.
    """
    seen = _seen(await conn.fetch(SQL["read"], sorted(ids)))
    return seen | await with_logins(conn, seen)


async def with_logins(
    conn: Connection, seen: Mapping[OrganizationId, LastSeen]
) -> dict[OrganizationId, LastSeen]:
    """Add the stored logins to the last activity of some organizations; those without any login are
    left out.  If they were locked with `lock`, the result is consistent with `seen`.
    """
    since = {id_: first_kept(each.login_at) for id_, each in seen.items() if each.login_at}
    rows = await conn.fetch(SQL["logins"], list(since), list(since.values()))
    return {
        (id_ := OrganizationId(row["organization_id"])): replace(
            seen[id_], logins=tuple(sorted({*row["first_at"], *row["last_at"]}))
        )
        for row in rows
    }


def _seen(rows: Iterable[asyncpg.Record]) -> dict[OrganizationId, LastSeen]:
    return {
        OrganizationId(row["organization_id"]): LastSeen(
            row["last_login_at"], row["last_request_at"]
        )
        for row in rows
    }


async def save_feed_days(conn: Connection, days: Mapping[FeedDay, DayRange]) -> None:
    """Store on which days records of each feed arrived, and when first and last; in any order."""
    in_order = sorted(days)
    await conn.execute(
        SQL["save_feed_days"],
        [feed.value for feed, _, _ in in_order],
        [day for _, day, _ in in_order],
        [partition for _, _, partition in in_order],
        [days[each].first_at for each in in_order],
        [days[each].last_at for each in in_order],
    )


async def feeds(conn: Connection, *, since: date) -> Feeds:
    """When records of each feed arrived: from a day on, and on the last day before it."""
    found = Feeds()
    for row in await conn.fetch(SQL["feeds"], since, [feed.value for feed in ActivityFeed]):
        days = found.days[ActivityFeed(row["feed"])]
        days[row["day"]] = DayRange(row["first_at"], row["last_at"])
    return found


def _progress(rows: Iterable[asyncpg.Record]) -> dict[TopicPartition, ReadProgress]:
    return {
        (row["topic"], row["partition"]): ReadProgress(row["next_offset"], row["newest_at"])
        for row in rows
    }


def _columns(partitions: Sequence[TopicPartition]) -> tuple[list[str], list[int]]:
    return [topic for topic, _ in partitions], [partition for _, partition in partitions]
