"""One organization during one decision: its transitions, and the events that they publish.

Only a `Case` changes a state; each change emits the events of lifecycle.md section 9.
"""

from collections.abc import Sequence
from dataclasses import field
from datetime import datetime
from typing import TypedDict

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
from marketplace_worker.lifecycle.values import dataclass, replace
from marketplace_worker.lifecycle.vocabulary import (
    DeactivationCause,
    Initiator,
    PlanType,
    StateReason,
    Tier,
)


class _Entering(TypedDict):
    """The fields of an organization that every transition sets."""

    state: State
    previous_state: State
    entered_at: datetime
    dwells_from: datetime | None
    pending: None
    notice: None
    withheld_at: None


@dataclass(slots=True)
class Case(OrganizationView):
    """One organization during one decision.

    `organization`: as decided so far; `before`: as stored.  `fleet` is only read.  `guard` judges
    each destructive step before it is taken.
    `correlation_id`: that of the events where no cancellation runs.  `signed_in_at`: the time of
    the login that is decided on, whether or not it is kept.  `clock_at`: the clock of decisions,
    where the organization's own time is ahead of it.
    """

    guard: GuardSession
    causation_id: str
    correlation_id: str | None = None
    events: list[Event] = field(default_factory=list)
    signed_in_at: datetime | None = None
    clock_at: datetime | None = None
    before: Organization = field(init=False)

    def __post_init__(self) -> None:
        """Keep the stored organization, to compare with."""
        self.before = self.organization

    @property
    def fleet_time(self) -> datetime:
        """The time by which the guard counts.

        An organization whose own time is ahead must not move the guard's hour for all others.
        """
        return self.now if self.clock_at is None else self.clock_at

    # --- transitions ---

    def cancel(self, last_end: ActiveInterval) -> None:
        """Start a cancellation: the last plan has ended."""
        correlation_id = str(
            event_id(self.organization.id, self.organization.sequence + 1, EventKind.CANCELED)
        )
        notice = self.organization.notice
        self.update(
            replace(
                self.organization,
                **self._entering(State.CANCELED),
                postponed_until=None,
                reason=StateReason(last_end.reason),
                initiator=last_end.initiator,
                plan_type=last_end.plan_type,
                cancellation=Cancellation(
                    last_end.ends_at, correlation_id, self.policies.current.version
                ),
            )
        )
        details = CancellationDetails(self.schedule(), held=self.organization.held(self.now))
        self.emit([(EventKind.CANCELED, details)], effective_at=last_end.ends_at)
        self._emit_withdrawn(notice)

    def follow_last_end(self, last_end: ActiveInterval) -> None:
        """Correct when and why the last plan ended; the deadlines follow (section 2)."""
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

    def await_completion(self, interval: ActiveInterval) -> None:
        """Pause the cancellation: a plan is active again; its reinstatement is not completed."""
        assert interval.subscription is not None
        assert interval.waits_for is not None
        pending = Pending(interval.subscription, interval.waits_for, interval.starts_at)
        begins = self.organization.pending is None
        self.update(replace(self.organization, pending=pending))
        if begins:
            self._emit_pending(EventKind.REINSTATEMENT_PENDING, pending)

    def lapse_reinstatement(self) -> None:
        """Resume the cancellation: the pending plan ended before completion, or is another's.

        The deadlines go on with the time that was left.
        """
        pending = self.organization.pending
        assert pending is not None
        self.update(replace(self.organization, pending=None))
        self._emit_pending(EventKind.REINSTATEMENT_LAPSED, pending)

    def _emit_pending(self, kind: EventKind, pending: Pending) -> None:
        details = ReinstatementDetails(pending.subscription, pending.completed_by)
        self.emit([(kind, details)], effective_at=self.now)

    def reinstate(self, proof: ActiveInterval, initiator: Initiator) -> None:
        """End the cancellation: a plan is active again.  Undoes exactly what was revoked."""
        before = self.organization
        assert before.cancellation is not None
        correlation_id = before.cancellation.correlation_id
        self.update(
            replace(
                self.organization,
                **self._entering(State.ACTIVE),
                reason=StateReason.REINSTATED,
                initiator=initiator,
                plan_type=proof.plan_type,
                cancellation=None,
            )
        )
        self.emit(
            effects.of_reinstatement(before.state),
            effective_at=self.now,
            correlation_id=correlation_id,
        )
        self._emit_withdrawn(before.notice, correlation_id)

    def enter(self, state: State, at: datetime) -> None:
        """Enter the next state of a cancellation, whose deadline was at `at`."""
        if state is State.DEACTIVATED:
            self.deactivate(DeactivationCause.MARKETPLACE_CANCELLATION, at)
            return
        self.update(replace(self.organization, **self._entering(state)))
        self.emit(effects.of_step(state), effective_at=at)

    def deactivate(self, cause: DeactivationCause, at: datetime) -> None:
        """Deactivate the organization; the cause decides whether that can be undone (section 6)."""
        before, removed = self.organization, self._removed()
        assert before.owner is not None, "a created organization has an owner"
        reason, initiator, plan_type = _why_deactivated(cause, before)
        self.update(
            replace(
                self.organization,
                **self._entering(State.DEACTIVATED),
                postponed_until=None,
                reason=reason,
                initiator=initiator,
                plan_type=plan_type,
                cancellation=None if cause.recoverable else before.cancellation or self._lost(),
                deactivation_cause=cause,
                locked_email=before.owner.value,
                published_closed=None,
            )
        )
        announced = before.notice.correlation_id if before.notice else None
        correlation_id = _correlation_id_of(before) or announced
        drafts = effects.of_deactivation(cause, before.state, removed, before.owner.value)
        self.emit(drafts, effective_at=at, correlation_id=correlation_id)
        notice = before.notice
        if cause is DeactivationCause.SUPPORT_REQUEST or (
            notice is not None and notice.step is not State.DEACTIVATED
        ):
            self._emit_withdrawn(notice, correlation_id)

    def _lost(self) -> Cancellation:
        """A replacement for a cancellation that a restore has lost: it ended now, by the events."""
        sequence = self.organization.sequence + 1
        correlation_id = str(event_id(self.organization.id, sequence, EventKind.DEACTIVATED))
        return Cancellation(self.now, correlation_id, self.policies.current.version)

    def _removed(self) -> SubscriptionsDetails:
        organization = self.organization
        return SubscriptionsDetails(
            self.covered.subscriptions,
            tuple(
                c.commitment_id
                for c in organization.commitments
                if organization.keeps(c.updated_at)
            ),
            tuple(g.id for g in organization.grants if organization.keeps(g.starts_at)),
        )

    def reactivate(self) -> None:
        """Undo a deactivation for Support: active, on the free tier, without the old plans."""
        before = self.organization
        assert before.entered_at is not None
        self.update(
            replace(
                self.organization,
                # A hold may have ended while it was deactivated: that stays as it is stored.
                **self._entering(State.ACTIVE, before.dwells_from),
                tier=LatestWins(self.now, self.causation_id, Tier.FREE),
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
        """Erase what is personal of a deactivated organization, the lock on its email too."""
        locked = self.organization.locked_email
        if locked is not None:
            self.emit([(EventKind.EMAIL_UNLOCKED, EmailDetails(locked))], effective_at=self.now)
        self.update(self.organization.without_personal_data(self.now))
        self.emit([(EventKind.ERASED, None)], effective_at=self.now)

    def write_notice(self, step: State, announced_for_at: datetime) -> None:
        """Announce the next step and its date; a step that needs a notice is never taken without
        one.
        """
        notice = Notice(step, announced_for_at, given_at=self.now)
        if self.organization.cancellation is None:
            sequence = self.organization.sequence + 1
            correlation_id = str(event_id(self.organization.id, sequence, EventKind.NOTICE_GIVEN))
            notice = replace(notice, correlation_id=correlation_id)
        self.update(replace(self.organization, notice=notice))
        details = NoticeDetails(step, announced_for_at, self.schedule())
        self.emit(
            [(EventKind.NOTICE_GIVEN, details)],
            effective_at=self.now,
            correlation_id=notice.correlation_id,
        )

    def withdraw_notice(self) -> None:
        """Withdraw the standing notice; does nothing where there is none."""
        notice = self.organization.notice
        self.update(replace(self.organization, notice=None, withheld_at=None, postponed_until=None))
        self._emit_withdrawn(notice)

    def _emit_withdrawn(self, notice: Notice | None, correlation_id: str | None = None) -> None:
        if notice is not None:
            details = NoticeDetails(notice.step, notice.announced_for_at, schedule=None)
            self.emit(
                [(EventKind.NOTICE_WITHDRAWN, details)],
                effective_at=self.now,
                correlation_id=correlation_id or notice.correlation_id,
            )

    def _entering(self, state: State, dwells_from: datetime | None = None) -> _Entering:
        """The changes that every transition makes, for `replace`.

        The previous state's next step is obsolete, and with it its notice, its withholding by the
        guard, and a pending reinstatement.
        """
        return {
            "state": state,
            "previous_state": self.organization.state,
            "entered_at": self.now,
            "dwells_from": dwells_from,
            "pending": None,
            "notice": None,
            "withheld_at": None,
        }

    # --- emitting ---

    def emit(
        self,
        drafts: Sequence[effects.EventDraft],
        *,
        effective_at: datetime,
        correlation_id: str | None = None,
    ) -> None:
        """Add events that belong together: the state event first, then its effects.

        Their correlation id is that of the current cancellation, else the given one, else that of
        the case; without any, each event starts its own story.
        """
        organization = self.organization
        standing = self.standing() if organization.exists else self.absence()
        correlation_id = _correlation_id_of(organization) or correlation_id or self.correlation_id
        self.events += [
            Event(
                kind=kind,
                subject=organization.id,
                sequence=sequence,
                decided_at=self.now,
                effective_at=effective_at,
                causation_id=self.causation_id,
                correlation_id=correlation_id or str(event_id(organization.id, sequence, kind)),
                standing=None if kind is EventKind.ERASED else standing,
                details=details,
            )
            for sequence, (kind, details) in enumerate(drafts, organization.sequence + 1)
        ]
        self.organization = replace(
            organization, sequence=organization.sequence + len(drafts), decided_at=self.now
        )


def _correlation_id_of(organization: Organization) -> str | None:
    """The correlation id of the cancellation that runs."""
    cancellation = organization.cancellation
    return cancellation.correlation_id if cancellation else None


def _why_deactivated(
    cause: DeactivationCause, before: Organization
) -> tuple[StateReason | None, Initiator | None, PlanType | None]:
    """Reason, initiator and plan type of a deactivation: those of its cancellation, or its own."""
    match cause:
        case DeactivationCause.MARKETPLACE_CANCELLATION if before.cancellation is not None:
            return before.reason, before.initiator, before.plan_type
        case DeactivationCause.MARKETPLACE_CANCELLATION:
            return StateReason.UNKNOWN, Initiator.SYSTEM, None
        case DeactivationCause.INACTIVITY:
            return StateReason.INACTIVITY, Initiator.SYSTEM, None
        case DeactivationCause.SUPPORT_REQUEST:
            return StateReason.SUPPORT_REQUEST, Initiator.SUPPORT, None
