"""The index of a fleet: subscriptions and organizations by keys of another kind than their own."""

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import field
from datetime import datetime
from operator import attrgetter
from typing import TypeVar

from marketplace_worker.lifecycle.organization import Organization
from marketplace_worker.lifecycle.subscription import Subscription
from marketplace_worker.lifecycle.values import dataclass
from marketplace_worker.lifecycle.vocabulary import (
    EmailHash,
    Marketplace,
    OrganizationId,
    SubscriptionKey,
)

_K = TypeVar("_K")
_V = TypeVar("_V")

BillingAccount = tuple[Marketplace, str]
"""A customer's billing account at a marketplace."""


@dataclass(slots=True)
class Index:
    """Entries are added and never removed: an entry may be out of date, so the caller checks it
    against the value itself.

    `holding`: the subscriptions of an account that may belong to an organization: linked, proved,
    or the successor of another.  `base`: the index below that of a view.
    """

    linked: dict[OrganizationId, set[SubscriptionKey]] = field(default_factory=dict)
    proofs: dict[SubscriptionKey, set[OrganizationId]] = field(default_factory=dict)
    successors: dict[SubscriptionKey, set[SubscriptionKey]] = field(default_factory=dict)
    accounts: dict[BillingAccount, set[SubscriptionKey]] = field(default_factory=dict)
    holding: dict[BillingAccount, set[SubscriptionKey]] = field(default_factory=dict)
    owners: dict[EmailHash, set[OrganizationId]] = field(default_factory=dict)
    locked_emails: dict[EmailHash, set[OrganizationId]] = field(default_factory=dict)
    base: "Index | None" = None

    def find(self, part: "Part[_K, _V]", key: _K) -> AbstractSet[_V]:
        """The entries under a key of one part, in all layers."""
        here = part(self).get(key)
        if self.base is None:
            return here or frozenset()
        below = self.base.find(part, key)
        return below | here if here else below

    def add(self, part: "Part[_K, _V]", key: _K, value: _V) -> None:
        """Add an entry under a key of one part."""
        if self.base is None or value not in self.base.find(part, key):
            part(self).setdefault(key, set()).add(value)

    def add_organization(self, organization: Organization) -> None:
        """Add an organization under all keys that it is found by."""
        for proof in organization.proofs:
            self.add(LINKED, organization.id, proof.subscription)
            self.add(PROOFS, proof.subscription, organization.id)
        if organization.owner is not None:
            self.add(OWNERS, organization.owner.value, organization.id)
        if organization.locked_email is not None:
            self.add(LOCKED_EMAILS, organization.locked_email, organization.id)

    def add_subscription(self, subscription: Subscription) -> None:
        """Add a subscription under all keys that it is found by."""
        key, predecessor = subscription.key, subscription.predecessor
        for link in subscription.links:
            self.add(LINKED, link.organization, key)
        if predecessor is not None:
            self.add(SUCCESSORS, predecessor, key)
        may_be_held = bool(subscription.links) or predecessor is not None
        for account in accounts_of(subscription):
            self.add(ACCOUNTS, account, key)
            if may_be_held or self.find(PROOFS, key):
                self.add(HOLDING, account, key)


def account_of(subscription: Subscription, at: datetime) -> BillingAccount | None:
    """Its billing account as reported by then; before the first report, the first."""
    account = subscription.account_at(at)
    return None if account is None else (subscription.key.marketplace, account)


def accounts_of(subscription: Subscription) -> set[BillingAccount]:
    """All billing accounts that were ever reported of it."""
    return {(subscription.key.marketplace, account) for _, account in subscription.accounts}


Part = Callable[[Index], dict[_K, set[_V]]]
"""A part of an index: from keys of one kind to keys of another."""

LINKED: Part[OrganizationId, SubscriptionKey] = attrgetter("linked")
PROOFS: Part[SubscriptionKey, OrganizationId] = attrgetter("proofs")
SUCCESSORS: Part[SubscriptionKey, SubscriptionKey] = attrgetter("successors")
ACCOUNTS: Part[BillingAccount, SubscriptionKey] = attrgetter("accounts")
HOLDING: Part[BillingAccount, SubscriptionKey] = attrgetter("holding")
OWNERS: Part[EmailHash, OrganizationId] = attrgetter("owners")
LOCKED_EMAILS: Part[EmailHash, OrganizationId] = attrgetter("locked_emails")
