"""The index of a fleet: by which key to find what; and what is kept of what was derived."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from operator import attrgetter
from typing import TypeVar

from marketplace_worker.lifecycle.course import Course
from marketplace_worker.lifecycle.organization import Organization
from marketplace_worker.lifecycle.plans import Link, Subscription
from marketplace_worker.lifecycle.vocabulary import (
    EmailHash,
    Marketplace,
    OrganizationId,
    SubscriptionKey,
)

_K = TypeVar("_K")
_V = TypeVar("_V")

Account = tuple[Marketplace, str]
"""A customer's billing account at a marketplace."""


@dataclass(slots=True)
class Index:
    """Where to look; an entry may be out of date, so what is found is looked at again."""

    linked: dict[OrganizationId, frozenset[SubscriptionKey]] = field(default_factory=dict)
    proofs: dict[SubscriptionKey, frozenset[OrganizationId]] = field(default_factory=dict)
    successors: dict[SubscriptionKey, frozenset[SubscriptionKey]] = field(default_factory=dict)
    accounts: dict[Account, frozenset[SubscriptionKey]] = field(default_factory=dict)
    emails: dict[EmailHash, frozenset[OrganizationId]] = field(default_factory=dict)
    beneath: "Index | None" = None

    def known(self, part: "Part[_K, _V]", key: _K) -> frozenset[_V]:
        """What is under a key of one part, here and beneath."""
        known = part(self).get(key, frozenset())
        return known if self.beneath is None else known | self.beneath.known(part, key)

    def add(self, part: "Part[_K, _V]", key: _K, value: _V) -> None:
        """Put one more under a key of one part."""
        entries = part(self)
        entries[key] = entries.get(key, frozenset()) | {value}

    def add_organization(self, organization: Organization) -> None:
        """Put an organization under all that it is found by."""
        for proof in organization.proofs:
            self.add(LINKED, organization.id, proof.subscription)
            self.add(PROOFS, proof.subscription, organization.id)
        owner = organization.owner.value if organization.owner else None
        for email in (owner, organization.locked_email):
            if email is not None:
                self.add(EMAILS, email, organization.id)

    def add_subscription(self, subscription: Subscription) -> None:
        """Put a subscription under all that it is found by."""
        key = subscription.key
        for link in subscription.links:
            self.add(LINKED, link.organization, key)
        if (predecessor := subscription.predecessor) is not None:
            self.add(SUCCESSORS, predecessor, key)
        for _, account in subscription.accounts:
            self.add(ACCOUNTS, (key.marketplace, account), key)


def account_of(subscription: Subscription, at: datetime) -> Account | None:
    """Its billing account as it was told by then, or else first."""
    account = subscription.account_at(at)
    return None if account is None else (subscription.key.marketplace, account)


@dataclass(slots=True)
class Derived:
    """What a register comes to in one fleet; None: nobody has asked yet."""

    subscription: Subscription
    links: tuple[Link, ...] | None = None
    told_links: tuple[Link, ...] | None = None
    course: Course | None = None


Part = Callable[[Index], dict[_K, frozenset[_V]]]
"""A part of an index: what is looked up by what."""

LINKED: Part[OrganizationId, SubscriptionKey] = attrgetter("linked")
PROOFS: Part[SubscriptionKey, OrganizationId] = attrgetter("proofs")
SUCCESSORS: Part[SubscriptionKey, SubscriptionKey] = attrgetter("successors")
ACCOUNTS: Part[Account, SubscriptionKey] = attrgetter("accounts")
EMAILS: Part[EmailHash, OrganizationId] = attrgetter("emails")
