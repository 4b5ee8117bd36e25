"""Counts the activity of one batch: to its maxima, and to the days on which each feed was heard.

An organization that watches its activity also has it decided on, one by one; what is counted and
what is decided on are told apart here.
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
    """One part of a record: what it says, or why it cannot be read; and the trace it came in."""

    record: Record
    part: int
    what: Fact | Malformed
    trace: Trace | None = None


class StartedWatching(Exception):
    """Organizations began to watch their activity while it was counted: take the batch again."""


@dataclass(slots=True)
class ActivityCounting:
    """The activity of one batch; lives as long as its transaction.

    `watching` are the organizations that watched their activity when the batch began; what is
    counted goes by its place in the batch.  `duplicates`: how much was counted before.
    """

    progress: dict[TopicPartition, ReadProgress] = field(default_factory=dict)
    watching: set[OrganizationId] = field(default_factory=set)
    duplicates: int = 0
    _places: set[int] = field(default_factory=set)
    _passed: set[int] = field(default_factory=set)
    _counted: dict[OrganizationId, ActivityCounts] = field(default_factory=dict)
    _heard: dict[FeedDay, DayRange] = field(default_factory=dict)
    _records: dict[FeedDay, int] = field(default_factory=dict)

    @classmethod
    async def begin(
        cls, conn: Connection, said: Sequence[ParsedPart], feeds: Mapping[str, Feed]
    ) -> "ActivityCounting":
        """Find what was not counted before, and who watches; before any other lock is taken.

        The partitions of all topics are read past what they hold, also past what is refused: from
        then on its dead letter alone tells whether it was counted, and no redelivery counts what a
        redrive counts.  The parts of one record stand together, and are counted or not as one.
        """
        places = {(each.record.topic, each.record.partition) for each in said}
        counting = cls(await activity.lock_progress(conn, places))
        current: Record | None = None
        fresh = False
        for place, each in enumerate(said):
            record = each.record
            if record is not current:
                current = record
                fresh = counting.progress[record.topic, record.partition].advance(record)
                if fresh and (feed := activity_feed(record.topic, feeds)) is not None:
                    counting._came(feed, record)
            counting._read(place, each, fresh=fresh)
        return await counting._watched(conn)

    @classmethod
    async def of_dead_letters(
        cls, conn: Connection, said: Sequence[ParsedPart], counted: AbstractSet[Record]
    ) -> "ActivityCounting":
        """Of records that are locked as dead letters: what is not among the `counted` is counted
        now, wherever it stands.
        """
        counting = cls()
        for place, each in enumerate(said):
            if isinstance(each.what, LoggedIn | ApiRequested):
                if each.record in counted:
                    counting.duplicates += 1
                else:
                    counting._add(place, each.record, each.what)
        return await counting._watched(conn)

    @property
    def organizations(self) -> AbstractSet[OrganizationId]:
        """Those of which anything is counted."""
        return self._counted.keys()

    @property
    def count(self) -> int:
        """How many records are counted."""
        return len(self._places)

    def holds(self, place: int) -> bool:
        """Whether what stands at a place of the batch is counted now, rather than before."""
        return place in self._places

    def passed(self, place: int) -> bool:
        """Whether what is refused at a place of the batch was read past before: it was taken or
        refused then.
        """
        return place in self._passed

    async def write(self, conn: Connection, locked: AbstractSet[OrganizationId]) -> None:
        """Add it to what was counted before.  `locked` are the organizations that were decided on.

        Raises:
            StartedWatching: others began to watch since the batch began.  Whoever makes one watch
                holds its activity until then: now that we have counted, it cannot be missed.
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
        """With who watches; of those that are erased nothing is counted any more."""
        for each in await organizations.erased(conn, self.organizations) if self._counted else ():
            del self._counted[each]
        if self._counted:
            self.watching = await organizations.watching(conn, self.organizations)
        return self

    def _came(self, feed: ActivityFeed, record: Record) -> None:
        day = (feed, record.latest_event_time.date(), record.partition)
        self._records[day] = self._records.get(day, 0) + 1

    def _read(self, place: int, said: ParsedPart, *, fresh: bool) -> None:
        match said.what:
            case LoggedIn() | ApiRequested() as heard:
                if fresh:
                    self._add(place, said.record, heard)
                else:
                    self.duplicates += 1
            case Malformed():
                if not fresh:
                    self._passed.add(place)
            case _:
                pass

    def _add(self, place: int, record: Record, heard: ActivityFact) -> None:
        self._places.add(place)
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
