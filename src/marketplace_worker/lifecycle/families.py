"""What belongs together: the one definition, against which the queries of the store are tested.

Three closures, from small to large:

- a *family*: the subscriptions that are decided on together (`family`);
- what a batch may change, and everything that its decisions may look up (`working_set`);
- a *replay group*: all that decisions on its members may ever have looked up (`replay_group`).

The store finds each by a recursive query, without loading the rest of the fleet.
`tests/store/test_families.py` draws fleets, and compares both.
"""

from collections.abc import Collection, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import field

from marketplace_worker.lifecycle.events import WORKER
from marketplace_worker.lifecycle.facts import Created, Fact, OwnerChanged
from marketplace_worker.lifecycle.index import BillingAccount, accounts_of
from marketplace_worker.lifecycle.loaded import LoadedKeys
from marketplace_worker.lifecycle.registers import Registers
from marketplace_worker.lifecycle.scope import (
    BatchScope,
    FamilySeeds,
    named_organization,
    named_subscription,
)
from marketplace_worker.lifecycle.values import dataclass
from marketplace_worker.lifecycle.vocabulary import EmailHash, OrganizationId, SubscriptionKey

# --- families -------------------------------------------------------------------------------------


def family(registers: Registers, seeds: FamilySeeds) -> set[SubscriptionKey]:
    """These subscriptions and accounts, with all that they continue, that continues them, and that
    shares a billing account with any of them, directly or through others.

    An account connects its subscriptions only if an organization may hold it: one of them was
    linked or proved, continues another, or will be by the current batch.  An account without a
    holder matches no organization, and a crowded one proves nothing, however many subscriptions it
    has.
    """
    found, accounts = set(seeds.keys), set(seeds.accounts)
    keys_to_visit, accounts_to_visit = list(found), list(accounts)
    while keys_to_visit or accounts_to_visit:
        if keys_to_visit:
            key = keys_to_visit.pop()
            relatives = _succession(registers, key)
            new_accounts = accounts_of(registers.subscription(key)) - accounts
            accounts |= new_accounts
            accounts_to_visit += new_accounts
        else:
            relatives = _members(registers, accounts_to_visit.pop(), seeds)
        new = relatives - found
        found |= new
        keys_to_visit += new
    return found


def _succession(registers: Registers, key: SubscriptionKey) -> set[SubscriptionKey]:
    """The subscription that it continues, and those that continue it, directly."""
    predecessor = registers.subscription(key).predecessor
    found = {each.key for each in registers.successors(key)}
    return found if predecessor is None else found | {predecessor}


def _members(
    registers: Registers, account: BillingAccount, seeds: FamilySeeds
) -> set[SubscriptionKey]:
    """The subscriptions of a billing account, where it joins them."""
    if account in registers.crowded:
        return set()
    members = {each.key for each in registers.having(account)}
    held = (
        registers.holding(account)
        or account in seeds.accounts_of_attached
        or not members.isdisjoint(seeds.attached)
    )
    return members if held else set()


def holders(registers: Registers, keys: Iterable[SubscriptionKey]) -> set[OrganizationId]:
    """The organizations to which any of these subscriptions was ever linked, by a sign-up or a
    proof.
    """
    found = set[OrganizationId]()
    for key in keys:
        found |= {link.organization for link in registers.subscription(key).links}
        found |= registers.proved_by(key)
    return found


# --- working sets ---------------------------------------------------------------------------------


def working_set(registers: Registers, scope: BatchScope) -> tuple[set[OrganizationId], LoadedKeys]:
    """The organizations that a batch may change, and the keys that its decisions may look up.

    It may change the organizations that it names, those that hold any of the families that it
    names, and those with a part in an email that it names.  Decisions on these look up all their
    plans with the families of these, and the holders of those.
    """
    first = family(registers, scope.seeds) if scope.subscriptions else set()
    locked = scope.organizations | holders(registers, first) | _having_emails(registers, scope)
    linked = {key for each in locked for key in registers.linked_to(each)}
    plans = family(registers, FamilySeeds(linked - first)) if linked - first else set()
    subscriptions = first | plans
    reactivated = map(registers.organization, scope.reactivated)
    stored = {each.owner.value for each in reactivated if each.owner is not None}
    return locked, LoadedKeys(
        organizations={WORKER} | locked | holders(registers, plans),
        subscriptions=subscriptions,
        accounts=scope.accounts.union(
            *(accounts_of(registers.subscription(key)) for key in subscriptions)
        ),
        plans=set(locked),
        activity=set(locked),
        owner_emails=stored | scope.owners if scope.reactivated else set(),
        locked_emails=set(scope.locked_emails),
    )


def _having_emails(registers: Registers, scope: BatchScope) -> set[OrganizationId]:
    """The organizations whose deactivation locked an email of the batch, and those with the same
    owner as an organization that it may reactivate, as stored or as reported by the batch.
    """
    found = {each.id for email in scope.locked_emails for each in registers.locking(email)}
    if scope.reactivated:
        reactivated = map(registers.organization, scope.reactivated)
        emails = scope.owners | {each.owner.value for each in reactivated if each.owner}
        found |= {id_ for email in emails for id_ in registers.owned_by(email)}
    return found


# --- replay groups --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ReplayGroup:
    """Organizations and subscriptions whose journal has to be folded together."""

    organizations: frozenset[OrganizationId]
    subscriptions: frozenset[SubscriptionKey]


@dataclass(frozen=True, slots=True)
class Recorded:
    """A fact in the journal, and the organizations of which a decision on it is recorded."""

    fact: Fact
    decided: AbstractSet[OrganizationId]


def replay_group(
    registers: Registers,
    history: Collection[Recorded],
    organizations: Iterable[OrganizationId],
    subscriptions: Iterable[SubscriptionKey] = (),
) -> ReplayGroup:
    """These with everything that a decision on any of them may ever have looked up: by links (also
    those that were reported in vain), successions, billing accounts, emails (also of former
    owners), and facts that changed several.

    The worker itself belongs to no group: its safeguards concern every organization.  Here an
    account connects all its subscriptions, because at some time it may have been neither crowded
    nor without holders.
    """
    group = _Grouping(registers)
    for recorded in history:
        group.record(recorded)
    waiting: list[_Node] = [*organizations, *subscriptions]
    found = set(waiting)
    while waiting:
        new = group.neighbours(waiting.pop()) - found
        found |= new
        waiting += new
    return ReplayGroup(
        frozenset(OrganizationId(each) for each in found if isinstance(each, str)),
        frozenset(each for each in found if isinstance(each, SubscriptionKey)),
    )


@dataclass(frozen=True, slots=True)
class _Email:
    """An email as a node: as text it might be an organization's id."""

    email: EmailHash


_Node = OrganizationId | SubscriptionKey | BillingAccount | _Email


@dataclass(slots=True)
class _Grouping:
    """The edges between nodes: `by_fact` are those that the journal adds to the registers."""

    registers: Registers
    by_fact: dict[_Node, set[_Node]] = field(default_factory=dict)

    def record(self, recorded: Recorded) -> None:
        """Add the edges of a fact: between the names in it and the organizations that it
        changed.
        """
        fact, key = recorded.fact, named_subscription(recorded.fact)
        named = named_organization(fact)
        decided = recorded.decided - {WORKER}
        for each in decided:
            self.by_fact.setdefault(each, set()).update(decided)
            subject = named if named is not None else key
            if subject is not None:
                self.by_fact[each].add(subject)
        if key is not None and named is not None:
            self.by_fact.setdefault(key, set()).add(named)
        if isinstance(fact, Created | OwnerChanged):
            email = _Email(fact.owner)
            self.by_fact.setdefault(fact.organization, set()).add(email)
            self.by_fact.setdefault(email, set()).add(fact.organization)

    def neighbours(self, node: _Node) -> set[_Node]:
        """The nodes directly connected to a node."""
        found = set(self.by_fact.get(node, ()))
        registers = self.registers
        match node:
            case SubscriptionKey():
                found |= holders(registers, [node]) | _succession(registers, node)
                found |= accounts_of(registers.subscription(node))
            case _Email(email=email):
                found |= registers.owned_by(email)
            case str():
                found |= registers.linked_to(node)
                owner = registers.organization(node).owner
                if owner is not None:
                    found.add(_Email(owner.value))
            case account:
                found |= {each.key for each in registers.having(account)}
        return found
