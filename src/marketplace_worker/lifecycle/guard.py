"""May harm happen now?  Counts harmful steps over the whole fleet (lifecycle.md section 8).

`Safeguards` is one value for the fleet, shared by all workers, with a voice and a sequence of its
own: it also remembers on which day a feed was called silent (section 5).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from math import floor

from marketplace_worker.lifecycle.events import (
    WORKER,
    Details,
    Event,
    EventKind,
    GuardReleasedDetails,
    GuardTrippedDetails,
    SilentFeedDetails,
    event_id,
)
from marketplace_worker.lifecycle.facts import GuardReleased, GuardTripped
from marketplace_worker.lifecycle.inactivity import Feeds
from marketplace_worker.lifecycle.policy import Guard, Inactivity
from marketplace_worker.lifecycle.vocabulary import ActivityFeed

WINDOW = timedelta(hours=1)
"""Over how long harmful steps are counted."""

BY_THE_LIMIT = "the limit of harmful steps within an hour is reached"


@dataclass(frozen=True, slots=True)
class Harm:
    """So many harmful steps were taken at one moment."""

    at: datetime
    steps: int


@dataclass(frozen=True, slots=True)
class Trip:
    """Harmful steps are withheld since `at`.  `by` is the operator, or None: the limit.

    `allowance`: how many steps an operator lets through all the same.
    """

    at: datetime
    by: str | None
    reason: str
    allowance: int = 0


@dataclass(frozen=True, slots=True)
class Safeguards:
    """What keeps the fleet from mass harm.  `recent` are the steps of the last hour.

    `sequence` is that of the worker's newest event; 0: none yet.  `silences`: the newest day on
    which each feed was called silent.
    """

    recent: tuple[Harm, ...] = ()
    trip: Trip | None = None
    silences: tuple[tuple[ActivityFeed, date], ...] = ()
    sequence: int = 0

    def harm_since(self, since: datetime) -> int:
        """How many harmful steps were taken after a moment."""
        return sum(harm.steps for harm in self.recent if harm.at > since)


def limit(guard: Guard, population: int) -> int:
    """How many harmful steps an hour may hold; `population`: organizations not deactivated."""
    return max(guard.minimum, floor(Decimal(str(guard.fraction)) * population))


@dataclass(frozen=True, slots=True)
class Answers:
    """What one decision was told of the whole fleet; None: it did not ask.

    Journalled with the fact, so that to fold it again nothing else need be known.
    """

    permitted: bool | None = None
    """Whether a harmful step might be taken."""
    silent: tuple[ActivityFeed, ...] | None = None
    """Which feeds were silent."""


@dataclass(slots=True)
class Watch:
    """Asks the safeguards and speaks for them; lives for one decision.

    `events` is what the worker itself has to say.  With `recalled`, a decision is folded again: it
    is told what it was told then, and nothing is said.
    """

    safeguards: Safeguards = field(default_factory=Safeguards)
    recalled: Answers | None = None
    answers: Answers = field(default_factory=Answers)
    events: list[Event] = field(default_factory=list)

    def permits(self, guard: Guard, population: int, *, now: datetime, causation_id: str) -> bool:
        """Whether one harmful step may be taken now; it is counted, or it trips the guard."""
        if self.recalled is not None:
            permitted = self.recalled.permitted is True
        else:
            permitted = self._permits(guard, population, now, causation_id)
        self.answers = replace(self.answers, permitted=permitted)
        return permitted

    def silent(
        self, feeds: Feeds, anchor: datetime, rules: Inactivity, *, now: datetime, causation_id: str
    ) -> bool:
        """Whether any feed was too silent to believe that an organization is (section 5); said once
        a UTC day for each.
        """
        if self.recalled is not None:
            silent = self.recalled.silent or ()
        else:
            silent = feeds.silent(anchor, rules, now=now)
            for feed in silent:
                self._feed_is_silent(feed, feeds.last_heard_at(feed), now, causation_id)
        self.answers = replace(self.answers, silent=silent)
        return bool(silent)

    def _permits(self, guard: Guard, population: int, now: datetime, causation_id: str) -> bool:
        trip = self.safeguards.trip
        if trip is not None and trip.allowance == 0:
            return False
        recent = _within_the_hour(self.safeguards.recent, now)
        if trip is not None:
            self._count(recent, replace(trip, allowance=trip.allowance - 1), now)
            return True
        steps, most = sum(harm.steps for harm in recent), limit(guard, population)
        if steps < most:
            self._count(recent, None, now)
            return True
        self.safeguards = replace(
            self.safeguards, recent=recent, trip=Trip(now, None, BY_THE_LIMIT)
        )
        details = GuardTrippedDetails(steps, most, by=None, reason=BY_THE_LIMIT)
        self.say(EventKind.GUARD_TRIPPED, details, now=now, causation_id=causation_id)
        return False

    def _count(self, recent: Sequence[Harm], trip: Trip | None, now: datetime) -> None:
        earlier = tuple(harm for harm in recent if harm.at != now)
        taken = sum(harm.steps for harm in recent if harm.at == now) + 1
        self.safeguards = replace(self.safeguards, recent=(*earlier, Harm(now, taken)), trip=trip)

    def trip(self, fact: GuardTripped, *, now: datetime) -> None:
        """An operator stops all harm; where it is stopped already, no step is let through."""
        self.safeguards = replace(self.safeguards, trip=Trip(now, fact.by, fact.reason))
        steps = self.safeguards.harm_since(now - WINDOW)
        details = GuardTrippedDetails(steps, None, fact.by, fact.reason)
        self.say(EventKind.GUARD_TRIPPED, details, now=now, causation_id=fact.identity.id)

    def release(self, fact: GuardReleased, *, now: datetime) -> bool:
        """An operator lets harm go on; False where nothing was withheld.

        Altogether: counting begins anew, or the next step would trip the guard again.
        """
        trip = self.safeguards.trip
        if trip is None:
            return False
        if fact.steps is None:
            self.safeguards = replace(self.safeguards, trip=None, recent=())
        else:
            self.safeguards = replace(self.safeguards, trip=replace(trip, allowance=fact.steps))
        details = GuardReleasedDetails(fact.steps, fact.by, fact.reason)
        self.say(EventKind.GUARD_RELEASED, details, now=now, causation_id=fact.identity.id)
        return True

    def _feed_is_silent(
        self, feed: ActivityFeed, last_heard_at: datetime | None, now: datetime, causation_id: str
    ) -> None:
        today = now.date()
        said = dict(self.safeguards.silences)
        if said.get(feed) == today:
            return
        self.safeguards = replace(
            self.safeguards, silences=tuple(sorted((said | {feed: today}).items()))
        )
        details = SilentFeedDetails(feed, today, last_heard_at)
        self.say(EventKind.ACTIVITY_FEED_SILENT, details, now=now, causation_id=causation_id)

    def say(self, kind: EventKind, details: Details, *, now: datetime, causation_id: str) -> None:
        """Write one event of the worker itself; each is a story of its own."""
        sequence = self.safeguards.sequence + 1
        self.safeguards = replace(self.safeguards, sequence=sequence)
        self.events.append(
            Event(
                kind=kind,
                subject=WORKER,
                sequence=sequence,
                decided_at=now,
                effective_at=now,
                causation_id=causation_id,
                correlation_id=str(event_id(WORKER, sequence, kind)),
                standing=None,
                details=details,
            )
        )


def _within_the_hour(recent: Sequence[Harm], now: datetime) -> tuple[Harm, ...]:
    return tuple(harm for harm in recent if harm.at > now - WINDOW)
