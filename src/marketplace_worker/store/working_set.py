"""Loads what the facts of one batch may concern, under lock, and writes back what was decided.

Locks are taken in one order everywhere: billing accounts, then subscriptions by key, organizations
by id, activity by organization, and the safeguards (docs/architecture.md).
"""

from collections.abc import Collection, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from marketplace_worker.lifecycle.facts import (
    ClockCorrected,
    ClockMoved,
    ClosureJudged,
    EpochBegan,
    EpochCompleted,
    Erased,
    Fact,
    GuardReleased,
    GuardTripped,
    Notified,
    PublishedBefore,
    Unrecognized,
)
from marketplace_worker.lifecycle.fleet import Fleet
from marketplace_worker.lifecycle.inactivity import Feeds
from marketplace_worker.lifecycle.index import BillingAccount, accounts_of
from marketplace_worker.lifecycle.loaded import LoadedKeys
from marketplace_worker.lifecycle.organization import Organization
from marketplace_worker.lifecycle.policy import Policy
from marketplace_worker.lifecycle.scope import BatchScope, due_scope_of
from marketplace_worker.lifecycle.subscription import Subscription
from marketplace_worker.lifecycle.vocabulary import (
    EmailHash,
    OrganizationId,
    SubscriptionKey,
)
from marketplace_worker.store import (
    activity,
    organizations,
    possible_use,
    published,
    safeguards,
    subscriptions,
)
from marketplace_worker.store.database import Connection


@dataclass(slots=True)
class WorkingSet:
    """What a batch may look up and change; lives as long as its transaction.  Its fleet knows which
    keys it was loaded with, and refuses a lookup of any other (`lifecycle.loaded`).

    `fleet` is all that was loaded; of its organizations only those in `locked` may be changed, and
    its safeguards only where `safeguards_locked`.  `plans_of_erased`: the subscriptions that only
    organizations had that are erased.
    """

    fleet: Fleet = field(default_factory=lambda: Fleet(loaded=LoadedKeys()))
    locked: set[OrganizationId] = field(default_factory=set)
    safeguards_locked: bool = False
    plans_of_erased: set[SubscriptionKey] = field(default_factory=set)

    @property
    def keys(self) -> LoadedKeys:
        """What its fleet was loaded with so far."""
        assert self.fleet.loaded is not None, "only a part of the fleet is ever loaded"
        return self.fleet.loaded

    def is_about_erased(self, fact: Fact) -> bool:
        """Whether a fact is about an organization that is erased, or a subscription of nobody else:
        what it says is not kept (docs/personal-data.md).
        """
        match fact:
            case Notified(subscription=key):
                return key in self.plans_of_erased and all(
                    self._is_erased(link.organization)
                    for link in self.fleet.subscription(key).links
                )
            case (
                Erased()
                | GuardTripped()
                | GuardReleased()
                | ClockMoved()
                | ClockCorrected()
                | EpochBegan()
                | EpochCompleted()
                | PublishedBefore()
                | ClosureJudged()
                | Unrecognized()
            ):
                return False
            case _:
                return fact.organization is not None and self._is_erased(fact.organization)

    def _is_erased(self, organization: OrganizationId) -> bool:
        return self.fleet.organization(organization).erased_at is not None

    async def find_plans_of_erased(
        self, conn: Connection, named: AbstractSet[SubscriptionKey]
    ) -> None:
        """Find the subscriptions among `named` that only organizations had that are erased; whoever
        ever had one is locked.
        """
        if not any(map(self._is_erased, self.locked)):
            return
        links = await subscriptions.links_of(conn, named)
        self.plans_of_erased = {key for id_, key in links if self._is_erased(id_)} - {
            key for id_, key in links if not self._is_erased(id_)
        }

    async def load_plans(self, conn: Connection) -> None:
        """Add the plans of the locked organizations with their families, without a lock: to change
        one that concerns an organization, one needs the organization's.  And whom these families
        belong to, for a billing account of two organizations is no match.
        """
        missing = await subscriptions.linked_to(conn, self.locked) - self.keys.subscriptions
        self.keys.plans |= self.locked
        if not missing:
            return
        families = await subscriptions.read_families(conn, missing)
        await self.add_families(conn, families)
        others = await subscriptions.holders(conn, families.keys) - self.keys.organizations
        self.keys.organizations |= others
        if others:
            self.fleet.put(*await organizations.read(conn, others))

    async def add_families(
        self,
        conn: Connection,
        families: subscriptions.Families,
        named: AbstractSet[BillingAccount] = frozenset(),
    ) -> None:
        """Add what is new of some families, and which billing accounts of theirs, or of those that
        the batch names, are crowded.  That is asked after the families were read: these leave out
        what is in an account that was crowded by then.
        """
        new = [each for each in families.registers if each.key not in self.keys.subscriptions]
        self.fleet.put(*new)
        self.keys.subscriptions |= families.keys
        accounts = set(named).union(*(accounts_of(each) for each in families.registers))
        self.keys.accounts |= accounts
        self.fleet.crowded |= await subscriptions.crowded(conn, accounts)

    async def lock_activity(
        self,
        conn: Connection,
        counted: AbstractSet[OrganizationId] = frozenset(),
        linked: AbstractSet[OrganizationId] = frozenset(),
    ) -> None:
        """Add when the locked organizations were last in use; nothing more is counted for now.

        With the logins that are kept, where a sign-in may prove a plan: of those that have or had
        plans, and those `linked` to one by the same batch.

        Each of them may begin to watch its activity.  A worker that counts activity reads who
        watches afterwards: so a login is either counted already, and found here, or decided on
        there.
        """
        self.fleet.seen.update(await activity.lock(conn, self.locked | counted))
        self.keys.activity |= self.locked | counted
        asked = {id_: self.fleet.seen[id_] for id_ in self._asked_for_logins(linked)}
        if asked:
            self.fleet.seen.update(await activity.with_logins(conn, asked))

    def _asked_for_logins(self, linked: AbstractSet[OrganizationId]) -> set[OrganizationId]:
        """Whose sign-ins may prove a plan: only beside a plan of its own another can match."""
        fleet = self.fleet
        return {id_ for id_ in self.locked if id_ in linked or bool(fleet.linked_to(id_))}

    async def lock_safeguards(self, conn: Connection) -> None:
        """Add the safeguards: the last of all locks."""
        self.fleet.safeguards = await safeguards.lock(conn)
        self.safeguards_locked = True


# --- for news -------------------------------------------------------------------------------------


async def lock_for(
    conn: Connection, scope: BatchScope, counted: AbstractSet[OrganizationId] = frozenset()
) -> WorkingSet:
    """Lock what a batch may change, and load all that its decisions look up.

    Changed may be: the subscriptions named and, through them and their families, the organizations
    that hold them; the organizations named; and those that have a part in an email.  `counted` are
    those whose activity the same transaction counts; all activity is locked at once, in one order.
    """
    loaded = WorkingSet()
    ids = set(scope.organizations)
    if scope.subscriptions:
        families = await subscriptions.lock_families(conn, scope.seeds)
        await loaded.add_families(conn, families, scope.accounts)
        ids |= await subscriptions.holders(conn, families.keys)
    await _lock_organizations(conn, loaded, ids, scope)
    if loaded.locked:
        await loaded.find_plans_of_erased(conn, scope.subscriptions)
        await loaded.load_plans(conn)
        await loaded.lock_activity(conn, counted, scope.linked)
    if scope.deactivates:
        await published.require_compared(conn)
    if scope.safeguards:
        await loaded.lock_safeguards(conn)
    return loaded


async def _lock_organizations(
    conn: Connection, loaded: WorkingSet, ids: set[OrganizationId], scope: BatchScope
) -> None:
    """Lock these, and all that have a part in the emails of the batch.

    Who has a part in an email may change while the locks are waited for, and cannot once all are
    held: so it is asked again until it adds nobody.
    """
    reactivated = scope.reactivated
    owners = scope.owners if reactivated else set()
    while True:
        if scope.locked_emails or reactivated:
            ids |= await organizations.meeting(conn, scope.locked_emails, reactivated, owners)
        if ids <= loaded.locked:
            break
        loaded.fleet.put(*await organizations.lock(conn, ids))
        loaded.locked |= ids
        loaded.keys.organizations |= ids
    loaded.keys.locked_emails |= scope.locked_emails
    loaded.keys.owner_emails |= owners | _owners(loaded.fleet, reactivated)


def _owners(fleet: Fleet, ids: Iterable[OrganizationId]) -> set[EmailHash]:
    """The emails of the owners of some organizations."""
    owners = (fleet.organization(each).owner for each in ids)
    return {owner.value for owner in owners if owner is not None}


# --- for deadlines --------------------------------------------------------------------------------


async def load_due(
    conn: Connection, claimed: Collection[Organization], policy: Policy, *, now: datetime
) -> WorkingSet:
    """Load all that decisions on organizations look up that are claimed and due, and lock what they
    share with others.  `policy` is the one in force.
    """
    loaded = WorkingSet(locked={each.id for each in claimed})
    loaded.keys.organizations |= loaded.locked
    loaded.fleet.put(*claimed)
    await loaded.load_plans(conn)
    await loaded.lock_activity(conn)
    due = due_scope_of(claimed)
    if due.inactivity:
        loaded.fleet.feeds = await _feeds(conn, loaded.locked, policy, now)
    if due.asks_guard:
        await published.require_compared(conn)
        await loaded.lock_safeguards(conn)
        if due.needs_population(loaded.fleet.safeguards, policy.guard, now=now):
            loaded.fleet.population = await organizations.population(conn)
    return loaded


async def _feeds(
    conn: Connection, ids: Collection[OrganizationId], policy: Policy, now: datetime
) -> Feeds:
    """What decisions on the inactivity of these look at, from before the longest window on."""
    since = (now - policy.inactivity.longest_window - timedelta(days=1)).date()
    feeds = await activity.feeds(conn, since=since)
    return replace(feeds, possible_use=await possible_use.read(conn, ids, since=since))


# --- for those who only look ----------------------------------------------------------------------


async def read(
    conn: Connection,
    ids: Collection[OrganizationId],
    policy: Policy,
    *,
    now: datetime,
    owners_of: Collection[OrganizationId] = (),
) -> Fleet:
    """Some organizations with all that can be reported of them, without a lock; those that do not
    exist are left out.  Within `database.one_moment` all of it is of one moment.

    `owners_of`: with all organizations that have the same owner as one of these.
    """
    asked = set(ids)
    if owners_of:
        asked |= await organizations.meeting(conn, (), owners_of, ())
    loaded = WorkingSet(locked=asked)
    loaded.keys.organizations |= asked
    loaded.fleet.put(*await organizations.read(conn, asked))
    loaded.keys.owner_emails |= _owners(loaded.fleet, owners_of)
    await loaded.load_plans(conn)
    loaded.fleet.seen.update(await activity.read(conn, asked))
    loaded.keys.activity |= asked
    loaded.fleet.feeds = await _feeds(conn, asked, policy, now)
    loaded.fleet.safeguards = await safeguards.read(conn)
    loaded.fleet.population = await organizations.population(conn)
    return loaded.fleet


# --- writing it back ------------------------------------------------------------------------------


async def save(
    conn: Connection,
    changed_subscriptions: Collection[Subscription],
    changed_organizations: Collection[Organization],
    due_at: Mapping[OrganizationId, datetime | None],
) -> None:
    """Write what was decided; all of it was locked by this transaction."""
    if changed_subscriptions:
        await subscriptions.save(conn, changed_subscriptions)
    if changed_organizations:
        await organizations.save(conn, changed_organizations, due_at)
        proved = {
            (each.id, proof.subscription) for each in changed_organizations for proof in each.proofs
        }
        await subscriptions.link(conn, proved)
