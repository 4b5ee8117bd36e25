"""Counts the activity of one batch: newest moments by organization, and days by feed.

Activity of an organization that watches it is also decided on, fact by fact.  This module
separates what is only counted from what is also decided on.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import groupby
from operator import attrgetter
from typing import Self

from msgspec import Struct

from marketplace_worker.contract.feeds import Feed, activity_feed
from marketplace_worker.contract.plain_activity import PlainActivity
from marketplace_worker.contract.tracing import Trace
from marketplace_worker.errors import Malformed
from marketplace_worker.lifecycle.facts import ApiRequested, Fact, LoggedIn
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


Part = ParsedPart | PlainActivity
"""Plain activity is its record's only part; it becomes a fact only where it is decided on."""


MomentsByPartition = defaultdict[int, list[datetime]]

_PARTITION = attrgetter("record.topic", "record.partition")


class StartedWatching(Exception):
    """Organizations began to watch their activity while it was counted: apply the batch again."""


@dataclass(slots=True)
class ActivityCounting:
    """The activity of one batch; lives as long as its transaction.

    `watching`: the organizations that watched their activity when the batch began.  `duplicates`:
    how many parts were counted before.  Parts are identified by their index in the batch.
    """

    progress: dict[TopicPartition, ReadProgress] = field(default_factory=dict)
    watching: set[OrganizationId] = field(default_factory=set)
    duplicates: int = 0
    _passed: set[int] = field(default_factory=set)
    _counted: dict[OrganizationId, ActivityCounts] = field(default_factory=dict)
    _logins_at: MomentsByPartition = field(default_factory=lambda: defaultdict(list))
    _requests_at: MomentsByPartition = field(default_factory=lambda: defaultdict(list))
    _came_at: dict[tuple[ActivityFeed, int], list[datetime]] = field(default_factory=dict)

    @classmethod
    async def begin(
        cls, conn: Connection, parts: Sequence[Part], feeds: Mapping[str, Feed]
    ) -> "ActivityCounting":
        """Find what was not counted before, and who watches.

        The first lock of the transaction is that on the read progress of the partitions: two
        workers that read one partition during a rebalance meet here, before they lock anything
        else.  Progress also moves past what is refused: from then on only its dead letter says
        whether it was counted, so a redelivery cannot count what a redrive counts.  The parts of
        one record are adjacent, and are counted together or not at all.
        """
        runs = _by_partition(parts)
        partitions = {partition for partition, _ in runs}
        counting = cls(await activity.lock_progress(conn, partitions))
        came_at = counting._came_lists(partitions, feeds)
        first = 0
        for partition, run in runs:
            new = counting._pass_known(partition, run, first, came_at.get(partition, []))
            counting._add(partition[1], new)
            first += len(run)
        return await counting._watched(conn)

    @classmethod
    async def of_dead_letters(
        cls, conn: Connection, parts: Sequence[Part], counted: AbstractSet[Record]
    ) -> "ActivityCounting":
        """Of records that are locked as dead letters: what is not among the `counted` is counted
        now, wherever it stands.
        """
        counting = cls()
        for index, each in enumerate(parts):
            if each.record not in counted:
                counting._add(each.record.partition, [each])
            elif _is_activity(each):
                counting._pass(index, each)
        return await counting._watched(conn)

    @property
    def count(self) -> int:
        """How many logins and API usages are counted now."""
        moments = (*self._logins_at.values(), *self._requests_at.values())
        return sum(map(len, moments))

    @property
    def organizations(self) -> AbstractSet[OrganizationId]:
        """The organizations whose activity is counted."""
        return self._counted.keys()

    def passed(self, index: int) -> bool:
        """Whether the part at this index was read before, and counted or refused then."""
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
        if days := self._feed_days():
            await activity.save_feed_days(conn, days)
        others = [id_ for id_ in self._counted if id_ not in locked]
        if others and await organizations.watching(conn, others):
            raise StartedWatching
        if came := self._topic_days():
            await possible_use.count(conn, came)
        if self.progress:
            await activity.save_progress(conn, self.progress)

    async def _watched(self, conn: Connection) -> Self:
        """Drop the activity of erased organizations, and find who watches."""
        if not self._counted:
            return self
        # Sorted once: each query sorts again, which takes a tenth of the time where it is sorted.
        self._counted = {id_: self._counted[id_] for id_ in sorted(self._counted)}
        for each in await organizations.erased(conn, self.organizations):
            del self._counted[each]
        if self._counted:
            self.watching = await organizations.watching(conn, self.organizations)
        return self

    def _came_lists(
        self, partitions: AbstractSet[TopicPartition], feeds: Mapping[str, Feed]
    ) -> Mapping[TopicPartition, list[datetime]]:
        """Empty lists for the times of the records of each partition of an activity feed."""
        lists = {}
        for topic, partition in partitions:
            if (feed := activity_feed(topic, feeds)) is not None:
                lists[topic, partition] = self._came_at[feed, partition] = []
        return lists

    def _pass(self, index: int, part: Part) -> None:
        self._passed.add(index)
        self.duplicates += _is_activity(part)

    def _pass_known(
        self, partition: TopicPartition, run: Sequence[Part], first: int, came_at: list[datetime]
    ) -> Sequence[Part]:
        """Move past the records of a run; returns the parts of those that were not read before.

        `first`: the index of its first part.  `came_at`: gets the times of the new records.
        """
        progress = self.progress[partition]
        new: list[Part] = []
        current: Record | None = None
        is_new = False
        for index, part in enumerate(run, first):
            record = part.record
            if record is not current:
                current, is_new = record, progress.advance(record)
                if is_new:
                    came_at.append(record.latest_event_time)
            if is_new:
                new.append(part)
            else:
                self._pass(index, part)
        return new

    def _add(self, partition: int, parts: Iterable[Part]) -> None:
        """Count those parts of one partition that are activity."""
        logins_at, requests_at = self._logins_at[partition], self._requests_at[partition]
        for part in parts:
            if isinstance(part, PlainActivity):
                organization, at, requests = part.organization, part.occurred_at, part.requests
            else:
                event = part.content
                if not isinstance(event, LoggedIn | ApiRequested):
                    continue
                organization, at = event.organization, event.occurred_at
                requests = event.requests if isinstance(event, ApiRequested) else None
            counted = self._counted.get(organization)
            if counted is None:
                counted = self._counted[organization] = ActivityCounts(organization)
            if requests is None:
                counted.add_login(at)
                logins_at.append(at)
            else:
                counted.add_requests(at, requests)
                requests_at.append(at)

    def _feed_days(self) -> dict[FeedDay, DayRange]:
        """The first and the last event of each feed, UTC day and partition."""
        feeds = (
            (ActivityFeed.LOGINS, self._logins_at),
            (ActivityFeed.API_REQUESTS, self._requests_at),
        )
        return {
            (feed, day, partition): DayRange(min(of_day), max(of_day))
            for feed, partitions in feeds
            for partition, moments in partitions.items()
            for day, of_day in _by_day(moments)
        }

    def _topic_days(self) -> dict[FeedDay, int]:
        """How many records of each feed, UTC day and partition came."""
        return {
            (feed, day, partition): len(of_day)
            for (feed, partition), moments in self._came_at.items()
            for day, of_day in _by_day(moments)
        }


def _by_partition(parts: Iterable[Part]) -> Sequence[tuple[TopicPartition, Sequence[Part]]]:
    """The parts in order, as runs of one partition."""
    return [(partition, list(run)) for partition, run in groupby(parts, _PARTITION)]


def _is_activity(part: Part) -> bool:
    """Whether it is a login or API usage."""
    return isinstance(part, PlainActivity) or isinstance(part.content, LoggedIn | ApiRequested)


def _by_day(moments: Sequence[datetime]) -> Iterable[tuple[date, Sequence[datetime]]]:
    """Nearly always all of one day, which is seen without looking at each."""
    if not moments:
        return ()
    if (day := min(moments).date()) == max(moments).date():
        return ((day, moments),)
    days = defaultdict(list)
    for each in moments:
        days[each.date()].append(each)
    return days.items()
