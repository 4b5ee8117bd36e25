"""Organizations and subscriptions in memory: lookups by their own key and by every other key.

Holds values only.  What follows from them (links, holders, matches) is derived in `ownership`.
"""

from collections.abc import Set as AbstractSet
from dataclasses import field

from marketplace_worker.lifecycle.derived import Caches
from marketplace_worker.lifecycle.index import (
    ACCOUNTS,
    HOLDING,
    LINKED,
    LOCKED_EMAILS,
    OWNERS,
    PROOFS,
    SUCCESSORS,
    BillingAccount,
    Index,
    accounts_of,
)
from marketplace_worker.lifecycle.loaded import LoadedKeys, require
from marketplace_worker.lifecycle.organization import Organization
from marketplace_worker.lifecycle.subscription import Subscription
from marketplace_worker.lifecycle.values import dataclass
from marketplace_worker.lifecycle.vocabulary import (
    EmailHash,
    OrganizationId,
    SubscriptionKey,
    by_key,
)

Change = tuple[Subscription, Subscription] | tuple[Organization, Organization]
"""A value before and after it was replaced."""


@dataclass(slots=True)
class Registers:
    """Organizations and subscriptions, by key.

    `population`: the number of organizations for the guard's limit.  `crowded`: billing accounts
    that are recorded as crowded (`ownership.is_crowded`); not all of their subscriptions need be
    loaded.  `loaded`: the keys that were loaded; None: everything, so that any key can be looked
    up.  `base`: a view holds only its differences from its base, and finds all else there.

    Raises:
        NotLoaded: by every lookup of a key that was not loaded.
    """

    organizations: dict[OrganizationId, Organization] = field(default_factory=dict)
    subscriptions: dict[SubscriptionKey, Subscription] = field(default_factory=dict)
    population: int = 0
    crowded: set[BillingAccount] = field(default_factory=set)
    loaded: LoadedKeys | None = field(default=None, compare=False)
    caches: Caches = field(default_factory=Caches, compare=False, repr=False)
    _index: Index = field(default_factory=Index)
    base: "Registers | None" = None

    # --- by their own key ---

    def organization(self, organization: OrganizationId) -> Organization:
        """The organization, or an empty one if nothing was reported about it yet."""
        known = self._stored_organization(organization)
        if known is not None:
            return known
        if self.loaded is not None:
            require(self.loaded.organizations, organization, "the document")
        return Organization(organization)

    def subscription(self, key: SubscriptionKey) -> Subscription:
        """The subscription's register, or an empty one where nothing was reported of it yet."""
        known = self._stored_subscription(key)
        if known is not None:
            return known
        if self.loaded is not None:
            require(self.loaded.subscriptions, key, "the register")
        return Subscription(key)

    def _stored_organization(self, organization: OrganizationId) -> Organization | None:
        layer: Registers | None = self
        while layer is not None:
            known = layer.organizations.get(organization)
            if known is not None:
                return known
            layer = layer.base
        return None

    def _stored_subscription(self, key: SubscriptionKey) -> Subscription | None:
        layer: Registers | None = self
        while layer is not None:
            known = layer.subscriptions.get(key)
            if known is not None:
                return known
            layer = layer.base
        return None

    # --- by links, proofs and succession ---

    def linked_to(self, organization: OrganizationId) -> AbstractSet[SubscriptionKey]:
        """The subscriptions that a link or a proof ever gave to an organization, without those that
        their successors inherit.
        """
        if self.loaded is not None:
            require(self.loaded.plans, organization, "the plans")
        return self._index.find(LINKED, organization)

    def proved_by(self, key: SubscriptionKey) -> AbstractSet[OrganizationId]:
        """The organizations that ever had a proof of a subscription."""
        if self.loaded is not None:
            require(self.loaded.subscriptions, key, "the proofs")
        return self._index.find(PROOFS, key)

    def successors(self, key: SubscriptionKey) -> list[Subscription]:
        """The subscriptions whose latest notification says that they continue this one, by key."""
        if self.loaded is not None:
            require(self.loaded.subscriptions, key, "the successors")
        found = map(self.subscription, sorted(self._index.find(SUCCESSORS, key), key=by_key))
        return [each for each in found if each.predecessor == key]

    # --- by billing account ---

    def having(self, account: BillingAccount) -> list[Subscription]:
        """The subscriptions that were ever reported to have a billing account, by key."""
        if self.loaded is not None:
            require(self.loaded.accounts, account, "the subscriptions")
        return [
            self.subscription(key)
            for key in sorted(self._index.find(ACCOUNTS, account), key=by_key)
        ]

    def holding(self, account: BillingAccount) -> AbstractSet[SubscriptionKey]:
        """Those that may make the account an organization's: linked, proved or a successor."""
        if self.loaded is not None:
            require(self.loaded.accounts, account, "the holders")
        return self._index.find(HOLDING, account)

    # --- by email ---

    def locking(self, email: EmailHash) -> list[Organization]:
        """The organizations whose deactivation locked an email, by id."""
        if self.loaded is not None:
            require(self.loaded.locked_emails, email, "the lock")
        found = map(self.organization, sorted(self._index.find(LOCKED_EMAILS, email)))
        return [each for each in found if each.locked_email == email]

    def using(self, email: EmailHash) -> list[Organization]:
        """The organizations that are not deactivated and whose owner has an email, by id."""
        return [
            each
            for each in map(self.organization, sorted(self.owned_by(email)))
            if each.counts_in_the_fleet
        ]

    def owned_by(self, email: EmailHash) -> set[OrganizationId]:
        """The organizations whose owner has an email, whatever their state."""
        if self.loaded is not None:
            require(self.loaded.owner_emails, email, "the use")
        found = map(self.organization, self._index.find(OWNERS, email))
        return {each.id for each in found if each.owner is not None and each.owner.value == email}

    # --- filling ---

    def _put(self, changed: Organization | Subscription) -> Change:
        """Store a value under its key; what was derived from the former one stays for now."""
        match changed:
            case Organization(id=id_):
                organization = self._stored_organization(id_) or Organization(id_)
                self.population += changed.counts_in_the_fleet - organization.counts_in_the_fleet
                self.organizations[id_] = changed
                if _indexed_by(changed) != _indexed_by(organization):
                    self._index.add_organization(changed)
                if changed.proofs != organization.proofs:
                    self._index_proved(changed)
                return organization, changed
            case Subscription(key=key):
                subscription = self._stored_subscription(key) or Subscription(key)
                self.subscriptions[key] = changed
                if _indexed_by(changed) != _indexed_by(subscription):
                    self._index.add_subscription(changed)
                return subscription, changed

    def _index_proved(self, organization: Organization) -> None:
        """A proof may make an account an organization's, as a link does.  (For a subscription that
        is not
        loaded yet this is found out when it is.)
        """
        for key in {proof.subscription for proof in organization.proofs}:
            proved = self._stored_subscription(key)
            for account in accounts_of(proved) if proved is not None else ():
                self._index.add(HOLDING, account, key)


def _indexed_by(value: Organization | Subscription) -> object:
    """The keys under which the index finds a value.  A value without any is in no index."""
    match value:
        case Organization():
            return value.proofs, value.owner, value.locked_email
        case Subscription():
            return value.links, value.predecessor, value.accounts
