"""One organization under decision: what becomes of it, and what is said of that.

Only a `Case` moves a state; each move says what lifecycle.md section 9 asks for.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from marketplace_worker.lifecycle import effects
from marketplace_worker.lifecycle.cancellation import Cancellation, Notice, Pending
from marketplace_worker.lifecycle.coverage.intervals import ActiveInterval
from marketplace_worker.lifecycle.events import (
    CancellationDetails,
    EmailDetails,
    Event,
    EventKind,
    NoticeDetails,
    ReinstatementDetails,
    SubscriptionsDetails,
    event_id,
)
from marketplace_worker.lifecycle.guard import GuardSession
from marketplace_worker.lifecycle.organization import LatestWins, Organization, Recovery
from marketplace_worker.lifecycle.organization_view import OrganizationView
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.vocabulary import DeactivationCause, Initiator, StateReason, Tier


@dataclass(slots=True)
class Case(OrganizationView):
    """Lives for one look at one organization.

    `organization` is it as decided so far, and `before` as it stood; `fleet` is read, `guard` is
    asked before harm.
    `correlation_id`: the story that events belong to where no cancellation is one.
    `signed_in_at`: when the login was that is decided on, whether or not it is kept.  `clock_at`:
    the clock of decisions, where the organization's own time is ahead of it.
    """

    guard: GuardSession
    causation_id: str
    correlation_id: str | None = None
    events: list[Event] = field(default_factory=list)
    signed_in_at: datetime | None = None
    clock_at: datetime | None = None
    before: Organization = field(init=False)

    def __post_init__(self) -> None:
        """Keep what it begins with."""
        self.before = self.organization

    @property
    def fleet_time(self) -> datetime:
        """By which the guard counts: one organization that is ahead forgets nothing of others."""
        return self.now if self.clock_at is None else self.clock_at

    # --- what is decided ---

    def cancel(self, last_end: ActiveInterval) -> None:
        """The last plan has ended: the beginning of the way down."""
        story = str(
            event_id(self.organization.id, self.organization.sequence + 1, EventKind.CANCELED)
        )
        notice = self.organization.notice
        self.update(
            replace(
                self.organization,
                state=State.CANCELED,
                previous_state=self.organization.state,
                entered_at=self.now,
                dwells_from=None,
                notice=None,
                withheld_at=None,
                postponed_until=None,
                reason=StateReason(last_end.reason),
                initiator=last_end.initiator,
                plan_type=last_end.plan_type,
                cancellation=Cancellation(last_end.ends_at, story, self.policies.current.version),
            )
        )
        details = CancellationDetails(self.schedule(), held=self.organization.held(self.now))
        self.emit([(EventKind.CANCELED, details)], effective_at=last_end.ends_at)
        self._emit_withdrawn(notice)

    def follow_last_end(self, last_end: ActiveInterval) -> None:
        """When or why the last plan ended is told anew; the deadlines follow (section 2)."""
        organization, cancellation = self.organization, self.organization.cancellation
        assert cancellation is not None
        reason = StateReason(last_end.reason)
        known = (organization.reason, organization.initiator, organization.plan_type)
        if (
            known == (reason, last_end.initiator, last_end.plan_type)
            and cancellation.canceled_at == last_end.ends_at
        ):
            return
        self.update(
            replace(
                organization,
                reason=reason,
                initiator=last_end.initiator,
                plan_type=last_end.plan_type,
                cancellation=replace(
                    cancellation,
                    canceled_at=last_end.ends_at,
                    moved_from=cancellation.decided_canceled_at,
                ),
            )
        )

    def record_pending_intervals(self) -> None:
        """The clock stood still for a plan also where that turns out to be another's."""
        cancellation = self.organization.cancellation
        assert cancellation is not None
        waited = self.covered.waited(cancellation, self.now)
        if waited != cancellation.waited:
            cancellation = replace(cancellation, waited=waited)
            self.update(replace(self.organization, cancellation=cancellation))

    def await_completion(self, interval: ActiveInterval) -> None:
        """A plan is active again; the clock stands still until the reinstatement is completed."""
        assert interval.subscription is not None
        assert interval.waits_for is not None
        pending = Pending(interval.subscription, interval.waits_for, interval.starts_at)
        begins = self.organization.pending is None
        self.update(replace(self.organization, pending=pending))
        if begins:
            self._emit_pending(EventKind.REINSTATEMENT_PENDING, pending)

    def lapse_reinstatement(self) -> None:
        """What was pending ended before it was completed, or is another's; the deadlines go on with
        the time that was left.
        """
        pending = self.organization.pending
        assert pending is not None
        self.update(replace(self.organization, pending=None))
        self._emit_pending(EventKind.REINSTATEMENT_LAPSED, pending)

    def _emit_pending(self, kind: EventKind, pending: Pending) -> None:
        details = ReinstatementDetails(pending.subscription, pending.completed_by)
        self.emit([(kind, details)], effective_at=self.now)

    def reinstate(self, proof: ActiveInterval, initiator: Initiator) -> None:
        """It has an active plan again: undo what was in force, and nothing else."""
        before = self.organization
        assert before.cancellation is not None
        story = before.cancellation.correlation_id
        self.update(
            replace(
                before,
                state=State.ACTIVE,
                previous_state=before.state,
                entered_at=self.now,
                dwells_from=None,
                pending=None,
                notice=None,
                withheld_at=None,
                reason=StateReason.REINSTATED,
                initiator=initiator,
                plan_type=proof.plan_type,
                cancellation=None,
            )
        )
        self.emit(effects.of_reinstatement(before.state), effective_at=self.now, story=story)
        self._emit_withdrawn(before.notice, story)

    def enter(self, state: State, at: datetime) -> None:
        """Take the step of a cancellation whose deadline has come."""
        if state is State.DEACTIVATED:
            self.deactivate(DeactivationCause.MARKETPLACE_CANCELLATION, at)
            return
        before = self.organization
        self.update(
            replace(
                before,
                state=state,
                previous_state=before.state,
                entered_at=self.now,
                dwells_from=None,
                notice=None,
                withheld_at=None,
            )
        )
        self.emit(effects.of_step(state), effective_at=at)

    def deactivate(self, cause: DeactivationCause, at: datetime) -> None:
        """Close the organization; its cause tells whether it can come back (section 6)."""
        before, removed = self.organization, self._removed()
        assert before.owner is not None, "a created organization has an owner"
        closed = replace(
            _with_the_reason_of(cause, before),
            state=State.DEACTIVATED,
            previous_state=before.state,
            entered_at=self.now,
            dwells_from=None,
            pending=None,
            notice=None,
            withheld_at=None,
            postponed_until=None,
            cancellation=None if cause.recoverable else before.cancellation or self._lost(),
            deactivation_cause=cause,
            locked_email=before.owner.value,
            published_closed=None,
        )
        self.update(closed)
        announced = before.notice.correlation_id if before.notice else None
        story = _story(before) or announced
        drafts = effects.of_deactivation(cause, before.state, removed, before.owner.value)
        self.emit(drafts, effective_at=at, story=story)
        notice = before.notice
        if cause is DeactivationCause.SUPPORT_REQUEST or (
            notice is not None and notice.step is not State.DEACTIVATED
        ):
            self._emit_withdrawn(notice, story)

    def _lost(self) -> Cancellation:
        """Of a cancellation that ran its course, and that a restore has lost: all that is known."""
        sequence = self.organization.sequence + 1
        story = str(event_id(self.organization.id, sequence, EventKind.DEACTIVATED))
        return Cancellation(self.now, story, self.policies.current.version)

    def _removed(self) -> SubscriptionsDetails:
        organization = self.organization
        return SubscriptionsDetails(
            self.covered.subscriptions,
            tuple(
                c.commitment_id for c in organization.commitments if organization.keeps(c.told_at)
            ),
            tuple(g.id for g in organization.grants if organization.keeps(g.starts_at)),
        )

    def reactivate(self) -> None:
        """Support undoes a deactivation: active again, on the free tier, without the old plans."""
        before = self.organization
        assert before.entered_at is not None
        self.update(
            replace(
                before,
                tier=LatestWins(self.now, self.causation_id, Tier.FREE),
                state=State.ACTIVE,
                previous_state=before.state,
                entered_at=self.now,
                reason=StateReason.REACTIVATED,
                initiator=Initiator.SUPPORT,
                plan_type=None,
                deactivation_cause=None,
                recoveries=(*before.recoveries, Recovery(before.entered_at, self.now)),
                locked_email=None,
            )
        )
        self.emit(effects.of_reactivation(before.locked_email), effective_at=self.now)

    def erase(self) -> None:
        """Keep nothing personal of what is closed, not even the lock on an email."""
        locked = self.organization.locked_email
        if locked is not None:
            self.emit([(EventKind.EMAIL_UNLOCKED, EmailDetails(locked))], effective_at=self.now)
        self.update(self.organization.without_personal_data(self.now))
        self.emit([(EventKind.ERASED, None)], effective_at=self.now)

    def write_notice(self, step: State, names: datetime) -> None:
        """Announce the next step; without a notice it is never taken."""
        notice = Notice(step, names, given_at=self.now)
        if self.organization.cancellation is None:
            sequence = self.organization.sequence + 1
            story = str(event_id(self.organization.id, sequence, EventKind.NOTICE_GIVEN))
            notice = replace(notice, correlation_id=story)
        self.update(replace(self.organization, notice=notice))
        details = NoticeDetails(step, names, self.schedule())
        self.emit(
            [(EventKind.NOTICE_GIVEN, details)],
            effective_at=self.now,
            story=notice.correlation_id,
        )

    def withdraw_notice(self) -> None:
        """The announced step is called off, or put off by a person; nothing where none stands."""
        notice = self.organization.notice
        self.update(replace(self.organization, notice=None, withheld_at=None, postponed_until=None))
        self._emit_withdrawn(notice)

    def _emit_withdrawn(self, notice: Notice | None, story: str | None = None) -> None:
        if notice is not None:
            details = NoticeDetails(notice.step, notice.names, schedule=None)
            self.emit(
                [(EventKind.NOTICE_WITHDRAWN, details)],
                effective_at=self.now,
                story=story or notice.correlation_id,
            )

    # --- emitting ---

    def emit(
        self,
        drafts: Sequence[effects.EventDraft],
        *,
        effective_at: datetime,
        story: str | None = None,
    ) -> None:
        """Write events that stand together: the state event first, then its effects.

        They belong to the cancellation's story where one runs, else to the one given, else to that
        of the case; without any, each begins one of its own.
        """
        organization = self.organization
        standing = self.standing() if organization.exists else self.absence()
        story = _story(organization) or story or self.correlation_id
        self.events += (
            Event(
                kind=kind,
                subject=organization.id,
                sequence=sequence,
                decided_at=self.now,
                effective_at=effective_at,
                causation_id=self.causation_id,
                correlation_id=story or str(event_id(organization.id, sequence, kind)),
                standing=None if kind is EventKind.ERASED else standing,
                details=details,
            )
            for sequence, (kind, details) in enumerate(drafts, organization.sequence + 1)
        )
        self.organization = replace(
            organization, sequence=organization.sequence + len(drafts), decided_at=self.now
        )


def _story(organization: Organization) -> str | None:
    """The story that goes on, of the cancellation."""
    cancellation = organization.cancellation
    return cancellation.correlation_id if cancellation else None


def _with_the_reason_of(cause: DeactivationCause, before: Organization) -> Organization:
    """What is deactivated for another reason than its cancellation is not in one any more."""
    match cause:
        case DeactivationCause.MARKETPLACE_CANCELLATION if before.cancellation is not None:
            return before
        case DeactivationCause.MARKETPLACE_CANCELLATION:
            reason, initiator = StateReason.UNKNOWN, Initiator.SYSTEM
        case DeactivationCause.INACTIVITY:
            reason, initiator = StateReason.INACTIVITY, Initiator.SYSTEM
        case DeactivationCause.SUPPORT_REQUEST:
            reason, initiator = StateReason.SUPPORT_REQUEST, Initiator.SUPPORT
    return replace(before, reason=reason, initiator=initiator, plan_type=None)
