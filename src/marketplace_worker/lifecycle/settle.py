"""Brings an organization's state in line with its plans, its deadlines and the time.

Reports about plans cancel and reinstate; every later step, and every notice, waits for its
deadline.
"""

from dataclasses import field
from datetime import datetime

from marketplace_worker.lifecycle import support
from marketplace_worker.lifecycle.case import Case
from marketplace_worker.lifecycle.coverage.attachments import usage_closed_at
from marketplace_worker.lifecycle.coverage.intervals import Trigger, next_commitment_at
from marketplace_worker.lifecycle.deadlines import latest
from marketplace_worker.lifecycle.due_steps import (
    LONG_WAIT,
    RECHECK_AFTER,
    apply_due_steps,
    inactivity_terms_of,
    next_due,
    postponed_until,
)
from marketplace_worker.lifecycle.events import Event, EventKind, MeteringDetails
from marketplace_worker.lifecycle.facts import SupportRequested
from marketplace_worker.lifecycle.organization import Organization, Reported
from marketplace_worker.lifecycle.organization_view import OrganizationView
from marketplace_worker.lifecycle.projection import final_report_window
from marketplace_worker.lifecycle.sign_ins import prove_by_sign_ins
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.values import dataclass, replace
from marketplace_worker.lifecycle.vocabulary import (
    Initiator,
    SupportRequestKind,
)

BY_DEADLINE = "deadline"
"""The `causationid` of what no message caused (events.md section 3)."""

REINSTATE = SupportRequestKind.REINSTATE_ORGANIZATION


@dataclass(frozen=True, slots=True)
class CaseResult:
    """The decision on one organization.

    `due_at`: when it must be decided on again; None: only on a message.  `idle`: nothing is
    scheduled except, perhaps, checks of something that waits.  `view`: the organization after the
    decision.
    """

    before: Organization
    organization: Organization
    events: tuple[Event, ...]
    due_at: datetime | None
    idle: bool
    view: OrganizationView = field(compare=False, repr=False)


def settle(case: Case, request: SupportRequested | None = None) -> CaseResult:
    """Make every decision on the organization of a case that is possible now.

    Total: handles every state with every set of plans.  Facts about an organization that was never
    created are kept without a decision; an erased one is never decided on again.  In both cases a
    Support request is refused.

    The order matters: holds expire first, because they decide whether a notice is in force; plans
    come before deadlines, so that a plan that is active again stops a step that is due at the same
    moment; and a request is answered last, after everything that it caused.
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
        apply_due_steps(case)
    _forget_what_is_no_longer_withheld(case)
    _call_for_final_reports(case)
    if request is not None and answer is not None:
        support.emit_answer(case, request, answer)
    return case_result(case)


def case_result(case: Case) -> CaseResult:
    """The result of a case in its current state, with the time of its next decision."""
    moments, looks = _moments(case), _rechecks(case)
    due_at = min([*moments, *looks], default=None)
    return CaseResult(case.before, case.organization, tuple(case.events), due_at, not moments, case)


# --- news -----------------------------------------------------------------------------------------


def _let_holds_expire(case: Case) -> None:
    """Remove expired holds; with the last one the dwell starts again, as after a release (section
    7).
    """
    holds = case.organization.holds
    if not holds:
        return
    standing = tuple(h for h in holds if h.expires_at is None or case.now < h.expires_at)
    if standing != holds:
        dwells_from = case.organization.dwells_from if standing else case.now
        case.update(replace(case.organization, holds=standing, dwells_from=dwells_from))


def _act(case: Case, request: SupportRequested) -> support.Answer:
    """Handle a Support request, after the plans were processed.

    Before a requested reinstatement the plans may only cancel: a possible reinstatement is then
    attributed to the request.
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
    """Cancel, reinstate, wait for the completion, or adjust the cancellation to late reports."""
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
    waiting = case.covered.pending(case.moment)
    if waiting is not None:
        case.await_completion(waiting)
    elif case.organization.pending is not None:
        case.lapse_reinstatement()


def _withdraw_what_no_longer_stands(case: Case) -> None:
    """Withdraw a notice under a hold, and where no plan has ended after all.

    A notice of inactivity is also withdrawn after use, and where a plan or the tier forbids it.
    """
    notice = case.organization.notice
    if notice is None:
        return
    if case.organization.state is State.ACTIVE:
        terms, seen = inactivity_terms_of(case), case.fleet.last_seen(case.organization.id)
        stands = terms is not None and latest(terms) <= notice.announced_for_at
        stands = stands and not seen.used_after(notice.given_at)
    else:
        stands = not case.covered.only_to_come(case.now)
    if not stands or case.organization.held(case.now):
        case.withdraw_notice()


def _renew_a_notice_after_a_long_wait(case: Case) -> None:
    """Withdraw a notice whose step waited for long, so that it is announced again (section 12)."""
    notice = case.organization.notice
    if notice is None or _waits(case, case.organization) or not _waits(case, case.before):
        return
    if case.now - notice.announced_for_at > LONG_WAIT:
        case.withdraw_notice()


def _waits(case: Case, organization: Organization) -> bool:
    """Whether its next step waits for the completion of a reinstatement, or for a commitment."""
    waiting = organization.pending is not None
    return waiting or next_commitment_at(organization, case.now) is not None


# --- deadlines ------------------------------------------------------------------------------------


def _forget_what_is_no_longer_withheld(case: Case) -> None:
    """A step that is no longer due is not withheld by the guard either."""
    if case.organization.withheld_at is not None:
        due = next_due(case)
        if due is None or due.at > case.now:
            case.update(replace(case.organization, withheld_at=None))


def _moments(case: Case) -> list[datetime]:
    """When the organization must be decided on without a message, checks aside.

    A step that the guard withholds waits for its release, not for the clock.
    """
    organization = case.organization
    if organization.creation is None or organization.state is State.DEACTIVATED:
        return []
    waits = organization.withheld_at is not None or postponed_until(case) is not None
    due = None if waits else next_due(case)
    moments = (
        case.covered.next_change(case.moment),
        due.at if due is not None else None,
        *(hold.expires_at for hold in organization.holds),
    )
    return [moment for moment in moments if moment is not None]


def _rechecks(case: Case) -> list[datetime]:
    """When something that waits is checked again: a silent feed, and a pending reinstatement.

    The latter has no deadline, and reports about other organizations may change whose plan it waits
    for.
    """
    organization, postponed_to = case.organization, postponed_until(case)
    looks = []
    if organization.withheld_at is None and postponed_to is not None:
        looks.append(postponed_to)
    if organization.pending is not None:
        days = (case.now - organization.pending.since) // RECHECK_AFTER + 1
        looks.append(organization.pending.since + days * RECHECK_AFTER)
    return looks


# --- both -----------------------------------------------------------------------------------------


def _call_for_final_reports(case: Case) -> None:
    """Publish until when the last usage can be reported, once for each end (section 9)."""
    ends = {
        each.subscription.key: all_closed_at
        for each in case.covered.attachments
        if (all_closed_at := usage_closed_at(each, case.organization.id))
    }
    if not ends:
        return
    called = {each.subscription: each for each in case.organization.reported}
    for key, all_closed_at in ends.items():
        for closed_at in called.get(key, Reported(key)).missing(all_closed_at):
            details = MeteringDetails(key, closed_at + final_report_window(key.marketplace))
            case.emit([(EventKind.METERING_FINAL_REPORT_DUE, details)], effective_at=case.now)
    case.update(case.organization.with_reported_ends(ends))
