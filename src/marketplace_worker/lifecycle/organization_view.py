"""One organization at one moment: its plans, its deadlines, and its schedule.

All of it is derived from what is stored, when first used.  `update` drops only what was derived
from a changed field: deriving the plans is the larger part of a decision.
"""

from dataclasses import field
from datetime import datetime

from marketplace_worker.lifecycle.coverage.attachments import Attachment, attached
from marketplace_worker.lifecycle.coverage.combined import Coverage, coverage
from marketplace_worker.lifecycle.coverage.intervals import Moment, Trigger, next_commitment_at
from marketplace_worker.lifecycle.deadlines import (
    CancellationClock,
    DeadlineTerm,
    NextDue,
    due_in_cancellation,
    inactivity_terms,
    schedule,
)
from marketplace_worker.lifecycle.events import ScheduledStep, Standing
from marketplace_worker.lifecycle.fleet import Fleet
from marketplace_worker.lifecycle.organization import Organization
from marketplace_worker.lifecycle.policy import Policies, Policy
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.values import dataclass, replace


@dataclass(slots=True)
class OrganizationView:
    """One organization at one moment.  `fleet` is only read; it has the organization as stored."""

    organization: Organization
    fleet: Fleet
    policies: Policies
    now: datetime
    trigger: Trigger = field(default=Trigger.INSPECTION, kw_only=True)
    _attached: tuple[Attachment, ...] | None = field(init=False, default=None)
    _covered: Coverage | None = field(init=False, default=None)
    _clock: CancellationClock | None = field(init=False, default=None)
    _due: NextDue | None = field(init=False, default=None)
    _schedule: tuple[ScheduledStep, ...] | None = field(init=False, default=None)

    @property
    def moment(self) -> Moment:
        """Now, and why the organization is decided on."""
        return Moment(self.now, self.trigger)

    @property
    def policy(self) -> Policy:
        """The policy in force; in a cancellation, the more lenient of that and the pinned one."""
        cancellation = self.organization.cancellation
        return self.policies.pinned_to(cancellation.policy_version if cancellation else None)

    @property
    def covered(self) -> Coverage:
        """Its plans."""
        if self._covered is None:
            organization, fleet = self.organization, self.fleet.with_organization(self.organization)
            if self._attached is None:
                self._attached = attached(organization, fleet)
            self._covered = coverage(organization, self._attached, fleet, self.policy, now=self.now)
        return self._covered

    @property
    def stands_still(self) -> bool:
        """Whether no step may be taken and no notice written.

        That is the case under a hold, while a reinstatement is pending, if the organization was
        published as deactivated and a restore has lost that, and if no plan has ended, because a
        commitment turned out to begin later.
        """
        return self._stands_still(self.organization)

    def _stands_still(self, organization: Organization) -> bool:
        if organization.held(self.now) or organization.pending is not None:
            return True
        if organization.published_closed is not None:
            return True
        return organization.state.in_cancellation and self.covered.only_to_come(self.now)

    def clock(self) -> CancellationClock | None:
        """The values from which the deadlines of its cancellation are derived; None without one."""
        cancellation = self.organization.cancellation
        if cancellation is None or not self.organization.state.in_cancellation:
            return None
        if self._clock is None:
            self._clock = CancellationClock(
                cancellation.canceled_at,
                self.organization.plan_type,
                self.policy,
                cancellation.extension,
                self.covered.floor,
                next_commitment_at(self.organization, self.now),
                self.covered.pauses(cancellation.canceled_at),
            )
        return self._clock

    def due_in_cancellation(self) -> NextDue | None:
        """What its cancellation comes to next, if nothing stops it; None where none runs."""
        clock = self.clock()
        if clock is not None and self._due is None:
            self._due = due_in_cancellation(self.organization, clock, self.now)
        return self._due

    def inactivity_terms(self) -> tuple[DeadlineTerm, ...]:
        """The rules by which it would be inactive, if it is of the kind that can be."""
        creation, recovery = self.organization.creation, self.organization.recovery
        assert creation is not None
        return inactivity_terms(
            self.fleet.last_seen(self.organization.id),
            recovery.reactivated_at if recovery else creation.occurred_at,
            creation.billing_cycle_anchor,
            self.policy.inactivity,
        )

    def schedule(self) -> tuple[ScheduledStep, ...]:
        """The scheduled steps; none if no deadline runs.

        Under a hold, the steps if it were released now (lifecycle.md section 11).
        """
        if self._schedule is None:
            self._schedule = self._derived_schedule()
        return self._schedule

    def _derived_schedule(self) -> tuple[ScheduledStep, ...]:
        organization = self.organization
        if organization.held(self.now):
            organization = replace(organization, holds=(), dwells_from=self.now, notice=None)
        if self._stands_still(organization):
            return ()
        clock, notice = self.clock(), organization.notice
        if clock is not None:
            due = self.due_in_cancellation() if organization is self.organization else None
            due = due or due_in_cancellation(organization, clock, self.now)
            return schedule(due, clock, self.now)
        if notice is not None and organization.state is State.ACTIVE:
            return (ScheduledStep(notice.step, notice.announced_for_at),)
        return ()

    def standing(self) -> Standing:
        """Its standing, as its events and snapshots publish it."""
        organization = self.organization
        steps = () if organization.held(self.now) else self.schedule()
        cancellation = organization.cancellation
        return Standing(
            organization=organization.id,
            state=organization.state,
            previous_state=organization.previous_state,
            reason=organization.reason,
            initiator=organization.initiator,
            plan_type=organization.plan_type,
            next_step=steps[0] if steps else None,
            recoverable=organization.recoverable,
            policy_version=(
                cancellation.policy_version if cancellation else self.policies.current.version
            ),
        )

    def absence(self) -> Standing:
        """The standing of an organization that was never created, or was erased."""
        return Standing(
            organization=self.organization.id,
            state=None,
            previous_state=None,
            reason=None,
            initiator=None,
            plan_type=None,
            next_step=None,
            recoverable=False,
            policy_version=self.policies.current.version,
        )

    def update(self, organization: Organization) -> None:
        """Replace the organization, and drop what was derived from the fields that changed."""
        before, self.organization = self.organization, organization
        if organization is before:
            return
        self._clock = self._due = self._schedule = None
        if _what_attachments_read(organization) != _what_attachments_read(before):
            self._attached = self._covered = None
        elif _what_coverage_reads(organization) != _what_coverage_reads(before):
            self._covered = None


def _what_attachments_read(organization: Organization) -> object:
    return organization.proofs, organization.plans_taken_at


def _what_coverage_reads(organization: Organization) -> object:
    """In addition to what the attachments read."""
    cancellation = organization.cancellation
    return (
        organization.state.in_cancellation,
        cancellation and (cancellation.canceled_at, cancellation.policy_version),
        organization.pending,
        organization.commitments,
        organization.grants,
        organization.recovery,
    )
