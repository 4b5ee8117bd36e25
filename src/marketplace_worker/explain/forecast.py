"""Forecasts what happens to an organization up to a moment if no more messages arrive.

The rules of the core are run ahead of time, and their decisions discarded.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum

from marketplace_worker.explain.situation import case_of, next_change
from marketplace_worker.explain.values import StepPostponed, StepWithheld
from marketplace_worker.lifecycle.coverage.intervals import Trigger
from marketplace_worker.lifecycle.events import Event, EventKind, NoticeDetails
from marketplace_worker.lifecycle.fleet import Fleet
from marketplace_worker.lifecycle.inactivity import DayRange, Feeds
from marketplace_worker.lifecycle.limits import control_plane_limit, destructive_step_limit
from marketplace_worker.lifecycle.organization import Organization
from marketplace_worker.lifecycle.policy import DESTRUCTIVE_STEPS, Guard, Policies
from marketplace_worker.lifecycle.safeguards import WINDOW, Safeguards, StepCount
from marketplace_worker.lifecycle.settle import CaseResult, settle
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.vocabulary import OrganizationId


class ForecastKind(StrEnum):
    """What happens to an organization without further messages."""

    PLAN_ENDS = "plan_ends"
    CANCELED = "canceled"
    NOTICE = "notice"
    CONTROL_PLANE_LOSS = "control_plane_loss"
    SUSPENDED = "suspended"
    DEACTIVATED = "deactivated"
    REINSTATED = "reinstated"
    REINSTATEMENT_PENDING = "reinstatement_pending"
    REINSTATEMENT_LAPSED = "reinstatement_lapsed"
    NOTICE_WITHDRAWN = "notice_withdrawn"

    @property
    def destructive(self) -> bool:
        """Whether the guard counts it as a destructive step."""
        return self in _DESTRUCTIVE


_DESTRUCTIVE = frozenset(ForecastKind(state.value) for state in DESTRUCTIVE_STEPS)


class BlockedBy(StrEnum):
    """Why something that is due does not happen."""

    GUARD = "guard"
    SILENT_FEED = "silent_feed"
    UNREAD_RECORDS = "unread_records"


@dataclass(frozen=True, slots=True)
class ForecastEntry:
    """Something that happens at `at`.  `due_at` is earlier where it is overdue.

    `step` and `names`: of a notice, which step it announces and for when.  `plan`: the plan that
    ends.  `stopped_by`: it is due, but does not happen before that passes; `stopped_until`: when
    it has passed by itself, where that is known.
    """

    organization: OrganizationId
    at: datetime
    due_at: datetime
    what: ForecastKind
    step: State | None = None
    announced_for_at: datetime | None = None
    plan: str | None = None
    stopped_by: BlockedBy | None = None
    stopped_until: datetime | None = None


_KIND_OF_EVENT = {
    EventKind.CANCELED: ForecastKind.CANCELED,
    EventKind.CONTROL_PLANE_LOST: ForecastKind.CONTROL_PLANE_LOSS,
    EventKind.SUSPENDED: ForecastKind.SUSPENDED,
    EventKind.DEACTIVATED: ForecastKind.DEACTIVATED,
    EventKind.REINSTATED: ForecastKind.REINSTATED,
    EventKind.NOTICE_GIVEN: ForecastKind.NOTICE,
    EventKind.NOTICE_WITHDRAWN: ForecastKind.NOTICE_WITHDRAWN,
    EventKind.REINSTATEMENT_PENDING: ForecastKind.REINSTATEMENT_PENDING,
    EventKind.REINSTATEMENT_LAPSED: ForecastKind.REINSTATEMENT_LAPSED,
}
"""The events of what happens; the others are their effects."""


def forecast(
    organization: Organization,
    fleet: Fleet,
    policies: Policies,
    *,
    now: datetime,
    until: datetime,
) -> list[ForecastEntry]:
    """What happens from `now` up to `until`, in order; overdue changes happen at once.

    Pass a fleet whose feeds continue (`going_on`); otherwise their silence after `now` counts.
    """
    coming = [
        *_plan_ends(organization, fleet, policies, now, until),
        *_happening(organization, fleet, policies, now, until),
    ]
    return sorted(coming, key=lambda each: each.at)


def _happening(
    organization: Organization, fleet: Fleet, policies: Policies, now: datetime, until: datetime
) -> Iterator[ForecastEntry]:
    looked = settle(case_of(organization, fleet, policies, now=now))
    yield from _entries_of_events(looked, now, now)
    withheld = looked.organization.withheld_at is not None
    due_at = now if withheld else looked.due_at
    while due_at is not None and due_at <= until:
        at = max(due_at, now)
        case = case_of(looked.organization, fleet, policies, now=at, trigger=Trigger.DEADLINE)
        looked = settle(case)
        yield from _entries_of_events(looked, at, due_at)
        yield from _blocked(looked, fleet, policies, at)
        if looked.idle:
            return
        assert looked.due_at is None or looked.due_at > at, "what was due has been done"
        due_at = looked.due_at


def _entries_of_events(
    looked: CaseResult, at: datetime, due_at: datetime
) -> Iterator[ForecastEntry]:
    for event in looked.events:
        what = _KIND_OF_EVENT.get(event.kind)
        if what is not None:
            yield _entry(event, what, at, due_at)


def _entry(event: Event, what: ForecastKind, at: datetime, due_at: datetime) -> ForecastEntry:
    if isinstance(event.details, NoticeDetails):
        step, names = event.details.upcoming_state, event.details.at
        return ForecastEntry(event.subject, at, due_at, what, step, names)
    return ForecastEntry(event.subject, at, min(event.effective_at, due_at), what)


def _plan_ends(
    organization: Organization, fleet: Fleet, policies: Policies, now: datetime, until: datetime
) -> Iterator[ForecastEntry]:
    if organization.creation is None:
        return
    intervals = case_of(organization, fleet, policies, now=now).covered.intervals
    ends = {
        (interval.ends_at, interval.plan)
        for interval in intervals
        if now < interval.ends_at <= until
    }
    for at, plan in sorted(ends):
        yield ForecastEntry(organization.id, at, at, ForecastKind.PLAN_ENDS, plan=plan)


def _blocked(
    looked: CaseResult, fleet: Fleet, policies: Policies, at: datetime
) -> Iterator[ForecastEntry]:
    """A step that was due and was not taken."""
    organization = looked.organization
    if organization.withheld_at is None and not looked.idle:
        return
    comes = next_change(case_of(organization, fleet, policies, now=at))
    until: datetime | None = None
    match comes:
        case StepWithheld(deadline=deadline):
            stopped_by = BlockedBy.GUARD
        case StepPostponed(deadline=deadline, feeds=(), unread=unread) if unread:
            stopped_by, until = BlockedBy.UNREAD_RECORDS, max(each.until for each in unread)
        case StepPostponed(deadline=deadline):
            stopped_by = BlockedBy.SILENT_FEED
        case _:
            return
    what = ForecastKind(deadline.step)
    yield ForecastEntry(
        organization.id, at, deadline.at, what, stopped_by=stopped_by, stopped_until=until
    )


def continue_feeds(feeds: Feeds, now: datetime, until: datetime) -> Feeds:
    """The same feeds, as if they delivered events all the time from now on."""
    coming = dict(_days_to_come(now, until))
    days = {
        feed: coming
        | {
            day: DayRange(min(known.first_at, coming[day].first_at), coming[day].last_at)
            if day in coming
            else known
            for day, known in ranges.items()
        }
        for feed, ranges in feeds.days.items()
    }
    return Feeds(days, feeds.possible_use)


def _days_to_come(now: datetime, until: datetime) -> Iterator[tuple[date, DayRange]]:
    day = now.date()
    while day <= until.date():
        begins = max(datetime.combine(day, time(0), UTC), now)
        yield day, DayRange(begins, datetime.combine(day, time.max, UTC))
        day += timedelta(days=1)


def first_trip(
    safeguards: Safeguards, coming: list[ForecastEntry], guard: Guard, population: int
) -> ForecastEntry | None:
    """The step with which the guard for steps would trip, unless somebody intervenes.

    `coming` in order of time; `population`: organizations not deactivated.
    """
    destructive = _Hour(safeguards.recent, destructive_step_limit(guard, population))
    losses = _Hour(safeguards.control_plane, control_plane_limit(guard, population))
    for each in coming:
        if each.stopped_by is not None:
            continue
        if each.what.destructive and not destructive.holds(each.at):
            return each
        if each.what is ForecastKind.CONTROL_PLANE_LOSS and not losses.holds(each.at):
            return each
    return None


class _Hour:
    """Counts steps of one kind over a sliding hour."""

    def __init__(self, recent: tuple[StepCount, ...], most: int) -> None:
        self._times = deque(sorted(each.at for each in recent for _ in range(each.steps)))
        self._most = most

    def holds(self, at: datetime) -> bool:
        """Whether the hour up to `at` holds one more; it is counted."""
        while self._times and self._times[0] <= at - WINDOW:
            self._times.popleft()
        if len(self._times) >= self._most:
            return False
        self._times.append(at)
        return True
