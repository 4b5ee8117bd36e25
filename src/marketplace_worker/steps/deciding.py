"""Folds facts over what was loaded for them, and writes down all that came of it.

What `ingest` and `deadlines` share: from facts and a fleet to rows and promises.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import structlog

from marketplace_worker.contract.outbound import (
    CLOUDEVENTS_CONTENT_TYPE,
    encode,
    encode_snapshot,
)
from marketplace_worker.lifecycle.decide import Decision, Outcome, take
from marketplace_worker.lifecycle.events import Event, EventKind
from marketplace_worker.lifecycle.facts import DeadlineCame, Fact, Notified, SubscriptionLinked
from marketplace_worker.lifecycle.fleet import Fleet
from marketplace_worker.lifecycle.plans import Subscription
from marketplace_worker.lifecycle.policy import Policy
from marketplace_worker.lifecycle.settle import BY_DEADLINE, snapshot
from marketplace_worker.lifecycle.vocabulary import OrganizationId, SubscriptionKey
from marketplace_worker.record import Outgoing
from marketplace_worker.store import journal, neighbourhood, outbox
from marketplace_worker.store.database import Connection, Pool
from marketplace_worker.translate import EmailHasher, Feed

log = structlog.get_logger(__name__)

_HEADERS = (("content-type", CLOUDEVENTS_CONTENT_TYPE.encode()),)

STATE_EVENTS = {
    EventKind.CANCELED,
    EventKind.CONTROL_PLANE_LOST,
    EventKind.SUSPENDED,
    EventKind.DEACTIVATED,
    EventKind.REINSTATED,
}
"""Each tells of one transition; its effects follow it."""


@dataclass(frozen=True, slots=True)
class OutboundTopics:
    """The names of the topics that we write."""

    lifecycle: str
    state: str
    dead_letters: str


@dataclass(frozen=True, slots=True)
class Worker:
    """What every step works with.

    `clock` tells the moment of a decision (UTC), read once a transaction; `feeds` says what each
    inbound topic carries.
    """

    pool: Pool
    policy: Policy
    clock: Callable[[], datetime]
    hash_email: EmailHasher
    feeds: Mapping[str, Feed]
    topics: OutboundTopics


@dataclass(slots=True)
class Tally:
    """What one transaction decided; lives as long as it.

    `fleet` is what was loaded and locked; it changes as facts are taken.
    """

    fleet: Fleet
    policy: Policy
    now: datetime
    entries: list[journal.Entry] = field(default_factory=list)
    moved: list[Subscription] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    snapshots: int = 0
    _changed_by: dict[OrganizationId, str] = field(default_factory=dict)
    _subscriptions: dict[SubscriptionKey, Subscription] = field(default_factory=dict)
    _due_at: dict[OrganizationId, datetime | None] = field(default_factory=dict)

    def take(self, fact: Fact, position: str) -> Decision:
        """Decide on one fact, and remember what came of it."""
        decision = take(fact, self.fleet, self.policy, now=self.now)
        self.entries.append(journal.Entry(fact, decision.outcome, position))
        self.events += decision.events
        if decision.subscription is not None:
            self._subscriptions[decision.subscription.key] = decision.subscription
            if isinstance(fact, SubscriptionLinked) and _was_moved(decision.subscription):
                self.moved.append(decision.subscription)
        cause = BY_DEADLINE if isinstance(fact, DeadlineCame) else fact.identity.id
        for settled in decision.settled:
            organization = settled.organization.id
            self._due_at[organization] = settled.due_at
            if decision.outcome is Outcome.APPLIED:
                self._changed_by[organization] = cause
        return decision

    async def write(self, conn: Connection, topics: OutboundTopics) -> None:
        """Write the journal, the new state and the promises; all or, with the caller's
        transaction, nothing.
        """
        messages = [*self._lifecycle_messages(topics), *self._snapshot_messages(topics)]
        changed = [self.fleet.organization(each) for each in self._due_at]
        await neighbourhood.save(conn, list(self._subscriptions.values()), changed, self._due_at)
        if self.entries:
            await journal.append(
                conn, self.entries, decided_at=self.now, policy_version=self.policy.version
            )
        if messages:
            await outbox.append(conn, messages, written_at=self.now)

    def _lifecycle_messages(self, topics: OutboundTopics) -> Iterable[Outgoing]:
        for event in self.events:
            key = event.standing.organization.encode()
            yield Outgoing(topics.lifecycle, key, encode(event), _HEADERS)

    def _snapshot_messages(self, topics: OutboundTopics) -> Iterable[Outgoing]:
        """One snapshot for each organization that the batch changed, as it stands at its end."""
        for id_, cause in self._changed_by.items():
            organization = self.fleet.organization(id_)
            if organization.creation is None:
                continue
            organization = replace(organization, revision=organization.revision + 1)
            self.fleet.put(organization)
            self.snapshots += 1
            taken = snapshot(
                organization, self.fleet, self.policy, now=self.now, causation_id=cause
            )
            yield Outgoing(topics.state, id_.encode(), encode_snapshot(taken), _HEADERS)

    def log_transitions(self) -> None:
        """One line a transition, after the commit; and one for whatever a person should look at."""
        for event in self.events:
            if event.kind in STATE_EVENTS:
                _log_transition(event, self.events)
        for subscription in self.moved:
            log.warning(
                "subscription_moved",
                subscription=str(subscription.key),
                organizations=[link.organization for link in subscription.links],
            )
        for entry in self.entries:
            _log_attention(entry)


def _log_transition(event: Event, events: Sequence[Event]) -> None:
    standing = event.standing
    line = log.bind(
        organization=standing.organization,
        state_before=standing.previous_state,
        state=standing.state,
        reason=standing.reason,
        plan_type=standing.plan_type,
        sequence=event.sequence,
        effective_at=event.effective_at.isoformat(),
        late_s=round((event.decided_at - event.effective_at).total_seconds(), 3),
        causation_id=event.causation_id,
        correlation_id=event.correlation_id,
        policy_version=standing.policy_version,
        events=[each.kind for each in events if _same_transition(each, event)],
    )
    if event.kind is EventKind.CANCELED and standing.plan_type is None:
        line.warning("organization_moved", odd="plan type unknown: the longest timeline")
    else:
        line.info("organization_moved")


def _same_transition(each: Event, event: Event) -> bool:
    return (
        each.standing.organization == event.standing.organization
        and each.standing.state is event.standing.state
        and each.standing.previous_state is event.standing.previous_state
        and each.causation_id == event.causation_id
    )


def _was_moved(subscription: Subscription) -> bool:
    """Whether it was linked to more than one organization (lifecycle.md section 2)."""
    return len({link.organization for link in subscription.links}) > 1


def _log_attention(entry: journal.Entry) -> None:
    fact = entry.fact
    if isinstance(fact, Notified) and fact.attention is not None:
        log.warning(
            "notification_needs_attention",
            attention=fact.attention,
            notification=fact.notification,
            subscription=str(fact.subscription),
            position=entry.position,
        )
    elif entry.outcome is Outcome.NOT_SUPPORTED:
        log.warning("support_request_not_acted_on", position=entry.position)
