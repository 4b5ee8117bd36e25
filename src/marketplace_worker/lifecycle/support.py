"""Requests of Support: refused or done, and answered (lifecycle.md sections 6 and 7)."""

from datetime import timedelta

from marketplace_worker.lifecycle.case import Case
from marketplace_worker.lifecycle.events import EmailDetails, EventKind, Refusal, SupportDetails
from marketplace_worker.lifecycle.facts import SupportRequested
from marketplace_worker.lifecycle.organization import Grant, Hold, Proof
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.values import dataclass, replace
from marketplace_worker.lifecycle.verdicts import Allowed, Refused, RequestVerdict
from marketplace_worker.lifecycle.vocabulary import (
    CompletedBy,
    DeactivationCause,
    HoldKind,
    SupportRequestKind,
)


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a request.  `code` is None where it was completed; `message` is a sentence."""

    code: Refusal | None
    message: str


def handle(case: Case, request: SupportRequested) -> Answer:
    """Do what is requested, or refuse it.  `settle` then decides what follows for the state."""
    refused = refusal_of(case, request)
    if refused is not None:
        return refused
    match request.request:
        case SupportRequestKind.DEACTIVATE_ORGANIZATION:
            return _deactivate(case, request)
        case SupportRequestKind.REACTIVATE_ORGANIZATION:
            case.reactivate()
            return Answer(None, "The organization is active again, on the free tier.")
        case SupportRequestKind.REINSTATE_ORGANIZATION:
            return _reinstate(case, request)
        case SupportRequestKind.UNLOCK_EMAIL:
            unlock(case, request)
            return Answer(None, "The email may be used for another organization.")
        case SupportRequestKind.PLACE_HOLD:
            return _place_hold(case, request)
        case SupportRequestKind.RELEASE_HOLD:
            return _release_hold(case, request)
        case SupportRequestKind.EXTEND_GRACE:
            return _extend_grace(case, request)


def emit_answer(case: Case, request: SupportRequested, answer: Answer) -> None:
    """Publish the answer, after everything that the request caused."""
    kind, details = answer_draft(request, answer)
    case.emit([(kind, details)], effective_at=case.now)


def answer_draft(request: SupportRequested, answer: Answer) -> tuple[EventKind, SupportDetails]:
    """The event that publishes an answer, not emitted yet."""
    completed = answer.code is None
    details = SupportDetails(
        request.identity.id, request.request, answer.code, answer.message, request.requested_by
    )
    return (
        EventKind.SUPPORT_REQUEST_COMPLETED if completed else EventKind.SUPPORT_REQUEST_REJECTED
    ), details


_REFUSED_BY = {
    RequestVerdict.PER_HOUR: (
        "More deactivations were requested within an hour than the guard allows."
    ),
    RequestVerdict.PER_PERSON: (
        "One person requested more deactivations within an hour than the guard allows."
    ),
    RequestVerdict.BY_OPERATOR: "An operator has tripped the guard.",
    RequestVerdict.SET_BACK: "The worker's database was set back, and is not recovered yet.",
}
_ASK_AGAIN = (
    "No requested deactivation is done, whoever asks, until an operator releases the guard; then "
    "request it again under a new id."
)


# --- judging --------------------------------------------------------------------------------------


def refusal_of(case: Case, request: SupportRequested) -> Answer | None:
    """Why the request is refused; None: it is accepted.

    An invalid request is refused for that before anything else (lifecycle.md section 11).
    """
    invalid = _problem(case, request)
    if invalid is not None:
        return Answer(Refusal.INVALID_REQUEST, invalid)
    if request.request is SupportRequestKind.UNLOCK_EMAIL:
        return _unless_locked(case, request)
    if not case.organization.exists:
        return Answer(Refusal.UNKNOWN_ORGANIZATION, "There is no such organization.")
    match request.request:
        case SupportRequestKind.DEACTIVATE_ORGANIZATION:
            return _judge_deactivation(case)
        case SupportRequestKind.REACTIVATE_ORGANIZATION:
            return _judge_reactivation(case)
        case SupportRequestKind.REINSTATE_ORGANIZATION:
            return _judge_reinstatement(case, request)
        case SupportRequestKind.PLACE_HOLD:
            return None
        case SupportRequestKind.RELEASE_HOLD:
            return _judge_release(case, request)
        case SupportRequestKind.EXTEND_GRACE:
            return _judge_extension(case, request)


def _problem(case: Case, request: SupportRequested) -> str | None:
    """What is invalid in the request itself; None: nothing."""
    if request.problem is not None:
        return request.problem
    if request.grant_until is not None and request.grant_until <= case.now:
        return "grant_until must be in the future."
    if request.expires_at is not None and request.expires_at <= case.now:
        return "expires_at must be in the future."
    return None


def _unless_locked(case: Case, request: SupportRequested) -> Answer | None:
    if request.email is not None and case.fleet.locking(request.email):
        return None
    return Answer(Refusal.EMAIL_NOT_LOCKED, "This email is not locked.")


def _judge_deactivation(case: Case) -> Answer | None:
    if case.organization.state is State.DEACTIVATED:
        return Answer(Refusal.ALREADY_DEACTIVATED, "The organization is deactivated already.")
    if any(hold.kind is HoldKind.LEGAL for hold in case.organization.holds):
        return Answer(
            Refusal.ON_HOLD,
            "A legal hold stands: release it first if the organization may be deactivated.",
        )
    return None


def _judge_reactivation(case: Case) -> Answer | None:
    organization = case.organization
    if organization.state is not State.DEACTIVATED:
        return Answer(Refusal.NOT_DEACTIVATED, "The organization is not deactivated.")
    if not organization.recoverable:
        return Answer(
            Refusal.IRREVERSIBLE,
            "The organization's cancellation ran its course: its data is deleted for good.",
        )
    assert organization.owner is not None
    if any(each.id != organization.id for each in case.fleet.using(organization.owner.value)):
        return Answer(Refusal.EMAIL_IN_USE, "Another organization has the owner's email now.")
    return None


def _judge_reinstatement(case: Case, request: SupportRequested) -> Answer | None:
    if case.organization.published_closed is not None:
        return _PERHAPS_CLOSED
    if not case.organization.state.in_cancellation:
        return _not_on_its_way_down(case)
    plan = case.covered.pending(case.moment) or case.covered.reviving(case.moment)
    if request.grant_until is None and plan is None:
        return Answer(
            Refusal.NO_ACTIVE_PLAN,
            "The organization has no active plan; grant one with an end (grant_until).",
        )
    return None


def _judge_release(case: Case, request: SupportRequested) -> Answer | None:
    if any(hold.kind is request.hold for hold in case.organization.holds):
        return None
    return Answer(Refusal.NO_SUCH_HOLD, f"No {request.hold} hold stands.")


def _judge_extension(case: Case, request: SupportRequested) -> Answer | None:
    if case.organization.published_closed is not None:
        return _PERHAPS_CLOSED
    cancellation = case.organization.cancellation
    if cancellation is None or not case.organization.state.in_cancellation:
        return _not_on_its_way_down(case)
    assert request.days is not None
    left = case.policy.grace.max_extension - cancellation.extension
    if request.days > left / timedelta(days=1):
        return Answer(
            Refusal.EXTENSION_TOO_LONG,
            f"At most {max(left.days, 0)} more days can be given to this cancellation.",
        )
    return None


_PERHAPS_CLOSED = Answer(
    Refusal.NOT_REINSTATABLE,
    "The organization was published as deactivated, and a restore has lost why: an operator must "
    "judge that first.",
)


def _not_on_its_way_down(case: Case) -> Answer:
    return Answer(
        Refusal.NOT_REINSTATABLE,
        f"The organization is {case.organization.state}: only one that is canceled, without its "
        "control plane or suspended can be given a way back.",
    )


# --- doing ----------------------------------------------------------------------------------------


def _deactivate(case: Case, request: SupportRequested) -> Answer:
    """The guard judges last: it counts the request, and what is refused is not counted."""
    verdict = case.guard.judge_request(
        request.requested_by,
        case.policies.current.guard,
        now=case.fleet_time,
        request_id=request.identity.id,
    )
    case.guard.act_on_request(verdict, request_id=request.identity.id)
    match verdict:
        case Refused(reason=reason):
            return Answer(Refusal.GUARD_TRIPPED, f"{_REFUSED_BY[reason]} {_ASK_AGAIN}")
        case Allowed():
            case.deactivate(DeactivationCause.SUPPORT_REQUEST, case.now)
            return Answer(None, "The organization is deactivated; Support can reactivate it.")


def _reinstate(case: Case, request: SupportRequested) -> Answer:
    """Prove every pending plan, and add the grant if one is requested (section 11)."""
    proofs = [
        Proof(interval.subscription, case.now, CompletedBy.SUPPORT)
        for interval in case.covered.waiting
        if interval.subscription is not None and interval.revives(case.moment)
    ]
    case.update(case.organization.with_proofs(*proofs))
    if request.grant_until is not None:
        grant = Grant(request.identity.id, case.now, request.grant_until)
        grants = (*case.organization.grants, grant)
        case.update(replace(case.organization, grants=grants))
    return Answer(None, "The organization is reinstated.")


def unlock(case: Case, request: SupportRequested) -> None:
    """Release the organization's lock on that email; nothing where it has none."""
    locked = case.organization.locked_email
    if locked is not None and locked == request.email:
        case.update(replace(case.organization, locked_email=None))
        case.emit([(EventKind.EMAIL_UNLOCKED, EmailDetails(locked))], effective_at=case.now)


def _place_hold(case: Case, request: SupportRequested) -> Answer:
    """A second hold of a kind replaces the first one's expiry (section 11)."""
    assert request.hold is not None
    others = tuple(hold for hold in case.organization.holds if hold.kind is not request.hold)
    placed = Hold(request.hold, case.now, request.expires_at)
    case.update(replace(case.organization, holds=(*others, placed)))
    return Answer(None, f"A {request.hold} hold stands: nothing is taken from the organization.")


def _release_hold(case: Case, request: SupportRequested) -> Answer:
    left = tuple(hold for hold in case.organization.holds if hold.kind is not request.hold)
    case.update(
        replace(
            case.organization,
            holds=left,
            dwells_from=case.organization.dwells_from if left else case.now,
        )
    )
    return Answer(None, f"The {request.hold} hold is released; nothing fires at once.")


def _extend_grace(case: Case, request: SupportRequested) -> Answer:
    cancellation = case.organization.cancellation
    assert cancellation is not None
    assert request.days is not None
    extension = cancellation.extension + timedelta(days=request.days)
    case.update(replace(case.organization, cancellation=replace(cancellation, extension=extension)))
    case.withdraw_notice()
    return Answer(None, f"The offset of every coming step is {request.days} days longer.")
