"""Unreadable records of the activity feeds, by organization, and how many there were each day.

They count as possible use.  The SQL is in possible_use.sql.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time

from marketplace_worker.lifecycle.unreadable import DayCounts, PossibleUse
from marketplace_worker.lifecycle.vocabulary import ActivityFeed, OrganizationId
from marketplace_worker.record import Record
from marketplace_worker.store.activity import FeedDay
from marketplace_worker.store.database import Connection
from marketplace_worker.store.queries import queries

SQL = queries("possible_use")


@dataclass(slots=True)
class UnreadableRecord:
    """A record of an activity feed with unreadable parts.

    `organization`: the record's key, whether or not such an organization exists.
    """

    record: Record
    feed: ActivityFeed
    organization: OrganizationId | None
    letters: int = 0


async def count(conn: Connection, records: Mapping[FeedDay, int]) -> None:
    """Add the number of records of each feed and day, readable or not."""
    in_order = sorted(records)
    await conn.execute(
        SQL["count"],
        [feed.value for feed, _, _ in in_order],
        [day for _, day, _ in in_order],
        [partition for _, _, partition in in_order],
        [records[each] for each in in_order],
    )


async def add(conn: Connection, unreadable: Iterable[UnreadableRecord]) -> None:
    """Add records with new dead letters, each record once."""
    rows = list(unreadable)
    await conn.execute(
        SQL["add"],
        [each.record.topic for each in rows],
        [each.record.partition for each in rows],
        [each.record.offset for each in rows],
        [each.record.recorded_at for each in rows],
        [each.feed.value for each in rows],
        [each.record.latest_event_time for each in rows],
        [each.organization for each in rows],
        [each.letters for each in rows],
    )


async def forget(conn: Connection, ids: Collection[int]) -> None:
    """Stop counting these dead letters as possible use; call it before changing their status."""
    await conn.execute(SQL["forget"], list(ids))


async def read(
    conn: Connection, organizations: Collection[OrganizationId], *, since: date
) -> PossibleUse:
    """Possible use from a day on: of these organizations, and that which names no organization."""
    found = PossibleUse()
    midnight = datetime.combine(since, time.min, UTC)
    for row in await conn.fetch(SQL["named"], sorted(organizations), midnight):
        named = (OrganizationId(row["organization_id"]), ActivityFeed(row["feed"]))
        found.named[named] = row["used_at"]
    for row in await conn.fetch(SQL["days"], since, [feed.value for feed in ActivityFeed]):
        days = found.days[ActivityFeed(row["feed"])]
        days[row["day"]] = DayCounts(row["records"], row["nameless"])
    return found


async def delete_old(conn: Connection, *, before: datetime, limit: int) -> int:
    """Delete records too old for any decision, at most `limit`; returns how many."""
    return int(await conn.fetchval(SQL["delete_old"], before, limit))
