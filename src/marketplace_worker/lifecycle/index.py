"""The index of a fleet: by which key to find what."""

from collections.abc import Callable
from dataclasses import dataclass, field
from operator import attrgetter
from typing import TypeVar

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


Part = Callable[[Index], dict[_K, frozenset[_V]]]
"""A part of an index: what is looked up by what."""

LINKED: Part[OrganizationId, SubscriptionKey] = attrgetter("linked")
PROOFS: Part[SubscriptionKey, OrganizationId] = attrgetter("proofs")
SUCCESSORS: Part[SubscriptionKey, SubscriptionKey] = attrgetter("successors")
ACCOUNTS: Part[Account, SubscriptionKey] = attrgetter("accounts")
EMAILS: Part[EmailHash, OrganizationId] = attrgetter("emails")
