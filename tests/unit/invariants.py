"""The invariants of lifecycle.md section 10, checked on emitted events and states.

A `Ledger` follows the events of one organization from wherever it stood; `check` looks at one
decision.  What a decision may read of the plans comes from `coverage`, and beside it, by itself, in
`plainly_active`.
"""

from dataclasses import dataclass, field
from datetime import datetime

from world import DecisionRecord, World

from marketplace_worker.lifecycle.coverage.intervals import Moment
from marketplace_worker.lifecycle.events import (
    WORKER,
    DeactivationDetails,
    Event,
    EventKind,
    NoticeDetails,
)
from marketplace_worker.lifecycle.facts import DeadlineCame, SupportRequested
from marketplace_worker.lifecycle.fleet import Fleet
from marketplace_worker.lifecycle.matching import attached_to
from marketplace_worker.lifecycle.notes import Activated, Unchanged
from marketplace_worker.lifecycle.organization import Organization
from marketplace_worker.lifecycle.ownership import links_of
from marketplace_worker.lifecycle.policy import Policy
from marketplace_worker.lifecycle.projection import fold
from marketplace_worker.lifecycle.settle import CaseResult
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.vocabulary import (
    DeactivationCause,
    OrganizationId,
    SupportRequestKind,
    Tier,
)

ENTERED_BY = {
    EventKind.CANCELED: State.CANCELED,
    EventKind.CONTROL_PLANE_LOST: State.CONTROL_PLANE_LOSS,
    EventKind.SUSPENDED: State.SUSPENDED,
    EventKind.DEACTIVATED: State.DEACTIVATED,
    EventKind.REINSTATED: State.ACTIVE,
    EventKind.REACTIVATED: State.ACTIVE,
}
WAYS = {
    EventKind.CANCELED: {State.ACTIVE},
    EventKind.CONTROL_PLANE_LOST: {State.CANCELED},
    EventKind.SUSPENDED: {State.CONTROL_PLANE_LOSS},
    EventKind.REINSTATED: {State.CANCELED, State.CONTROL_PLANE_LOSS, State.SUSPENDED},
    EventKind.REACTIVATED: {State.DEACTIVATED},
}
DEACTIVATED_FROM = {
    DeactivationCause.MARKETPLACE_CANCELLATION: {State.SUSPENDED},
    DeactivationCause.INACTIVITY: {State.ACTIVE},
    DeactivationCause.SUPPORT_REQUEST: set(State) - {State.DEACTIVATED},
}
HARMFUL = {State.SUSPENDED, State.DEACTIVATED}
STEPS = {State.CONTROL_PLANE_LOSS, *HARMFUL}

REVOKES = {
    EventKind.CONTROL_PLANE_ACCESS_REVOKED: "manage",
    EventKind.API_KEYS_REVOKED: "api_keys",
    EventKind.DATA_PLANE_ACCESS_REVOKED: "data",
    EventKind.LOGINS_BLOCKED: "login",
    EventKind.EMAIL_LOCKED: "email",
}
RESTORES = {
    EventKind.CONTROL_PLANE_ACCESS_RESTORED: "manage",
    EventKind.CONTROL_PLANE_PROVISION_REQUESTED: "manage",
    EventKind.API_KEYS_RESTORED: "api_keys",
    EventKind.DATA_PLANE_ACCESS_RESTORED: "data",
    EventKind.LOGINS_UNBLOCKED: "login",
    EventKind.EMAIL_UNLOCKED: "email",
}
"""Each capability has one way out and one back; a decommissioning closes the control plane, too."""


@dataclass(slots=True)
class Ledger:
    """The state that the events of one organization imply."""

    state: State
    open: dict[str, bool]
    notice: tuple[State, datetime] | None
    sequence: int
    ids: set[object] = field(default_factory=set)

    @staticmethod
    def of(here: Organization) -> "Ledger":
        """The state of an organization before further events."""
        allowed = here.state.capabilities
        opened = {name: getattr(allowed, name) for name in ("manage", "data", "api_keys", "login")}
        notice = (here.notice.step, here.notice.announced_for_at) if here.notice else None
        return Ledger(
            here.state, opened | {"email": here.locked_email is None}, notice, here.sequence
        )

    def record(self, event: Event) -> None:
        """Invariants 5 and 6: effects alternate, sequences rise by one, ids are never reused."""
        self.sequence += 1
        assert event.sequence == self.sequence, f"a gap before {event}"
        assert event.id not in self.ids
        self.ids.add(event.id)
        if event.kind in REVOKES:
            self._turn(REVOKES[event.kind], opens=False)
        if event.kind in RESTORES:
            self._turn(RESTORES[event.kind], opens=True)
        if event.kind is EventKind.CONTROL_PLANE_DECOMMISSIONED:
            self.open["manage"] = False
        if event.kind is EventKind.REACTIVATED:
            self._turn("api_keys", opens=True)
        if event.kind in ENTERED_BY:
            self._enter(event)
        self._announce(event)

    def _turn(self, capability: str, *, opens: bool) -> None:
        assert self.open[capability] is not opens, f"{capability}: twice in a row, opens={opens}"
        self.open[capability] = opens

    def _enter(self, event: Event) -> None:
        """Invariants 2 and 4: states are entered in order, and none is skipped."""
        assert event.standing is not None
        ways = WAYS.get(event.kind)
        if isinstance(event.details, DeactivationDetails):
            ways = DEACTIVATED_FROM[event.details.cause]
        assert ways is not None
        assert self.state in ways, f"{event.kind} from {self.state}"
        assert event.standing.previous_state is self.state
        self.state = ENTERED_BY[event.kind]
        assert event.standing.state is self.state
        if self.notice is not None and self.state is self.notice[0]:
            requested = getattr(event.details, "cause", None) is DeactivationCause.SUPPORT_REQUEST
            self.notice = self.notice if requested else None

    def _announce(self, event: Event) -> None:
        """A notice stands until its step is taken, or until it is withdrawn."""
        if event.kind is EventKind.NOTICE_GIVEN:
            assert isinstance(event.details, NoticeDetails)
            assert self.notice is None, "one notice at a time"
            self.notice = (event.details.upcoming_state, event.details.at)
        if event.kind is EventKind.NOTICE_WITHDRAWN:
            assert isinstance(event.details, NoticeDetails)
            assert self.notice == (event.details.upcoming_state, event.details.at)
            self.notice = None

    def agrees_with(self, here: Organization) -> None:
        """Fail unless the events agree with the organization's state."""
        expected = Ledger.of(here)
        assert self.state is expected.state
        assert self.open == expected.open
        assert self.notice == expected.notice
        assert self.sequence == expected.sequence


# --- plans, by themselves -------------------------------------------------------------------------


def plainly_active(here: Organization, fleet: Fleet, now: datetime) -> bool:
    """Whether a plan counts as active beyond doubt, found without the core: a commitment or grant
    that runs, or a subscription that is linked to it alone and only ever became active.
    """
    if here.state is State.DEACTIVATED or here.recovery is not None:
        return False
    if any(each.starts_at <= now < each.ends_at for each in here.commitments):
        return True
    if any(each.starts_at <= now < each.ends_at for each in here.grants):
        return True
    for each in fleet.subscriptions.values():
        notes = [note for note in each.notes if note.counts]
        quiet = all(isinstance(note.change, Activated | Unchanged) for note in notes)
        began = [link.occurred_at for link in each.links]
        began += [note.occurred_at for note in notes if isinstance(note.change, Activated)]
        canceled_at = here.cancellation.canceled_at if here.cancellation else now
        if (
            quiet
            and each.links
            and {link.organization for link in each.links} == {here.id}
            and min(began) <= min(now, canceled_at)
        ):
            return True
    return False


# --- one decision ---------------------------------------------------------------------------------


@dataclass(slots=True)
class Witness:
    """Checks each decision of a world as it is made."""

    ledgers: dict[OrganizationId, Ledger] = field(default_factory=dict)
    worker_sequence: int = 0

    @staticmethod
    def of(fleet: Fleet) -> "Witness":
        """A witness that starts with the fleet's current state."""
        ledgers = {id_: Ledger.of(each) for id_, each in fleet.organizations.items()}
        return Witness(ledgers, fleet.safeguards.sequence)

    def __call__(self, world: World, decided: DecisionRecord) -> None:
        """Check one decision."""
        for result in decided.decision.results:
            ledger = self.ledgers.setdefault(result.before.id, Ledger.of(result.before))
            for event in result.events:
                assert event.subject == result.organization.id
                assert event.decided_at == decided.now
                check_standing(event)
                ledger.record(event)
            ledger.agrees_with(result.organization)
            check_settled(world, decided, result)
        for event in decided.decision.worker_events:
            self.worker_sequence += 1
            assert (event.subject, event.sequence) == (WORKER, self.worker_sequence)
            assert event.standing is None


def check_standing(event: Event) -> None:
    """Each event's state agrees with the tables of sections 1 and 6."""
    if event.standing is None:
        assert event.kind is EventKind.ERASED, "it says of nobody how it stands"
        return
    allowed = {
        State.ACTIVE: (True, True, True, True),
        State.CANCELED: (True, True, True, True),
        State.CONTROL_PLANE_LOSS: (False, True, True, True),
        State.SUSPENDED: (False, False, False, True),
        State.DEACTIVATED: (False, False, False, False),
    }
    may = event.standing.capabilities
    if event.standing.state is None or may is None:
        assert event.kind is EventKind.SUPPORT_REQUEST_REJECTED
        assert (event.standing.state, may) == (None, None)
        return
    assert (may.manage, may.data, may.api_keys, may.login) == allowed[event.standing.state]


def check_settled(world: World, decided: DecisionRecord, result: CaseResult) -> None:
    """Invariants 1 to 4 and 9, on one organization."""
    before, after = result.before, result.organization
    entered = [event for event in result.events if event.kind in ENTERED_BY]
    steps = [event for event in entered if ENTERED_BY[event.kind] in STEPS]
    assert bool(entered) or before.state is after.state, "a state changes only with its event"
    assert len(steps) <= 1, "one step at a time"
    for event in steps:
        cause = getattr(event.details, "cause", None)
        if cause is DeactivationCause.SUPPORT_REQUEST:
            assert asks_for(decided, SupportRequestKind.DEACTIVATE_ORGANIZATION)
        else:
            check_step(world, decided, result, event)
    if after.state in {State.CANCELED, *STEPS} - {before.state, State.DEACTIVATED}:
        assert not plainly_active(after, world.fleet, decided.now)
    if after.held(decided.now):
        assert after.notice is None, "no notice stands under a hold"
    if any(event.kind is EventKind.NOTICE_GIVEN for event in result.events):
        assert after.pending is None
        assert isinstance(decided.fact, DeadlineCame)
    check_deactivated(decided, before, after, entered)
    if isinstance(decided.fact, DeadlineCame):
        assert result.due_at is None or result.due_at > decided.now, "what was due has been done"
    if after.state.in_cancellation and not after.held(decided.now):
        waits = after.pending is not None or after.withheld_at is not None
        assert waits or result.due_at is not None, "on its way down, and never looked at again"


def asks_for(decided: DecisionRecord, request: SupportRequestKind) -> bool:
    """Whether the fact is a request of this kind."""
    return isinstance(decided.fact, SupportRequested) and decided.fact.request is request


def check_step(world: World, decided: DecisionRecord, result: CaseResult, event: Event) -> None:
    """Invariants 1, 2, 3 and 9: what must hold where time takes something."""
    before, after, now = result.before, result.organization, decided.now
    state = ENTERED_BY[event.kind]
    assert isinstance(decided.fact, DeadlineCame), "news take no step"
    # 1: no active plan, no hold, nothing pending
    check_no_plan(world, before, now)
    assert not before.held(now)
    assert after.pending is None
    if before.pending is not None:
        lapsed = [e.kind for e in result.events].index(EventKind.REINSTATEMENT_LAPSED)
        assert lapsed < result.events.index(event)
    # 2: long enough in the state before
    if before.state is not State.ACTIVE:
        for policy in both_policies(world, before):
            assert before.entered_at is not None
            dwell = policy.minimum_dwell.of(before.state)
            assert now >= max(before.entered_at, before.dwells_from or before.entered_at) + dwell
    # section 3, 6, and section 5: a commitment that was bought finds its data
    if state in HARMFUL:
        own = [each for each in after.commitments if before.keeps(each.updated_at)]
        assert not any(now < each.starts_at for each in own)
    # 3: announced, at least the lead before, and not before the date that was named
    if state in HARMFUL:
        notice = before.notice
        assert notice is not None, "no notice, no step"
        assert notice.step is state
        assert now >= notice.announced_for_at
        for policy in both_policies(world, before):
            inactive = before.state is State.ACTIVE
            lead = policy.notice.inactivity if inactive else policy.notice.of(state)
            assert lead is not None
            assert now >= notice.given_at + lead
    if before.state is State.ACTIVE:
        # 9
        assert after.tier is not None
        assert after.tier.value is Tier.FREE
    else:
        check_offset(world, result, state, now)


def check_no_plan(world: World, before: Organization, now: datetime) -> None:
    """No plan counted, with all that is known after the fact."""
    covered = world.case(before, now).covered
    assert not covered.active(Moment(now))
    assert covered.pending(Moment(now)) is None
    assert not plainly_active(before, world.fleet, now)


def both_policies(world: World, before: Organization) -> list[Policy]:
    """The policy in force, and the one that it is pinned to: the kinder of each rule holds."""
    pinned = before.cancellation and world.policies.pinned.get(before.cancellation.policy_version)
    return [world.policies.current, *([pinned] if pinned else [])]


def check_offset(world: World, result: CaseResult, state: State, now: datetime) -> None:
    """Section 3, 1 and 4: the offset, with the extension, and the marketplaces' floors."""
    after = result.organization
    assert after.cancellation is not None
    for policy in both_policies(world, result.before):
        offset = policy.offset(after.plan_type, state) + after.cancellation.extension
        assert now >= after.cancellation.canceled_at + offset
    if state is State.DEACTIVATED:
        for each in attached_to(world.fleet, after.id):
            links = links_of(world.fleet, each)
            floor = fold(each, links).floor if links[-1].organization == after.id else None
            assert floor is None or now >= floor


def check_deactivated(
    decided: DecisionRecord, before: Organization, after: Organization, entered: list[Event]
) -> None:
    """Invariant 4: only Support brings one back, and never one that a cancellation ended."""
    if before.state is not State.DEACTIVATED:
        return
    if after.state is State.DEACTIVATED:
        assert entered == []
        return
    assert asks_for(decided, SupportRequestKind.REACTIVATE_ORGANIZATION)
    assert before.deactivation_cause is not DeactivationCause.MARKETPLACE_CANCELLATION
    assert entered[0].kind is EventKind.REACTIVATED
