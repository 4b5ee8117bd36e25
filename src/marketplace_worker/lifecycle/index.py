"""The index of a fleet: by which key to find what; and what is kept of what was derived."""

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime
from operator import attrgetter
from typing import Generic, TypeVar

from marketplace_worker.lifecycle.holders import Stake
from marketplace_worker.lifecycle.organization import Organization
from marketplace_worker.lifecycle.projection import Projection
from marketplace_worker.lifecycle.subscription import AccountHistory, Link, Subscription, Tenure
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
    """Where to look; an entry may be out of date, so what is found is looked at again.

    `holding`: of what has an account, that which may be somebody's: it is linked, continues another
    or was proved to be somebody's.
    """

    linked: dict[OrganizationId, set[SubscriptionKey]] = field(default_factory=dict)
    proofs: dict[SubscriptionKey, set[OrganizationId]] = field(default_factory=dict)
    successors: dict[SubscriptionKey, set[SubscriptionKey]] = field(default_factory=dict)
    accounts: dict[BillingAccount, set[SubscriptionKey]] = field(default_factory=dict)
    holding: dict[BillingAccount, set[SubscriptionKey]] = field(default_factory=dict)
    owners: dict[EmailHash, set[OrganizationId]] = field(default_factory=dict)
    locked_emails: dict[EmailHash, set[OrganizationId]] = field(default_factory=dict)
    beneath: "Index | None" = None

    def find(self, part: "Part[_K, _V]", key: _K) -> AbstractSet[_V]:
        """What is under a key of one part, here and beneath."""
        here = part(self).get(key)
        if self.beneath is None:
            return here or frozenset()
        beneath = self.beneath.find(part, key)
        return beneath | here if here else beneath

    def add(self, part: "Part[_K, _V]", key: _K, value: _V) -> None:
        """Put one more under a key of one part."""
        if self.beneath is None or value not in self.beneath.find(part, key):
            part(self).setdefault(key, set()).add(value)

    def add_organization(self, organization: Organization) -> None:
        """Put an organization under all that it is found by."""
        for proof in organization.proofs:
            self.add(LINKED, organization.id, proof.subscription)
            self.add(PROOFS, proof.subscription, organization.id)
        if organization.owner is not None:
            self.add(OWNERS, organization.owner.value, organization.id)
        if organization.locked_email is not None:
            self.add(LOCKED_EMAILS, organization.locked_email, organization.id)

    def add_subscription(self, subscription: Subscription) -> None:
        """Put a subscription under all that it is found by."""
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
    """Its billing account as it was told by then, or else first."""
    account = subscription.account_at(at)
    return None if account is None else (subscription.key.marketplace, account)


def accounts_of(subscription: Subscription) -> set[BillingAccount]:
    """All billing accounts that it was ever told to have."""
    return {(subscription.key.marketplace, account) for _, account in subscription.accounts}


@dataclass(slots=True)
class Memo(Generic[_K, _V]):
    """What was derived, by key.  A view's is laid over what is `beneath` it, and hides of that what
    changed.
    """

    beneath: "Memo[_K, _V] | None" = None
    kept: dict[_K, _V | None] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Whether anything need be forgotten."""
        return bool(self.kept) or self.beneath is not None

    def get(self, key: _K) -> _V | None:
        """What was derived; None: it is to be derived anew."""
        return self._layer_of(key).kept.get(key)

    def keep(self, key: _K, value: _V) -> _V:
        """Keep what was derived, where everybody finds it for whom it is the same."""
        self._layer_of(key).kept[key] = value
        return value

    def forget(self, key: _K) -> None:
        """Have it derived anew."""
        self.kept[key] = None

    def _layer_of(self, key: _K) -> "Memo[_K, _V]":
        layer = self
        while layer.beneath is not None and key not in layer.kept:
            layer = layer.beneath
        return layer


@dataclass(slots=True)
class Derived:
    """What a register comes to in one fleet; None: nobody has asked yet.

    `sign_up_links` leave out what proofs made, `unlinked` is its
    projection as if nobody had linked it.
    `in_a_circle`: it continues, by way of others, itself.
    """

    accounts: set[BillingAccount] | None = None
    account_history: AccountHistory | None = None
    links: tuple[Link, ...] | None = None
    sign_up_links: tuple[Link, ...] | None = None
    projection: Projection | None = None
    unlinked: Projection | None = None
    tenures: Mapping[OrganizationId, Sequence[Tenure]] | None = None
    stakes: tuple[Stake, ...] | None = None
    in_a_circle: bool = False


Part = Callable[[Index], dict[_K, set[_V]]]
"""A part of an index: what is looked up by what."""

LINKED: Part[OrganizationId, SubscriptionKey] = attrgetter("linked")
PROOFS: Part[SubscriptionKey, OrganizationId] = attrgetter("proofs")
SUCCESSORS: Part[SubscriptionKey, SubscriptionKey] = attrgetter("successors")
ACCOUNTS: Part[BillingAccount, SubscriptionKey] = attrgetter("accounts")
HOLDING: Part[BillingAccount, SubscriptionKey] = attrgetter("holding")
OWNERS: Part[EmailHash, OrganizationId] = attrgetter("owners")
LOCKED_EMAILS: Part[EmailHash, OrganizationId] = attrgetter("locked_emails")
