"""Runs a scenario through the worker's parsing and rules, in memory (events.md section 4)."""

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from marketplace_worker.contract.emails import EmailHasher
from marketplace_worker.contract.feeds import Feed, activity_feed
from marketplace_worker.contract.inbound import organization_of_key
from marketplace_worker.contract.tracing import Trace
from marketplace_worker.errors import Malformed
from marketplace_worker.lifecycle.decide import apply, deadline_of
from marketplace_worker.lifecycle.events import Event
from marketplace_worker.lifecycle.facts import ApiRequested, Fact, LoggedIn
from marketplace_worker.lifecycle.fleet import Fleet
from marketplace_worker.lifecycle.policy import Policies, Policy
from marketplace_worker.lifecycle.settle import CaseResult
from marketplace_worker.lifecycle.vocabulary import ActivityFeed, Identity, OrganizationId
from marketplace_worker.record import Record
from marketplace_worker.translate import translate_traced

HORIZON = timedelta(days=3_653)
"""How long the clock runs after the last message by default: ten years."""

_DueEntry = tuple[datetime, OrganizationId]

OnRefused = Callable[[Record, Malformed], None]
"""Called with each message that would go to the dead letters."""


@dataclass(slots=True)
class Simulation:
    """A fleet with its clock and a queue of due organizations.  Only `run` moves the clock.

    Idle re-checks of what only waits run when they are due; they do not extend the simulation.
    `traces`: of each event whose message came in one, by the event's id.
    """

    policy: Policy
    feeds: Mapping[str, Feed]
    hash_email: EmailHasher
    refuse: OnRefused
    fleet: Fleet = field(default_factory=Fleet)
    traces: dict[UUID, Trace] = field(default_factory=dict)
    _seen: set[Identity] = field(default_factory=set)
    _due_at: dict[OrganizationId, datetime] = field(default_factory=dict)
    _due: list[_DueEntry] = field(default_factory=list)
    _due_not_idle: list[_DueEntry] = field(default_factory=list)

    def run(self, records: Iterable[Record], until: datetime | None = None) -> Iterator[Event]:
        """Yield the outgoing events in the order in which they would be written.

        `records` are in the order of `recorded_at`, which is when the worker receives them.  At one
        instant messages come before deadlines.
        """
        now: datetime | None = None
        for record in records:
            if until is not None and record.recorded_at > until:
                break
            now = record.recorded_at
            yield from self._deadlines(before=now)
            yield from self._process(record)
        end = until or (now + HORIZON if now else None)
        if end is not None:
            yield from self._deadlines(before=end + timedelta.resolution, to_the_end=until is None)

    def _process(self, record: Record) -> Iterator[Event]:
        parts = list(translate_traced(record, self.feeds[record.topic], self.hash_email))
        feed = activity_feed(record.topic, self.feeds)
        if feed is not None:
            refused = any(isinstance(said, Malformed) for said, _ in parts)
            self._count_activity(feed, record, refused=refused)
        for said, trace in parts:
            match said:
                case Malformed():
                    self.refuse(record, said)
                case LoggedIn() | ApiRequested():
                    self.fleet.record_activity(said)
                    if said.feed in self.fleet.organization(said.organization).watched_feeds:
                        yield from self._decide(said, record.recorded_at, trace)
                case _:
                    yield from self._decide(said, record.recorded_at, trace)

    def _count_activity(self, feed: ActivityFeed, record: Record, *, refused: bool) -> None:
        """Count a record of an activity feed.  One with unreadable parts is one possible use."""
        possible_use = self.fleet.feeds.possible_use
        possible_use.count_record(feed, record.latest_event_time)
        if refused:
            key = organization_of_key(record.key)
            known = key is not None and self.fleet.organization(key).exists
            possible_use.count_unreadable(feed, record.latest_event_time, key, known=known)

    def _decide(self, fact: Fact, now: datetime, trace: Trace | None = None) -> Iterator[Event]:
        if fact.identity in self._seen:
            return
        self._seen.add(fact.identity)
        decision = apply(fact, self.fleet, Policies(self.policy), now=now)
        for result in decision.results:
            self._schedule(result, now)
        if trace is not None:
            self.traces.update((event.id, trace) for event in decision.events)
        yield from decision.events

    def _deadlines(self, *, before: datetime, to_the_end: bool = False) -> Iterator[Event]:
        """Decide on each organization that is due before `before`, at its due time.

        `to_the_end`: stop once only idle re-checks are left.
        """
        while (entry := self._next(self._due)) is not None and entry[0] < before:
            awaited = self._next(self._due_not_idle)
            if to_the_end and (awaited is None or awaited[0] >= before):
                return
            now, organization = heapq.heappop(self._due)
            yield from self._decide(deadline_of(self.fleet.organization(organization), now), now)

    def _next(self, entries: list[_DueEntry]) -> _DueEntry | None:
        """The first entry that is not outdated; an organization's newer due time replaces it."""
        while entries and self._due_at.get(entries[0][1]) != entries[0][0]:
            heapq.heappop(entries)
        return entries[0] if entries else None

    def _schedule(self, result: CaseResult, now: datetime) -> None:
        """Remember when the organization is due; what is due in the past is due now."""
        organization = result.organization.id
        if result.due_at is None:
            self._due_at.pop(organization, None)
            return
        entry = (max(result.due_at, now), organization)
        self._due_at[organization] = entry[0]
        heapq.heappush(self._due, entry)
        if not result.idle:
            heapq.heappush(self._due_not_idle, entry)
