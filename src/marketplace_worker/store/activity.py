"""The activity tables: logins and API usage, coalesced.  The SQL is in activity.sql."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from marketplace_worker.lifecycle.vocabulary import OrganizationId
from marketplace_worker.record import Record
from marketplace_worker.store.database import Connection
from marketplace_worker.store.queries import queries

SQL = queries("activity")

Place = tuple[str, int]
"""A topic and a partition."""


@dataclass(slots=True)
class Counted:
    """What one batch heard of one organization."""

    organization: OrganizationId
    last_login_at: datetime | None = None
    last_request_at: datetime | None = None
    logins: int = 0
    requests: int = 0


@dataclass(slots=True)
class Progress:
    """How far one partition was counted: up to `next_offset`; `newest_at` is the newest counted."""

    next_offset: int
    newest_at: datetime

    def advance(self, record: Record) -> bool:
        """Whether a record is to be counted; from then on it is not.

        A record delivered again is not.  One before `next_offset` that is newer than all that was
        counted is: its topic was made anew.
        """
        if record.offset < self.next_offset and record.recorded_at <= self.newest_at:
            return False
        self.next_offset = record.offset + 1
        self.newest_at = max(self.newest_at, record.recorded_at)
        return True


async def lock_progress(conn: Connection, places: Collection[Place]) -> dict[Place, Progress]:
    """How far each partition was counted; locked until the transaction ends."""
    rows = await conn.fetch(SQL["lock_offsets"], *_columns(sorted(places)))
    return {
        (row["topic"], row["partition"]): Progress(row["next_offset"], row["newest_at"])
        for row in rows
    }


async def save_progress(conn: Connection, progress: Mapping[Place, Progress]) -> None:
    """Write down how far each partition is counted now."""
    places = sorted(progress)
    await conn.execute(
        SQL["move_offsets"],
        *_columns(places),
        [progress[place].next_offset for place in places],
        [progress[place].newest_at for place in places],
    )


async def count(conn: Connection, counted: Collection[Counted]) -> None:
    """Add what a batch heard; the newest moment of each feed stays, whatever the order."""
    rows = sorted(counted, key=lambda each: each.organization)
    await conn.execute(
        SQL["count"],
        [each.organization for each in rows],
        [each.last_login_at for each in rows],
        [each.last_request_at for each in rows],
        [each.logins for each in rows],
        [each.requests for each in rows],
    )


def _columns(places: Sequence[Place]) -> tuple[list[str], list[int]]:
    return [topic for topic, _ in places], [partition for _, partition in places]
