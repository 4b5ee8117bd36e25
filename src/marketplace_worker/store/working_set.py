"""Locks and loads everything that the facts of a batch may concern, and saves the decisions.

All transactions take locks in one order: billing accounts, subscriptions by key, organizations by
id, activity by organization, safeguards (docs/architecture.md).
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
    state_counts,
    subscriptions,
)
from marketplace_worker.store.database import Connection


@dataclass(slots=True)
class WorkingSet:
    """Everything that a batch may read and change; valid as long as its transaction.

    `fleet`: all that was loaded; it knows its keys and refuses a lookup of any other
    (`lifecycle.loaded`).  Only the organizations in `locked` may be changed, and the safeguards
    only if `safeguards_locked`.  `plans_of_erased`: subscriptions that belonged to erased
    organizations only.
    """

    fleet: Fleet = field(default_factory=lambda: Fleet(loaded=LoadedKeys()))
    locked: set[OrganizationId] = field(default_factory=set)
    safeguards_locked: bool = False
    plans_of_erased: set[SubscriptionKey] = field(default_factory=set)

    @property
    def keys(self) -> LoadedKeys:
        """The keys with which the fleet was loaded so far."""
        assert self.fleet.loaded is not None, "only a part of the fleet is ever loaded"
        return self.fleet.loaded

    def is_about_erased(self, fact: Fact) -> bool:
        """Whether a fact is about an erased organization, or a subscription that belonged to erased
        organizations only: its content is not stored (docs/personal-data.md).
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
        """Find the subscriptions among `named` that belonged to erased organizations only.

        All organizations that ever had one of them are locked.
        """
        if not any(map(self._is_erased, self.locked)):
            return
        links = await subscriptions.links_of(conn, named)
        self.plans_of_erased = {key for id_, key in links if self._is_erased(id_)} - {
            key for id_, key in links if not self._is_erased(id_)
        }

    async def load_plans(self, conn: Connection) -> None:
        """Add the plans of the locked organizations, with their families and the organizations that
        hold these: a billing account that two organizations share is no match.

        The plans need no lock: a transaction that changes a plan of an organization locks the
        organization.
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
        """Add families, and which of their billing accounts and of the `named` ones are crowded.

        Crowded accounts must be read after the families, because families leave out the
        subscriptions of an account that was crowded by then.
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
        """Lock and add the last activity of the locked organizations.

        Stored logins are added only for organizations for which a sign-in may prove a plan: those
        that have or had plans, and those that the same batch links to one (`linked`).

        A decision of this transaction may start waiting for a login.  A worker that counts activity
        reads afterwards which organizations wait: so either it has counted the login already, and
        this transaction reads it here, or it decides on the login itself.
        """
        self.fleet.seen.update(await activity.lock(conn, self.locked | counted))
        self.keys.activity |= self.locked | counted
        asked = {id_: self.fleet.seen[id_] for id_ in self._asked_for_logins(linked)}
        if asked:
            self.fleet.seen.update(await activity.with_logins(conn, asked))

    def _asked_for_logins(self, linked: AbstractSet[OrganizationId]) -> set[OrganizationId]:
        """The organizations for which a sign-in may prove a plan: a plan can match only if the
        organization has or had another one.
        """
        fleet = self.fleet
        return {id_ for id_ in self.locked if id_ in linked or bool(fleet.linked_to(id_))}

    async def lock_safeguards(self, conn: Connection) -> None:
        """Lock and add the safeguards; this must be the last lock."""
        self.fleet.safeguards = await safeguards.lock(conn)
        self.safeguards_locked = True


# --- for inbound facts ----------------------------------------------------------------------------


async def lock_for(
    conn: Connection, scope: BatchScope, counted: AbstractSet[OrganizationId] = frozenset()
) -> WorkingSet:
    """Lock what a batch may change, and load everything that its decisions read.

    It may change the named subscriptions and the organizations that hold these or their families,
    the named organizations, and those with a part in a named email.  `counted`: organizations whose
    activity the same transaction counts; all activity is locked at once, in one order.
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
    """Lock organizations, and all others with a part in the emails of the batch.

    The latter may change while this waits for locks, but not once all are held.  So they are read
    again until no new one is found.
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
    """Load everything that decisions on claimed due organizations read, and lock what they share
    with others.  `policy` is the one in force.
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
    """The days of the feeds for decisions on inactivity, as far back as the longest window."""
    since = (now - policy.inactivity.longest_window - timedelta(days=1)).date()
    feeds = await activity.feeds(conn, since=since)
    return replace(feeds, possible_use=await possible_use.read(conn, ids, since=since))


# --- for reports ----------------------------------------------------------------------------------


async def read(
    conn: Connection,
    ids: Collection[OrganizationId],
    policy: Policy,
    *,
    now: datetime,
    owners_of: Collection[OrganizationId] = (),
) -> Fleet:
    """Read some organizations with everything needed for reports, without a lock.

    Unknown organizations are left out.  Consistent within `database.one_moment`.  The population is
    the kept number, because counting would scan the fleet while a person waits.

    `owners_of`: adds all organizations with the same owner as one of these.
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
    loaded.fleet.population = await state_counts.population(conn)
    return loaded.fleet


# --- saving ---------------------------------------------------------------------------------------


async def save(
    conn: Connection,
    changed_subscriptions: Collection[Subscription],
    changed_organizations: Collection[Organization],
    due_at: Mapping[OrganizationId, datetime | None],
) -> None:
    """Write the changed values, all of which this transaction has locked."""
    if changed_subscriptions:
        await subscriptions.save(conn, changed_subscriptions)
    if changed_organizations:
        await organizations.save(conn, changed_organizations, due_at)
        proved = {
            (each.id, proof.subscription) for each in changed_organizations for proof in each.proofs
        }
        await subscriptions.link(conn, proved)
