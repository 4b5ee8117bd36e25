"""An explanation for the customer: what it means for them, and what they can do.

It contains no internal terms, no names of ours and no personal data; holds are not mentioned.
"""

from collections.abc import Iterator
from datetime import datetime

from marketplace_worker.explain.values import (
    AwaitsCompletion,
    Closed,
    ComesBack,
    Explanation,
    NotCreated,
    NothingComes,
    NoticeComes,
    OnHold,
    OnPlan,
    PlanEnded,
    PlanEnds,
    PlanStarts,
    StepComes,
    StepPostponed,
    StepWithheld,
    WithoutPlan,
)
from marketplace_worker.explain.wording import Sentences, listed
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.vocabulary import (
    CompletedBy,
    DeactivationCause,
    Marketplace,
    StateReason,
)

_MARKETPLACES = {
    Marketplace.AWS: "AWS Marketplace",
    Marketplace.GCP: "Google Cloud Marketplace",
    Marketplace.AZURE: "Microsoft Marketplace",
}

_BECAUSE = {
    StateReason.CUSTOMER: "because it was canceled",
    StateReason.VENDOR: "because we ended it",
    StateReason.NON_PAYMENT: "because a payment failed",
    StateReason.COMMIT_EXPIRED: "because its term ended",
    StateReason.GRANT_EXPIRED: "because the extra time that we granted ended",
}

_ALLOWS = {
    State.CANCELED: "For now, everything works as before.",
    State.CONTROL_PLANE_LOSS: (
        "Your applications keep working. You cannot add users or clusters, or change clusters."
    ),
    State.SUSPENDED: (
        "Your API keys and your applications have stopped working, and your content is not "
        "accessible. You can still sign in."
    ),
}

_WILL = {
    State.CONTROL_PLANE_LOSS: (
        "you will no longer be able to add users or clusters, or to change clusters"
    ),
    State.SUSPENDED: (
        "your API keys and your applications will stop working, and your content will not be "
        "accessible"
    ),
    State.DEACTIVATED: (
        "your organization will be closed, and all its content and data will be permanently deleted"
    ),
}

_UNUSED = (
    "your organization will be closed because it is not used. No data will be deleted, and our "
    "Support team can reopen it"
)

_CONTACT = "Our Support team can tell you more."


def for_customers(explanation: Explanation) -> Sentences:
    """The explanation for the customer, in sentences."""
    return Sentences(
        tuple(_why(explanation)), tuple(_next(explanation)), tuple(_stops(explanation))
    )


def day(at: datetime) -> str:
    """A moment as customers read it: `12 November 2026, 12:00 UTC`."""
    return f"{at.day} {at:%B %Y, %H:%M} UTC"


# --- why ------------------------------------------------------------------------------------------


def _why(explanation: Explanation) -> Iterator[str]:
    why = explanation.why
    match why:
        case NotCreated():
            yield "We do not know this organization."
        case OnPlan() | WithoutPlan():
            yield "Your organization is active."
        case PlanEnded(canceled_at=canceled_at, reason=reason):
            because = f" {_BECAUSE[reason]}" if reason in _BECAUSE else ""
            yield f"Your last plan ended on {day(canceled_at)}{because}."
            yield _ALLOWS[explanation.state]
        case Closed(cause=cause):
            on = f" on {day(explanation.since)}" if explanation.since else ""
            yield from _why_closed(cause, on)


def _why_closed(cause: DeactivationCause, on: str) -> Iterator[str]:
    match cause:
        case DeactivationCause.MARKETPLACE_CANCELLATION:
            yield f"Your organization was closed{on}, because it had no plan for too long."
            yield "Its content and data were deleted and cannot be restored."
        case DeactivationCause.INACTIVITY:
            yield f"Your organization was closed{on}, because it was not used. No data was deleted."
        case DeactivationCause.SUPPORT_REQUEST:
            yield f"Our Support team closed your organization{on}. No data was deleted."


# --- next -----------------------------------------------------------------------------------------


def _next(explanation: Explanation) -> Iterator[str]:
    comes, now = explanation.next, explanation.now
    match comes:
        case NothingComes():
            yield "No change is planned."
        case PlanEnds(at=at) if at > now:
            yield f"Your plan ends on {day(at)}."
        case PlanEnds(at=at):
            yield f"Your plan ended on {day(at)}."
        case PlanStarts(at=at):
            yield f"Your plan begins on {day(at)}."
        case ComesBack(at=at) if at > now:
            yield f"Your next plan begins on {day(at)}. From then on, everything will work again."
        case ComesBack():
            yield "Your plan is active again. Everything will work again in a moment."
        case NoticeComes(deadline=deadline) | StepComes(deadline=deadline):
            if deadline.at > now:
                yield f"On {day(deadline.at)}, {_will(explanation, deadline.step)}."
            else:
                yield f"Very soon, {_will(explanation, deadline.step)}."
            yield from _afterwards(explanation)
        case StepWithheld(deadline=deadline) | StepPostponed(deadline=deadline):
            yield f"Any day now, {_will(explanation, deadline.step)}."
        case OnHold():
            yield "Nothing will change for the time being."
        case AwaitsCompletion():
            yield from _awaits(comes)


def _will(explanation: Explanation, step: State) -> str:
    return _UNUSED if explanation.state is State.ACTIVE else _WILL[step]


def _afterwards(explanation: Explanation) -> Iterator[str]:
    for each in explanation.schedule[1:]:
        yield f"On {day(each.at)}, {_WILL[each.state]}."


def _awaits(comes: AwaitsCompletion) -> Iterator[str]:
    yield "You have a new plan. Until it is confirmed, you will not lose any more access."
    if comes.until is not None:
        yield f"That plan ends on {day(comes.until)}."


# --- what they can do -----------------------------------------------------------------------------


def _stops(explanation: Explanation) -> Iterator[str]:
    comes = explanation.next
    match comes:
        case NothingComes():
            yield from _of_closed(explanation)
        case ComesBack() | PlanStarts():
            return
        case PlanEnds():
            where = _where(explanation)
            yield f"To continue without interruption, renew your plan or buy a new one{where}."
        case AwaitsCompletion(completed_by=completed_by):
            by_sign_in = completed_by is CompletedBy.SIGN_IN
            what = "sign in to your organization" if by_sign_in else "contact our Support team"
            yield f"To confirm it, {what}."
        case OnHold():
            yield _CONTACT
        case NoticeComes() | StepComes() | StepWithheld() | StepPostponed():
            yield from _prevent(explanation)


def _of_closed(explanation: Explanation) -> Iterator[str]:
    why = explanation.why
    if isinstance(why, Closed):
        yield (
            "To have it reopened, contact our Support team."
            if why.cause.recoverable
            else "You are welcome to create a new organization."
        )


def _prevent(explanation: Explanation) -> Iterator[str]:
    if explanation.state is State.ACTIVE:
        yield "To prevent this, sign in, use the API, or choose a plan."
        return
    aim = "prevent this" if explanation.state is State.CANCELED else "get everything back"
    yield (
        f"To {aim}, renew your plan or buy a new one{_where(explanation)}, then sign in to your "
        "organization."
    )
    if Marketplace.AZURE in explanation.marketplaces:
        azure = _MARKETPLACES[Marketplace.AZURE]
        yield f"For a plan in the {azure}, also contact our Support team."
    yield "If you need more time, contact our Support team."


def _where(explanation: Explanation) -> str:
    names = [_MARKETPLACES[each] for each in explanation.marketplaces]
    return f" in the {listed(names, 'or the')}" if names else ""
