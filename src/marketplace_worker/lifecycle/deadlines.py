"""When the next step is due: derived, never stored as truth (lifecycle.md section 3)."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from marketplace_worker.lifecycle.cancellation import Notice, Pause
from marketplace_worker.lifecycle.events import ScheduledStep
from marketplace_worker.lifecycle.organization import Organization
from marketplace_worker.lifecycle.policy import DESTRUCTIVE_STEPS, STEPS, Policy
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.vocabulary import PlanType


@dataclass(frozen=True, slots=True)
class CancellationClock:
    """What the steps of one cancellation are derived from.

    `extension`: what Support added to every offset.  `floor`: until when the marketplaces want the
    data kept.  `commitment_at`: when a commitment that was bought starts.  `pauses`: when the clock
    stood still, in order and all over (section 4).
    """

    canceled_at: datetime
    plan_type: PlanType | None
    policy: Policy
    extension: timedelta = timedelta(0)
    floor: datetime | None = None
    commitment_at: datetime | None = None
    pauses: tuple[Pause, ...] = ()

    def after(self, moment: datetime, duration: timedelta) -> datetime:
        """When so much time has passed since a moment, without the pauses."""
        due_at = moment + duration
        for paused_at, resumed_at in self.pauses:
            stopped_at = max(paused_at, moment)
            if stopped_at <= due_at:
                due_at += max(resumed_at - stopped_at, timedelta(0))
        return due_at

    def earliest(self, step: State, dwelling_since: datetime) -> datetime:
        """When a step may come at the earliest, its notice aside (1, 2, 4 and 6 of section 3).

        `dwelling_since` is from when the dwell of the state before it counts.
        """
        before = State.CANCELED if step is STEPS[0] else STEPS[STEPS.index(step) - 1]
        offset = self.policy.offset(self.plan_type, step) + self.extension
        moments = [
            self.after(self.canceled_at, offset),
            self.after(dwelling_since, self.policy.minimum_dwell.of(before)),
        ]
        if step is State.DEACTIVATED and self.floor is not None:
            moments.append(self.floor)
        if step in DESTRUCTIVE_STEPS and self.commitment_at is not None:
            moments.append(self.commitment_at)
        return max(moments)

    def announced(self, earliest: datetime, notice: Notice) -> datetime:
        """Numbers 3 and 5 of section 3: never sooner than the lead after the notice was written,
        nor than the date that it named.
        """
        lead = self.policy.notice.of(notice.step)
        assert lead is not None
        return max(earliest, self.after(notice.given_at, lead), notice.names)


@dataclass(frozen=True, slots=True)
class StepDue:
    """The organization enters `state` at `at`."""

    state: State
    at: datetime


@dataclass(frozen=True, slots=True)
class NoticeDue:
    """The notice of the step into `state` is to be written at `at`; it will name `names`."""

    state: State
    at: datetime
    names: datetime


Due = StepDue | NoticeDue


def due_in_cancellation(organization: Organization, clock: CancellationClock, now: datetime) -> Due:
    """What a cancellation comes to next, and when: the notice of the next step, or the step."""
    step, since = organization.state.next_step, organization.dwelling_since
    assert step is not None
    assert since is not None
    earliest = clock.earliest(step, since)
    lead = clock.policy.notice.of(step)
    if lead is None:
        return StepDue(step, earliest)
    if organization.notice is None:
        return _notice_due(step, max(earliest - lead, since), earliest, lead, now)
    return StepDue(step, clock.announced(earliest, organization.notice))


def due_for_inactivity(
    organization: Organization, inactive_at: datetime, lead: timedelta, now: datetime
) -> Due:
    """The notice of a deactivation for inactivity, or the deactivation (section 5)."""
    notice = organization.notice
    if notice is None:
        return _notice_due(State.DEACTIVATED, inactive_at - lead, inactive_at, lead, now)
    return StepDue(State.DEACTIVATED, max(inactive_at, notice.given_at + lead, notice.names))


def _notice_due(
    step: State, at: datetime, earliest: datetime, lead: timedelta, now: datetime
) -> NoticeDue:
    return NoticeDue(step, at, names=max(earliest, max(at, now) + lead))


def schedule(
    organization: Organization, clock: CancellationClock, now: datetime
) -> tuple[ScheduledStep, ...]:
    """The steps of a cancellation that are still to come and when, as things stand."""
    step, since = organization.state.next_step, organization.dwelling_since
    notice = organization.notice
    steps: list[ScheduledStep] = []
    while step is not None:
        assert since is not None
        at = clock.earliest(step, since)
        lead = clock.policy.notice.of(step)
        if notice is not None:
            at = clock.announced(at, notice)
        elif lead is not None:
            at = max(at, max(at - lead, since, now) + lead)
        steps.append(ScheduledStep(step, at))
        step, since, notice = step.next_step, max(at, now), None
    return tuple(steps)
