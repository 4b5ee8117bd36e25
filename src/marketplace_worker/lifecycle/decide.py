"""What one fact does: it changes a register, and the organizations concerned are looked at.

Total: every fact meets every state; an outcome is a value, never an exception.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from marketplace_worker.lifecycle.events import Event
from marketplace_worker.lifecycle.facts import (
    CommitmentLinked,
    Created,
    DeadlineCame,
    Fact,
    Notified,
    OwnerChanged,
    SubscriptionLinked,
    SupportRequested,
    TierChanged,
    Unrecognized,
)
from marketplace_worker.lifecycle.fleet import Fleet
from marketplace_worker.lifecycle.notes import Attention, Unchanged
from marketplace_worker.lifecycle.organization import Organization
from marketplace_worker.lifecycle.plans import Link, Subscription, fold
from marketplace_worker.lifecycle.policy import Policy
from marketplace_worker.lifecycle.settle import BY_DEADLINE, Settled, Trigger, settle
from marketplace_worker.lifecycle.vocabulary import Identity

Telling = Created | TierChanged | OwnerChanged | CommitmentLinked
"""What tells something of an organization itself."""


class Outcome(StrEnum):
    """What became of a fact, as the journal records it."""

    APPLIED = "applied"
    STALE = "stale"
    """It changed nothing in the fold: old news, or said before."""
    NO_CHANGE = "no_change"
    """A kind that never changes a status."""
    UNKNOWN_KIND = "unknown_kind"
    KEPT = "kept"
    """Of an organization that was not created yet; applied when it is."""
    NOT_SUPPORTED = "not_supported"
    """A Support request: answered from the next version on, journalled until then."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What a fact came to.  `settled` has every organization that was looked at, by id."""

    outcome: Outcome
    subscription: Subscription | None = None
    settled: tuple[Settled, ...] = ()

    @property
    def events(self) -> tuple[Event, ...]:
        """What is to be published, in order."""
        return tuple(event for settled in self.settled for event in settled.events)


def decide(fact: Fact, fleet: Fleet, policy: Policy, *, now: datetime) -> Decision:
    """Decide on one fact at `now`.  The fleet is read and stays as it is."""
    match fact:
        case Notified():
            return _notified(fact, fleet, policy, now)
        case SubscriptionLinked():
            return _linked(fact, fleet, policy, now)
        case Created() | TierChanged() | OwnerChanged() | CommitmentLinked():
            return _told(fact, fleet, policy, now)
        case SupportRequested():
            return Decision(Outcome.NOT_SUPPORTED)
        case DeadlineCame(organization=organization):
            settled = settle(
                fleet.organization(organization), fleet, policy, now=now, trigger=Trigger.DEADLINE
            )
            return Decision(Outcome.APPLIED, None, (settled,))
        case Unrecognized():
            return Decision(Outcome.UNKNOWN_KIND)


def take(fact: Fact, fleet: Fleet, policy: Policy, *, now: datetime) -> Decision:
    """Decide on one fact, and let the fleet hold what was decided."""
    decision = decide(fact, fleet, policy, now=now)
    if decision.subscription is not None:
        fleet.put(decision.subscription)
    fleet.put(*(settled.organization for settled in decision.settled))
    return decision


def deadline_of(organization: Organization, now: datetime) -> DeadlineCame:
    """The fact that one of its moments has come; harmless to decide on where none has."""
    # Its revision rises with each change, so the same moment twice is the same deadline.
    name = f"{organization.id}/{organization.revision}/{now.isoformat()}"
    return DeadlineCame(Identity(BY_DEADLINE, name), now, organization.id)


def _notified(fact: Notified, fleet: Fleet, policy: Policy, now: datetime) -> Decision:
    before = fleet.subscription(fact.subscription)
    after = before.heard(fact.note)
    view = fleet.with_subscription(after)
    settled = _settle_holders(after, view, policy, now, fact.identity)
    return Decision(_outcome(fact, before, after, fleet, view), after, settled)


def _outcome(
    fact: Notified, before: Subscription, after: Subscription, fleet: Fleet, view: Fleet
) -> Outcome:
    if fact.attention is Attention.UNKNOWN_KIND:
        return Outcome.UNKNOWN_KIND
    if isinstance(fact.note.change, Unchanged):
        return Outcome.NO_CHANGE
    was = fold(before, fleet.links_of(before)), before.predecessor
    now_is = fold(after, view.links_of(after)), after.predecessor
    return Outcome.STALE if was == now_is else Outcome.APPLIED


def _linked(fact: SubscriptionLinked, fleet: Fleet, policy: Policy, now: datetime) -> Decision:
    link = Link(
        fact.occurred_at,
        fact.identity.id,
        fact.organization,
        fact.plan_type,
        fact.billing_account,
    )
    after = fleet.subscription(fact.subscription).linked(link)
    view = fleet.with_subscription(after)
    settled = _settle_holders(after, view, policy, now, fact.identity)
    return Decision(_applied_or_kept(view.organization(fact.organization)), after, settled)


def _tell(organization: Organization, fact: Telling) -> Organization:
    match fact:
        case Created():
            return organization.created(fact)
        case TierChanged():
            return organization.tier_changed(fact)
        case OwnerChanged():
            return organization.owner_changed(fact)
        case CommitmentLinked():
            return organization.commitment_linked(fact)


def _told(fact: Telling, fleet: Fleet, policy: Policy, now: datetime) -> Decision:
    before = fleet.organization(fact.organization)
    told = _tell(before, fact)
    settled = _settle(told, fleet, policy, now, fact.identity)
    return Decision(_applied_or_kept(told), None, (replace(settled, before=before),))


def _settle_holders(
    subscription: Subscription, view: Fleet, policy: Policy, now: datetime, identity: Identity
) -> tuple[Settled, ...]:
    return tuple(
        _settle(view.organization(holder), view, policy, now, identity)
        for holder in sorted(view.holders(subscription.key))
    )


def _settle(
    organization: Organization, fleet: Fleet, policy: Policy, now: datetime, identity: Identity
) -> Settled:
    return settle(
        organization, fleet, policy, now=now, trigger=Trigger.NEWS, causation_id=identity.id
    )


def _applied_or_kept(organization: Organization) -> Outcome:
    return Outcome.KEPT if organization.creation is None else Outcome.APPLIED
