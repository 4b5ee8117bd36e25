"""The organizations and subscriptions at hand: what a decision may look up.

Holds the whole fleet in `simulate`, and in the worker the neighbourhood of one batch.
"""

from collections import ChainMap
from collections.abc import Iterable, Iterator, MutableMapping
from dataclasses import dataclass, field

from marketplace_worker.lifecycle.organization import Organization
from marketplace_worker.lifecycle.plans import Link, Subscription, inherit
from marketplace_worker.lifecycle.vocabulary import OrganizationId, SubscriptionKey


@dataclass(frozen=True, slots=True)
class Fleet:
    """Lookups by key, by explicit link and by succession.

    The owner of a fleet fills it with `put`; decisions read it, and look at a change before it is
    made through `with_subscription`.
    """

    organizations: MutableMapping[OrganizationId, Organization] = field(default_factory=dict)
    subscriptions: MutableMapping[SubscriptionKey, Subscription] = field(default_factory=dict)
    _linked: MutableMapping[OrganizationId, frozenset[SubscriptionKey]] = field(
        default_factory=dict
    )
    _successors: MutableMapping[SubscriptionKey, frozenset[SubscriptionKey]] = field(
        default_factory=dict
    )

    def organization(self, organization: OrganizationId) -> Organization:
        """The organization as it stands, or one of which nothing is known yet."""
        return self.organizations.get(organization) or Organization(organization)

    def subscription(self, key: SubscriptionKey) -> Subscription:
        """The subscription's register, or an empty one."""
        return self.subscriptions.get(key) or Subscription(key)

    def put(self, *changed: Organization | Subscription) -> None:
        """Replace what stood under their keys."""
        for each in changed:
            match each:
                case Organization():
                    self.organizations[each.id] = each
                case Subscription():
                    self._put_subscription(each)

    def _put_subscription(self, subscription: Subscription) -> None:
        key = subscription.key
        self.subscriptions[key] = subscription
        for link in subscription.links:
            held = self._linked.get(link.organization, frozenset())
            self._linked[link.organization] = held | {key}
        if (predecessor := subscription.predecessor) is not None:
            known = self._successors.get(predecessor, frozenset())
            self._successors[predecessor] = known | {key}

    def with_subscription(self, changed: Subscription) -> "Fleet":
        """The same fleet with one register changed; the fleet itself stays as it is."""
        view = Fleet(
            self.organizations,
            ChainMap({}, self.subscriptions),
            ChainMap({}, self._linked),
            ChainMap({}, self._successors),
        )
        view.put(changed)
        return view

    def successors(self, key: SubscriptionKey) -> list[Subscription]:
        """The subscriptions that say they continue this one, by key."""
        return [
            successor
            for successor in (self.subscription(each) for each in sorted(self._known(key)))
            if successor.predecessor == key
        ]

    def _known(self, key: SubscriptionKey) -> frozenset[SubscriptionKey]:
        return self._successors.get(key, frozenset())

    def links_of(self, subscription: Subscription) -> tuple[Link, ...]:
        """The links in force, in order: its own and, until the first of these, those of what it
        continues, from its purchase on.
        """
        return self._links_of(subscription, frozenset())

    def _links_of(
        self, subscription: Subscription, heirs: frozenset[SubscriptionKey]
    ) -> tuple[Link, ...]:
        predecessor, bought_at = subscription.predecessor, subscription.bought_at
        if predecessor is None or bought_at is None or predecessor in heirs:
            return subscription.links
        earlier = self._links_of(self.subscription(predecessor), heirs | {subscription.key})
        inherited = inherit(earlier, bought_at)
        own = subscription.links
        return (*(each for each in inherited if not own or each.order < own[0].order), *own)

    def attached_to(self, organization: OrganizationId) -> list[Subscription]:
        """Every subscription that was ever linked to it, or inherited such a link, by key."""
        keys = self._with_heirs(self._linked.get(organization, frozenset()))
        found = [self.subscription(key) for key in sorted(keys)]
        return [
            each
            for each in found
            if any(link.organization == organization for link in self.links_of(each))
        ]

    def _with_heirs(self, keys: Iterable[SubscriptionKey]) -> set[SubscriptionKey]:
        found: set[SubscriptionKey] = set()
        waiting = list(keys)
        while waiting:
            key = waiting.pop()
            if key not in found:
                found.add(key)
                waiting += [each.key for each in self.successors(key)]
        return found

    def holders(self, key: SubscriptionKey) -> Iterator[OrganizationId]:
        """Every organization whose plans a change of this register may concern, once each.

        Those it is or was linked to, those of its heirs, and those of what it continues, whose end
        it may tell.
        """
        seen: set[OrganizationId] = set()
        concerned = self._with_heirs([key])
        if (predecessor := self.subscription(key).predecessor) is not None:
            concerned.add(predecessor)
        for each in sorted(concerned):
            for link in self.links_of(self.subscription(each)):
                if link.organization not in seen:
                    seen.add(link.organization)
                    yield link.organization
