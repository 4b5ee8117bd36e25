"""Takes the steps and writes the notices of one organization whose deadline has come.

The treatment of a due step is a verdict: `_judge` returns it and changes nothing, and only
`_act_on` acts on it.
"""

from datetime import datetime, timedelta

from marketplace_worker.lifecycle.case import Case
from marketplace_worker.lifecycle.coverage.intervals import next_commitment_at
from marketplace_worker.lifecycle.deadlines import (
    DeadlineTerm,
    NextDue,
    NoticeDue,
    StepDue,
    due_for_inactivity,
)
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.values import dataclass, replace
from marketplace_worker.lifecycle.verdicts import Allowed, FeedDoubts, Withheld
from marketplace_worker.lifecycle.vocabulary import DeactivationCause, Tier

RECHECK_AFTER = timedelta(days=1)
"""How often a waiting organization is checked: for a silent feed (section 5), or a pending
reinstatement.
"""

LONG_WAIT = timedelta(days=14)
"""A notice is written again if the step waited for longer than this past the announced date
(lifecycle.md section 12).
"""


@dataclass(frozen=True, slots=True)
class NoticeOutdated:
    """The step was withheld for so long that it must be announced again before it is taken."""


@dataclass(frozen=True, slots=True)
class Postponed:
    """The organization cannot be called inactive yet; it is checked again at `until`."""

    doubts: FeedDoubts
    until: datetime


@dataclass(frozen=True, slots=True)
class PostponedBefore:
    """It was postponed before, and the time of the next check has not come."""


Verdict = Allowed | Withheld | Postponed | PostponedBefore | NoticeOutdated
"""The treatment of a step whose deadline has come."""


def apply_due_steps(case: Case) -> None:
    """Take the step, or write the notice, whose deadline has come.

    Several deadlines may have passed without a check.  Each state's dwell is positive, so the loop
    ends after at most one step and one notice.
    """
    while True:
        match next_due(case):
            case NoticeDue() as due if due.at <= case.now:
                case.write_notice(due.step, due.announced_for_at)
            case StepDue() as due if due.at <= case.now:
                verdict = _judge(case, due)
                _act_on(case, due, verdict)
                if not isinstance(verdict, Allowed | NoticeOutdated):
                    return
            case _:
                return


def _judge(case: Case, due: StepDue) -> Verdict:
    """Decide what to do with a due step; changes nothing."""
    if _was_announced_long_ago(case) and case.guard.is_open:
        return NoticeOutdated()
    if case.organization.state is State.ACTIVE:
        if postponed_until(case) is not None:
            return PostponedBefore()
        doubts = _doubts(case)
        if doubts.exist:
            checks = (case.now - due.at) // RECHECK_AFTER + 1
            return Postponed(doubts, due.at + checks * RECHECK_AFTER)
    return case.guard.judge_step(
        due.step, case.policies.current.guard, case.fleet.population, now=case.fleet_time
    )


def _act_on(case: Case, due: StepDue, verdict: Verdict) -> None:
    if _was_announced_long_ago(case):
        case.guard.record_is_open()
    if isinstance(verdict, Allowed | Withheld):
        if case.organization.state is State.ACTIVE:
            _report_doubts(case, FeedDoubts())
        case.guard.act_on_step(verdict, causation_id=case.causation_id)
    match verdict:
        case NoticeOutdated():
            case.withdraw_notice()
        case PostponedBefore():
            pass
        case Postponed(doubts=doubts, until=until):
            _report_doubts(case, doubts)
            own = {each.feed for each in doubts.unreadable if each.organization is not None}
            noted = case.organization.with_unreadable_feeds(own, case.now.date())
            case.update(replace(noted, postponed_until=until, withheld_at=None))
        case Withheld():
            withheld_at = case.organization.withheld_at or case.now
            case.update(replace(case.organization, withheld_at=withheld_at))
        case Allowed():
            _apply_step(case, due)


def _apply_step(case: Case, due: StepDue) -> None:
    if case.organization.state is State.ACTIVE:
        postponed = case.organization.postponed_until is not None
        case.deactivate(DeactivationCause.INACTIVITY, case.now if postponed else due.at)
    else:
        case.enter(due.step, due.at)


def _was_announced_long_ago(case: Case) -> bool:
    """Whether the guard withheld the step until long after the date that its notice announced."""
    withheld_at, notice = case.organization.withheld_at, case.organization.notice
    if notice is None or withheld_at is None or withheld_at >= case.now:
        return False
    return case.now - notice.announced_for_at > LONG_WAIT


def _doubts(case: Case) -> FeedDoubts:
    """Why its silence cannot be believed: a feed was silent itself, or could not be read."""
    organization = case.organization
    assert organization.creation is not None
    anchor, rules = organization.creation.billing_cycle_anchor, case.policy.inactivity
    return case.guard.doubts(organization, case.fleet.feeds, anchor, rules, now=case.now)


def _report_doubts(case: Case, doubts: FeedDoubts) -> None:
    case.guard.report_doubts(
        doubts,
        case.organization,
        case.fleet.feeds,
        now=case.now,
        causation_id=case.causation_id,
    )


def postponed_until(case: Case) -> datetime | None:
    """When a postponed inactivity is checked again, where that is ahead."""
    until = case.organization.postponed_until
    return until if until is not None and case.now < until else None


# --- which deadline is next -----------------------------------------------------------------------


def next_due(case: Case) -> NextDue | None:
    """What is next without further messages: a step or a notice; None if no deadline runs."""
    if case.stands_still:
        return None
    due = case.due_in_cancellation()
    if due is not None:
        return due
    terms = inactivity_terms_of(case)
    if terms is not None:
        lead = case.policy.notice.inactivity
        return due_for_inactivity(case.organization, terms, lead, case.now)
    return None


def inactivity_terms_of(case: Case) -> tuple[DeadlineTerm, ...] | None:
    """When a free organization without a plan is inactive; None: it never is (section 5).

    Neither is one whose commitment is yet to start.
    """
    organization = case.organization
    if organization.state is not State.ACTIVE or case.covered.active(case.moment):
        return None
    if next_commitment_at(organization, case.now) is not None:
        return None
    assert organization.tier is not None
    if organization.tier.value is not Tier.FREE:
        return None
    return case.inactivity_terms()
