"""Counts the activity of one batch: newest moments by organization, and days by feed.

Activity of an organization that watches it is also decided on, fact by fact.  This module tells
what is only counted from what is also decided on.
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Self

from msgspec import Struct

from marketplace_worker.contract.feeds import Feed, activity_feed
from marketplace_worker.contract.tracing import Trace
from marketplace_worker.errors import Malformed
from marketplace_worker.lifecycle.facts import ActivityFact, ApiRequested, Fact, LoggedIn
from marketplace_worker.lifecycle.inactivity import DayRange
from marketplace_worker.lifecycle.vocabulary import ActivityFeed, OrganizationId
from marketplace_worker.record import Record
from marketplace_worker.store import activity, organizations, possible_use
from marketplace_worker.store.activity import ActivityCounts, FeedDay, ReadProgress, TopicPartition
from marketplace_worker.store.database import Connection


class ParsedPart(Struct, frozen=True):
    """One part of a record: its fact, or why it cannot be read; and its trace context."""

    record: Record
    part: int
    content: Fact | Malformed
    trace: Trace | None = None


class StartedWatching(Exception):
    """Organizations began to watch their activity while it was counted: apply the batch again."""


@dataclass(slots=True)
class ActivityCounting:
    """The activity of one batch; lives as long as its transaction.

    `watching`: the organizations that watched their activity when the batch began.  `duplicates`:
    how many records were counted before.  Parts are identified by their index in the batch.
    """

    progress: dict[TopicPartition, ReadProgress] = field(default_factory=dict)
    watching: set[OrganizationId] = field(default_factory=set)
    duplicates: int = 0
    _indexes: set[int] = field(default_factory=set)
    _passed: set[int] = field(default_factory=set)
    _counted: dict[OrganizationId, ActivityCounts] = field(default_factory=dict)
    _heard: dict[FeedDay, DayRange] = field(default_factory=dict)
    _records: dict[FeedDay, int] = field(default_factory=dict)

    @classmethod
    async def begin(
        cls, conn: Connection, parts: Sequence[ParsedPart], feeds: Mapping[str, Feed]
    ) -> "ActivityCounting":
        """Find what was not counted before, and who watches.

        The first lock of the transaction is that on the read progress of the partitions: two
        workers that read one partition amid a rebalance meet here, before they lock anything
        else.  Progress also moves past what is refused: from then on only its dead letter says
        whether it was counted, so a redelivery cannot count what a redrive counts.  The parts of
        one record are adjacent, and are counted together or not at all.
        """
        partitions = {(each.record.topic, each.record.partition) for each in parts}
        counting = cls(await activity.lock_progress(conn, partitions))
        current: Record | None = None
        fresh = False
        for index, each in enumerate(parts):
            record = each.record
            if record is not current:
                current = record
                fresh = counting.progress[record.topic, record.partition].advance(record)
                if fresh and (feed := activity_feed(record.topic, feeds)) is not None:
                    counting._came(feed, record)
            counting._read(index, each, fresh=fresh)
        return await counting._watched(conn)

    @classmethod
    async def of_dead_letters(
        cls, conn: Connection, parts: Sequence[ParsedPart], counted: AbstractSet[Record]
    ) -> "ActivityCounting":
        """Of records that are locked as dead letters: what is not among the `counted` is counted
        now, wherever it stands.
        """
        counting = cls()
        for index, each in enumerate(parts):
            if isinstance(each.content, LoggedIn | ApiRequested):
                if each.record in counted:
                    counting.duplicates += 1
                else:
                    counting._add(index, each.record, each.content)
        return await counting._watched(conn)

    @property
    def organizations(self) -> AbstractSet[OrganizationId]:
        """The organizations whose activity is counted."""
        return self._counted.keys()

    @property
    def count(self) -> int:
        """How many records are counted."""
        return len(self._indexes)

    def holds(self, index: int) -> bool:
        """Whether the part at this index is counted now, and was not before."""
        return index in self._indexes

    def passed(self, index: int) -> bool:
        """Whether the refused part at this index was read before, and counted or refused then."""
        return index in self._passed

    async def write(self, conn: Connection, locked: AbstractSet[OrganizationId]) -> None:
        """Add it to what was counted before.  `locked`: the organizations that were decided on.

        The activity rows are written before it is asked who watches: a transaction that makes an
        organization watch holds its activity row, so one of the two sees the other.

        Raises:
            StartedWatching: other organizations began to watch since the batch began.
        """
        if self._counted:
            await activity.count(conn, self._counted.values())
        if self._heard:
            await activity.save_feed_days(conn, self._heard)
        if self._counted and await organizations.watching(conn, self.organizations - locked):
            raise StartedWatching
        if self._records:
            await possible_use.count(conn, self._records)
        if self.progress:
            await activity.save_progress(conn, self.progress)

    async def _watched(self, conn: Connection) -> Self:
        """Drop the activity of erased organizations, and find who watches."""
        for each in await organizations.erased(conn, self.organizations) if self._counted else ():
            del self._counted[each]
        if self._counted:
            self.watching = await organizations.watching(conn, self.organizations)
        return self

    def _came(self, feed: ActivityFeed, record: Record) -> None:
        day = (feed, record.latest_event_time.date(), record.partition)
        self._records[day] = self._records.get(day, 0) + 1

    def _read(self, index: int, parsed: ParsedPart, *, fresh: bool) -> None:
        match parsed.content:
            case LoggedIn() | ApiRequested() as heard:
                if fresh:
                    self._add(index, parsed.record, heard)
                else:
                    self.duplicates += 1
            case Malformed():
                if not fresh:
                    self._passed.add(index)
            case _:
                pass

    def _add(self, index: int, record: Record, heard: ActivityFact) -> None:
        self._indexes.add(index)
        at = heard.occurred_at
        counted = self._counted.get(heard.organization)
        if counted is None:
            counted = self._counted[heard.organization] = ActivityCounts(heard.organization)
        match heard:
            case LoggedIn():
                counted.add_login(at)
            case ApiRequested(requests=requests):
                counted.add_requests(at, requests)
        day = (heard.feed, at.date(), record.partition)
        before = self._heard.get(day)
        self._heard[day] = before.including(at) if before else DayRange(at, at)
