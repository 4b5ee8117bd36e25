"""An explanation in the words of an operator: the rules by name, moments to the second."""

from collections.abc import Iterator
from datetime import datetime

from marketplace_worker.explain.remedies import (
    AnyActivity,
    AnyPlan,
    AzureNeedsSupport,
    KillSwitch,
    NewSubscription,
    OtherTier,
    PlanBegins,
    Remedy,
    RequestToSupport,
    SignIn,
)
from marketplace_worker.explain.values import (
    AwaitsCompletion,
    Closed,
    ComesBack,
    Explanation,
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
    StepComes,
    StepPostponed,
    StepWithheld,
    WithoutPlan,
)
from marketplace_worker.explain.wording import Sentences, distance, length, listed
from marketplace_worker.lifecycle.deadlines import Deadline, DeadlineRule, DeadlineTerm
from marketplace_worker.lifecycle.linking import NotableLink
from marketplace_worker.lifecycle.safeguards import Trip
from marketplace_worker.lifecycle.vocabulary import (
    CompletedBy,
    DeactivationCause,
    StateReason,
    SupportRequestKind,
)

_QUIET = {
    NoChangeReason.NOT_CREATED: "Nothing: it has no state until organization.created arrives.",
    NoChangeReason.PLAN_GOES_ON: "Nothing: its plan has no known end.",
    NoChangeReason.TIER_IS_EXEMPT: "Nothing: only the free tier is subject to inactivity.",
    NoChangeReason.DEACTIVATED: "Nothing: this state does not change by itself.",
}

_RULES = {
    DeadlineRule.OFFSET: "offset: canceled_at",
    DeadlineRule.DWELL: "dwell: in this state since",
    DeadlineRule.NOTICE: "notice: given",
    DeadlineRule.FLOOR: "floor: the marketplace requires the data until then",
    DeadlineRule.COMMITMENT: "commitment: already bought, starts then",
    DeadlineRule.NAMED_DATE: "named date: announced by the notice",
    DeadlineRule.NO_LOGIN: "no login: since",
    DeadlineRule.NO_API_REQUEST: "no API request: for two billing cycles, the last was on",
}

_CLOSED = {
    DeactivationCause.MARKETPLACE_CANCELLATION: (
        "Deactivated at the end of its cancellation: its data is deleted, no reinstatement."
    ),
    DeactivationCause.INACTIVITY: "Deactivated for inactivity. No data is deleted.",
    DeactivationCause.SUPPORT_REQUEST: "Deactivated at Support's request. No data is deleted.",
}


def for_operators(explanation: Explanation) -> Sentences:
    """The complete explanation in sentences, without personal data."""
    return Sentences(
        (*_why(explanation), *(_link(each, explanation) for each in explanation.links)),
        tuple(_next(explanation)),
        tuple(_remedy(each) for each in explanation.remedies),
    )


def stops_heading(explanation: Explanation) -> str:
    """What the remedies do about the next change."""
    match explanation.next:
        case AwaitsCompletion():
            return "What would complete it"
        case NothingComes():
            return "What would bring it back"
        case _:
            return "What would stop it"


def moment(at: datetime) -> str:
    """A moment as operators read it: `2026-11-12 12:00 UTC`, with seconds where there are any."""
    text = f"{at:%Y-%m-%d %H:%M:%S}"
    return f"{text.removesuffix(':00')} UTC"


def rule(term: DeadlineTerm) -> str:
    """A deadline's term: `offset: canceled_at 2026-11-05 12:00 UTC + 7 days + 3 days extended`."""
    if term.since is None or term.length is None:
        return _RULES[term.rule]
    text = f"{_RULES[term.rule]} {moment(term.since)}"
    if term.rule is DeadlineRule.NO_API_REQUEST:
        return text
    text += f" + {length(term.length)}"
    if term.extension:
        text += f" + {length(term.extension)} extended"
    if term.paused:
        text += f" + {length(term.paused)} pending"
    return text


# --- why ------------------------------------------------------------------------------------------


def _why(explanation: Explanation) -> Iterator[str]:
    why = explanation.why
    match why:
        case NotCreated():
            yield "It was never created: no organization.created has arrived."
            if why.kept:
                yield "Other messages about it are stored, and take effect when it arrives."
        case OnPlan():
            yield f"It has an active plan: {listed([_plan(each) for each in why.plans])}."
            if why.reason is StateReason.REINSTATED and explanation.since is not None:
                yield f"Reinstated on {moment(explanation.since)}, initiator {why.initiator}."
        case WithoutPlan():
            yield _why_without(why, explanation.since)
            yield f"Its tier is {why.tier}."
        case PlanEnded():
            yield from _why_ended(explanation, why)
        case Closed():
            yield from _why_closed(why)


def _plan(plan: PlanOnFile) -> str:
    return plan.plan if plan.ends_at is None else f"{plan.plan} until {moment(plan.ends_at)}"


def _why_without(why: WithoutPlan, since: datetime | None) -> str:
    if why.ended is not None:
        return f"Its last plan, {why.ended}, has ended; no worker has processed this yet."
    if why.reason is StateReason.REACTIVATED and since is not None:
        return f"Support reactivated it on {moment(since)}; it has had no plan since."
    return "It has never had a plan, so it is not canceled."


def _why_closed(why: Closed) -> Iterator[str]:
    yield _CLOSED[why.cause]
    if why.canceled_at is not None:
        yield f"Its last plan ended on {moment(why.canceled_at)} (canceled_at)."
    if why.cause.recoverable:
        yield "Support can reactivate it."
    if why.email_in_use:
        yield "Not now: another organization uses its owner's email (email_in_use)."


def _why_ended(explanation: Explanation, why: PlanEnded) -> Iterator[str]:
    plan_type = why.plan_type or "plan type unknown, so the longest timeline"
    name = f"{why.plan} ({plan_type})" if why.plan else plan_type
    yield f"Its last plan, {name}, ended on {moment(why.canceled_at)} (canceled_at)."
    yield f"Reason {why.reason}, initiator {why.initiator}."
    pinned, in_force = explanation.standing.policy_version, explanation.policy_in_force
    if pinned == in_force:
        yield f"Policy {pinned} is pinned to it and in force."
    else:
        newer = f"{in_force} is in force and applies if more lenient"
        yield f"Policy {pinned} is pinned to it; {newer}."


def _link(link: NotableLink, explanation: Explanation) -> str:
    here = explanation.standing.organization
    to = "it" if link.organization == here else link.organization
    text = f"{link.subscription} was linked to {to} on {moment(link.linked_at)}"
    if link.taken_from is not None:
        taken_from = "it" if link.taken_from == here else link.taken_from
        text += f", and taken from {taken_from}"
    if link.account_contradicts:
        text += "; its billing account is not the expected one: check whose it is"
    return f"{text}."


# --- next -----------------------------------------------------------------------------------------


def _next(explanation: Explanation) -> Iterator[str]:
    comes, now = explanation.next, explanation.now
    match comes:
        case NothingComes():
            yield _QUIET[comes.because]
        case PlanEnds():
            yield from _plan_ends(comes, now)
        case PlanStarts():
            yield f"Nothing, except that {comes.plan} begins on {_far(comes.at, now)}."
        case ComesBack():
            yield _comes_back(comes, now)
        case NoticeComes():
            yield _notice(comes, now)
            yield from _step(explanation, comes.deadline)
        case StepComes():
            yield from _step(explanation, comes.deadline)
        case StepWithheld():
            yield from _withheld(comes, now)
        case StepPostponed():
            yield from _postponed(comes, now)
        case OnHold():
            yield from _on_hold(comes, now)
        case AwaitsCompletion():
            yield from _awaits(comes, now)


def _comes_back(comes: ComesBack, now: datetime) -> str:
    if comes.at > now:
        return f"Reinstated on {_far(comes.at, now)}: {comes.plan} begins then."
    return f"Reinstated at the next poll of a worker: {comes.plan or 'a plan'} is active."


def _notice(comes: NoticeComes, now: datetime) -> str:
    step = comes.deadline.step
    if comes.at > now:
        return f"Notice of {step} is given on {_far(comes.at, now)}."
    return (
        f"Notice of {step} is given at the next poll of a worker, due since {_far(comes.at, now)}."
    )


def _step(explanation: Explanation, deadline: Deadline) -> Iterator[str]:
    now = explanation.now
    due = f"at the next poll of a worker, due since {_far(deadline.at, now)}"
    when = f"on {_far(deadline.at, now)}" if deadline.at > now else due
    yield f"{deadline.step} {when}, the latest of:"
    yield from _terms(deadline)
    if explanation.tripped is not None:
        yield f"It will be withheld. {_trip(explanation.tripped)}"
    for each in explanation.schedule[1:]:
        yield f"Then {each.state} on {_far(each.at, now)}."


def _terms(deadline: Deadline) -> Iterator[str]:
    for term in deadline.terms:
        mark = "->" if term is deadline.deciding else "  "
        yield f"{mark} {moment(term.at)}  {rule(term)}"


def _withheld(comes: StepWithheld, now: datetime) -> Iterator[str]:
    yield f"{comes.deadline.step} was due on {_far(comes.deadline.at, now)}, the latest of:"
    yield from _terms(comes.deadline)
    yield f"The guard has withheld it since {moment(comes.since)}."
    if comes.trip is not None:
        yield _trip(comes.trip)
    yield "It is taken once an operator releases it: marketplace-worker guard release."


def _postponed(comes: StepPostponed, now: datetime) -> Iterator[str]:
    yield f"{comes.deadline.step} was due on {_far(comes.deadline.at, now)}, the latest of:"
    yield from _terms(comes.deadline)
    for each in comes.feeds:
        at = each.last_heard_at
        received = f"last message {moment(at)}" if at else "no message ever"
        yield f"Postponed: the feed {each.feed} was silent for too long ({received})."
    for unread in comes.unread:
        whose = "by it" if unread.named else "by any organization"
        yield (
            f"Postponed until {moment(unread.until)}: unreadable records of the feed {unread.feed} "
            f"may be use {whose}."
        )
    if comes.unread:
        yield (
            "See marketplace-worker dead-letters groups: redrive what can be read now; discard "
            "with --no-use what was no real use."
        )
    yield f"It is checked again on {_far(comes.looks_again_at, now)}."


def _on_hold(comes: OnHold, now: datetime) -> Iterator[str]:
    for hold in comes.holds:
        ends = f"until {moment(hold.expires_at)}" if hold.expires_at else "until it is released"
        yield f"Nothing: under a {hold.kind} hold since {moment(hold.placed_at)}, {ends}."
    at = f", not before {_far(comes.not_before, now)}" if comes.not_before else ""
    yield f"After that {comes.step}{at}: dwell and notices start again."


def _plan_ends(comes: PlanEnds, now: datetime) -> Iterator[str]:
    if comes.superseded:
        yield f"{comes.plan} was superseded, but its successor does not count yet."
    if comes.at > now:
        yield f"Canceled on {_far(comes.at, now)}: {comes.plan} ends then, reason {comes.reason}."
    else:
        yield (
            f"Canceled at the next poll of a worker: {comes.plan} ended on "
            f"{_far(comes.at, now)}, reason {comes.reason}."
        )


def _awaits(comes: AwaitsCompletion, now: datetime) -> Iterator[str]:
    yield f"{comes.subscription} is active since {moment(comes.since)}: reinstatement is pending."
    match comes.completed_by:
        case CompletedBy.SIGN_IN:
            yield "A sign-in of one of its users completes it."
        case CompletedBy.SUPPORT:
            yield "Support's reinstate request completes it."
    yield f"Meanwhile no step is taken, and the deadline of {comes.step} is paused."
    if comes.until is not None:
        yield f"That plan ends on {_far(comes.until, now)}; the deadline then resumes."


def _far(at: datetime, now: datetime) -> str:
    return f"{moment(at)} ({distance(at, now)})"


def _trip(trip: Trip) -> str:
    by = trip.by or ("the database's clock" if trip.limit is None else "a limit")
    return f"The guard for steps is tripped since {moment(trip.at)}, by {by}: {trip.reason}."


# --- what would stop it ---------------------------------------------------------------------------


def _remedy(remedy: Remedy) -> str:
    match remedy:
        case AnyPlan(own=own):
            again = [f"{key} becoming active again" for key in own]
            others = ["another subscription linked to it", "a commitment that has begun"]
            return f"An active plan: {listed([*again, *others], 'or')}."
        case PlanBegins(plan=plan, at=at):
            return f"{plan}, which begins on {moment(at)}."
        case NewSubscription(account=(marketplace, account), completed_by=completed_by):
            then = ", then a sign-in of one of its users" if completed_by else ""
            return f"A new {marketplace} subscription on billing account {account}{then}."
        case AzureNeedsSupport():
            return "If Azure reports it active again: also Support's reinstate request."
        case SignIn(after=after):
            return f"A sign-in of one of its users after {moment(after)}."
        case RequestToSupport():
            return _request(remedy)
        case AnyActivity():
            return "Any login or API request of the organization."
        case OtherTier():
            return "A change of its tier to plus or enterprise."
        case KillSwitch():
            return "An operator, for all organizations: marketplace-worker guard trip."


def _request(request: RequestToSupport) -> str:
    match request.request:
        case SupportRequestKind.REINSTATE_ORGANIZATION if request.grant_needed:
            return "Support: support.reinstate_organization with grant_until."
        case SupportRequestKind.EXTEND_GRACE:
            return f"Support: support.extend_grace, by up to {request.days_max} days more."
        case SupportRequestKind.PLACE_HOLD:
            return "Support: support.place_hold, while the hold is in place."
        case other:
            return f"Support: support.{other}."
