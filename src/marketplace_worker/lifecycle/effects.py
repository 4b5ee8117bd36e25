"""Which events a transition publishes, in which order (lifecycle.md section 9)."""

from marketplace_worker.lifecycle.events import (
    DeactivationDetails,
    Details,
    EmailDetails,
    EventKind,
    SubscriptionsDetails,
)
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.vocabulary import DeactivationCause, EmailHash

EventDraft = tuple[EventKind, Details]
"""An event's kind and what it needs beyond the standing."""


def of_step(state: State) -> list[EventDraft]:
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
    cause: DeactivationCause, before: State, removed: SubscriptionsDetails, owner: EmailHash
) -> list[EventDraft]:
    """The events of every deactivation (section 6).

    What the state `before` still allowed is revoked; only the end of a cancellation deletes.
    """
    revoked: dict[EventKind, bool] = {
        EventKind.API_KEYS_REVOKED: before.capabilities.api_keys,
        EventKind.DATA_PLANE_ACCESS_REVOKED: before.capabilities.data,
    }
    drafts: list[EventDraft] = [
        (EventKind.DEACTIVATED, DeactivationDetails(cause)),
        (EventKind.BILLING_STOPPED, None),
        (EventKind.SUBSCRIPTIONS_REMOVED, removed),
        (EventKind.CONTROL_PLANE_DECOMMISSIONED, None),
        *((kind, None) for kind, allowed in revoked.items() if allowed),
        (EventKind.TEAM_MEMBERSHIPS_REMOVED, None),
        (EventKind.ROLES_REMOVED, None),
        (EventKind.LOGINS_BLOCKED, None),
        (EventKind.EMAIL_LOCKED, EmailDetails(owner)),
        (EventKind.RUNTIMES_DETACHED, None),
    ]
    if not cause.recoverable:
        drafts.append((EventKind.RESOURCES_DELETION_REQUESTED, None))
    return drafts


def of_reinstatement(before: State) -> list[EventDraft]:
    """The events of a reinstatement: they restore exactly what `before` had revoked (section 4)."""
    restored = {
        EventKind.CONTROL_PLANE_ACCESS_RESTORED: not before.capabilities.manage,
        EventKind.API_KEYS_RESTORED: not before.capabilities.api_keys,
        EventKind.DATA_PLANE_ACCESS_RESTORED: not before.capabilities.data,
    }
    undone = [(kind, None) for kind, revoked in restored.items() if revoked]
    return [(EventKind.REINSTATED, None), *undone]


def of_reactivation(locked: EmailHash | None) -> list[EventDraft]:
    """The events of a reactivation (section 6).  `locked`: the email, where it still is locked."""
    drafts: list[EventDraft] = [
        (EventKind.REACTIVATED, None),
        (EventKind.CONTROL_PLANE_PROVISION_REQUESTED, None),
        (EventKind.DATA_PLANE_ACCESS_RESTORED, None),
        (EventKind.LOGINS_UNBLOCKED, None),
    ]
    if locked is not None:
        drafts.append((EventKind.EMAIL_UNLOCKED, EmailDetails(locked)))
    return drafts
