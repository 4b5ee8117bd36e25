"""May it be done now?  Limits steps and requested deactivations over the fleet (section 8).

`Safeguards` is one value for the fleet, shared by all workers, with a voice and a sequence of its
own: it also remembers on which day a feed was called silent (section 5).
"""

from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from uuid import UUID

from marketplace_worker.lifecycle.events import (
    WORKER,
    Details,
    Event,
    EventKind,
    event_id,
)
from marketplace_worker.lifecycle.facts import ClockMoved, EpochBegan, GuardReleased, GuardTripped
from marketplace_worker.lifecycle.inactivity import Feeds
from marketplace_worker.lifecycle.limits import (
    BY_CONTROL_PLANE_STEPS,
    BY_DESTRUCTIVE_STEPS,
    control_plane_limit,
    destructive_step_limit,
    trip_by_request,
    with_one_request,
    with_one_step,
)
from marketplace_worker.lifecycle.organization import Organization
from marketplace_worker.lifecycle.policy import DESTRUCTIVE_STEPS, Guard, Inactivity
from marketplace_worker.lifecycle.safeguards import (
    WINDOW,
    Safeguards,
    Trip,
    clock_moved,
    steps_of,
)
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.unreadable import UnreadableFeed
from marketplace_worker.lifecycle.vocabulary import ActivityFeed, GuardSide
from marketplace_worker.lifecycle.worker_details import (
    GuardReleasedDetails,
    GuardTrippedDetails,
    SilentFeedDetails,
    UnreadableFeedDetails,
)

BY_CLOCK = "clock"
"""The reason of a trip because the clock of decisions ran ahead (lifecycle.md section 8)."""


class RequestVerdict(StrEnum):
    """Whether a requested deactivation is done, or what it is refused by."""

    GRANTED = "granted"
    PER_HOUR = "per_hour"
    PER_PERSON = "per_person"
    BY_OPERATOR = "by_operator"
    SET_BACK = "set_back"


@dataclass(frozen=True, slots=True)
class GuardAnswers:
    """What one decision was told of the whole fleet; None: it did not ask.

    Journalled with the fact, so that to fold it again nothing else need be known.
    """

    permitted: bool | None = None
    """Whether a step might be taken."""
    silent: tuple[ActivityFeed, ...] | None = None
    """Which feeds were silent."""
    requested: RequestVerdict | None = None
    """Whether a requested deactivation might be done."""
    unreadable: tuple[UnreadableFeed, ...] | None = None
    """Which feeds might hide use of the organization, because they could not be read."""


@dataclass(slots=True)
class GuardSession:
    """Asks the safeguards and speaks for them; lives for one decision.

    `events` is what the worker itself has to say.  With `recalled`, a decision is folded again: it
    is told what it was told then, and nothing is said.
    """

    safeguards: Safeguards = field(default_factory=Safeguards)
    recalled: GuardAnswers | None = None
    answers: GuardAnswers = field(default_factory=GuardAnswers)
    events: list[Event] = field(default_factory=list)

    # --- what a decision asks ---

    def permits(
        self, step: State, guard: Guard, population: int, *, now: datetime, causation_id: str
    ) -> bool:
        """Whether one step may be taken now; it is counted, or it trips the guard for steps.

        A recalled decision that did not ask took its step: entries into `control_plane_loss` were
        once not counted.
        """
        if self.recalled is not None:
            permitted = self.recalled.permitted is not False
        else:
            permitted = self.safeguards.set_back_at is None and self._permits(
                step, guard, population, now, causation_id
            )
        self.answers = replace(self.answers, permitted=permitted)
        return permitted

    def lets_steps_go_on(self) -> bool:
        """Whether the guard for steps stands open now; none is taken, and none is counted."""
        if self.recalled is not None:
            is_open = self.recalled.permitted is not False
        else:
            trip = self.safeguards.trip
            is_open = trip is None or trip.allowance > 0
            is_open = is_open and self.safeguards.set_back_at is None
        self.answers = replace(self.answers, permitted=is_open)
        return is_open

    def grants(
        self, requested_by: str, guard: Guard, *, now: datetime, request_id: str
    ) -> RequestVerdict:
        """Whether one deactivation may be done that a person asks for; it is counted, or it trips
        the guard for requests.

        A recalled decision that did not ask granted its request: there was no limit once.
        """
        if self.recalled is not None:
            verdict = self.recalled.requested or RequestVerdict.GRANTED
        else:
            verdict = self._grants(_digest(requested_by), guard, now, request_id)
        self.answers = replace(self.answers, requested=verdict)
        return verdict

    def silent(
        self, feeds: Feeds, anchor: datetime, rules: Inactivity, *, now: datetime, causation_id: str
    ) -> bool:
        """Whether any feed was too silent to believe that an organization is (section 5); said once
        a UTC day for each.
        """
        if self.recalled is not None:
            silent = self.recalled.silent or ()
        else:
            silent = feeds.silent_feeds(anchor, rules, now=now)
            for feed in silent:
                self._feed_is_silent(feed, feeds.last_event_at(feed), now, causation_id)
        self.answers = replace(self.answers, silent=silent)
        return bool(silent)

    def unreadable(
        self,
        organization: Organization,
        feeds: Feeds,
        anchor: datetime,
        rules: Inactivity,
        *,
        now: datetime,
        causation_id: str,
    ) -> tuple[UnreadableFeed, ...]:
        """Which feeds may hide use of an organization (section 5); said once a UTC day for each,
        and for each organization where the records name it.
        """
        if self.recalled is not None:
            unreadable = self.recalled.unreadable or ()
        else:
            unreadable = tuple(feeds.unreadable_feeds(organization.id, anchor, rules, now=now))
            for each in unreadable:
                own = organization.unreadable if each.organization else self.safeguards.unreadable
                if dict(own).get(each.feed) != now.date():
                    self._feed_is_unreadable(each, now, causation_id)
        self.answers = replace(self.answers, unreadable=unreadable)
        return unreadable

    # --- steps ---

    def _permits(
        self, step: State, guard: Guard, population: int, now: datetime, causation_id: str
    ) -> bool:
        trip = self.safeguards.trip
        if trip is not None:
            if trip.allowance > 0:
                trip = replace(trip, allowance=trip.allowance - 1)
                self.safeguards = replace(self.safeguards, trip=trip)
                return True
            return False
        harmful = step in DESTRUCTIVE_STEPS
        counted = self.safeguards.recent if harmful else self.safeguards.control_plane
        recent = tuple(harm for harm in counted if harm.at > now - WINDOW)
        steps = steps_of(recent)
        most = (destructive_step_limit if harmful else control_plane_limit)(guard, population)
        if steps < most:
            recent = with_one_step(recent, now)
        if harmful:
            self.safeguards = replace(self.safeguards, recent=recent)
        else:
            self.safeguards = replace(self.safeguards, control_plane=recent)
        if steps < most:
            return True
        reason = BY_DESTRUCTIVE_STEPS if harmful else BY_CONTROL_PLANE_STEPS
        trip = Trip(now, None, reason, counted=steps, limit=most)
        event = self._emit_tripped(GuardSide.STEPS, trip, causation_id)
        self.safeguards = replace(self.safeguards, trip=replace(trip, event=event))
        return False

    # --- requests ---

    def _grants(self, person: str, guard: Guard, now: datetime, request_id: str) -> RequestVerdict:
        if self.safeguards.set_back_at is not None:
            return RequestVerdict.SET_BACK
        trip = self.safeguards.requests_trip
        if trip is not None:
            if trip.allowance > 0:
                trip = replace(trip, allowance=trip.allowance - 1)
                self.safeguards = replace(self.safeguards, requests_trip=trip)
                return RequestVerdict.GRANTED
            return _refused_by(trip)
        counted = self.safeguards.requested_since(now - WINDOW)
        trip = trip_by_request(counted, person, guard, now, request_id)
        requested = tuple(each for each in self.safeguards.requested if each.at > now - WINDOW)
        if trip is None:
            requested = with_one_request(requested, person, now)
            self.safeguards = replace(self.safeguards, requested=requested)
            return RequestVerdict.GRANTED
        event = self._emit_tripped(GuardSide.REQUESTS, trip, request_id)
        trip = replace(trip, event=event)
        self.safeguards = replace(self.safeguards, requested=requested, requests_trip=trip)
        return _refused_by(trip)

    # --- operators ---

    def trip(self, fact: GuardTripped | EpochBegan, *, now: datetime) -> None:
        """An operator trips both sides.  A side that is tripped already keeps its trip, and lets
        nothing more through.
        """
        stood = [self.safeguards.trip, self.safeguards.requests_trip]
        oldest = min((each for each in stood if each is not None), key=_at, default=None)
        trip = Trip(now, fact.by, fact.reason)
        added_to = oldest.event if oldest is not None else None
        event = self._emit_tripped(GuardSide.BOTH, trip, fact.identity.id, added_to=added_to)
        steps, requests = (
            replace(each, allowance=0) if each is not None else replace(trip, event=event)
            for each in stood
        )
        self.safeguards = replace(self.safeguards, trip=steps, requests_trip=requests)

    def move_clock(self, fact: ClockMoved, *, now: datetime) -> bool:
        """The clock of decisions moved: where it ran ahead of the workers' own, trip the guard for
        steps; False where it went back.  A trip that stands stays, and lets nothing more through.
        """
        before = self.safeguards
        if not clock_moved(before.clock_ahead, fact.ahead):
            return False
        self.safeguards = replace(before, clock_ahead=fact.ahead)
        if fact.ahead < before.clock_ahead:
            return False
        trip = Trip(now, None, BY_CLOCK)
        added_to = before.trip.event if before.trip is not None else None
        event = self._emit_tripped(GuardSide.STEPS, trip, fact.identity.id, added_to=added_to)
        stands = before.trip or replace(trip, event=event)
        self.safeguards = replace(
            self.safeguards, trip=replace(stands, allowance=0), clock_jumped_at=now
        )
        return True

    def release(self, fact: GuardReleased, *, now: datetime) -> bool:
        """An operator releases the sides that are named and tripped; False where none is, or the
        database is set back.  What was counted is forgotten, or the next one would trip it again.
        """
        if self.safeguards.set_back_at is not None:
            return False
        steps = self.safeguards.trip if fact.guard is not GuardSide.REQUESTS else None
        requests = self.safeguards.requests_trip if fact.guard is not GuardSide.STEPS else None
        if steps is not None:
            trip = _released(steps, fact.steps)
            jumped_at = self.safeguards.clock_jumped_at if trip is not None else None
            self.safeguards = replace(
                self.safeguards, trip=trip, recent=(), control_plane=(), clock_jumped_at=jumped_at
            )
        if requests is not None:
            trip = _released(requests, fact.requests)
            self.safeguards = replace(self.safeguards, requests_trip=trip, requested=())
        if steps is not None and requests is not None:
            side, released = GuardSide.BOTH, None
        elif steps is not None:
            side, released = GuardSide.STEPS, steps
        elif requests is not None:
            side, released = GuardSide.REQUESTS, requests
        else:
            return False
        details = GuardReleasedDetails(
            side,
            fact.steps if steps is not None else None,
            fact.requests if requests is not None else None,
            released.counted if released else None,
            released.limit if released else None,
            fact.by,
            fact.reason,
            released.which if released else None,
            released.request_id if released else None,
        )
        self.emit(EventKind.GUARD_RELEASED, details, now=now, causation_id=fact.identity.id)
        return True

    # --- emitting ---

    def _emit_tripped(
        self, side: GuardSide, trip: Trip, causation_id: str, *, added_to: UUID | None = None
    ) -> UUID:
        details = GuardTrippedDetails(
            side,
            trip.counted,
            trip.limit,
            trip.by,
            trip.reason,
            trip.which,
            trip.request_id,
            added_to,
        )
        self.emit(EventKind.GUARD_TRIPPED, details, now=trip.at, causation_id=causation_id)
        return self.events[-1].id

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
        self.emit(EventKind.ACTIVITY_FEED_SILENT, details, now=now, causation_id=causation_id)

    def _feed_is_unreadable(
        self, unreadable: UnreadableFeed, now: datetime, causation_id: str
    ) -> None:
        today = now.date()
        if unreadable.organization is None:
            said = dict(self.safeguards.unreadable) | {unreadable.feed: today}
            self.safeguards = replace(self.safeguards, unreadable=tuple(sorted(said.items())))
        details = UnreadableFeedDetails(unreadable.feed, today, unreadable.organization)
        self.emit(EventKind.ACTIVITY_FEED_UNREADABLE, details, now=now, causation_id=causation_id)

    def emit(self, kind: EventKind, details: Details, *, now: datetime, causation_id: str) -> None:
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


def _refused_by(trip: Trip) -> RequestVerdict:
    return RequestVerdict.BY_OPERATOR if trip.which is None else RequestVerdict(trip.which)


def _released(trip: Trip, allowance: int | None) -> Trip | None:
    return None if allowance is None else replace(trip, allowance=allowance)


def _at(trip: Trip) -> datetime:
    return trip.at


def _digest(requested_by: str) -> str:
    """One person is one digest: names are compared trimmed and in one case."""
    return sha256(requested_by.strip().casefold().encode("utf-8", "surrogatepass")).hexdigest()
