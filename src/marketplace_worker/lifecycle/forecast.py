"""What becomes of an organization up to a moment, if nothing more is heard of it.

It runs the rules ahead instead of repeating them; what it decides is thrown away.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from enum import StrEnum

from marketplace_worker.lifecycle.coverage.intervals import Trigger
from marketplace_worker.lifecycle.events import Event, EventKind, NoticeDetails
from marketplace_worker.lifecycle.explain.situation import case_of, whats_next
from marketplace_worker.lifecycle.explain.values import Postponed, Withheld
from marketplace_worker.lifecycle.fleet import Fleet
from marketplace_worker.lifecycle.inactivity import DayRange, Feeds
from marketplace_worker.lifecycle.limits import control_plane_limit, limit
from marketplace_worker.lifecycle.organization import Organization
from marketplace_worker.lifecycle.policy import HARMFUL, Guard, Policies
from marketplace_worker.lifecycle.safeguards import WINDOW, Harm, Safeguards
from marketplace_worker.lifecycle.settle import Settled, settle
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.vocabulary import OrganizationId


class What(StrEnum):
    """What happens to an organization by itself."""

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
    def harmful(self) -> bool:
        """Whether the guard counts it as a harmful step."""
        return self in _HARMFUL


_HARMFUL = frozenset(What(state.value) for state in HARMFUL)


class Stopped(StrEnum):
    """Why something that is due does not happen."""

    GUARD = "guard"
    SILENT_FEED = "silent_feed"
    UNREAD_RECORDS = "unread_records"


@dataclass(frozen=True, slots=True)
class Forthcoming:
    """Something that happens at `at`.  `due_at` is earlier where it is overdue.

    `step` and `names`: of a notice, which step it announces and for when.  `plan`: the plan that
    ends.  `stopped_by`: it is due, but does not happen before that passes; `stopped_until`: when
    it has passed by itself, where that is known.
    """

    organization: OrganizationId
    at: datetime
    due_at: datetime
    what: What
    step: State | None = None
    names: datetime | None = None
    plan: str | None = None
    stopped_by: Stopped | None = None
    stopped_until: datetime | None = None


_TOLD = {
    EventKind.CANCELED: What.CANCELED,
    EventKind.CONTROL_PLANE_LOST: What.CONTROL_PLANE_LOSS,
    EventKind.SUSPENDED: What.SUSPENDED,
    EventKind.DEACTIVATED: What.DEACTIVATED,
    EventKind.REINSTATED: What.REINSTATED,
    EventKind.NOTICE_GIVEN: What.NOTICE,
    EventKind.NOTICE_WITHDRAWN: What.NOTICE_WITHDRAWN,
    EventKind.REINSTATEMENT_PENDING: What.REINSTATEMENT_PENDING,
    EventKind.REINSTATEMENT_LAPSED: What.REINSTATEMENT_LAPSED,
}
"""The events that say what happens; the others are their effects."""


def forecast(
    organization: Organization,
    fleet: Fleet,
    policies: Policies,
    *,
    now: datetime,
    until: datetime,
) -> list[Forthcoming]:
    """What happens from `now` up to `until`, in order; what is overdue happens at once.

    Give a fleet whose feeds go on (`going_on`), or their silence after `now` counts.
    """
    coming = [
        *_plan_ends(organization, fleet, policies, now, until),
        *_happening(organization, fleet, policies, now, until),
    ]
    return sorted(coming, key=lambda each: each.at)


def _happening(
    organization: Organization, fleet: Fleet, policies: Policies, now: datetime, until: datetime
) -> Iterator[Forthcoming]:
    looked = settle(case_of(organization, fleet, policies, now=now))
    yield from _told(looked, now, now)
    withheld = looked.organization.withheld_at is not None
    due_at = now if withheld else looked.due_at
    while due_at is not None and due_at <= until:
        at = max(due_at, now)
        case = case_of(looked.organization, fleet, policies, now=at, trigger=Trigger.DEADLINE)
        looked = settle(case)
        yield from _told(looked, at, due_at)
        yield from _stopped(looked, fleet, policies, at)
        if looked.idle:
            return
        assert looked.due_at is None or looked.due_at > at, "what was due has been done"
        due_at = looked.due_at


def _told(looked: Settled, at: datetime, due_at: datetime) -> Iterator[Forthcoming]:
    for event in looked.events:
        what = _TOLD.get(event.kind)
        if what is not None:
            yield _forthcoming(event, what, at, due_at)


def _forthcoming(event: Event, what: What, at: datetime, due_at: datetime) -> Forthcoming:
    if isinstance(event.details, NoticeDetails):
        step, names = event.details.upcoming_state, event.details.at
        return Forthcoming(event.subject, at, due_at, what, step, names)
    return Forthcoming(event.subject, at, min(event.effective_at, due_at), what)


def _plan_ends(
    organization: Organization, fleet: Fleet, policies: Policies, now: datetime, until: datetime
) -> Iterator[Forthcoming]:
    if organization.creation is None:
        return
    intervals = case_of(organization, fleet, policies, now=now).covered.intervals
    ends = {
        (interval.ends_at, interval.plan)
        for interval in intervals
        if now < interval.ends_at <= until
    }
    for at, plan in sorted(ends):
        yield Forthcoming(organization.id, at, at, What.PLAN_ENDS, plan=plan)


def _stopped(
    looked: Settled, fleet: Fleet, policies: Policies, at: datetime
) -> Iterator[Forthcoming]:
    """A step that was due and was not taken."""
    organization = looked.organization
    if organization.withheld_at is None and not looked.idle:
        return
    comes = whats_next(case_of(organization, fleet, policies, now=at))
    until: datetime | None = None
    match comes:
        case Withheld(deadline=deadline):
            stopped_by = Stopped.GUARD
        case Postponed(deadline=deadline, feeds=(), unread=unread) if unread:
            stopped_by, until = Stopped.UNREAD_RECORDS, max(each.until for each in unread)
        case Postponed(deadline=deadline):
            stopped_by = Stopped.SILENT_FEED
        case _:
            return
    what = What(deadline.step)
    yield Forthcoming(
        organization.id, at, deadline.at, what, stopped_by=stopped_by, stopped_until=until
    )


def going_on(feeds: Feeds, now: datetime, until: datetime) -> Feeds:
    """The same feeds, as if they were heard all the time from now on."""
    days = {feed: dict(heard) for feed, heard in feeds.days.items()}
    for heard in days.values():
        day = now.date()
        while day <= until.date():
            begins = max(datetime.combine(day, time(0), UTC), now)
            ends = datetime.combine(day, time.max, UTC)
            known = heard.get(day)
            heard[day] = DayRange(min(known.first_at, begins) if known else begins, ends)
            day += timedelta(days=1)
    return Feeds(days, feeds.possible_use)


def first_trip(
    safeguards: Safeguards, coming: list[Forthcoming], guard: Guard, population: int
) -> Forthcoming | None:
    """The step with which the guard for steps would trip, if nobody interferes.

    `coming` in order of time; `population`: organizations not deactivated.
    """
    harmful = _Hour(safeguards.recent, limit(guard, population))
    losses = _Hour(safeguards.control_plane, control_plane_limit(guard, population))
    for each in coming:
        if each.stopped_by is not None:
            continue
        if each.what.harmful and not harmful.holds(each.at):
            return each
        if each.what is What.CONTROL_PLANE_LOSS and not losses.holds(each.at):
            return each
    return None


class _Hour:
    """Counts steps of one kind over a sliding hour."""

    def __init__(self, recent: tuple[Harm, ...], most: int) -> None:
        self._times = deque(sorted(harm.at for harm in recent for _ in range(harm.steps)))
        self._most = most

    def holds(self, at: datetime) -> bool:
        """Whether the hour up to `at` holds one more; it is counted."""
        while self._times and self._times[0] <= at - WINDOW:
            self._times.popleft()
        if len(self._times) >= self._most:
            return False
        self._times.append(at)
        return True
