"""The lifecycle without servers: the worker's parsing, rules and events over a dictionary.

Only this module turns a whole scenario into its events (events.md section 4).
"""

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from marketplace_worker.errors import Malformed
from marketplace_worker.lifecycle.decide import deadline_of, take
from marketplace_worker.lifecycle.events import Event
from marketplace_worker.lifecycle.facts import ApiRequested, Fact, LoggedIn
from marketplace_worker.lifecycle.fleet import Fleet
from marketplace_worker.lifecycle.policy import Policy
from marketplace_worker.lifecycle.settle import Settled
from marketplace_worker.lifecycle.vocabulary import Identity, OrganizationId
from marketplace_worker.record import Record
from marketplace_worker.translate import EmailHasher, Feed, translate

HORIZON = timedelta(days=3_653)
"""How far the clock runs on after the last message, where nothing else is said: ten years."""

Refuse = Callable[[Record, Malformed], None]
"""Is told of each message that would go to the dead letters."""


@dataclass(slots=True)
class Simulation:
    """A fleet, its clock and what is due.  Time only goes on as `run` is told."""

    policy: Policy
    feeds: Mapping[str, Feed]
    hash_email: EmailHasher
    refuse: Refuse
    fleet: Fleet = field(default_factory=Fleet)
    _seen: set[Identity] = field(default_factory=set)
    _due_at: dict[OrganizationId, datetime] = field(default_factory=dict)
    _agenda: list[tuple[datetime, OrganizationId]] = field(default_factory=list)

    def run(self, records: Iterable[Record], until: datetime | None = None) -> Iterator[Event]:
        """Yield the outgoing events in the order in which they would be written.

        `records` stand in the order of `recorded_at`, which is when the worker receives them.  At
        one instant messages come before deadlines.
        """
        now: datetime | None = None
        for record in records:
            if until is not None and record.recorded_at > until:
                break
            now = record.recorded_at
            yield from self._deadlines(before=now)
            yield from self._hear(record)
        end = until or (now + HORIZON if now else None)
        if end is not None:
            yield from self._deadlines(before=end + timedelta.resolution)

    def _hear(self, record: Record) -> Iterator[Event]:
        for said in translate(record, self.feeds[record.topic], self.hash_email):
            match said:
                case Malformed():
                    self.refuse(record, said)
                case LoggedIn() | ApiRequested():
                    pass
                case _:
                    yield from self._take(said, record.recorded_at)

    def _take(self, fact: Fact, now: datetime) -> Iterator[Event]:
        if fact.identity in self._seen:
            return
        self._seen.add(fact.identity)
        for settled in take(fact, self.fleet, self.policy, now=now).settled:
            yield from self._note(settled, now)

    def _deadlines(self, *, before: datetime) -> Iterator[Event]:
        """Each moment that comes before `before`, at its own time."""
        while self._agenda and self._agenda[0][0] < before:
            now, organization = heapq.heappop(self._agenda)
            if self._due_at.get(organization) == now:
                yield from self._take(deadline_of(self.fleet.organization(organization), now), now)

    def _note(self, settled: Settled, now: datetime) -> tuple[Event, ...]:
        """Put what is due next on the agenda; what stood there for it before no longer counts.

        What old news made due in the past is due now.
        """
        organization = settled.organization.id
        if settled.due_at is None:
            self._due_at.pop(organization, None)
        else:
            due_at = max(settled.due_at, now)
            self._due_at[organization] = due_at
            heapq.heappush(self._agenda, (due_at, organization))
        return settled.events
