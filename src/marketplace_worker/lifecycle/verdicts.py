"""Whether the guard allows a step or a requested deactivation now (lifecycle.md section 8).

A verdict is a value, and asking for one changes nothing: it carries the safeguards as they are once
the verdict is acted on, which is done by `GuardSession` alone.
"""

from datetime import datetime
from enum import StrEnum
from hashlib import sha256

from marketplace_worker.lifecycle.limits import (
    BY_CONTROL_PLANE_STEPS,
    BY_DESTRUCTIVE_STEPS,
    control_plane_limit,
    destructive_step_limit,
    trip_by_request,
    with_one_request,
    with_one_step,
)
from marketplace_worker.lifecycle.policy import DESTRUCTIVE_STEPS, Guard
from marketplace_worker.lifecycle.safeguards import WINDOW, Safeguards, Trip, steps_of
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.unreadable import UnreadableFeed
from marketplace_worker.lifecycle.values import dataclass, replace
from marketplace_worker.lifecycle.vocabulary import ActivityFeed


class RequestVerdict(StrEnum):
    """Whether a requested deactivation is done, or why it is refused; journalled as it is."""

    GRANTED = "granted"
    PER_HOUR = "per_hour"
    PER_PERSON = "per_person"
    BY_OPERATOR = "by_operator"
    SET_BACK = "set_back"


@dataclass(frozen=True, slots=True)
class Allowed:
    """It may be done; `safeguards` count it."""

    safeguards: Safeguards


@dataclass(frozen=True, slots=True)
class Withheld:
    """A step is due and is not taken.

    `trip`: with this step the guard for steps trips; None: it allows nothing already, or the
    database is set back.
    """

    safeguards: Safeguards
    trip: Trip | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """A requested deactivation is not done.

    `trip`: with this request the guard for requests trips; None: as in `Withheld`.
    """

    safeguards: Safeguards
    reason: RequestVerdict
    trip: Trip | None = None


@dataclass(frozen=True, slots=True)
class FeedDoubts:
    """Why the silence of an organization cannot be believed: feeds that were silent themselves, and
    feeds whose unreadable records may hide its use.
    """

    silent: tuple[ActivityFeed, ...] = ()
    unreadable: tuple[UnreadableFeed, ...] = ()

    @property
    def exist(self) -> bool:
        """Whether there is any doubt."""
        return bool(self.silent or self.unreadable)


def step_verdict(
    safeguards: Safeguards, step: State, guard: Guard, population: int, now: datetime
) -> Allowed | Withheld:
    """Whether one step may be taken now.  `population`: organizations not deactivated."""
    if safeguards.set_back_at is not None:
        return Withheld(safeguards)
    trip = safeguards.trip
    if trip is not None:
        if trip.allowance > 0:
            trip = replace(trip, allowance=trip.allowance - 1)
            return Allowed(replace(safeguards, trip=trip))
        return Withheld(safeguards)
    destructive = step in DESTRUCTIVE_STEPS
    counted = safeguards.recent if destructive else safeguards.control_plane
    since = now - WINDOW
    recent = tuple([each for each in counted if each.at > since])
    steps = steps_of(recent)
    most = (destructive_step_limit if destructive else control_plane_limit)(guard, population)
    if steps < most:
        recent = with_one_step(recent, now)
    after = (
        replace(safeguards, recent=recent)
        if destructive
        else replace(safeguards, control_plane=recent)
    )
    if steps < most:
        return Allowed(after)
    reason = BY_DESTRUCTIVE_STEPS if destructive else BY_CONTROL_PLANE_STEPS
    return Withheld(after, Trip(now, None, reason, counted=steps, limit=most))


def request_verdict(
    safeguards: Safeguards, requested_by: str, guard: Guard, now: datetime, request_id: str
) -> Allowed | Refused:
    """Whether one deactivation may be done that a person requests."""
    if safeguards.set_back_at is not None:
        return Refused(safeguards, RequestVerdict.SET_BACK)
    trip, person = safeguards.requests_trip, _digest(requested_by)
    if trip is not None:
        if trip.allowance > 0:
            trip = replace(trip, allowance=trip.allowance - 1)
            return Allowed(replace(safeguards, requests_trip=trip))
        return Refused(safeguards, _reason_of(trip))
    counted = safeguards.requested_since(now - WINDOW)
    trip = trip_by_request(counted, person, guard, now, request_id)
    recent = tuple(each for each in safeguards.requested if each.at > now - WINDOW)
    if trip is None:
        return Allowed(replace(safeguards, requested=with_one_request(recent, person, now)))
    return Refused(replace(safeguards, requested=recent), _reason_of(trip), trip)


def _reason_of(trip: Trip) -> RequestVerdict:
    return RequestVerdict.BY_OPERATOR if trip.which is None else RequestVerdict(trip.which)


def _digest(requested_by: str) -> str:
    """One person is one digest: names are compared trimmed and in one case."""
    return sha256(requested_by.strip().casefold().encode("utf-8", "surrogatepass")).hexdigest()
