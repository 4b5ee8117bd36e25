"""Finds what would stop the next change: who could do what, and what would happen by itself."""

from collections.abc import Iterator

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
from marketplace_worker.explain.situation import next_beginning
from marketplace_worker.explain.values import (
    AwaitsCompletion,
    ComesBack,
    NextChange,
    NoChangeReason,
    NothingComes,
    NoticeComes,
    OnHold,
    PlanEnds,
    PlanStarts,
    StepComes,
    StepPostponed,
    StepWithheld,
)
from marketplace_worker.lifecycle.case import Case
from marketplace_worker.lifecycle.coverage.attachments import Attachment
from marketplace_worker.lifecycle.notes import Activated, Note
from marketplace_worker.lifecycle.ownership import sole_holder
from marketplace_worker.lifecycle.policy import AzureReinstatement
from marketplace_worker.lifecycle.projection import SubscriptionStatus, fold
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.vocabulary import (
    CompletedBy,
    Marketplace,
    SubscriptionKey,
    SupportRequestKind,
)

_RANK_MAX = 1_000
"""Later than any row of the tables of marketplaces.md."""


def remedies(case: Case, comes: NextChange) -> tuple[Remedy, ...]:
    """What would stop the next change or undo it; empty if nothing is due."""
    match comes:
        case NothingComes(because=NoChangeReason.DEACTIVATED) if case.organization.recoverable:
            return (RequestToSupport(SupportRequestKind.REACTIVATE_ORGANIZATION),)
        case NothingComes() | ComesBack() | PlanStarts():
            return ()
        case PlanEnds():
            return (AnyPlan(_may_come_back(case)), *_beginning(case))
        case AwaitsCompletion():
            return tuple(_completing(case, comes))
        case NoticeComes() | StepComes():
            return (*_stopping(case), *_by_operators(case))
        case StepWithheld() | StepPostponed() | OnHold():
            return tuple(_stopping(case))


def _completing(case: Case, comes: AwaitsCompletion) -> Iterator[Remedy]:
    if comes.completed_by is CompletedBy.SIGN_IN:
        yield SignIn(comes.since)
    yield RequestToSupport(SupportRequestKind.REINSTATE_ORGANIZATION)
    yield AnyPlan(_may_come_back(case))


def _stopping(case: Case) -> Iterator[Remedy]:
    if case.organization.state is State.ACTIVE:
        yield AnyActivity()
        yield AnyPlan(())
        yield OtherTier()
        yield from _hold(case)
        return
    yield AnyPlan(_may_come_back(case))
    yield from _beginning(case)
    yield from _matching(case)
    yield RequestToSupport(SupportRequestKind.REINSTATE_ORGANIZATION, grant_needed=True)
    yield from _hold(case)
    days = _days_left(case)
    if days > 0:
        yield RequestToSupport(SupportRequestKind.EXTEND_GRACE, days_max=days)


def _hold(case: Case) -> Iterator[Remedy]:
    if not case.organization.held(case.now):
        yield RequestToSupport(SupportRequestKind.PLACE_HOLD)


def _by_operators(case: Case) -> Iterator[Remedy]:
    if case.guard.safeguards.trip is None:
        yield KillSwitch()


def _days_left(case: Case) -> int:
    cancellation = case.organization.cancellation
    assert cancellation is not None
    return max((case.policy.grace.max_extension - cancellation.extension).days, 0)


def _beginning(case: Case) -> Iterator[PlanBegins]:
    begins = next_beginning(case.covered, case.now)
    if begins is not None:
        yield PlanBegins(begins.plan, begins.starts_at)


# --- plans that could be active again -------------------------------------------------------------


def _may_come_back(case: Case) -> tuple[SubscriptionKey, ...]:
    """Its subscriptions that no longer count as active, but could again."""
    return tuple(
        each.subscription.key
        for each in case.covered.attachments
        if each.current and _ended_for_now(each)
    )


def _ended_for_now(attachment: Attachment) -> bool:
    """Whether it is over, and the marketplace saying that it is active would count."""
    if attachment.projection.status not in {
        SubscriptionStatus.SUSPENDED,
        SubscriptionStatus.ENDED,
        SubscriptionStatus.ENDING,
    }:
        return False
    register = attachment.subscription
    last_at = max((note.occurred_at for note in register.notes), default=None)
    if last_at is None:
        return False
    revived = register.with_note(Note(last_at, _RANK_MAX, "if it were active again", Activated()))
    return fold(revived, attachment.links).status is SubscriptionStatus.ACTIVE


def _matching(case: Case) -> Iterator[Remedy]:
    """Its billing accounts that belong to no other organization (lifecycle.md section 4)."""
    accounts, azure = set(), False
    for each in case.covered.attachments:
        if not each.current:
            continue
        key, account = each.subscription.key, each.subscription.billing_account
        azure = azure or key.marketplace is Marketplace.AZURE
        if account is None:
            continue
        held_by = sole_holder(case.fleet, (key.marketplace, account), case.now)
        if held_by == case.organization.id:
            accounts.add((key.marketplace, account))
    rules = case.policy.reinstatement
    for found in sorted(accounts):
        yield NewSubscription(found, CompletedBy.SIGN_IN if rules.sign_in_required else None)
    if azure and rules.azure is AzureReinstatement.SUPPORT:
        yield AzureNeedsSupport()
