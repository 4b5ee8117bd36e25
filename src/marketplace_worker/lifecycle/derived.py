"""Caches of what is derived from the registers of a fleet, in layers: a view's over its base's."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import field
from typing import Generic, TypeVar

from marketplace_worker.lifecycle.holders import Holders
from marketplace_worker.lifecycle.index import BillingAccount
from marketplace_worker.lifecycle.organization import Proof
from marketplace_worker.lifecycle.projection import Projection
from marketplace_worker.lifecycle.subscription import AccountHistory, Link, Tenure
from marketplace_worker.lifecycle.values import dataclass, replace
from marketplace_worker.lifecycle.vocabulary import OrganizationId, SubscriptionKey

_K = TypeVar("_K")
_V = TypeVar("_V")


@dataclass(slots=True)
class LayeredCache(Generic[_K, _V]):
    """Derived values by key; None: the key changed in this layer, and its value is derived again.

    A view of a fleet differs from its base in few keys.  A value that is the same for both is
    stored in the lowest layer for which it holds, so that other views find it; a key that was
    forgotten in a layer hides the values below.
    """

    base: "LayeredCache[_K, _V] | None" = None
    kept: dict[_K, _V | None] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Whether there may be anything to forget."""
        return bool(self.kept) or self.base is not None

    def get(self, key: _K) -> _V | None:
        """The value, or None where it has to be derived."""
        return self._layer_of(key).kept.get(key)

    def keep(self, key: _K, value: _V) -> _V:
        """Keep a value in the lowest layer that sees the same registers for this key."""
        self._layer_of(key).kept[key] = value
        return value

    def forget(self, key: _K, *, but: _V | None = None) -> None:
        """Drop a derived value, in this layer and those above it; `but`: the parts that remain
        valid.
        """
        self.kept[key] = but

    def _layer_of(self, key: _K) -> "LayeredCache[_K, _V]":
        layer = self
        while layer.base is not None and key not in layer.kept:
            layer = layer.base
        return layer


@dataclass(slots=True)
class Derived:
    """Values derived from one subscription; None: not derived yet.

    `sign_up_links` leave out the links that proofs made; `unlinked_projection` is the projection as
    if the subscription had no link.  `in_a_circle`: through other subscriptions it continues
    itself.
    """

    accounts: AbstractSet[BillingAccount] | None = None
    account_history: AccountHistory | None = None
    links: tuple[Link, ...] | None = None
    sign_up_links: tuple[Link, ...] | None = None
    projection: Projection | None = None
    unlinked_projection: Projection | None = None
    tenures: Mapping[OrganizationId, Sequence[Tenure]] | None = None
    in_a_circle: bool = False

    def without_projections(self) -> "Derived":
        """What remains valid when only the status was reported again."""
        return replace(self, projection=None, unlinked_projection=None)


@dataclass(slots=True)
class Caches:
    """All caches of a fleet.  `ownership.forget` alone knows which entries a change touches."""

    subscriptions: LayeredCache[SubscriptionKey, Derived] = field(default_factory=LayeredCache)
    accounts: LayeredCache[BillingAccount, Holders] = field(default_factory=LayeredCache)
    proofs: LayeredCache[OrganizationId, Mapping[SubscriptionKey, Sequence[Proof]]] = field(
        default_factory=LayeredCache
    )

    def __bool__(self) -> bool:
        """Whether there may be anything to forget."""
        return bool(self.subscriptions) or bool(self.accounts) or bool(self.proofs)

    def view(self) -> "Caches":
        """A layer over all of them, for a view of the fleet."""
        return Caches(
            LayeredCache(self.subscriptions),
            LayeredCache(self.accounts),
            LayeredCache(self.proofs),
        )
