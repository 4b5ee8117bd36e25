"""The registers at hand, and what is derived from them: links, projections, holders of accounts.

What was derived is kept until something that it depends on changes; only this module knows what
depends on what.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from marketplace_worker.lifecycle.holders import CROWDED, HOLDERS_MAX, Holders, Stake, stakes_of
from marketplace_worker.lifecycle.index import (
    HOLDING,
    LINKED,
    PROOFS,
    SUCCESSORS,
    BillingAccount,
    Derived,
    Index,
    Memo,
    account_of,
    accounts_of,
)
from marketplace_worker.lifecycle.organization import Organization, Proof
from marketplace_worker.lifecycle.projection import Projection, fold
from marketplace_worker.lifecycle.subscription import (
    AccountHistory,
    Link,
    Subscription,
    Tenure,
    before_first_of,
    inherited_links,
    tenures,
)
from marketplace_worker.lifecycle.vocabulary import (
    CompletedBy,
    OrganizationId,
    SubscriptionKey,
    by_key,
)

BY_PROOF = "proof"
"""The id of a link that no sign-up told (`Proof`)."""

_Change = tuple[Subscription, Subscription] | tuple[Organization, Organization]
"""Before and after."""


@dataclass(slots=True)
class Registers:
    """Organizations and subscriptions, by key.

    `population`: how many organizations the guard's limit counts, kept up by `put`.
    `crowded`: billing accounts known to be so (`is_crowded`), though not all of it is at hand.

    A view holds what it sees otherwise, and is laid over what is `_beneath` it.  What was derived
    is kept in `_read` for a subscription, in `_accounts` for an account and in `_proofs` for an
    organization.
    """

    organizations: dict[OrganizationId, Organization] = field(default_factory=dict)
    subscriptions: dict[SubscriptionKey, Subscription] = field(default_factory=dict)
    population: int = 0
    crowded: set[BillingAccount] = field(default_factory=set)
    _index: Index = field(default_factory=Index)
    _beneath: "Registers | None" = None
    _read: Memo[SubscriptionKey, Derived] = field(default_factory=Memo, compare=False, repr=False)
    _accounts: Memo[BillingAccount, Holders] = field(
        default_factory=Memo, compare=False, repr=False
    )
    _proofs: Memo[OrganizationId, dict[SubscriptionKey, list[Proof]]] = field(
        default_factory=Memo, compare=False, repr=False
    )

    def organization(self, organization: OrganizationId) -> Organization:
        """The organization as it stands, or one of which nothing is known yet."""
        known = self.organizations.get(organization)
        if known is not None:
            return known
        if self._beneath is not None:
            return self._beneath.organization(organization)
        return Organization(organization)

    def subscription(self, key: SubscriptionKey) -> Subscription:
        """The subscription's register, or an empty one."""
        known = self.subscriptions.get(key)
        if known is not None:
            return known
        if self._beneath is not None:
            return self._beneath.subscription(key)
        return Subscription(key)

    # --- filling ---

    def put(self, *changed: Organization | Subscription) -> None:
        """Replace what stood under their keys."""
        changes = [self._put(each) for each in changed]
        if self._read or self._accounts:
            self._forget(changes)

    def _put(self, changed: Organization | Subscription) -> _Change:
        match changed:
            case Organization():
                organization = self.organization(changed.id)
                self.population += changed.counts_in_the_fleet - organization.counts_in_the_fleet
                self.organizations[changed.id] = changed
                self._index.add_organization(changed)
                if changed.proofs != organization.proofs:
                    self._proofs.forget(changed.id)
                    self._index_proved(changed)
                return organization, changed
            case Subscription():
                subscription = self.subscription(changed.key)
                self.subscriptions[changed.key] = changed
                self._index.add_subscription(changed)
                return subscription, changed

    def _index_proved(self, organization: Organization) -> None:
        for key in {proof.subscription for proof in organization.proofs}:
            for account in accounts_of(self.subscription(key)):
                self._index.add(HOLDING, account, key)

    def _forget(self, changes: Iterable[_Change]) -> None:
        """Have derived anew what depends on these changes, and nothing else.

        The links of a subscription depend on what it continues, on the proofs of it and, where
        there are any, on its projection and on who held its accounts; who held an account depends
        on the links that were told of what had it.
        """
        linked, proved = set[SubscriptionKey](), set[SubscriptionKey]()
        accounts = set[BillingAccount]()
        for change in changes:
            match change:
                case Subscription() as before, Subscription() as after:
                    self._read.forget(after.key)
                    if _what_links_read(before) != _what_links_read(after):
                        linked.add(after.key)
                    if before.account_history != after.account_history:
                        accounts |= accounts_of(before) | accounts_of(after)
                    if self._index.find(PROOFS, after.key):
                        proved.add(after.key)
                case Organization() as before, Organization() as after:
                    if before.plans_taken_at != after.plans_taken_at:
                        linked |= self._index.find(LINKED, after.id)
                    if before.proofs != after.proofs:
                        differ = {*before.proofs}.symmetric_difference(after.proofs)
                        proved |= {each.subscription for each in differ}
        linked = self._with_heirs(linked)
        accounts |= {
            each for key in linked | proved for each in self._accounts_of_subscription(key)
        }
        for account in accounts:
            if not self._is_known_to_be_crowded(account):
                self._accounts.forget(account)
                members = self._index.find(HOLDING, account)
                proved |= {each for each in members if self._index.find(PROOFS, each)}
        for key in linked | self._with_heirs(proved):
            self._read.forget(key)

    def _accounts_of_subscription(self, key: SubscriptionKey) -> set[BillingAccount]:
        reading = self._reading(key)
        if reading.accounts is None:
            reading.accounts = accounts_of(self.subscription(key))
        return reading.accounts

    # --- succession and links ---

    def successors(self, key: SubscriptionKey) -> list[Subscription]:
        """The subscriptions that say they continue this one, by key."""
        known = self._index.find(SUCCESSORS, key)
        return [
            successor
            for successor in (self.subscription(each) for each in sorted(known, key=by_key))
            if successor.predecessor == key
        ]

    def links_of(self, subscription: Subscription) -> tuple[Link, ...]:
        """The links in force, in order: its own and, until the first of these, those of what it
        continues, from its purchase on.  A proof links what nobody had linked by then.
        """
        return self._links_of(subscription.key, by_proof=True)

    def projection_of(self, subscription: Subscription) -> Projection:
        """What its register comes to, with the links in force."""
        reading = self._reading(subscription.key)
        if reading.projection is None:
            reading.projection = fold(subscription, self.links_of(subscription))
        return reading.projection

    def unlinked_projection_of(self, subscription: Subscription) -> Projection:
        """What its register comes to by itself, as if nobody had linked it."""
        reading = self._reading(subscription.key)
        if reading.unlinked is None:
            reading.unlinked = fold(subscription, ())
        return reading.unlinked

    def tenures_of(self, subscription: Subscription) -> Mapping[OrganizationId, Sequence[Tenure]]:
        """To whom it was ever linked, and for how long each time; of each in order."""
        reading = self._reading(subscription.key)
        if reading.tenures is None:
            reading.tenures = tenures(self.links_of(subscription))
        return reading.tenures

    def _reading(self, key: SubscriptionKey) -> Derived:
        return self._read.get(key) or self._read.keep(key, Derived())

    def _links_of(self, key: SubscriptionKey, *, by_proof: bool) -> tuple[Link, ...]:
        """The same, without what proofs made where these are left out: by such accounts are held.

        Where it continues itself by way of others, these are followed until they come round to it.
        """
        links = self._known_links(key, by_proof=by_proof)
        if links is not None:
            return links
        path, links = {key: 0}, ()
        following = self.subscription(key).predecessor
        while following is not None and following not in path:
            known = self._known_links(following, by_proof=by_proof)
            if known is not None and not self._reading(following).in_a_circle:
                links = known
                break
            path[following] = len(path)
            following = self.subscription(following).predecessor
        in_a_circle = path.get(following) if following is not None else None
        for each, place in reversed(path.items()):
            links = self._with_inherited(self.subscription(each), links, by_proof=by_proof)
            if in_a_circle is None or place <= in_a_circle:
                reading = self._reading(each)
                reading.in_a_circle = place == in_a_circle
                if by_proof:
                    reading.links = links
                else:
                    reading.sign_up_links = links
        return links

    def _known_links(self, key: SubscriptionKey, *, by_proof: bool) -> tuple[Link, ...] | None:
        reading = self._reading(key)
        return reading.links if by_proof else reading.sign_up_links

    def _with_inherited(
        self, subscription: Subscription, earlier: Sequence[Link], *, by_proof: bool
    ) -> tuple[Link, ...]:
        """Its own links and those of what it continues."""
        links, bought_at = subscription.links, subscription.bought_at
        if earlier and bought_at is not None:
            links = before_first_of(inherited_links(earlier, bought_at), links)
        return before_first_of(self._proved(subscription.key), links) if by_proof else links

    def _proved(self, key: SubscriptionKey) -> list[Link]:
        """The links that proofs made, in order; one an organization, its first.

        A sign-in proves what nobody had linked by then: another's earlier proof is such a link.
        """
        proofs = [
            (holder, proof)
            for holder in sorted(self._index.find(PROOFS, key))
            for proof in self._proofs_of(holder).get(key, ())
        ]
        first: dict[OrganizationId, Link] = {}
        for holder, proof in sorted(proofs, key=lambda each: (each[1].at, each[0])):
            taken = bool(first) and proof.by is CompletedBy.SIGN_IN
            if not taken and self._proves(holder, proof):
                first.setdefault(holder, Link(proof.at, BY_PROOF, holder))
        return list(first.values())

    def _proofs_of(self, organization: OrganizationId) -> dict[SubscriptionKey, list[Proof]]:
        """An organization's proofs, by what they prove."""
        proofs = self._proofs.get(organization)
        if proofs is None:
            proofs = self._proofs.keep(organization, {})
            for proof in self.organization(organization).proofs:
                proofs.setdefault(proof.subscription, []).append(proof)
        return proofs

    def _proves(self, organization: OrganizationId, proof: Proof) -> bool:
        """Support's word counts; a sign-in where the plan was active and the account was the
        organization's alone.  One that was made stays where the account became crowded since.
        """
        if proof.by is CompletedBy.SUPPORT:
            return True
        subscription = self.subscription(proof.subscription)
        account = account_of(subscription, proof.at)
        if account is None or not self.unlinked_projection_of(subscription).counts_at(proof.at):
            return False
        return self.is_crowded(account) or self.sole_holder(account, proof.at) == organization

    def _with_heirs(self, keys: Iterable[SubscriptionKey]) -> set[SubscriptionKey]:
        found = set(keys)
        waiting = list(found)
        while waiting:
            key = waiting.pop()
            for heir in self._index.find(SUCCESSORS, key):
                if heir not in found and self.subscription(heir).predecessor == key:
                    found.add(heir)
                    waiting.append(heir)
        return found

    # --- billing accounts ---

    def is_crowded(self, account: BillingAccount) -> bool:
        """Whether more organizations than `HOLDERS_MAX` ever had a subscription of it: it proves
        nothing, and no match is looked for in it.  That never changes back.
        """
        return account in self.crowded or self._holders_of(account).is_crowded

    def sole_holder(self, account: BillingAccount, at: datetime) -> OrganizationId | None:
        """Whose account it was at that time; None: nobody's, that of several, or of too many.

        Where it was told by then whose it is, what was told later makes it nobody else's too.
        """
        if self.is_crowded(account):
            return None
        return self._holders_of(account).alone_at(at)

    def _account_history_of(self, subscription: Subscription) -> AccountHistory:
        reading = self._reading(subscription.key)
        if reading.account_history is None:
            reading.account_history = subscription.account_history
        return reading.account_history

    def _is_known_to_be_crowded(self, account: BillingAccount) -> bool:
        """Without looking: so that who puts one more in need not go through all of it."""
        holders = self._accounts.get(account)
        return account in self.crowded or (holders is not None and holders.is_crowded)

    def _holders_of(self, account: BillingAccount) -> Holders:
        holders = self._accounts.get(account)
        return holders or self._accounts.keep(account, self._find_holders(account))

    def _find_holders(self, account: BillingAccount) -> Holders:
        linked, proved, counted = (set[OrganizationId]() for _ in range(3))
        stakes = []
        for key in self._index.find(HOLDING, account):
            by_link = {link.organization for link in self._links_of(key, by_proof=False)}
            by_proof = self._index.find(PROOFS, key)
            linked |= by_link
            proved |= by_proof
            if account in self._accounts_of_subscription(key):
                counted |= by_link | by_proof
            if len(counted) > HOLDERS_MAX:
                return CROWDED
            stakes += [each for each in self._stakes_of(key) if each.account == account[1]]
        return Holders(stakes, frozenset(linked), frozenset(proved))

    def _stakes_of(self, key: SubscriptionKey) -> tuple[Stake, ...]:
        reading = self._reading(key)
        if reading.stakes is None:
            links = self._links_of(key, by_proof=False)
            reading.stakes = tuple(stakes_of(self.subscription(key), links, self._plans_taken_at))
        return reading.stakes

    def _plans_taken_at(self, organization: OrganizationId) -> tuple[datetime, ...]:
        return self.organization(organization).plans_taken_at


def _what_links_read(subscription: Subscription) -> object:
    return subscription.links, subscription.predecessor, subscription.bought_at
