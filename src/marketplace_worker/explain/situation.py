"""Finds why an organization is in its state, and what comes next by which rules.

The rules are those of the core, run on a case whose decisions are thrown away; a test compares what
is found here with what `settle` does.
"""

from datetime import datetime, timedelta

from marketplace_worker.explain.values import (
    AwaitsCompletion,
    Closed,
    ComesBack,
    NextChange,
    NoChangeReason,
    NotCreated,
    NothingComes,
    NoticeComes,
    OnHold,
    OnPlan,
    PlanEnded,
    PlanEnds,
    PlanOnFile,
    PlanStarts,
    SilentFeed,
    StepComes,
    StepPostponed,
    StepWithheld,
    UnreadRecords,
    Why,
    WithoutPlan,
)
from marketplace_worker.lifecycle.case import Case
from marketplace_worker.lifecycle.coverage.combined import Coverage
from marketplace_worker.lifecycle.coverage.intervals import (
    ActiveInterval,
    Moment,
    Trigger,
    next_commitment_at,
)
from marketplace_worker.lifecycle.deadlines import (
    DeadlineTerm,
    NextDue,
    NoticeDue,
    due_for_inactivity,
    due_in_cancellation,
    latest,
)
from marketplace_worker.lifecycle.events import ScheduledStep
from marketplace_worker.lifecycle.fleet import Fleet
from marketplace_worker.lifecycle.guard import GuardSession
from marketplace_worker.lifecycle.organization import Organization
from marketplace_worker.lifecycle.policy import Policies
from marketplace_worker.lifecycle.settle import BY_DEADLINE, settle
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.subscription import FOREVER
from marketplace_worker.lifecycle.vocabulary import Tier


def case_of(
    organization: Organization,
    fleet: Fleet,
    policies: Policies,
    *,
    now: datetime,
    trigger: Trigger = Trigger.INSPECTION,
) -> Case:
    """A case to inspect; what is decided in it is thrown away."""
    guard = GuardSession(fleet.safeguards)
    return Case(organization, fleet, policies, now, guard, BY_DEADLINE, trigger=trigger)


# --- why ------------------------------------------------------------------------------------------


def why(case: Case) -> Why:
    """Why it is in its state."""
    organization, covered = case.organization, case.covered
    if organization.creation is None:
        kept = organization != Organization(organization.id) or bool(covered.attachments)
        return NotCreated(kept)
    if organization.deactivation_cause is not None:
        cancellation = organization.cancellation
        return Closed(
            organization.deactivation_cause,
            cancellation.canceled_at if cancellation else None,
            _email_in_use(case),
        )
    if organization.cancellation is not None:
        ended = covered.last_end(case.now)
        return PlanEnded(
            ended.plan if ended else None,
            organization.cancellation.canceled_at,
            organization.plan_type,
            organization.reason,
            organization.initiator,
        )
    plans = _on_file(covered, case.moment)
    if plans:
        return OnPlan(plans, organization.reason, organization.initiator)
    ended = covered.last_end(case.now)
    assert organization.tier is not None, "a created organization has a tier"
    return WithoutPlan(organization.tier.value, organization.reason, ended.plan if ended else None)


def _email_in_use(case: Case) -> bool:
    organization = case.organization
    if organization.owner is None:
        return False  # erased
    using = case.fleet.using(organization.owner.value)
    return organization.recoverable and any(each.id != organization.id for each in using)


def _on_file(covered: Coverage, now: Moment) -> tuple[PlanOnFile, ...]:
    active = sorted(
        (interval.plan, interval.ends_at) for interval in covered.intervals if interval.covers(now)
    )
    return tuple(PlanOnFile(plan, at if at < FOREVER else None) for plan, at in active)


# --- what next ------------------------------------------------------------------------------------


def next_change(case: Case) -> NextChange:
    """What comes next if no more messages arrive; overdue changes come with the next decision."""
    organization = case.organization
    if organization.creation is None:
        return NothingComes(NoChangeReason.NOT_CREATED)
    if organization.state is State.DEACTIVATED:
        return NothingComes(NoChangeReason.DEACTIVATED)
    looked = settle(_again(case)).organization
    if (looked.state, looked.entered_at) != (organization.state, organization.entered_at):
        return _overdue(case, looked)
    settled = _again(case, looked)
    if looked.state is State.ACTIVE:
        return _next_of_active(settled)
    return _next_of_cancellation(settled)


def steps_to_come(case: Case) -> tuple[ScheduledStep, ...]:
    """The steps that come if no more messages arrive, with their times; overdue ones come now."""
    match next_change(case):
        case (
            NoticeComes(deadline=deadline)
            | StepComes(deadline=deadline)
            | StepWithheld(deadline=deadline)
            | StepPostponed(deadline=deadline)
        ):
            later = _again(case, settle(_again(case)).organization).schedule()[1:]
            return (ScheduledStep(deadline.step, max(deadline.at, case.now)), *later)
        case _:
            return ()


def _again(
    case: Case, organization: Organization | None = None, trigger: Trigger = Trigger.INSPECTION
) -> Case:
    here = organization or case.organization
    return case_of(here, case.fleet, case.policies, now=case.now, trigger=trigger)


def _overdue(case: Case, looked: Organization) -> NextChange:
    """Reports that no worker has decided on yet: the plans lead to another state than the stored
    one, or the last plan has ended and another reinstates it at once.
    """
    if looked.state is State.ACTIVE:
        proof = _again(case, looked).covered.reviving(case.moment)
        return ComesBack(proof.plan if proof else None, case.now)
    ended = case.covered.last_end(case.now)
    assert ended is not None, "only the end of a plan cancels"
    return _ends(ended)


def _ends(interval: ActiveInterval) -> PlanEnds:
    superseded = interval.revives_until < interval.ends_at
    return PlanEnds(interval.plan, interval.ends_at, interval.reason, superseded)


def _next_of_active(case: Case) -> NextChange:
    if case.covered.active(case.moment):
        last = _last_of_cover(case.covered, case.moment)
        return NothingComes(NoChangeReason.PLAN_GOES_ON) if last is None else _ends(last)
    organization, begins = case.organization, next_beginning(case.covered, case.now)
    starts = PlanStarts(begins.plan, begins.starts_at) if begins else None
    assert organization.tier is not None, "a created organization has a tier"
    if organization.tier.value is not Tier.FREE:
        return starts or NothingComes(NoChangeReason.TIER_IS_EXEMPT)
    if starts is not None and next_commitment_at(organization, case.now) is not None:
        return starts
    terms = case.inactivity_terms()
    if organization.held(case.now):
        on_hold = _on_hold(case, State.DEACTIVATED, terms)
        return starts if starts and _sooner(starts.at, on_hold.not_before) else on_hold
    lead = case.policy.notice.inactivity
    due = due_for_inactivity(organization, terms, lead, case.now)
    if starts is not None and _sooner(starts.at, max(due.at, case.now)):
        return starts
    return _comes(case, due)


def _sooner(at: datetime, other: datetime | None) -> bool:
    """Whether `at` comes before `other` (None: never); at equal moments a plan comes first."""
    return other is None or at <= other


def _last_of_cover(covered: Coverage, now: Moment) -> ActiveInterval | None:
    """The plan whose end leaves no active plan; None: no end is known."""
    last: ActiveInterval | None = None
    at = now
    while covering := [interval for interval in covered.intervals if interval.covers(at)]:
        last = max(covering, key=lambda interval: interval.ends_at)
        at = Moment(last.ends_at)
        if at.at == FOREVER:
            return None
    return last


def _next_of_cancellation(case: Case) -> NextChange:
    organization, step = case.organization, case.organization.state.next_step
    clock = case.clock()
    assert step is not None
    assert clock is not None
    if organization.pending is not None:
        return _awaits(case, step)
    begins = next_beginning(case.covered, case.now)
    back = ComesBack(begins.plan, begins.starts_at) if begins else None
    if back is not None and case.covered.only_to_come(case.now):
        return back
    if organization.held(case.now):
        since = organization.dwelling_since
        assert since is not None, "a state of a cancellation was entered"
        on_hold = _on_hold(case, step, clock.terms(step, since))
        ahead = clock.policy.notice.of(step) or timedelta(0)
        noticed_at = on_hold.not_before and on_hold.not_before - ahead
        return back if back and _sooner(back.at, noticed_at) else on_hold
    due = due_in_cancellation(organization, clock, case.now)
    if back is not None and _sooner(back.at, max(due.at, case.now)):
        return back
    return _comes(case, due)


def next_beginning(covered: Coverage, now: datetime) -> ActiveInterval | None:
    """The first plan to begin among those that begin by themselves."""
    coming = (
        interval for interval in covered.intervals if now < interval.starts_at < interval.ends_at
    )
    return min(coming, key=lambda interval: (interval.starts_at, interval.plan), default=None)


def _awaits(case: Case, step: State) -> AwaitsCompletion:
    pending, interval = case.organization.pending, case.covered.pending(case.moment)
    assert pending is not None
    assert interval is not None, "what is pending has just been settled"
    return AwaitsCompletion(
        pending.subscription,
        pending.completed_by,
        interval.starts_at,
        interval.ends_at if interval.ends_at < FOREVER else None,
        step,
    )


def _on_hold(case: Case, step: State, terms: tuple[DeadlineTerm, ...]) -> OnHold:
    """Once the last hold has expired, the dwell counts from there again."""
    holds, state = case.organization.holds, case.organization.state
    ends = [hold.expires_at for hold in holds if hold.expires_at is not None]
    if len(ends) < len(holds):
        return OnHold(step, holds, None)
    dwell = case.policy.minimum_dwell.of(state) if state.in_cancellation else timedelta(0)
    return OnHold(step, holds, max(max(ends) + dwell, latest(terms)))


def _comes(case: Case, due: NextDue) -> NextChange:
    """The notice or the step, and what prevents a due step."""
    deadline = due.deadline
    if isinstance(due, NoticeDue):
        return NoticeComes(due.at, deadline)
    after = _again(case, trigger=Trigger.DEADLINE)
    taken = settle(after).organization
    if taken.state is case.organization.state:
        if taken.postponed_until is not None and due.at <= case.now < taken.postponed_until:
            return StepPostponed(deadline, taken.postponed_until, _silent(case), _unread(case))
        if taken.withheld_at is not None:
            return StepWithheld(deadline, taken.withheld_at, after.guard.safeguards.trip)
    notice = case.organization.notice
    return StepComes(deadline, notice.given_at if notice else None)


def _silent(case: Case) -> tuple[SilentFeed, ...]:
    creation, feeds = case.organization.creation, case.fleet.feeds
    assert creation is not None
    silent = feeds.silent_feeds(creation.billing_cycle_anchor, case.policy.inactivity, now=case.now)
    return tuple(SilentFeed(feed, feeds.last_event_at(feed)) for feed in silent)


def _unread(case: Case) -> tuple[UnreadRecords, ...]:
    organization, rules = case.organization, case.policy.inactivity
    assert organization.creation is not None
    anchor = organization.creation.billing_cycle_anchor
    found = case.fleet.feeds.unreadable_feeds(organization.id, anchor, rules, now=case.now)
    return tuple(
        UnreadRecords(each.feed, each.organization is not None, until)
        for each, until in found.items()
    )
