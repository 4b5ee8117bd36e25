"""The guard within one decision: its answers, counts, trips and events (section 8).

`Safeguards` is one value for the fleet, shared by all workers, with its own sequence of events. The
`judge_...` methods and `doubts` answer and change nothing; the caller passes an answer that it acts
on to `act_on_...` or `report_doubts`.
"""

from dataclasses import field
from datetime import datetime
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
from marketplace_worker.lifecycle.organization import Organization
from marketplace_worker.lifecycle.policy import Guard, Inactivity
from marketplace_worker.lifecycle.safeguards import (
    Safeguards,
    Trip,
    clock_moved,
)
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.unreadable import UnreadableFeed
from marketplace_worker.lifecycle.values import dataclass, replace
from marketplace_worker.lifecycle.verdicts import (
    Allowed,
    FeedDoubts,
    Refused,
    RequestVerdict,
    Withheld,
    request_verdict,
    step_verdict,
)
from marketplace_worker.lifecycle.vocabulary import ActivityFeed, GuardSide
from marketplace_worker.lifecycle.worker_details import (
    GuardReleasedDetails,
    GuardTrippedDetails,
    SilentFeedDetails,
    UnreadableFeedDetails,
)

BY_CLOCK = "clock"
"""The reason of a trip because the clock of decisions ran ahead (lifecycle.md section 8)."""


@dataclass(frozen=True, slots=True)
class GuardAnswers:
    """What one decision read of the whole fleet; None: not read.

    Journalled with the fact, so that the decision can be replayed without the former fleet.
    """

    permitted: bool | None = None
    """Whether a step was permitted."""
    silent: tuple[ActivityFeed, ...] | None = None
    """Which feeds were silent."""
    requested: RequestVerdict | None = None
    """Whether a requested deactivation might be done."""
    unreadable: tuple[UnreadableFeed, ...] | None = None
    """Which feeds might hide use of the organization, because they could not be read."""


@dataclass(slots=True)
class GuardSession:
    """The safeguards during one decision.

    `events` are the worker's own.  `replayed`: the journalled answers of a decision that is
    replayed; they are returned again, and nothing is counted or published.
    """

    safeguards: Safeguards = field(default_factory=Safeguards)
    replayed: GuardAnswers | None = None
    answers: GuardAnswers = GuardAnswers()
    events: list[Event] = field(default_factory=list)

    # --- steps ---

    @property
    def is_open(self) -> bool:
        """Whether the guard for steps allows steps; none is taken, and none is counted."""
        if self.replayed is not None:
            return self.replayed.permitted is not False
        trip = self.safeguards.trip
        return (trip is None or trip.allowance > 0) and self.safeguards.set_back_at is None

    def record_is_open(self) -> None:
        """Journal that a decision depended on whether the guard for steps is open."""
        self.answers = replace(self.answers, permitted=self.is_open)

    def judge_step(
        self, step: State, guard: Guard, population: int, *, now: datetime
    ) -> Allowed | Withheld:
        """Whether one step may be taken now; changes nothing (`act_on_step` does).

        A replayed decision without an answer took its step: earlier versions did not count entries
        into `control_plane_loss`.
        """
        if self.replayed is None:
            return step_verdict(self.safeguards, step, guard, population, now)
        return (Withheld if self.replayed.permitted is False else Allowed)(self.safeguards)

    def act_on_step(self, verdict: Allowed | Withheld, *, causation_id: str) -> None:
        """Count a step that is allowed, or trip the guard for steps with the one that is not."""
        self.safeguards = verdict.safeguards
        self.answers = replace(self.answers, permitted=isinstance(verdict, Allowed))
        if isinstance(verdict, Withheld) and verdict.trip is not None:
            event = self._emit_tripped(GuardSide.STEPS, verdict.trip, causation_id)
            trip = replace(verdict.trip, event=event)
            self.safeguards = replace(self.safeguards, trip=trip)

    # --- requested deactivations ---

    def judge_request(
        self, requested_by: str, guard: Guard, *, now: datetime, request_id: str
    ) -> Allowed | Refused:
        """Whether one requested deactivation may be done; changes nothing
        (`act_on_request` does).

        A replayed decision without an answer granted its request: earlier versions had no limit.
        """
        if self.replayed is None:
            return request_verdict(self.safeguards, requested_by, guard, now, request_id)
        verdict = self.replayed.requested or RequestVerdict.GRANTED
        if verdict is RequestVerdict.GRANTED:
            return Allowed(self.safeguards)
        return Refused(self.safeguards, verdict)

    def act_on_request(self, verdict: Allowed | Refused, *, request_id: str) -> None:
        """Count a request that is granted, or trip the guard for requests with the one that is
        refused.
        """
        self.safeguards = verdict.safeguards
        match verdict:
            case Allowed():
                self.answers = replace(self.answers, requested=RequestVerdict.GRANTED)
            case Refused(reason=reason, trip=trip):
                self.answers = replace(self.answers, requested=reason)
                if trip is not None:
                    event = self._emit_tripped(GuardSide.REQUESTS, trip, request_id)
                    trip = replace(trip, event=event)
                    self.safeguards = replace(self.safeguards, requests_trip=trip)

    # --- activity feeds ---

    def doubts(
        self,
        organization: Organization,
        feeds: Feeds,
        anchor: datetime,
        rules: Inactivity,
        *,
        now: datetime,
    ) -> FeedDoubts:
        """Why the silence of an organization cannot be believed (section 5); changes nothing."""
        if self.replayed is not None:
            return FeedDoubts(self.replayed.silent or (), self.replayed.unreadable or ())
        return FeedDoubts(
            feeds.silent_feeds(anchor, rules, now=now),
            tuple(feeds.unreadable_feeds(organization.id, anchor, rules, now=now)),
        )

    def report_doubts(
        self,
        doubts: FeedDoubts,
        organization: Organization,
        feeds: Feeds,
        *,
        now: datetime,
        causation_id: str,
    ) -> None:
        """Publish which feeds are doubted, once a UTC day for each; and for each organization where
        the unreadable records name it.
        """
        self.answers = replace(self.answers, silent=doubts.silent, unreadable=doubts.unreadable)
        if self.replayed is not None:
            return
        for feed in doubts.silent:
            self._feed_is_silent(feed, feeds.last_event_at(feed), now, causation_id)
        for each in doubts.unreadable:
            own = organization.unreadable if each.organization else self.safeguards.unreadable
            if dict(own).get(each.feed) != now.date():
                self._feed_is_unreadable(each, now, causation_id)

    # --- operators ---

    def trip(self, fact: GuardTripped | EpochBegan, *, now: datetime) -> None:
        """An operator trips both sides.  A side that is tripped already keeps its trip, and
        allows
        nothing more.
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
        """The clock of decisions moved: if it ran ahead of the workers' own, trip the guard for
        steps; False if it went back.  An existing trip stays, and allows nothing more.
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
        """An operator releases the given sides that are tripped; False if none is, or the database
        is set back.  The counts are reset, or the next step or request would trip it again.
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
        reported = dict(self.safeguards.silences)
        if reported.get(feed) == today:
            return
        self.safeguards = replace(
            self.safeguards, silences=tuple(sorted((reported | {feed: today}).items()))
        )
        details = SilentFeedDetails(feed, today, last_heard_at)
        self.emit(EventKind.ACTIVITY_FEED_SILENT, details, now=now, causation_id=causation_id)

    def _feed_is_unreadable(
        self, unreadable: UnreadableFeed, now: datetime, causation_id: str
    ) -> None:
        today = now.date()
        if unreadable.organization is None:
            reported = dict(self.safeguards.unreadable) | {unreadable.feed: today}
            self.safeguards = replace(self.safeguards, unreadable=tuple(sorted(reported.items())))
        details = UnreadableFeedDetails(unreadable.feed, today, unreadable.organization)
        self.emit(EventKind.ACTIVITY_FEED_UNREADABLE, details, now=now, causation_id=causation_id)

    def emit(self, kind: EventKind, details: Details, *, now: datetime, causation_id: str) -> None:
        """Publish one event of the worker itself; each has a correlation id of its own."""
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


def _released(trip: Trip, allowance: int | None) -> Trip | None:
    return None if allowance is None else replace(trip, allowance=allowance)


def _at(trip: Trip) -> datetime:
    return trip.at
