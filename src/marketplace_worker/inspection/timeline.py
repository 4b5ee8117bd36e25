"""The timeline of one organization: what it went through, and what comes if no message arrives.

What was comes from the stored decisions; what comes is the forecast of `explain`.  The plans are
those of the rules' own reading; nothing is derived a second time.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from marketplace_worker.explain import Explanation
from marketplace_worker.explain.forecast import (
    ForecastEntry,
    ForecastKind,
    continue_feeds,
    forecast,
)
from marketplace_worker.explain.situation import case_of
from marketplace_worker.explain.values import StepPostponed, StepWithheld
from marketplace_worker.inspection.fleet_view import FleetView
from marketplace_worker.inspection.history import effective_at
from marketplace_worker.lifecycle.coverage.attachments import Attachment
from marketplace_worker.lifecycle.coverage.combined import Coverage
from marketplace_worker.lifecycle.decide import Outcome
from marketplace_worker.lifecycle.events import STATE_EVENTS, EventKind
from marketplace_worker.lifecycle.facts import SupportRequested
from marketplace_worker.lifecycle.organization import Organization
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.subscription import FOREVER
from marketplace_worker.lifecycle.vocabulary import HoldKind, SupportRequestKind
from marketplace_worker.store.journal import HistoryEntry

HORIZON = timedelta(days=400)
"""How far ahead the forecast looks: longer than any timeline of a cancellation."""


class Track(StrEnum):
    """What a phase shows."""

    STATE = "state"
    PLAN = "plan"
    NOTICE = "notice"
    HOLD = "hold"
    PAUSE = "pause"


@dataclass(frozen=True, slots=True)
class Phase:
    """A half-open interval of the timeline; `ends_at` is None while no end is known.

    `name`: the state, the plan, the step that a notice announces, the kind of a hold, or why no
    step is taken.  `about`: a word more, as for people.  `planned`: it begins only if no message
    arrives.
    """

    track: Track
    name: str
    starts_at: datetime
    ends_at: datetime | None
    about: str = ""
    planned: bool = False


@dataclass(frozen=True, slots=True)
class OrganizationTimeline:
    """The phases of one organization, of each track in order of time.

    `complete`: whether all its decisions were read.  Otherwise the states begin with the oldest
    that was, and earlier notices, holds and pauses are missing; plans are complete.
    """

    now: datetime
    phases: Sequence[Phase]
    complete: bool


def timeline(
    view: FleetView, explanation: Explanation, decided: Sequence[HistoryEntry], *, limit: int
) -> OrganizationTimeline:
    """The timeline of the only organization of a view.

    Args:
        view: the organization and everything related to it.
        explanation: of the same view.
        decided: its newest decisions, in order.
        limit: how many decisions were asked for.
    """
    (organization,) = view.organizations
    fleet = replace(
        view.fleet, feeds=continue_feeds(view.fleet.feeds, view.now, view.now + HORIZON)
    )
    coming = forecast(organization, fleet, view.policies, now=view.now, until=view.now + HORIZON)
    covered = case_of(organization, view.fleet, view.policies, now=view.now).covered
    complete = len(decided) < limit and _from_the_first(organization, decided)
    phases = (
        *_states(organization, decided, coming, view.now, complete=complete),
        *_plans(organization, covered),
        *_notices(decided, coming, organization),
        *_holds(organization, decided),
        *_pending(decided, organization),
        *_not_taken(explanation),
    )
    return OrganizationTimeline(view.now, phases, complete)


def _from_the_first(organization: Organization, decided: Iterable[HistoryEntry]) -> bool:
    """Whether no older decision was deleted by retention.  An erasure deletes only the events."""
    if organization.sequence == 0 or organization.erased_at is not None:
        return True
    return any(event["sequence"] == 1 for _, event in _events(decided, organization))


# --- states ---------------------------------------------------------------------------------------

_STATES = {
    ForecastKind.CANCELED: State.CANCELED,
    ForecastKind.CONTROL_PLANE_LOSS: State.CONTROL_PLANE_LOSS,
    ForecastKind.SUSPENDED: State.SUSPENDED,
    ForecastKind.DEACTIVATED: State.DEACTIVATED,
    ForecastKind.REINSTATED: State.ACTIVE,
}


def _states(
    organization: Organization,
    decided: Sequence[HistoryEntry],
    coming: Iterable[ForecastEntry],
    now: datetime,
    *,
    complete: bool,
) -> Iterator[Phase]:
    if organization.creation is None:
        return
    changes = [each for each in decided if each.state is not each.state_before]
    before = changes[0].state_before if changes else organization.state
    at, state = organization.creation.occurred_at, before or organization.state
    if not complete:
        at = decided[0].decided_at if decided else organization.entered_at or at
    for each in changes:
        assert each.state is not None, "only an organization that exists changes its state"
        changed_at = max(effective_at(each), at)
        if changed_at > at:
            yield Phase(Track.STATE, state, at, changed_at)
        at, state = changed_at, each.state
    if now > at:
        yield Phase(Track.STATE, state, at, now)
        at = now
    for entry in coming:
        following = _STATES.get(entry.what)
        if following is None or entry.stopped_by is not None:
            continue
        if entry.at > at:
            yield Phase(Track.STATE, state, at, entry.at, planned=True)
        at, state = entry.at, following
    yield Phase(Track.STATE, state, at, None, planned=True)


# --- plans ----------------------------------------------------------------------------------------


def _plans(organization: Organization, covered: Coverage) -> Iterator[Phase]:
    """Those that count or wait, and those that a deactivation took away."""
    counting = [
        Phase(
            Track.PLAN,
            each.plan,
            each.starts_at,
            each.ends_at if each.ends_at < FOREVER else None,
            _about_plan(each.plan_type, waits=each.waits_for is not None),
        )
        for each in (*covered.intervals, *covered.waiting)
        if each.starts_at < each.ends_at
    ]
    taken = [phase for each in covered.attachments for phase in _removed_plans(each, organization)]
    yield from sorted({*counting, *taken}, key=lambda phase: (phase.starts_at, phase.name))


def _about_plan(plan_type: str | None, *, waits: bool) -> str:
    known = plan_type or "plan type unknown"
    return f"{known}, its reinstatement is not completed" if waits else known


def _removed_plans(attachment: Attachment, organization: Organization) -> Iterator[Phase]:
    """A subscription's active intervals up to the deactivation that removed it."""
    about = _about_plan(attachment.projection.plan_type, waits=False)
    for holding in attachment.holdings:
        if holding.kept:
            continue
        for each in attachment.projection.spans:
            starts_at = max(each.starts_at, holding.since or each.starts_at)
            taken_at = [at for at in organization.plans_taken_at if starts_at < at]
            ends = (*taken_at, *(at for at in (each.ends_at, holding.until) if at is not None))
            if taken_at and starts_at < min(ends):
                key = str(attachment.subscription.key)
                yield Phase(Track.PLAN, key, starts_at, min(ends), about)


# --- notices --------------------------------------------------------------------------------------


_NOTICE_ENDS = STATE_EVENTS | {EventKind.NOTICE_WITHDRAWN}


def _notices(
    decided: Iterable[HistoryEntry], coming: Iterable[ForecastEntry], organization: Organization
) -> Iterator[Phase]:
    """From when a notice is given to the date that it names, or until it is withdrawn."""
    last: Phase | None = None
    for at, event in _events(decided, organization):
        match event["kind"]:
            case EventKind.NOTICE_GIVEN:
                if last is not None:
                    yield last
                named = datetime.fromisoformat(event["details"]["at"])
                last = Phase(Track.NOTICE, event["details"]["upcoming_state"], at, named)
            case kind if last is not None and kind in _NOTICE_ENDS:
                about = "withdrawn" if kind == EventKind.NOTICE_WITHDRAWN else ""
                yield replace(last, ends_at=min(at, last.ends_at or at), about=about)
                last = None
            case _:
                pass
    standing = organization.notice
    if last is None and standing is not None:  # given before the first of these decisions
        named = max(standing.announced_for_at, standing.given_at)
        last = Phase(Track.NOTICE, standing.step, standing.given_at, named)
    if last is not None:
        yield last
    for entry in coming:
        if entry.what is ForecastKind.NOTICE:
            assert entry.step is not None
            yield Phase(Track.NOTICE, entry.step, entry.at, entry.announced_for_at, planned=True)


def _events(
    decided: Iterable[HistoryEntry], organization: Organization
) -> Iterator[tuple[datetime, Mapping[str, Any]]]:
    """The events with the organization as their subject, and from when each is effective."""
    for each in decided:
        for event in each.events:
            if event["subject"] == organization.id:
                yield datetime.fromisoformat(event["effective_at"]), event


# --- holds and pauses -----------------------------------------------------------------------------


def _holds(organization: Organization, decided: Iterable[HistoryEntry]) -> Iterator[Phase]:
    """Each from when it was placed until it was released, replaced, or expires."""
    standing: dict[HoldKind, Phase] = {}
    for each in decided:
        fact = each.fact
        if not isinstance(fact, SupportRequested) or each.outcome is not Outcome.APPLIED:
            continue
        if fact.hold is None:
            continue
        before = standing.pop(fact.hold, None)
        if before is not None:
            at = each.decided_at
            yield replace(before, ends_at=min(at, before.ends_at) if before.ends_at else at)
        if fact.request is SupportRequestKind.PLACE_HOLD:
            standing[fact.hold] = Phase(
                Track.HOLD, fact.hold, each.decided_at, fact.expires_at, fact.reason or ""
            )
    for hold in organization.holds:  # one that was placed before the first of these decisions
        if hold.kind not in standing:
            standing[hold.kind] = Phase(Track.HOLD, hold.kind, hold.placed_at, hold.expires_at)
    yield from standing.values()


_PENDING_ENDS = {EventKind.REINSTATEMENT_LAPSED, EventKind.REINSTATED, EventKind.DEACTIVATED}


def _pending(decided: Iterable[HistoryEntry], organization: Organization) -> Iterator[Phase]:
    """When a reinstatement waited for its completion, and no deadline ran."""
    last: Phase | None = None
    for at, event in _events(decided, organization):
        about = event["details"]
        if event["kind"] == EventKind.REINSTATEMENT_PENDING and last is None:
            key = f"{about['marketplace']}:{about['subscription_id']}"
            for_what = f"{key} waits for {about['completed_by']}"
            last = Phase(Track.PAUSE, "reinstatement pending", at, None, for_what)
        elif event["kind"] in _PENDING_ENDS and last is not None:
            yield replace(last, ends_at=at)
            last = None
    waits = organization.pending
    if last is None and waits is not None:  # since before the first of these decisions
        for_what = f"{waits.subscription} waits for {waits.completed_by}"
        last = Phase(Track.PAUSE, "reinstatement pending", waits.since, None, for_what)
    if last is not None:
        yield last


def _not_taken(explanation: Explanation) -> Iterator[Phase]:
    """A step that is due and that something prevents."""
    match explanation.next:
        case StepWithheld(deadline=deadline, since=withheld_at):
            yield Phase(
                Track.PAUSE, "withheld by the guard", withheld_at, None, f"due: {deadline.step}"
            )
        case StepPostponed(deadline=deadline, looks_again_at=again_at):
            yield Phase(Track.PAUSE, "postponed", deadline.at, again_at, f"due: {deadline.step}")
        case _:
            pass
