"""Decides on one fact: it updates what is stored, and the organizations concerned are settled.

Total: every fact meets every state; an outcome is a value, never an exception.
"""

from datetime import datetime
from enum import StrEnum

from marketplace_worker.lifecycle import restoring, support
from marketplace_worker.lifecycle.case import Case
from marketplace_worker.lifecycle.coverage.intervals import Trigger
from marketplace_worker.lifecycle.events import (
    WORKER,
    Event,
    EventKind,
    LockViolationDetails,
    request_correlation_id,
)
from marketplace_worker.lifecycle.facts import (
    ActivityFact,
    ApiRequested,
    ClockCorrected,
    ClockMoved,
    ClosureJudged,
    CommitmentLinked,
    Created,
    DeadlineCame,
    EpochBegan,
    EpochCompleted,
    Erased,
    Fact,
    GuardReleased,
    GuardTripped,
    LoggedIn,
    Notified,
    OwnerChanged,
    PublishedBefore,
    SubscriptionLinked,
    SupportRequested,
    TierChanged,
    Unrecognized,
)
from marketplace_worker.lifecycle.fleet import Fleet
from marketplace_worker.lifecycle.guard import GuardAnswers, GuardSession
from marketplace_worker.lifecycle.matching import concerned
from marketplace_worker.lifecycle.notes import Attention, Unchanged
from marketplace_worker.lifecycle.organization import Organization, OrganizationFact
from marketplace_worker.lifecycle.ownership import bears_on_holders, projection_of
from marketplace_worker.lifecycle.policy import Policies
from marketplace_worker.lifecycle.reanchoring import (
    WrongClockPeriod,
    announced_wrongly,
    reanchored,
    reanchored_safeguards,
)
from marketplace_worker.lifecycle.safeguards import Safeguards
from marketplace_worker.lifecycle.settle import BY_DEADLINE, CaseResult, case_result, settle
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.subscription import Link, Subscription
from marketplace_worker.lifecycle.values import dataclass
from marketplace_worker.lifecycle.vocabulary import (
    HoldKind,
    Identity,
    OrganizationId,
    SupportRequestKind,
)


class Outcome(StrEnum):
    """The result of a fact, as the journal records it."""

    APPLIED = "applied"
    REFUSED = "refused"
    """A request that was not granted: of Support; to release a guard that is not tripped; to erase
    an organization that is not deactivated or is under a legal hold; to judge a closure that is not
    in doubt."""
    STALE = "stale"
    """It did not change the subscription's projection: outdated, or known before."""
    NO_CHANGE = "no_change"
    """A kind that never changes a status, activity that changed nothing, a clock that went back, or
    any fact about an organization that was erased, a second erasure included."""
    UNKNOWN_KIND = "unknown_kind"
    KEPT = "kept"
    """About an organization that is not created yet; applied when it is."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The result of a fact.  `results`: for each organization that was settled, in order.

    `safeguards` are the new safeguards, and `worker_events` the worker's own events.  `answers`:
    what was read of the whole fleet.
    """

    outcome: Outcome
    safeguards: Safeguards
    answers: GuardAnswers
    subscription: Subscription | None = None
    results: tuple[CaseResult, ...] = ()
    worker_events: tuple[Event, ...] = ()

    @property
    def events(self) -> tuple[Event, ...]:
        """The events to publish, in order: the answer to a request comes after everything that the
        request caused, also after the worker's own events (lifecycle.md section 11).
        """
        return (*self.worker_events, *(event for result in self.results for event in result.events))


def apply(
    fact: Fact,
    fleet: Fleet,
    policies: Policies,
    *,
    now: datetime,
    replayed: GuardAnswers | None = None,
) -> Decision:
    """Decide on one fact at `now`, and store what was decided in the fleet.

    `replayed`: the fact is replayed, with these answers instead of the guard's current ones.
    """
    guard = GuardSession(fleet.safeguards, replayed)
    decider = _Decider(fleet, policies, guard, now, fact.identity)
    outcome, subscription, results = decider.on(fact)
    fleet.put(*(result.organization for result in results))
    fleet.safeguards = guard.safeguards
    return Decision(
        outcome, guard.safeguards, guard.answers, subscription, results, tuple(guard.events)
    )


def deadline_of(organization: Organization, now: datetime) -> DeadlineCame:
    """The fact that a deadline of the organization has come; without effect if none has."""
    # Its revision rises with each change, so the same moment twice is the same deadline.
    name = f"{organization.id}/{organization.revision}/{now.isoformat()}"
    return DeadlineCame(Identity(BY_DEADLINE, name), now, organization.id)


_Result = tuple[Outcome, Subscription | None, tuple[CaseResult, ...]]


@dataclass(frozen=True, slots=True)
class _Decider:
    """One decision: all that it may read, and the guard's session.

    It stores a changed subscription in the fleet itself, before whoever holds it is settled.
    """

    fleet: Fleet
    policies: Policies
    guard: GuardSession
    now: datetime
    identity: Identity

    def on(self, fact: Fact) -> _Result:
        match fact:
            case Notified():
                return self._on_notification(fact)
            case SubscriptionLinked():
                return self._on_link(fact)
            case Created() | TierChanged() | OwnerChanged() | CommitmentLinked():
                return self._on_organization_fact(fact)
            case SupportRequested():
                return self._on_support_request(fact)
            case LoggedIn() | ApiRequested():
                return self._on_activity(fact)
            case Erased():
                return self._on_erasure(fact)
            case DeadlineCame(organization=id_):
                case = self._case(
                    self.fleet.organization(id_), self.fleet, trigger=Trigger.DEADLINE
                )
                return Outcome.APPLIED, None, (settle(case),)
            case GuardTripped() | GuardReleased() | EpochBegan() | EpochCompleted() | ClockMoved():
                return self._on_guard_fact(fact), None, ()
            case ClockCorrected():
                return self._on_clock_correction(fact)
            case PublishedBefore() | ClosureJudged():
                return self._on_restore_fact(fact)
            case Unrecognized():
                return Outcome.UNKNOWN_KIND, None, ()

    def _case(
        self,
        organization: Organization,
        fleet: Fleet,
        *,
        correlation_id: str | None = None,
        trigger: Trigger = Trigger.NEWS,
    ) -> Case:
        by_deadline = self.identity.source == BY_DEADLINE
        cause = BY_DEADLINE if by_deadline else self.identity.id
        # A clock may jump back; an organization's own time does not.
        now = max(self.now, organization.decided_at or self.now)
        return Case(
            organization,
            fleet,
            self.policies,
            now,
            self.guard,
            cause,
            correlation_id,
            clock_at=self.now,
            trigger=trigger,
        )

    # --- subscriptions ---

    def _on_notification(self, fact: Notified) -> _Result:
        before = self.fleet.subscription(fact.subscription)
        after = before.with_note(fact.note)
        outcome = _outcome_by_kind(fact)
        read_before = _read(before, self.fleet) if outcome is None else None
        results = self._replace(before, after)
        if outcome is None:
            stale = _read(after, self.fleet) == read_before
            outcome = Outcome.STALE if stale else Outcome.APPLIED
        return outcome, after, results

    def _on_link(self, fact: SubscriptionLinked) -> _Result:
        if self.fleet.organization(fact.organization).erased_at is not None:
            return Outcome.NO_CHANGE, None, ()
        link = Link(
            fact.occurred_at,
            fact.identity.id,
            fact.organization,
            fact.plan_type,
            fact.billing_account,
        )
        before = self.fleet.subscription(fact.subscription)
        after = before.with_link(link)
        results = self._replace(before, after)
        return _applied_or_kept(self.fleet.organization(fact.organization)), after, results

    def _replace(self, before: Subscription, after: Subscription) -> tuple[CaseResult, ...]:
        """Store the changed register, and settle every holder of it, before or after the change.

        They are settled in order, each based on the decisions on the previous ones: a plan that one
        organization has proved to be its own is no other's.
        """
        holders = set[OrganizationId]()
        if bears_on_holders(self.fleet, before, after):
            holders |= concerned(self.fleet, after.key, self.now)
        self.fleet.put(after)
        holders |= concerned(self.fleet, after.key, self.now)
        view, results = self.fleet, []
        for holder in sorted(holders):
            results.append(settle(self._case(view.organization(holder), view)))
            view = view.with_organization(results[-1].organization)
        return tuple(results)

    # --- organizations ---

    def _on_organization_fact(self, fact: OrganizationFact) -> _Result:
        before = self.fleet.organization(fact.organization)
        if before.erased_at is not None:
            return Outcome.NO_CHANGE, None, ()
        case = self._case(before, self.fleet)
        case.update(before.with_fact(fact))
        results = [settle(case)]
        if isinstance(fact, Created | OwnerChanged):
            results += self._report_locks(fact)
        return _applied_or_kept(case.organization), None, tuple(results)

    def _report_locks(self, fact: Created | OwnerChanged) -> list[CaseResult]:
        """Report an email that is locked: whether it may be used is for the sign-up service
        (section 7).
        """
        results = []
        for locking in self.fleet.locking(fact.owner):
            if locking.id != fact.organization:
                case = self._case(locking, self.fleet)
                details = LockViolationDetails(fact.owner, used_by=fact.organization)
                case.emit([(EventKind.EMAIL_LOCK_VIOLATED, details)], effective_at=self.now)
                results.append(case_result(case))
        return results

    def _on_activity(self, fact: ActivityFact) -> _Result:
        case = self._case(self.fleet.organization(fact.organization), self.fleet)
        if isinstance(fact, LoggedIn):
            case.signed_in_at = fact.occurred_at
        results = settle(case)
        changed = results.organization != results.before
        return Outcome.APPLIED if changed else Outcome.NO_CHANGE, None, (results,)

    def _on_erasure(self, fact: Erased) -> _Result:
        before = self.fleet.organization(fact.organization)
        case = self._case(before, self.fleet)
        if before.erased_at is not None and fact.repeatable:
            return Outcome.NO_CHANGE, None, (case_result(case),)
        closed = before.state is State.DEACTIVATED and before.erased_at is None
        if not closed or HoldKind.LEGAL in before.holds_standing(case.now):
            return Outcome.REFUSED, None, ()
        case.erase()
        return Outcome.APPLIED, None, (case_result(case),)

    def _on_clock_correction(self, fact: ClockCorrected) -> _Result:
        """Move what was decided by the wrong clock, and settle the organization as it is now."""
        wrong = WrongClockPeriod(fact.since, fact.ahead)
        if fact.organization is None:
            before = self.guard.safeguards
            self.guard.safeguards = reanchored_safeguards(before, wrong)
            changed = self.guard.safeguards != before
            return Outcome.APPLIED if changed else Outcome.NO_CHANGE, None, ()
        stood = self.fleet.organization(fact.organization)
        case = self._case(reanchored(stood, wrong), self.fleet)
        case.before = stood
        if announced_wrongly(stood, wrong):
            case.withdraw_notice()
        return Outcome.APPLIED, None, (settle(case),)

    def _on_restore_fact(self, fact: PublishedBefore | ClosureJudged) -> _Result:
        case = self._case(self.fleet.organization(fact.organization), self.fleet)
        match fact:
            case PublishedBefore():
                case.update(restoring.with_published_numbers(case.organization, fact))
                return Outcome.APPLIED, None, (case_result(case),)
            case ClosureJudged():
                judged = restoring.judge_closure(case, fact)
                results = settle(case) if judged else case_result(case)
                return Outcome.APPLIED if judged else Outcome.REFUSED, None, (results,)

    def _on_guard_fact(
        self, fact: GuardTripped | GuardReleased | EpochBegan | EpochCompleted | ClockMoved
    ) -> Outcome:
        match fact:
            case ClockMoved():
                if not self.guard.move_clock(fact, now=self.now):
                    return Outcome.NO_CHANGE
            case GuardTripped():
                self.guard.trip(fact, now=self.now)
            case GuardReleased():
                if not self.guard.release(fact, now=self.now):
                    return Outcome.REFUSED
            case EpochBegan():
                restoring.begin_epoch(self.guard, fact, now=self.now)
            case EpochCompleted():
                restoring.complete_epoch(self.guard)
        return Outcome.APPLIED

    # --- Support ---

    def _on_support_request(self, fact: SupportRequested) -> _Result:
        locking = self._locking(fact)
        answering = self._answering(fact, locking)
        others = [self._unlock(each, fact) for each in locking if each.id != answering.id]
        case = self._case(answering, self.fleet, correlation_id=_correlation_id(answering, fact))
        if answering.id == WORKER:
            kind, details = support.answer_draft(fact, support.handle(case, fact))
            self.guard.emit(kind, details, now=self.now, causation_id=fact.identity.id)
            return Outcome.REFUSED, None, ()
        results = settle(case, request=fact)
        refused = results.events[-1].kind is EventKind.SUPPORT_REQUEST_REJECTED
        return Outcome.REFUSED if refused else Outcome.APPLIED, None, (*others, results)

    def _locking(self, fact: SupportRequested) -> list[Organization]:
        """Whose lock an unlock releases: one email may be locked by several (section 11)."""
        if fact.email is None or fact.problem is not None:
            return []
        return self.fleet.locking(fact.email)

    def _answering(self, fact: SupportRequested, locking: list[Organization]) -> Organization:
        """The subject of the answer: the organization named, else one that locks the email, else
        the worker itself.
        """
        named = self.fleet.organization(fact.organization or WORKER)
        if fact.request is not SupportRequestKind.UNLOCK_EMAIL or named.exists:
            return named
        return locking[-1] if locking else Organization(WORKER)

    def _unlock(self, locking: Organization, fact: SupportRequested) -> CaseResult:
        case = self._case(locking, self.fleet, correlation_id=_correlation_id(locking, fact))
        support.unlock(case, fact)
        return case_result(case)


def _correlation_id(organization: Organization, request: SupportRequested) -> str:
    """The correlation id of a request: that of a current cancellation, else its own."""
    cancellation = organization.cancellation
    return cancellation.correlation_id if cancellation else request_correlation_id(request.identity)


def _outcome_by_kind(fact: Notified) -> Outcome | None:
    """What becomes of a kind of notification that never changes a status; None: of any other."""
    if fact.attention is Attention.UNKNOWN_KIND:
        return Outcome.UNKNOWN_KIND
    return Outcome.NO_CHANGE if isinstance(fact.note.change, Unchanged) else None


def _read(subscription: Subscription, fleet: Fleet) -> object:
    """All that is read from a subscription's register."""
    return projection_of(fleet, subscription), subscription.predecessor, subscription.accounts


def _applied_or_kept(organization: Organization) -> Outcome:
    return Outcome.KEPT if organization.creation is None else Outcome.APPLIED
