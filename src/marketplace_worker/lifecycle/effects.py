"""Which events a transition publishes, in which order (lifecycle.md section 9)."""

from dataclasses import dataclass, field, replace
from datetime import datetime

from marketplace_worker.lifecycle.events import (
    DeactivationCause,
    DeactivationDetails,
    Details,
    EmailDetails,
    Event,
    EventKind,
    ScheduledStep,
    Standing,
    SubscriptionsDetails,
    event_id,
)
from marketplace_worker.lifecycle.organization import Organization
from marketplace_worker.lifecycle.states import State

Said = tuple[EventKind, Details]
"""An event's kind and what it needs beyond the standing."""


def of_step(state: State) -> list[Said]:
    """The state event of a step and its effects; a deactivation's need more: `of_deactivation`."""
    match state:
        case State.CONTROL_PLANE_LOSS:
            return [
                (EventKind.CONTROL_PLANE_LOST, None),
                (EventKind.CONTROL_PLANE_ACCESS_REVOKED, None),
            ]
        case State.SUSPENDED:
            return [
                (EventKind.SUSPENDED, None),
                (EventKind.API_KEYS_REVOKED, None),
                (EventKind.DATA_PLANE_ACCESS_REVOKED, None),
            ]
        case State.ACTIVE | State.CANCELED | State.DEACTIVATED:
            raise AssertionError(f"{state} is not entered by such a step")


def of_deactivation(
    cause: DeactivationCause, removed: SubscriptionsDetails, owner: EmailDetails
) -> list[Said]:
    """The end of a cancellation, with the deletion of everything (section 6)."""
    return [
        (EventKind.DEACTIVATED, DeactivationDetails(cause)),
        (EventKind.BILLING_STOPPED, None),
        (EventKind.SUBSCRIPTIONS_REMOVED, removed),
        (EventKind.CONTROL_PLANE_DECOMMISSIONED, None),
        (EventKind.TEAM_MEMBERSHIPS_REMOVED, None),
        (EventKind.ROLES_REMOVED, None),
        (EventKind.LOGINS_BLOCKED, None),
        (EventKind.EMAIL_LOCKED, owner),
        (EventKind.RUNTIMES_DETACHED, None),
        (EventKind.RESOURCES_DELETION_REQUESTED, None),
    ]


def of_reinstatement(state: State) -> list[Said]:
    """Undoes exactly what was in force in `state` (section 4)."""
    restored = {
        EventKind.CONTROL_PLANE_ACCESS_RESTORED: not state.capabilities.manage,
        EventKind.API_KEYS_RESTORED: not state.capabilities.api_keys,
        EventKind.DATA_PLANE_ACCESS_RESTORED: not state.capabilities.data,
    }
    undone = [(kind, None) for kind, revoked in restored.items() if revoked]
    return [(EventKind.REINSTATED, None), *undone]


@dataclass(slots=True)
class Speaker:
    """Writes one organization's events, numbering them; lives for one decision.

    `organization` carries the sequence of the newest event.
    """

    organization: Organization
    now: datetime
    causation_id: str
    policy_version: str
    events: list[Event] = field(default_factory=list)

    def upcoming_id(self, kind: EventKind) -> str:
        """The id that the next event will have, for the story that begins with it."""
        return str(event_id(self.organization.id, self.organization.sequence + 1, kind))

    def say(
        self,
        kind: EventKind,
        details: Details = None,
        *,
        effective_at: datetime,
        next_step: ScheduledStep | None,
        correlation_id: str | None = None,
    ) -> None:
        """Write one event.  Without a story to belong to, it begins one of its own."""
        correlation_id = correlation_id or self.upcoming_id(kind)
        self.organization = replace(self.organization, sequence=self.organization.sequence + 1)
        self.events.append(
            Event(
                kind=kind,
                sequence=self.organization.sequence,
                decided_at=self.now,
                effective_at=effective_at,
                causation_id=self.causation_id,
                correlation_id=correlation_id,
                standing=standing(self.organization, next_step, self.policy_version),
                details=details,
            )
        )


def standing(
    organization: Organization, next_step: ScheduledStep | None, policy_version: str
) -> Standing:
    """Where an organization stands, as its events tell."""
    cancellation = organization.cancellation
    return Standing(
        organization=organization.id,
        state=organization.state,
        previous_state=organization.previous_state,
        reason=organization.reason,
        initiator=organization.initiator,
        plan_type=organization.plan_type,
        next_step=next_step,
        recoverable=organization.state is not State.DEACTIVATED,
        policy_version=cancellation.policy_version if cancellation else policy_version,
    )
