"""Decides on facts within one transaction, and writes everything that results.

All steps that decide share it: from facts and a working set to journal, history, state and outbox.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from marketplace_worker.contract.outbound import (
    CLOUDEVENTS_CONTENT_TYPE,
    encode,
    encode_snapshot,
)
from marketplace_worker.contract.tracing import Trace
from marketplace_worker.lifecycle.decide import Decision, Outcome, apply
from marketplace_worker.lifecycle.events import WORKER, Event, Snapshot
from marketplace_worker.lifecycle.facts import (
    DeadlineCame,
    Fact,
    Notified,
    SubscriptionLinked,
)
from marketplace_worker.lifecycle.fleet import Fleet
from marketplace_worker.lifecycle.index import BillingAccount
from marketplace_worker.lifecycle.linking import NotableLink, notable_links
from marketplace_worker.lifecycle.organization import Organization
from marketplace_worker.lifecycle.ownership import is_crowded, links_of
from marketplace_worker.lifecycle.policy import Policies
from marketplace_worker.lifecycle.replay import Readings, readings_of
from marketplace_worker.lifecycle.settle import BY_DEADLINE, CaseResult
from marketplace_worker.lifecycle.snapshot import snapshot
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.subscription import Subscription
from marketplace_worker.lifecycle.values import replace
from marketplace_worker.lifecycle.vocabulary import OrganizationId, SubscriptionKey
from marketplace_worker.operations import metrics
from marketplace_worker.record import Outgoing
from marketplace_worker.runtime import log_lines
from marketplace_worker.runtime.cancellation_alarm import CancellationAlarm, MassCancellation
from marketplace_worker.runtime.log_lines import DecidedFact
from marketplace_worker.runtime.worker import OutboundTopics, Worker
from marketplace_worker.store import (
    decisions,
    journal,
    outbox,
    replay,
    safeguards,
    state_counts,
    subscriptions,
    working_set,
)
from marketplace_worker.store.database import Connection
from marketplace_worker.store.decisions import DecisionRow
from marketplace_worker.store.working_set import WorkingSet

_HEADERS = (("content-type", CLOUDEVENTS_CONTENT_TYPE.encode()),)


@dataclass(slots=True)
class UnitOfWork:
    """What one transaction decided; lives as long as it.

    `loaded` is what was loaded and locked; it changes as facts are taken.  Traces are no part of
    what is decided: they go by beside it, from the message to the events that it caused.
    """

    loaded: WorkingSet
    policies: Policies
    now: datetime
    relay_wakeups: Sequence[asyncio.Event]
    alarm: CancellationAlarm = field(default_factory=CancellationAlarm)
    entries: list[journal.Entry] = field(default_factory=list)
    decided: list[DecisionRow] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    _logged: list[DecidedFact] = field(default_factory=list)
    _links: list[NotableLink] = field(default_factory=list)
    _crowded_now: set[BillingAccount] = field(default_factory=set)
    _safeguards_changed: bool = False
    _snapshots: dict[OrganizationId, tuple[Snapshot, Trace | None]] = field(default_factory=dict)
    _traces: dict[UUID, Trace] = field(default_factory=dict)
    _late: set[SubscriptionKey] = field(default_factory=set)
    _subscriptions: dict[SubscriptionKey, Subscription] = field(default_factory=dict)
    _due_at: dict[OrganizationId, datetime | None] = field(default_factory=dict)
    _moved: Counter[State] = field(default_factory=Counter)
    _mass_cancellation: MassCancellation | None = None

    @classmethod
    async def begin(
        cls, conn: Connection, loaded: WorkingSet, worker: Worker, *, now: datetime | None = None
    ) -> "UnitOfWork":
        """Begin, with the policies that the loaded organizations are pinned to.

        All decisions are made at `now`; if not given, at the moment at which all locks are held.
        """
        if loaded.safeguards_locked:
            metrics.show_guard(loaded.fleet.safeguards)
        policies = await worker.policies.policies_for(conn, loaded.fleet)
        now = now or await worker.clock(conn)
        return cls(loaded, policies, now, worker.relay_wakeups, worker.alarm)

    @property
    def fleet(self) -> Fleet:
        """What was loaded, as decided so far."""
        return self.loaded.fleet

    # --- deciding ---

    async def decide(self, fact: Fact, position: str, trace: Trace | None = None) -> Decision:
        """Decide on one fact, and keep what results; its events carry the fact's `trace`.

        Yields to the event loop after each fact: a batch may hold ten thousand, and without
        heartbeats meanwhile the consumer would lose its place in the group.
        """
        await asyncio.sleep(0)
        safeguards_before, is_late = self.fleet.safeguards, self.loaded.is_about_erased(fact)
        if isinstance(fact, Notified) and is_late:
            fact = replace(fact, note=replace(fact.note, billing_account=None))
        decision = apply(fact, self.fleet, self.policies, now=self.now)
        is_late = is_late and all(each.organization.erased_at for each in decision.results)
        if not isinstance(fact, DeadlineCame) or _came_to_anything(decision):
            self.entries.append(self._entry(fact, decision, position, is_late=is_late))
        self.events += decision.events
        if trace is not None:
            self._traces.update((event.id, trace) for event in decision.events)
        if decision.safeguards != safeguards_before:
            assert self.loaded.safeguards_locked, (
                "what all workers share is locked before it changes"
            )
            self._safeguards_changed = True
        if decision.subscription is not None:
            self._subscriptions[decision.subscription.key] = decision.subscription
            if isinstance(fact, SubscriptionLinked):
                self._links += self._notable(decision.subscription, fact)
        for result in decision.results:
            self._remember(result, fact, decision.outcome, trace)
        if decision.worker_events:
            version = self.policies.current.version
            self.decided.append(
                DecisionRow(fact.identity, WORKER, None, None, version, decision.worker_events)
            )
        if is_late:
            late = fact.identity
            self.decided = [replace(d, events=()) if d.cause == late else d for d in self.decided]
        self._logged.append(DecidedFact.of(fact, decision, position, trace))
        return decision

    def _entry(
        self, fact: Fact, decision: Decision, position: str, *, is_late: bool
    ) -> journal.Entry:
        """The fact's row of the journal; of one that comes late what it said is not kept, and of a
        subscription's news not how to fold it again.
        """
        if not is_late:
            readings = readings_of(decision, self.fleet)
            return journal.Entry(fact, decision.outcome, position, readings)
        if isinstance(fact, Notified):
            self._late.add(fact.subscription)
        readings = Readings(answered=any(each.events for each in decision.results))
        return journal.Entry(fact, decision.outcome, position, readings, is_late=True)

    def _notable(self, subscription: Subscription, fact: SubscriptionLinked) -> list[NotableLink]:
        """What a person should look at of a link, and of those that come after it."""
        links = notable_links(subscription, links_of(self.fleet, subscription))
        return [each for each in links if each.linked_at >= fact.occurred_at]

    def _remember(
        self, result: CaseResult, fact: Fact, outcome: Outcome, trace: Trace | None
    ) -> None:
        organization = result.organization
        id_, seen = organization.id, self.fleet.seen.get(organization.id)
        assert id_ in self.loaded.locked, "an organization is locked before it is decided on"
        assert seen is not None or not organization.watches_activity, (
            "who begins to watch activity has seen all of it"
        )
        if organization.creation is not None:
            self._moved[organization.state] += 1
        if result.before.creation is not None:
            self._moved[result.before.state] -= 1
        # What old news made due in the past is due now, as in `simulate`.
        self._due_at[id_] = result.due_at and max(result.due_at, self.now)
        deadline = isinstance(fact, DeadlineCame)
        if organization != result.before or (outcome is Outcome.APPLIED and not deadline):
            self._show(result, BY_DEADLINE if deadline else fact.identity.id, trace)
        if result.events or _what_is_decided(organization) != _what_is_decided(result.before):
            pinned = organization.cancellation or result.before.cancellation
            self.decided.append(
                DecisionRow(
                    fact.identity,
                    id_,
                    result.before.state,
                    organization.state,
                    pinned.policy_version if pinned else self.policies.current.version,
                    result.events,
                )
            )

    def _show(self, result: CaseResult, cause: str, trace: Trace | None) -> None:
        """Its newest snapshot is the one that goes out: one an organization and batch.  Of one that
        was erased before there is none.
        """
        organization = result.organization
        if organization.creation is not None and result.before.erased_at is None:
            shown = snapshot(result.view, revision=organization.revision + 1, causation_id=cause)
            self._snapshots[organization.id] = shown, trace

    # --- writing it down ---

    async def write(self, conn: Connection, topics: OutboundTopics) -> None:
        """Write state, journal, history and outbox, in the caller's transaction."""
        messages = [*self._lifecycle_messages(topics), *self._snapshot_messages(topics)]
        changed = [self._changed(each) for each in self._due_at]
        await working_set.save(conn, list(self._subscriptions.values()), changed, self._due_at)
        await state_counts.append(conn, self._moved, day=self.now.date())
        await self._record_crowded(conn)
        if self._safeguards_changed:
            await safeguards.save(conn, self.fleet.safeguards)
        if self.entries:
            version = self.policies.current.version
            await journal.append(conn, self.entries, decided_at=self.now, policy_version=version)
            await self._save_late(conn)
        if self.decided:
            await decisions.append(conn, self.decided, decided_at=self.now)
            if any(each.canceled for each in self.decided):
                guard = self.policies.current.guard
                self._mass_cancellation = await self.alarm.check(conn, guard, now=self.now)
        if messages:
            await outbox.append(conn, messages, written_at=self.now)

    def _changed(self, id_: OrganizationId) -> Organization:
        """An organization as it is stored: its revision is that of its newest snapshot."""
        organization = self.fleet.organization(id_)
        if id_ not in self._snapshots:
            return organization
        shown, _ = self._snapshots[id_]
        return replace(organization, revision=shown.revision)

    async def _save_late(self, conn: Connection) -> None:
        """Let folding begin anew for subscriptions whose news is not kept: nobody's decisions read
        them but those of who is erased.
        """
        if self._late:
            late = [self.fleet.subscription(each) for each in sorted(self._late)]
            chains = [(each.key.marketplace.value, each.key.subscription_id) for each in late]
            await replay.save_checkpoints(
                conn,
                late,
                await journal.heads(conn, chains),
                journal_id=await replay.last_row(conn),
                decided_at=self.now,
            )

    async def _record_crowded(self, conn: Connection) -> None:
        """Store the billing accounts that became crowded, for all workers."""
        accounts_read = {
            (each.key.marketplace, account)
            for each in self._subscriptions.values()
            for _, account in each.accounts
        }
        crowded = {
            each for each in accounts_read - self.fleet.crowded if is_crowded(self.fleet, each)
        }
        if crowded:
            self._crowded_now = await subscriptions.record_crowded(conn, crowded)

    def _lifecycle_messages(self, topics: OutboundTopics) -> Iterable[Outgoing]:
        for event in self.events:
            value = encode(event, self._traces.get(event.id))
            yield Outgoing(topics.lifecycle, event.subject.encode(), value, _HEADERS)

    def _snapshot_messages(self, topics: OutboundTopics) -> Iterable[Outgoing]:
        """One snapshot for each organization that the batch changed, as it was changed last; what
        is erased is shown no more.
        """
        for id_, (shown, trace) in self._snapshots.items():
            if self.fleet.organization(id_).erased_at is not None:
                yield Outgoing(topics.state, id_.encode(), value=None)
            else:
                yield Outgoing(topics.state, id_.encode(), encode_snapshot(shown, trace), _HEADERS)

    def report(self) -> None:
        """Log what was decided, count it, and wake the relays.  Call after the commit."""
        if self.events or self._snapshots:
            for relay in self.relay_wakeups:
                relay.set()
        metrics.count((entry.outcome for entry in self.entries), self.events)
        log_lines.log_decided(self._logged)
        log_lines.log_links(self._links)
        log_lines.log_crowded(self._crowded_now)
        if self._mass_cancellation is not None:
            self.alarm.report(self._mass_cancellation)


def _came_to_anything(decision: Decision) -> bool:
    """Whether anything changed; a deadline that changed nothing is not journalled."""
    changed = any(each.organization != each.before for each in decision.results)
    return changed or bool(decision.events)


def _what_is_decided(organization: Organization) -> object:
    """What the history shows, beside the events."""
    return (
        organization.state,
        organization.notice,
        organization.pending,
        organization.holds,
        organization.withheld_at,
        organization.postponed_until,
    )
