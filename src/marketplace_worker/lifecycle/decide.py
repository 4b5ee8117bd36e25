"""What one fact does: it changes a register, and the organizations concerned are looked at.

Total: every fact meets every state; an outcome is a value, never an exception.
"""

from dataclasses import dataclass
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
    request_story,
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
from marketplace_worker.lifecycle.guard import Answers, Watch
from marketplace_worker.lifecycle.notes import Attention, Unchanged
from marketplace_worker.lifecycle.organization import Organization
from marketplace_worker.lifecycle.policy import Policies
from marketplace_worker.lifecycle.reanchoring import (
    WrongTime,
    announced_wrongly,
    reanchored,
    reanchored_safeguards,
)
from marketplace_worker.lifecycle.safeguards import Safeguards
from marketplace_worker.lifecycle.settle import BY_DEADLINE, Settled, settle, settled
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.subscription import Link, Subscription
from marketplace_worker.lifecycle.vocabulary import HoldKind, Identity, SupportRequestKind

Telling = Created | TierChanged | OwnerChanged | CommitmentLinked
"""What tells something of an organization itself."""


class Outcome(StrEnum):
    """What became of a fact, as the journal records it."""

    APPLIED = "applied"
    REFUSED = "refused"
    """A request that was not granted: of Support, to release a guard that is not tripped, to erase
    what is not deactivated or is under a legal hold, or to judge what is not in doubt."""
    STALE = "stale"
    """It changed nothing in the fold: old news, or said before."""
    NO_CHANGE = "no_change"
    """A kind that never changes a status, activity that changed nothing, a clock that went back, or
    what is said of an organization that was erased, a second erasure among it."""
    UNKNOWN_KIND = "unknown_kind"
    KEPT = "kept"
    """Of an organization that was not created yet; applied when it is."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What a fact came to.  `settled` has every organization that was looked at, by id.

    `safeguards` are as they are after it, and `said` is what the worker itself has to say.
    `answers`: what it was told of the whole fleet.
    """

    outcome: Outcome
    safeguards: Safeguards
    answers: Answers
    subscription: Subscription | None = None
    settled: tuple[Settled, ...] = ()
    said: tuple[Event, ...] = ()

    @property
    def events(self) -> tuple[Event, ...]:
        """What is to be published, in order: the answer to a request comes after all that the
        request caused, also after what the worker itself has to say (lifecycle.md section 11).
        """
        return (*self.said, *(event for settled in self.settled for event in settled.events))


def decide(
    fact: Fact, fleet: Fleet, policies: Policies, *, now: datetime, recalled: Answers | None = None
) -> Decision:
    """Decide on one fact at `now`.  The fleet is read and stays as it is.

    `recalled`: the fact is folded again, and is told of the fleet what it was told then.
    """
    watch = Watch(fleet.safeguards, recalled)
    deciding = _Deciding(fleet, policies, watch, now, fact.identity)
    outcome, subscription, looked_at = deciding.on(fact)
    said = tuple(watch.events)
    return Decision(outcome, watch.safeguards, watch.answers, subscription, looked_at, said)


def take(
    fact: Fact, fleet: Fleet, policies: Policies, *, now: datetime, recalled: Answers | None = None
) -> Decision:
    """Decide on one fact, and let the fleet hold what was decided."""
    decision = decide(fact, fleet, policies, now=now, recalled=recalled)
    if decision.subscription is not None:
        fleet.put(decision.subscription)
    fleet.put(*(settled.organization for settled in decision.settled))
    fleet.safeguards = decision.safeguards
    return decision


def deadline_of(organization: Organization, now: datetime) -> DeadlineCame:
    """The fact that one of its moments has come; harmless to decide on where none has."""
    # Its revision rises with each change, so the same moment twice is the same deadline.
    name = f"{organization.id}/{organization.revision}/{now.isoformat()}"
    return DeadlineCame(Identity(BY_DEADLINE, name), now, organization.id)


_Decided = tuple[Outcome, Subscription | None, tuple[Settled, ...]]


@dataclass(frozen=True, slots=True)
class _Deciding:
    """One decision: all that it may look at."""

    fleet: Fleet
    policies: Policies
    watch: Watch
    now: datetime
    identity: Identity

    def on(self, fact: Fact) -> _Decided:
        match fact:
            case Notified():
                return self._notified(fact)
            case SubscriptionLinked():
                return self._linked(fact)
            case Created() | TierChanged() | OwnerChanged() | CommitmentLinked():
                return self._told(fact)
            case SupportRequested():
                return self._asked(fact)
            case LoggedIn() | ApiRequested():
                return self._used(fact)
            case Erased():
                return self._erase(fact)
            case DeadlineCame(organization=id_):
                case = self._case(
                    self.fleet.organization(id_), self.fleet, trigger=Trigger.DEADLINE
                )
                return Outcome.APPLIED, None, (settle(case),)
            case GuardTripped() | GuardReleased() | EpochBegan() | EpochCompleted() | ClockMoved():
                return self._guarded(fact), None, ()
            case ClockCorrected():
                return self._correct(fact)
            case PublishedBefore() | ClosureJudged():
                return self._restored(fact)
            case Unrecognized():
                return Outcome.UNKNOWN_KIND, None, ()

    def _case(
        self,
        organization: Organization,
        fleet: Fleet,
        *,
        story: str | None = None,
        trigger: Trigger = Trigger.NEWS,
    ) -> Case:
        by_deadline = self.identity.source == BY_DEADLINE
        cause = BY_DEADLINE if by_deadline else self.identity.id
        # A clock may jump back; what was decided stays in the past.
        now = max(self.now, organization.decided_at or self.now)
        return Case(
            organization,
            fleet,
            self.policies,
            now,
            self.watch,
            cause,
            story,
            clock_at=self.now,
            trigger=trigger,
        )

    # --- subscriptions ---

    def _notified(self, fact: Notified) -> _Decided:
        before = self.fleet.subscription(fact.subscription)
        after = before.with_note(fact.note)
        view = self.fleet.with_subscription(after)
        outcome = _outcome(fact, before, after, self.fleet, view)
        return outcome, after, self._settle_holders(after, view)

    def _linked(self, fact: SubscriptionLinked) -> _Decided:
        if self.fleet.organization(fact.organization).erased_at is not None:
            return Outcome.NO_CHANGE, None, ()
        link = Link(
            fact.occurred_at,
            fact.identity.id,
            fact.organization,
            fact.plan_type,
            fact.billing_account,
        )
        after = self.fleet.subscription(fact.subscription).with_link(link)
        view = self.fleet.with_subscription(after)
        settled = self._settle_holders(after, view)
        return _applied_or_kept(view.organization(fact.organization)), after, settled

    def _settle_holders(self, subscription: Subscription, view: Fleet) -> tuple[Settled, ...]:
        """Also those that a change of its account no longer concerns; each knows what was decided
        of those before it, for what one has proved is no other's.
        """
        before = self.fleet.holders(subscription.key, self.now)
        looked_at = []
        for holder in sorted(before | view.holders(subscription.key, self.now)):
            looked_at.append(settle(self._case(view.organization(holder), view)))
            view = view.with_organization(looked_at[-1].organization)
        return tuple(looked_at)

    # --- organizations ---

    def _told(self, fact: Telling) -> _Decided:
        before = self.fleet.organization(fact.organization)
        if before.erased_at is not None:
            return Outcome.NO_CHANGE, None, ()
        case = self._case(before, self.fleet)
        case.become(_tell(before, fact))
        looked_at = [settle(case)]
        if isinstance(fact, Created | OwnerChanged):
            looked_at += self._report_locks(fact)
        return _applied_or_kept(case.organization), None, tuple(looked_at)

    def _report_locks(self, fact: Created | OwnerChanged) -> list[Settled]:
        """The sign-up service decides; we answer that the email is locked (section 7)."""
        told = []
        for locking in self.fleet.locking(fact.owner):
            if locking.id != fact.organization:
                case = self._case(locking, self.fleet)
                details = LockViolationDetails(fact.owner, used_by=fact.organization)
                case.say([(EventKind.EMAIL_LOCK_VIOLATED, details)], effective_at=self.now)
                told.append(settled(case))
        return told

    def _used(self, fact: ActivityFact) -> _Decided:
        case = self._case(self.fleet.organization(fact.organization), self.fleet)
        if isinstance(fact, LoggedIn):
            case.signed_in_at = fact.occurred_at
        looked_at = settle(case)
        changed = looked_at.organization != looked_at.before
        return Outcome.APPLIED if changed else Outcome.NO_CHANGE, None, (looked_at,)

    def _erase(self, fact: Erased) -> _Decided:
        before = self.fleet.organization(fact.organization)
        case = self._case(before, self.fleet)
        if before.erased_at is not None and fact.repeatable:
            return Outcome.NO_CHANGE, None, (settled(case),)
        closed = before.state is State.DEACTIVATED and before.erased_at is None
        if not closed or HoldKind.LEGAL in before.holds_standing(case.now):
            return Outcome.REFUSED, None, ()
        case.erase()
        return Outcome.APPLIED, None, (settled(case),)

    def _correct(self, fact: ClockCorrected) -> _Decided:
        """What it was by the wrong clock is gone: it is looked at as it really stands now."""
        wrong = WrongTime(fact.since, fact.ahead)
        if fact.organization is None:
            before = self.watch.safeguards
            self.watch.safeguards = reanchored_safeguards(before, wrong)
            changed = self.watch.safeguards != before
            return Outcome.APPLIED if changed else Outcome.NO_CHANGE, None, ()
        stood = self.fleet.organization(fact.organization)
        case = self._case(reanchored(stood, wrong), self.fleet)
        case.before = stood
        if announced_wrongly(stood, wrong):
            case.withdraw_notice()
        return Outcome.APPLIED, None, (settle(case),)

    def _restored(self, fact: PublishedBefore | ClosureJudged) -> _Decided:
        case = self._case(self.fleet.organization(fact.organization), self.fleet)
        match fact:
            case PublishedBefore():
                case.become(restoring.raised(case.organization, fact))
                return Outcome.APPLIED, None, (settled(case),)
            case ClosureJudged():
                judged = restoring.judge_closure(case, fact)
                looked_at = settle(case) if judged else settled(case)
                return Outcome.APPLIED if judged else Outcome.REFUSED, None, (looked_at,)

    def _guarded(
        self, fact: GuardTripped | GuardReleased | EpochBegan | EpochCompleted | ClockMoved
    ) -> Outcome:
        match fact:
            case ClockMoved():
                if not self.watch.move_clock(fact, now=self.now):
                    return Outcome.NO_CHANGE
            case GuardTripped():
                self.watch.trip(fact, now=self.now)
            case GuardReleased():
                if not self.watch.release(fact, now=self.now):
                    return Outcome.REFUSED
            case EpochBegan():
                restoring.begin_epoch(self.watch, fact, now=self.now)
            case EpochCompleted():
                restoring.complete_epoch(self.watch)
        return Outcome.APPLIED

    # --- Support ---

    def _asked(self, fact: SupportRequested) -> _Decided:
        locking = self._locking(fact)
        answering = self._answering(fact, locking)
        others = [self._unlock(each, fact) for each in locking if each.id != answering.id]
        case = self._case(answering, self.fleet, story=_story(answering, fact))
        if answering.id == WORKER:
            kind, details = support.to_say(fact, support.act(case, fact))
            self.watch.say(kind, details, now=self.now, causation_id=fact.identity.id)
            return Outcome.REFUSED, None, ()
        looked_at = settle(case, request=fact)
        refused = looked_at.events[-1].kind is EventKind.SUPPORT_REQUEST_REJECTED
        return Outcome.REFUSED if refused else Outcome.APPLIED, None, (*others, looked_at)

    def _locking(self, fact: SupportRequested) -> list[Organization]:
        """Whose lock an unlock releases: one email may be locked by several (section 11)."""
        if fact.email is None or fact.problem is not None:
            return []
        return self.fleet.locking(fact.email)

    def _answering(self, fact: SupportRequested, locking: list[Organization]) -> Organization:
        """The subject of the answer: the organization named, else one whose email it was, else the
        worker itself.
        """
        named = self.fleet.organization(fact.organization or WORKER)
        if fact.request is not SupportRequestKind.UNLOCK_EMAIL or named.exists:
            return named
        return locking[-1] if locking else Organization(WORKER)

    def _unlock(self, locking: Organization, fact: SupportRequested) -> Settled:
        case = self._case(locking, self.fleet, story=_story(locking, fact))
        support.unlock(case, fact)
        return settled(case)


def _story(organization: Organization, request: SupportRequested) -> str:
    """A request within a cancellation belongs to its story; else it is one of its own."""
    cancellation = organization.cancellation
    return cancellation.correlation_id if cancellation else request_story(request.identity)


def _tell(organization: Organization, fact: Telling) -> Organization:
    match fact:
        case Created():
            return organization.created(fact)
        case TierChanged():
            return organization.tier_changed(fact)
        case OwnerChanged():
            return organization.owner_changed(fact)
        case CommitmentLinked():
            return organization.commitment_linked(fact)


def _outcome(
    fact: Notified, before: Subscription, after: Subscription, fleet: Fleet, view: Fleet
) -> Outcome:
    if fact.attention is Attention.UNKNOWN_KIND:
        return Outcome.UNKNOWN_KIND
    if isinstance(fact.note.change, Unchanged):
        return Outcome.NO_CHANGE
    return Outcome.STALE if _read(before, fleet) == _read(after, view) else Outcome.APPLIED


def _read(subscription: Subscription, fleet: Fleet) -> object:
    """All that a register comes to."""
    return fleet.projection_of(subscription), subscription.predecessor, subscription.accounts


def _applied_or_kept(organization: Organization) -> Outcome:
    return Outcome.KEPT if organization.creation is None else Outcome.APPLIED
