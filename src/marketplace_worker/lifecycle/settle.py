"""Brings an organization's state in line with its plans, its deadlines and the time.

News cancel and reinstate; every later step, and every notice, waits for its deadline.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from marketplace_worker.lifecycle import support
from marketplace_worker.lifecycle.case import Case
from marketplace_worker.lifecycle.coverage.combined import usage_closed_at
from marketplace_worker.lifecycle.coverage.intervals import Trigger, next_commitment_at
from marketplace_worker.lifecycle.deadlines import (
    Due,
    NoticeDue,
    StepDue,
    due_for_inactivity,
    due_in_cancellation,
)
from marketplace_worker.lifecycle.events import Event, EventKind, MeteringDetails
from marketplace_worker.lifecycle.facts import SupportRequested
from marketplace_worker.lifecycle.inactivity import inactive_at
from marketplace_worker.lifecycle.organization import Organization, Reported
from marketplace_worker.lifecycle.organization_view import OrganizationView
from marketplace_worker.lifecycle.projection import final_report_window
from marketplace_worker.lifecycle.sign_ins import prove_by_sign_ins
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.vocabulary import (
    DeactivationCause,
    Initiator,
    SupportRequestKind,
    Tier,
)

BY_DEADLINE = "deadline"
"""The `causationid` of what no message caused (events.md section 3)."""

RECHECK_AFTER = timedelta(days=1)
"""How often is looked at what waits: for a silent feed (section 5), or to be completed."""

LONG_WAIT = timedelta(days=14)
"""A notice is given anew where a wait lasted longer than this past the date that it named
(lifecycle.md section 12)."""

REINSTATE = SupportRequestKind.REINSTATE_ORGANIZATION


@dataclass(frozen=True, slots=True)
class CaseResult:
    """An organization before and after a look at it.

    `due_at`: when to look again; None: only on news.  `idle`: nothing is ahead but, perhaps, looks
    at what waits.  `view` is how the organization stands after it.
    """

    before: Organization
    organization: Organization
    events: tuple[Event, ...]
    due_at: datetime | None
    idle: bool
    view: OrganizationView = field(compare=False, repr=False)


def settle(case: Case, request: SupportRequested | None = None) -> CaseResult:
    """Decide what is to be decided about the organization of a case, now.

    Total: every state meets every set of plans.  An organization that was never created keeps what
    was told of it, and nothing is decided until it is; of one that was erased, nothing ever again.
    Only a request of Support is refused.
    """
    if not case.organization.exists:
        if request is not None:
            support.emit_answer(case, request, support.handle(case, request))
        return CaseResult(
            case.before, case.organization, tuple(case.events), None, idle=True, view=case
        )
    _let_holds_expire(case)
    answer = _act(case, request) if request is not None else None
    _follow_the_plans(case, asked=request is not None and request.request is REINSTATE)
    _withdraw_what_no_longer_stands(case)
    _renew_a_notice_after_a_long_wait(case)
    if case.trigger is Trigger.DEADLINE:
        _take_what_is_due(case)
    _forget_what_is_no_longer_withheld(case)
    _call_for_final_reports(case)
    if request is not None and answer is not None:
        support.emit_answer(case, request, answer)
    return case_result(case)


def case_result(case: Case) -> CaseResult:
    """What a case has come to."""
    moments, looks = _moments(case), _looks(case)
    due_at = min([*moments, *looks], default=None)
    return CaseResult(case.before, case.organization, tuple(case.events), due_at, not moments, case)


# --- news -----------------------------------------------------------------------------------------


def _let_holds_expire(case: Case) -> None:
    """An expired hold is as a released one: the dwell counts anew (section 7)."""
    holds = case.organization.holds
    standing = tuple(h for h in holds if h.expires_at is None or case.now < h.expires_at)
    if standing != holds:
        dwells_from = case.organization.dwells_from if standing else case.now
        case.update(replace(case.organization, holds=standing, dwells_from=dwells_from))


def _act(case: Case, request: SupportRequested) -> support.Answer:
    """What is asked for meets the organization as its plans have it by then; but who asks for a
    reinstatement brings about the one that is possible.
    """
    if request.request is REINSTATE:
        _cancel_without_a_plan(case)
    else:
        _follow_the_plans(case, asked=False)
    return support.handle(case, request)


def _cancel_without_a_plan(case: Case) -> None:
    if case.organization.published_closed is not None:
        return
    if case.organization.state is State.ACTIVE:
        last_end = case.covered.last_end(case.now)
        if last_end is not None and not case.covered.active(case.moment):
            case.cancel(last_end)


def _follow_the_plans(case: Case, *, asked: bool) -> None:
    """Cancel, reinstate, wait for what completes it, or let the cancellation follow old news."""
    _cancel_without_a_plan(case)
    if (
        not case.organization.state.in_cancellation
        or case.organization.published_closed is not None
    ):
        return
    prove_by_sign_ins(case)
    last_end = case.covered.last_end(case.now)
    if last_end is not None and case.covered.reviving(case.moment) is None:
        case.follow_last_end(last_end)
    proof = case.covered.reviving(case.moment)
    if proof is not None:
        case.reinstate(proof, Initiator.SUPPORT if asked else proof.brought_by)
        return
    _wait_for_completion(case)


def _wait_for_completion(case: Case) -> None:
    case.record_pending_intervals()
    waiting = case.covered.pending(case.moment)
    if waiting is not None:
        case.await_completion(waiting)
    elif case.organization.pending is not None:
        case.lapse_reinstatement()


def _withdraw_what_no_longer_stands(case: Case) -> None:
    """A notice is withdrawn under a hold, and where no plan has ended after all; one of inactivity,
    also by use, a plan or a tier.
    """
    notice = case.organization.notice
    if notice is None:
        return
    if case.organization.state is State.ACTIVE:
        inactive, seen = _inactive_at(case), case.fleet.last_seen(case.organization.id)
        stands = inactive is not None and inactive <= notice.names
        stands = stands and not seen.used_after(notice.given_at)
    else:
        stands = not case.covered.only_to_come(case.now)
    if not stands or case.organization.held(case.now):
        case.withdraw_notice()


def _renew_a_notice_after_a_long_wait(case: Case) -> None:
    """What was announced long ago and then waited is announced anew (section 12)."""
    notice = case.organization.notice
    if notice is None or _waits(case, case.organization) or not _waits(case, case.before):
        return
    if case.now - notice.names > LONG_WAIT:
        case.withdraw_notice()


def _waits(case: Case, organization: Organization) -> bool:
    """Whether its next step waits for the completion of a reinstatement, or for a commitment."""
    waiting = organization.pending is not None
    return waiting or next_commitment_at(organization, case.now) is not None


def _inactive_at(case: Case) -> datetime | None:
    """When a free organization without a plan is inactive; None: it never is (section 5).

    Neither is one whose commitment is yet to start.
    """
    organization = case.organization
    if organization.state is not State.ACTIVE or case.covered.active(case.moment):
        return None
    if next_commitment_at(organization, case.now) is not None:
        return None
    assert organization.creation is not None
    assert organization.tier is not None
    if organization.tier.value is not Tier.FREE:
        return None
    recovery = organization.recovery
    return inactive_at(
        case.fleet.last_seen(organization.id),
        recovery.reactivated_at if recovery else organization.creation.occurred_at,
        organization.creation.billing_cycle_anchor,
        case.policy.inactivity,
    )


# --- deadlines ------------------------------------------------------------------------------------


def _due(case: Case) -> Due | None:
    """What comes next if nothing is heard: a step or a notice; None where no deadline runs."""
    if case.stands_still:
        return None
    clock = case.clock()
    if clock is not None:
        return due_in_cancellation(case.organization, clock, case.now)
    inactive = _inactive_at(case)
    if inactive is not None:
        lead = case.policy.notice.inactivity
        return due_for_inactivity(case.organization, inactive, lead, case.now)
    return None


def _take_what_is_due(case: Case) -> None:
    """Take the step, or write the notice, whose moment has come.

    Each state's dwell is longer than nothing, so this ends after a step and a notice.
    """
    while True:
        match _due(case):
            case NoticeDue(state=state, at=at, names=names) if at <= case.now:
                case.write_notice(state, names)
            case StepDue(at=at) if at <= case.now and _was_withheld_too_long(case):
                case.withdraw_notice()
            case StepDue(state=state, at=at) if at <= case.now and _may_be_taken(case, state, at):
                _take(case, state, at)
            case _:
                return


def _was_withheld_too_long(case: Case) -> bool:
    """Whether the guard lets go on what was announced long ago: it is announced anew first."""
    withheld_at, notice = case.organization.withheld_at, case.organization.notice
    if notice is None or withheld_at is None or withheld_at >= case.now:
        return False
    return case.now - notice.names > LONG_WAIT and case.guard.lets_steps_go_on()


def _may_be_taken(case: Case, state: State, at: datetime) -> bool:
    """Ask the feeds, where silence is the reason, and then the guard."""
    if case.organization.state is State.ACTIVE and not _silence_is_believed(case, at):
        return False
    guard, population = case.policies.current.guard, case.fleet.population
    if case.guard.permits(
        state, guard, population, now=case.fleet_time, causation_id=case.causation_id
    ):
        return True
    withheld_at = case.organization.withheld_at or case.now
    case.update(replace(case.organization, withheld_at=withheld_at))
    return False


def _silence_is_believed(case: Case, at: datetime) -> bool:
    """A feed that was silent itself, or that may hide use of the organization because it could not
    be read, postpones the decision, from day to day (section 5).
    """
    organization = case.organization
    if _put_off_until(case) is not None:
        return False
    assert organization.creation is not None
    anchor = organization.creation.billing_cycle_anchor
    asked = (case.fleet.feeds, anchor, case.policy.inactivity)
    silent = case.guard.silent(*asked, now=case.now, causation_id=case.causation_id)
    unreadable = case.guard.unreadable(
        organization, *asked, now=case.now, causation_id=case.causation_id
    )
    if silent or unreadable:
        looks = (case.now - at) // RECHECK_AFTER + 1
        until = at + looks * RECHECK_AFTER
        own = {each.feed for each in unreadable if each.organization is not None}
        case.update(
            replace(
                organization.with_unreadable_feeds(own, case.now.date()),
                postponed_until=until,
                withheld_at=None,
            )
        )
    return not (silent or unreadable)


def _put_off_until(case: Case) -> datetime | None:
    """The next look at a feed that is silent, where that is ahead."""
    until = case.organization.postponed_until
    return until if until is not None and case.now < until else None


def _take(case: Case, state: State, at: datetime) -> None:
    if case.organization.state is State.ACTIVE:
        postponed = case.organization.postponed_until is not None
        case.deactivate(DeactivationCause.INACTIVITY, case.now if postponed else at)
    else:
        case.enter(state, at)


def _forget_what_is_no_longer_withheld(case: Case) -> None:
    """A step that has been put off is no longer one that the guard withholds."""
    if case.organization.withheld_at is not None:
        due = _due(case)
        if due is None or due.at > case.now:
            case.update(replace(case.organization, withheld_at=None))


def _moments(case: Case) -> list[datetime]:
    """When the organization must be looked at though nothing is heard, silent feeds aside.

    A step that the guard withholds waits for its release, not for the clock.
    """
    organization = case.organization
    if organization.creation is None or organization.state is State.DEACTIVATED:
        return []
    waits = organization.withheld_at is not None or _put_off_until(case) is not None
    due = None if waits else _due(case)
    moments = (
        case.covered.next_change(case.moment),
        due.at if due is not None else None,
        *(hold.expires_at for hold in organization.holds),
    )
    return [moment for moment in moments if moment is not None]


def _looks(case: Case) -> list[datetime]:
    """The next look at a feed that is silent; and at what is pending, since it has no deadline and
    what is heard of others may change whose plan it waits for.
    """
    organization, put_off_until = case.organization, _put_off_until(case)
    looks = []
    if organization.withheld_at is None and put_off_until is not None:
        looks.append(put_off_until)
    if organization.pending is not None:
        days = (case.now - organization.pending.since) // RECHECK_AFTER + 1
        looks.append(organization.pending.since + days * RECHECK_AFTER)
    return looks


# --- both -----------------------------------------------------------------------------------------


def _call_for_final_reports(case: Case) -> None:
    """The marketplace still takes the last usage for a while, once per end (section 9)."""
    called = {each.subscription: each for each in case.organization.reported}
    ends = {
        each.subscription.key: usage_closed_at(each, case.organization.id)
        for each in case.covered.attachments
    }
    for key, all_closed_at in ends.items():
        for closed_at in called.get(key, Reported(key)).missing(all_closed_at):
            details = MeteringDetails(key, closed_at + final_report_window(key.marketplace))
            case.emit([(EventKind.METERING_FINAL_REPORT_DUE, details)], effective_at=case.now)
    case.update(case.organization.with_reported_ends(ends))
