"""When the next step is due: derived, never stored as truth (lifecycle.md section 3)."""

from dataclasses import dataclass
from datetime import datetime

from marketplace_worker.lifecycle.events import ScheduledStep
from marketplace_worker.lifecycle.organization import Notice, Organization
from marketplace_worker.lifecycle.policy import STEPS, Policy
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.vocabulary import PlanType


@dataclass(frozen=True, slots=True)
class Clock:
    """What the steps of one cancellation are derived from.

    `floor`: until when the marketplaces want the data kept.
    """

    canceled_at: datetime
    plan_type: PlanType | None
    floor: datetime | None
    policy: Policy

    def earliest(self, step: State, entered_at: datetime) -> datetime:
        """When a step may come at the earliest, its notice aside (numbers 1, 2 and 4 of section 3).

        `entered_at` is when the state before it was entered.
        """
        before = State.CANCELED if step is STEPS[0] else STEPS[STEPS.index(step) - 1]
        moments = [
            self.canceled_at + self.policy.offset(self.plan_type, step),
            entered_at + self.policy.minimum_dwell.of(before),
        ]
        if step is State.DEACTIVATED and self.floor is not None:
            moments.append(self.floor)
        return max(moments)


@dataclass(frozen=True, slots=True)
class StepDue:
    """The organization enters `state` at `at`."""

    state: State
    at: datetime


@dataclass(frozen=True, slots=True)
class NoticeDue:
    """The notice of the step into `state` is to be written at `at`."""

    state: State
    at: datetime


Due = StepDue | NoticeDue


def due(organization: Organization, clock: Clock) -> Due:
    """What a cancellation comes to next, and when: the notice of the next step, or the step.

    The organization must be in a cancellation.
    """
    step = organization.state.next_step
    entered_at = organization.entered_at
    assert step is not None
    assert entered_at is not None
    earliest = clock.earliest(step, entered_at)
    lead = clock.policy.notice.of(step)
    if lead is None:
        return StepDue(step, earliest)
    if organization.notice is None:
        return NoticeDue(step, max(earliest - lead, entered_at))
    return StepDue(step, _with_notice(earliest, organization.notice, clock.policy))


def _with_notice(earliest: datetime, notice: Notice, policy: Policy) -> datetime:
    """Numbers 3 and 5 of section 3: never sooner than the lead after it, nor than what it named."""
    lead = policy.notice.of(notice.step)
    assert lead is not None
    return max(earliest, notice.given_at + lead, notice.names)


def notice_of(step: State, organization: Organization, clock: Clock, now: datetime) -> Notice:
    """The notice as it would be written now, with the date that it names."""
    assert organization.entered_at is not None
    lead = clock.policy.notice.of(step)
    assert lead is not None
    names = max(clock.earliest(step, organization.entered_at), now + lead)
    return Notice(step, names, given_at=now)


def schedule(organization: Organization, clock: Clock, now: datetime) -> tuple[ScheduledStep, ...]:
    """The steps that are still to come and when, if everything goes on as it stands."""
    step = organization.state.next_step
    entered_at = organization.entered_at
    notice = organization.notice
    steps: list[ScheduledStep] = []
    while step is not None:
        assert entered_at is not None
        at = clock.earliest(step, entered_at)
        lead = clock.policy.notice.of(step)
        if notice is not None:
            at = _with_notice(at, notice, clock.policy)
        elif lead is not None:
            at = max(at, max(at - lead, entered_at, now) + lead)
        steps.append(ScheduledStep(step, at))
        step, entered_at, notice = step.next_step, at, None
    return tuple(steps)
