"""Decisions after a restore, when the topics hold more than the database.

Published sequence numbers are not used again, and an organization that was deactivated is not
reopened by a database that has lost the deactivation (docs/delivery.md).
"""

from datetime import datetime

from marketplace_worker.lifecycle.case import Case
from marketplace_worker.lifecycle.facts import ClosureJudged, EpochBegan, PublishedBefore
from marketplace_worker.lifecycle.guard import GuardSession
from marketplace_worker.lifecycle.organization import Organization
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.values import replace


def begin_epoch(guard: GuardSession, fact: EpochBegan, *, now: datetime) -> None:
    """Trip the guard, as an event with a number that was not published before."""
    before = guard.safeguards
    guard.safeguards = replace(
        before,
        sequence=max(before.sequence, fact.sequence),
        set_back_at=before.set_back_at or now,
        epoch=before.epoch if before.epoch_open else before.epoch + 1,
        epoch_open=True,
    )
    guard.trip(fact, now=now)


def complete_epoch(guard: GuardSession) -> None:
    """Allow the guard to be released; it stays tripped until then."""
    guard.safeguards = replace(guard.safeguards, set_back_at=None, epoch_open=False)


def with_published_numbers(organization: Organization, fact: PublishedBefore) -> Organization:
    """A copy that continues the published numbers; if it was published as deactivated and is not so
    here, it waits for an operator.
    """
    known = organization.state is State.DEACTIVATED
    return replace(
        organization,
        sequence=max(organization.sequence, fact.sequence),
        revision=max(organization.revision, fact.revision),
        published_closed=organization.published_closed if known else fact.deactivated_for,
    )


def judge_closure(case: Case, fact: ClosureJudged) -> bool:
    """Apply the operator's judgement; False if there is nothing to judge, or too little known to
    deactivate.

    An organization that continues starts its dwell and its notices again, as after a hold.
    """
    cause = case.organization.published_closed
    if cause is None or not case.organization.exists:
        return False
    if fact.stands:
        case.deactivate(cause, case.now)
        return True
    in_cancellation = case.organization.state.in_cancellation
    case.update(
        replace(
            case.organization,
            published_closed=None,
            dwells_from=case.now if in_cancellation else case.organization.dwells_from,
        )
    )
    case.withdraw_notice()
    return True
