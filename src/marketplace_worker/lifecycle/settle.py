"""Brings an organization's state in line with its plans, its deadlines and the time.

The only place that moves a state.  News cancel and reinstate; every later step, and every notice,
waits for its deadline.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum

from marketplace_worker.lifecycle import effects
from marketplace_worker.lifecycle.coverage import (
    Claim,
    Coverage,
    coverage,
    current_plans,
    plan_summaries,
    usage_closed_at,
)
from marketplace_worker.lifecycle.deadlines import (
    Clock,
    NoticeDue,
    StepDue,
    due,
    notice_of,
    schedule,
)
from marketplace_worker.lifecycle.events import (
    CancellationDetails,
    DeactivationCause,
    EmailDetails,
    Event,
    EventKind,
    MeteringDetails,
    NoticeDetails,
    ScheduledStep,
    Snapshot,
    StateReason,
    SubscriptionsDetails,
)
from marketplace_worker.lifecycle.fleet import Fleet
from marketplace_worker.lifecycle.organization import (
    Cancellation,
    Notice,
    Organization,
    Reported,
)
from marketplace_worker.lifecycle.plans import FINAL_REPORT_WINDOW
from marketplace_worker.lifecycle.policy import Policy
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.vocabulary import Initiator

BY_DEADLINE = "deadline"
"""The `causationid` of what no message caused (events.md section 3)."""


class Trigger(Enum):
    """Why an organization is looked at: something was heard of it, or one of its moments came."""

    NEWS = "news"
    DEADLINE = "deadline"


@dataclass(frozen=True, slots=True)
class Settled:
    """An organization before and after a look at it.

    `due_at`: when to look again; None: only on news.
    """

    before: Organization
    organization: Organization
    events: tuple[Event, ...]
    due_at: datetime | None


def settle(
    organization: Organization,
    fleet: Fleet,
    policy: Policy,
    *,
    now: datetime,
    trigger: Trigger,
    causation_id: str = BY_DEADLINE,
) -> Settled:
    """Decide what is to be decided about one organization at `now`.

    Total: every state meets every set of plans.  An organization that was never created keeps what
    was told of it, and nothing is decided until it is.
    """
    if organization.creation is None:
        return Settled(organization, organization, (), None)
    covered = coverage(organization, fleet, policy)
    speaker = effects.Speaker(organization, now, causation_id, policy.version)
    settling = _Settling(covered, policy, now, speaker)
    settling.follow_the_plans()
    if trigger is Trigger.DEADLINE:
        settling.take_what_is_due()
    settling.call_for_final_reports()
    return Settled(organization, speaker.organization, tuple(speaker.events), settling.due_at())


def snapshot(
    organization: Organization, fleet: Fleet, policy: Policy, *, now: datetime, causation_id: str
) -> Snapshot:
    """The organization as a whole, for those who were not there; it must have been created.

    `organization.revision` is this snapshot's own.
    """
    covered = coverage(organization, fleet, policy)
    next_step = _next_step(organization, covered, policy, now)
    assert organization.creation is not None
    assert organization.tier is not None
    cancellation = organization.cancellation
    return Snapshot(
        standing=effects.standing(organization, next_step, policy.version),
        revision=organization.revision,
        last_event_sequence=organization.sequence,
        taken_at=now,
        causation_id=causation_id,
        tier=organization.tier.value,
        created_at=organization.creation.occurred_at,
        canceled_at=cancellation.canceled_at if cancellation else None,
        plans=plan_summaries(organization, covered, now),
    )


def _clock(organization: Organization, covered: Coverage, policy: Policy) -> Clock | None:
    if organization.cancellation is None or not organization.state.in_cancellation:
        return None
    return Clock(
        organization.cancellation.canceled_at, organization.plan_type, covered.floor, policy
    )


def _next_step(
    organization: Organization, covered: Coverage, policy: Policy, now: datetime
) -> ScheduledStep | None:
    clock = _clock(organization, covered, policy)
    return schedule(organization, clock, now)[0] if clock else None


@dataclass(slots=True)
class _Settling:
    """One look at one organization; `speaker.organization` is it, as decided so far."""

    covered: Coverage
    policy: Policy
    now: datetime
    speaker: effects.Speaker

    @property
    def organization(self) -> Organization:
        return self.speaker.organization

    def clock(self) -> Clock | None:
        return _clock(self.organization, self.covered, self.policy)

    # --- news ---

    def follow_the_plans(self) -> None:
        """Cancel, reinstate, or let the running cancellation follow old news."""
        match self.organization.state:
            case State.ACTIVE:
                last_end = self.covered.last_end(self.now)
                if last_end is not None and not self.covered.active(self.now):
                    self._cancel(last_end)
            case State.CANCELED | State.CONTROL_PLANE_LOSS | State.SUSPENDED:
                proof = self.covered.reviving(self.now)
                if proof is not None:
                    self._reinstate(proof)
                else:
                    self._follow_old_news()
            case State.DEACTIVATED:
                pass

    def _cancel(self, last_end: Claim) -> None:
        self.speaker.organization = replace(
            self.organization,
            state=State.CANCELED,
            previous_state=self.organization.state,
            entered_at=self.now,
            reason=StateReason(last_end.reason),
            initiator=last_end.initiator,
            plan_type=last_end.plan_type,
            cancellation=Cancellation(
                last_end.ends_at,
                self.speaker.upcoming_id(EventKind.CANCELED),
                self.policy.version,
            ),
        )
        clock = self.clock()
        assert clock is not None
        steps = schedule(self.organization, clock, self.now)
        self._say([(EventKind.CANCELED, CancellationDetails(steps))], last_end.ends_at)

    def _reinstate(self, proof: Claim) -> None:
        before = self.organization
        assert before.cancellation is not None
        story = before.cancellation.correlation_id
        self.speaker.organization = replace(
            before,
            state=State.ACTIVE,
            previous_state=before.state,
            entered_at=self.now,
            notice=None,
            reason=StateReason.REINSTATED,
            initiator=Initiator.VENDOR if proof.is_commitment else Initiator.CUSTOMER,
            plan_type=proof.plan_type,
            cancellation=None,
        )
        self._say(effects.of_reinstatement(before.state), self.now, story)
        if before.notice is not None:
            withdrawn = NoticeDetails(before.notice.step, before.notice.names, schedule=None)
            self._say([(EventKind.NOTICE_WITHDRAWN, withdrawn)], self.now, story)

    def _follow_old_news(self) -> None:
        """When or why the last plan ended may be told anew; the deadlines follow (section 2)."""
        cancellation = self.organization.cancellation
        last_end = self.covered.last_end(self.now)
        if last_end is None or cancellation is None:
            return
        self.speaker.organization = replace(
            self.organization,
            reason=StateReason(last_end.reason),
            initiator=last_end.initiator,
            plan_type=last_end.plan_type,
            cancellation=replace(cancellation, canceled_at=last_end.ends_at),
        )

    # --- deadlines ---

    def take_what_is_due(self) -> None:
        """Take the step, or write the notice, whose moment has come.

        Each state's dwell is longer than nothing, so this ends after a step and a notice.
        """
        while (clock := self.clock()) is not None:
            match due(self.organization, clock):
                case StepDue(state=state, at=at) if at <= self.now:
                    self._step(state, at)
                case NoticeDue(state=state, at=at) if at <= self.now:
                    self._give_notice(notice_of(state, self.organization, clock, self.now))
                case _:
                    return

    def _step(self, state: State, at: datetime) -> None:
        before = self.organization
        deactivated = state is State.DEACTIVATED
        self.speaker.organization = replace(
            before,
            state=state,
            previous_state=before.state,
            entered_at=self.now,
            notice=None,
            deactivation_cause=DeactivationCause.MARKETPLACE_CANCELLATION if deactivated else None,
        )
        self._say(self._deactivation() if deactivated else effects.of_step(state), at)

    def _deactivation(self) -> list[effects.Said]:
        owner = self.organization.owner
        assert owner is not None, "a created organization has an owner"
        removed = SubscriptionsDetails(
            current_plans(self.covered),
            tuple(each.commitment_id for each in self.organization.commitments),
        )
        return effects.of_deactivation(
            DeactivationCause.MARKETPLACE_CANCELLATION, removed, EmailDetails(owner.value)
        )

    def _give_notice(self, notice: Notice) -> None:
        self.speaker.organization = replace(self.organization, notice=notice)
        clock = self.clock()
        assert clock is not None
        steps = schedule(self.organization, clock, self.now)
        details = NoticeDetails(notice.step, notice.names, steps)
        self._say([(EventKind.NOTICE_GIVEN, details)], self.now)

    def due_at(self) -> datetime | None:
        """When the organization must be looked at again though nothing is heard."""
        if self.organization.state is State.DEACTIVATED:
            return None
        clock = self.clock()
        moments = [
            self.covered.next_change(self.now),
            due(self.organization, clock).at if clock else None,
        ]
        return min((moment for moment in moments if moment is not None), default=None)

    # --- both ---

    def call_for_final_reports(self) -> None:
        """The marketplace still takes the last usage for a while, once per end (section 9)."""
        cancellation = self.organization.cancellation
        for attachment in self.covered.attachments:
            key = attachment.subscription.key
            ends = usage_closed_at(attachment, self.organization.id)
            for closed_at in ends[self.organization.ends_reported(key) :]:
                details = MeteringDetails(key, closed_at + FINAL_REPORT_WINDOW)
                self._say(
                    [(EventKind.METERING_FINAL_REPORT_DUE, details)],
                    self.now,
                    cancellation.correlation_id if cancellation else None,
                )
            self._remember_reported(Reported(key, len(ends)))

    def _remember_reported(self, reported: Reported) -> None:
        if reported.ends > self.organization.ends_reported(reported.subscription):
            others = (
                r for r in self.organization.reported if r.subscription != reported.subscription
            )
            self.speaker.organization = replace(self.organization, reported=(*others, reported))

    def _say(
        self, said: list[effects.Said], effective_at: datetime, story: str | None = None
    ) -> None:
        """Write events that stand together: the state event first, then its effects."""
        next_step = _next_step(self.organization, self.covered, self.policy, self.now)
        if self.organization.cancellation is not None:
            story = self.organization.cancellation.correlation_id
        for kind, details in said:
            self.speaker.say(
                kind,
                details,
                effective_at=effective_at,
                next_step=next_step,
                correlation_id=story,
            )
