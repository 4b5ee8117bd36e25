"""What could not be read of the feeds of activity: by organization, and how much of each day.

The SQL is in possible_use.sql.
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
    """A record of a feed, of which so many parts could not be read.

    `organization` is what its key says, whether or not there is such an organization.
    """

    record: Record
    feed: ActivityFeed
    organization: OrganizationId | None
    letters: int = 0


async def count(conn: Connection, records: Mapping[FeedDay, int]) -> None:
    """Add how many records each topic had, readable or not."""
    in_order = sorted(records)
    await conn.execute(
        SQL["count"],
        [feed.value for feed, _, _ in in_order],
        [day for _, day, _ in in_order],
        [partition for _, _, partition in in_order],
        [records[each] for each in in_order],
    )


async def add(conn: Connection, unreadable: Iterable[UnreadableRecord]) -> None:
    """Add records of which parts are new among the dead letters, each record once."""
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
    """Let these dead letters count no more; call it before their status says so."""
    await conn.execute(SQL["forget"], list(ids))


async def read(
    conn: Connection, organizations: Collection[OrganizationId], *, since: date
) -> PossibleUse:
    """What may be use of these organizations, or of anybody, from a day on."""
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
    """Delete what no decision looks at any more, at most `limit` records; returns how many."""
    return int(await conn.fetchval(SQL["delete_old"], before, limit))
