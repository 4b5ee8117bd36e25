"""Rules for the order of events in any story: lifecycle.md sections 1, 4, 6, 9 and 11.

`without_effects` takes the effects out of a stream of events, each where its transition wants it,
and `check_events` looks at the rest: sequences, what each state allows, and what comes last.
"""

from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import astuple

from marketplace_worker.lifecycle.events import (
    WORKER,
    DeactivationDetails,
    Event,
    EventKind,
    SupportDetails,
)
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.vocabulary import DeactivationCause, OrganizationId

ALLOWED = {
    State.ACTIVE: "manage data api_keys login",
    State.CANCELED: "manage data api_keys login",
    State.CONTROL_PLANE_LOSS: "data api_keys login",
    State.SUSPENDED: "login",
    State.DEACTIVATED: "",
}
"""The table of section 1."""

ON_THE_WAY_DOWN = (State.CANCELED, State.CONTROL_PLANE_LOSS, State.SUSPENDED)
CAME_FROM = {
    EventKind.CANCELED: (State.ACTIVE,),
    EventKind.CONTROL_PLANE_LOST: (State.CANCELED,),
    EventKind.SUSPENDED: (State.CONTROL_PLANE_LOSS,),
    EventKind.REINSTATED: ON_THE_WAY_DOWN,
    EventKind.REACTIVATED: (State.DEACTIVATED,),
}
"""From which state each transition comes; none is skipped (sections 1, 4 and 6)."""
LEADS_TO = {
    EventKind.CANCELED: State.CANCELED,
    EventKind.CONTROL_PLANE_LOST: State.CONTROL_PLANE_LOSS,
    EventKind.SUSPENDED: State.SUSPENDED,
    EventKind.DEACTIVATED: State.DEACTIVATED,
    EventKind.REINSTATED: State.ACTIVE,
    EventKind.REACTIVATED: State.ACTIVE,
}
DEACTIVATED_FROM = {
    DeactivationCause.MARKETPLACE_CANCELLATION: (State.SUSPENDED,),
    DeactivationCause.INACTIVITY: (State.ACTIVE,),
    DeactivationCause.SUPPORT_REQUEST: (State.ACTIVE, *ON_THE_WAY_DOWN),
}
"""The table of section 6."""

EFFECTS = {
    EventKind.CANCELED: "",
    EventKind.CONTROL_PLANE_LOST: "control_plane.access_revoked",
    EventKind.SUSPENDED: "api_keys.revoked data_plane.access_revoked",
    EventKind.REACTIVATED: "control_plane.provision_requested data_plane.access_restored "
    "logins.unblocked",
}
RESTORED = {
    State.CANCELED: "",
    State.CONTROL_PLANE_LOSS: "control_plane.access_restored",
    State.SUSPENDED: "control_plane.access_restored api_keys.restored data_plane.access_restored",
}
"""What a reinstatement gives back, by the state that it comes from (section 4)."""

ANSWERS = (EventKind.SUPPORT_REQUEST_COMPLETED, EventKind.SUPPORT_REQUEST_REJECTED)
ALONE = {
    *ANSWERS,
    EventKind.NOTICE_GIVEN,
    EventKind.NOTICE_WITHDRAWN,
    EventKind.REINSTATEMENT_PENDING,
    EventKind.REINSTATEMENT_LAPSED,
    EventKind.METERING_FINAL_REPORT_DUE,
    EventKind.EMAIL_UNLOCKED,
    EventKind.EMAIL_LOCK_VIOLATED,
    EventKind.GUARD_TRIPPED,
    EventKind.GUARD_RELEASED,
    EventKind.ACTIVITY_FEED_SILENT,
    EventKind.ACTIVITY_FEED_UNREADABLE,
}
"""What is neither a transition nor the effect of one."""


def without_effects(events: Sequence[Event]) -> list[Event]:
    """The events without the effects; each transition must have exactly its own, in order."""
    others, waiting = list[Event](), deque(events)
    locked: set[OrganizationId] = set()
    while waiting:
        event = waiting.popleft()
        names = [] if event.kind in ALONE else _effects(event, locked)
        effects = [waiting.popleft() for _ in names if waiting]
        assert [str(effect.kind) for effect in effects] == names, f"effects of {event}"
        for effect in effects:
            assert _moment_of(effect) == _moment_of(event), f"{effect.kind} is not of {event}"
        _keep_locks(locked, event, *effects)
        others.append(event)
    return others


def _moment_of(event: Event) -> tuple[object, ...]:
    """What an effect has of its state event (section 11)."""
    return (
        event.subject,
        event.decided_at,
        event.effective_at,
        event.causation_id,
        event.correlation_id,
        event.standing,
    )


def _keep_locks(locked: set[OrganizationId], *events: Event) -> None:
    for event in events:
        if event.kind is EventKind.EMAIL_LOCKED:
            locked.add(event.subject)
        if event.kind is EventKind.EMAIL_UNLOCKED:
            locked.remove(event.subject)


def _effects(event: Event, locked: set[OrganizationId]) -> list[str]:
    """The names of the effects that a transition must have (section 9)."""
    assert event.standing is not None, f"{event.kind} is of an organization"
    came_from = event.standing.previous_state
    if event.kind is EventKind.DEACTIVATED:
        assert isinstance(event.details, DeactivationDetails)
        assert came_from in DEACTIVATED_FROM[event.details.cause]
        return _effects_of_a_deactivation(event.details.cause, came_from)
    assert event.kind in CAME_FROM, f"{event.kind} stands alone"
    assert came_from in CAME_FROM[event.kind], f"{event.kind} from {came_from}"
    if event.kind is EventKind.REINSTATED:
        return RESTORED[came_from].split()
    to_unlock = event.kind is EventKind.REACTIVATED and event.subject in locked
    return [*EFFECTS[event.kind].split(), *(["email.unlocked"] if to_unlock else [])]


def _effects_of_a_deactivation(cause: DeactivationCause, came_from: State) -> list[str]:
    open_still = came_from is not State.SUSPENDED
    deletes = cause is DeactivationCause.MARKETPLACE_CANCELLATION
    return [
        "billing.stopped",
        "subscriptions.removed",
        "control_plane.decommissioned",
        *(["api_keys.revoked", "data_plane.access_revoked"] if open_still else []),
        "team_memberships.removed",
        "roles.removed",
        "logins.blocked",
        "email.locked",
        "runtimes.detached",
        *(["resources.deletion_requested"] if deletes else []),
    ]


def check_events(events: Sequence[Event]) -> None:
    """Check what holds for every stream of events."""
    without_effects(events)
    sequences: dict[OrganizationId, int] = defaultdict(int)
    states: dict[OrganizationId, State] = defaultdict(lambda: State.ACTIVE)
    ended: set[OrganizationId] = set()
    for number, event in enumerate(events):
        sequences[event.subject] += 1
        assert event.sequence == sequences[event.subject], f"a gap before {event}"
        if isinstance(event.details, DeactivationDetails) and not event.details.cause.recoverable:
            ended.add(event.subject)
        came_from = states[event.subject]
        states[event.subject] = LEADS_TO.get(event.kind, came_from)
        if event.kind in LEADS_TO and event.standing is not None:
            assert event.standing.previous_state == came_from, event
        _check_standing(event, states[event.subject], ended)
        _check_order(event, events[number + 1 :])


def _check_standing(event: Event, stands: State, ended: set[OrganizationId]) -> None:
    """The table of section 1; and only the end of a cancellation is beyond recovery."""
    if event.standing is None:
        assert event.subject == WORKER or event.kind is EventKind.ERASED
        return
    state, names = event.standing.state, ("manage", "data", "api_keys", "login")
    capabilities = event.standing.capabilities
    if state is None or capabilities is None:
        assert event.kind is EventKind.SUPPORT_REQUEST_REJECTED, event
        assert (state, capabilities) == (None, None), event
        return
    assert state == stands, event
    may = zip(names, astuple(capabilities), strict=True)
    assert [name for name, allowed in may if allowed] == ALLOWED[state].split(), event
    assert event.standing.recoverable == (event.subject not in ended), event


def _check_order(event: Event, later: Sequence[Event]) -> None:
    """An answer to Support comes last of all that it caused, a withdrawal after the transition."""
    same = [each for each in later if each.causation_id == event.causation_id]
    if event.kind in ANSWERS:
        assert isinstance(event.details, SupportDetails)
        assert event.details.request_id == event.causation_id
        assert event.details.message
        assert (event.details.code is None) == (event.kind is ANSWERS[0])
        assert not same, f"{same} after the answer"
    if event.kind is EventKind.NOTICE_WITHDRAWN:
        at_once = [each for each in same if each.decided_at == event.decided_at]
        assert not [e for e in at_once if e.kind in CAME_FROM and e.subject == event.subject]
