"""The organizations and subscriptions at hand: what a decision may look up.

Holds the whole fleet in `simulate`, and in the worker the neighbourhood of one batch.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from marketplace_worker.lifecycle.course import Course, fold
from marketplace_worker.lifecycle.events import CompletedBy
from marketplace_worker.lifecycle.facts import Activity, ApiRequested, LoggedIn
from marketplace_worker.lifecycle.inactivity import Feeds, LastSeen
from marketplace_worker.lifecycle.index import (
    ACCOUNTS,
    EMAILS,
    LINKED,
    PROOFS,
    SUCCESSORS,
    Account,
    Derived,
    Index,
    account_of,
)
from marketplace_worker.lifecycle.organization import Organization, Proof
from marketplace_worker.lifecycle.plans import Link, Subscription, inherit, preceding
from marketplace_worker.lifecycle.safeguards import Safeguards
from marketplace_worker.lifecycle.vocabulary import (
    EmailHash,
    OrganizationId,
    SubscriptionKey,
)

HOLDERS_MAX = 100
"""How many organizations may ever have had subscriptions of one billing account, for it to prove
anything: one of more is a reseller's, or a constant (lifecycle.md section 11).
"""

BY_PROOF = "proof"
"""The id of a link that no sign-up told (`Proof`)."""


@dataclass(slots=True)
class Fleet:
    """Lookups by key, by link, by succession, by billing account and by email.

    The owner of a fleet fills it with `put`, and with what was heard of activity; decisions read
    it, and look at a change before it is made through `with_subscription` and `with_organization`.
    `population`: how many organizations the guard's limit counts, kept up by `put`.
    `crowded`: billing accounts known to be so (`is_crowded`), though not all of it is at hand.
    A view holds what it sees otherwise, and is laid over the fleet `_beneath` it.  `_read` and
    `_attached` are what was derived since the last change that they depend on.
    """

    organizations: dict[OrganizationId, Organization] = field(default_factory=dict)
    subscriptions: dict[SubscriptionKey, Subscription] = field(default_factory=dict)
    seen: dict[OrganizationId, LastSeen] = field(default_factory=dict)
    feeds: Feeds = field(default_factory=Feeds)
    safeguards: Safeguards = field(default_factory=Safeguards)
    population: int = 0
    crowded: set[Account] = field(default_factory=set)
    _index: Index = field(default_factory=Index)
    _beneath: "Fleet | None" = None
    _read: dict[SubscriptionKey, Derived] = field(default_factory=dict)
    _attached: dict[OrganizationId, list[Subscription]] = field(default_factory=dict)

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

    def last_seen(self, organization: OrganizationId) -> LastSeen:
        """When the organization was last in use."""
        return self.seen.get(organization) or LastSeen()

    # --- filling ---

    def heard(self, activity: Activity) -> None:
        """An organization is in use, and a feed is alive."""
        seen, at = self.last_seen(activity.organization), activity.occurred_at
        match activity:
            case LoggedIn():
                seen = seen.logged_in(at)
            case ApiRequested():
                seen = seen.requested(at)
        self.seen[activity.organization] = seen
        self.feeds.hear(activity.feed, at)

    def put(self, *changed: Organization | Subscription) -> None:
        """Replace what stood under their keys."""
        for each in changed:
            match each:
                case Organization():
                    self._put_organization(each)
                case Subscription():
                    self._put_subscription(each)

    def _put_organization(self, organization: Organization) -> None:
        before = self.organization(organization.id)
        self.population += organization.counts_in_the_fleet - before.counts_in_the_fleet
        self.organizations[organization.id] = organization
        if _what_links_read(organization) != _what_links_read(before):
            self._forget_what_was_derived()
        self._index.add_organization(organization)

    def _put_subscription(self, subscription: Subscription) -> None:
        key = subscription.key
        self.subscriptions[key] = subscription
        self._forget_what_was_derived()
        self._index.add_subscription(subscription)

    def with_subscription(self, changed: Subscription) -> "Fleet":
        """The same fleet with one register changed; the fleet itself stays as it is."""
        return self._with(changed)

    def with_organization(self, changed: Organization) -> "Fleet":
        """The same fleet with one organization changed, as far as that bears on who holds which
        plan; the fleet itself stays as it is.
        """
        if _what_links_read(changed) == _what_links_read(self.organization(changed.id)):
            return self
        return self._with(changed)

    def _with(self, changed: Organization | Subscription) -> "Fleet":
        view = Fleet(
            seen=self.seen,
            feeds=self.feeds,
            safeguards=self.safeguards,
            population=self.population,
            crowded=self.crowded,
            _index=Index(beneath=self._index),
            _beneath=self,
        )
        view.put(changed)
        return view

    def _forget_what_was_derived(self) -> None:
        self._read.clear()
        self._attached.clear()

    # --- succession and links ---

    def successors(self, key: SubscriptionKey) -> list[Subscription]:
        """The subscriptions that say they continue this one, by key."""
        known = self._index.known(SUCCESSORS, key)
        return [
            successor
            for successor in (self.subscription(each) for each in sorted(known))
            if successor.predecessor == key
        ]

    def links_of(self, subscription: Subscription) -> tuple[Link, ...]:
        """The links in force, in order: its own and, until the first of these, those of what it
        continues, from its purchase on.  A proof links what nobody had linked by then.
        """
        reading = self._reading(subscription)
        if reading.links is None:
            reading.links = self._links_of(subscription, frozenset(), by_proof=True)
        return reading.links

    def _told_links_of(self, subscription: Subscription) -> tuple[Link, ...]:
        """The same, without what proofs made: by these accounts are held."""
        reading = self._reading(subscription)
        if reading.told_links is None:
            reading.told_links = self._links_of(subscription, frozenset(), by_proof=False)
        return reading.told_links

    def course_of(self, subscription: Subscription) -> Course:
        """What its register comes to, with the links in force."""
        reading = self._reading(subscription)
        if reading.course is None:
            reading.course = fold(subscription, self.links_of(subscription))
        return reading.course

    def _reading(self, subscription: Subscription) -> Derived:
        reading = self._read.get(subscription.key)
        if reading is None or reading.subscription is not subscription:
            reading = self._read[subscription.key] = Derived(subscription)
        return reading

    def _links_of(
        self, subscription: Subscription, heirs: frozenset[SubscriptionKey], *, by_proof: bool
    ) -> tuple[Link, ...]:
        links = subscription.links
        predecessor, bought_at = subscription.predecessor, subscription.bought_at
        if predecessor is not None and bought_at is not None and predecessor not in heirs:
            earlier = self._links_of(
                self.subscription(predecessor), heirs | {subscription.key}, by_proof=by_proof
            )
            links = preceding(inherit(earlier, bought_at), links)
        return preceding(self._proved(subscription), links) if by_proof else links

    def _proved(self, subscription: Subscription) -> list[Link]:
        """The links that proofs made, in order; one an organization, its first.

        A sign-in proves what nobody had linked by then: another's earlier proof is such a link.
        """
        proofs = [
            (holder, proof)
            for holder in sorted(self._index.known(PROOFS, subscription.key))
            for proof in self.organization(holder).proofs
            if proof.subscription == subscription.key
        ]
        first: dict[OrganizationId, Link] = {}
        for holder, proof in sorted(proofs, key=lambda each: (each[1].at, each[0])):
            taken = bool(first) and proof.by is CompletedBy.SIGN_IN
            if not taken and self._proves(holder, proof):
                first.setdefault(holder, Link(proof.at, BY_PROOF, holder))
        return list(first.values())

    def _proves(self, organization: OrganizationId, proof: Proof) -> bool:
        """Support's word counts; a sign-in where the plan was active and the account was the
        organization's alone.  One that was made stays where the account became crowded since.
        """
        if proof.by is CompletedBy.SUPPORT:
            return True
        subscription = self.subscription(proof.subscription)
        account = account_of(subscription, proof.at)
        if account is None or not fold(subscription, ()).counts_at(proof.at):
            return False
        return self.is_crowded(account) or self.sole_holder(account, proof.at) == organization

    def attached_to(self, organization: OrganizationId) -> list[Subscription]:
        """Every subscription that was ever linked to it, or inherited such a link, by key."""
        attached = self._attached.get(organization)
        if attached is None:
            attached = self._attached[organization] = self._found_attached_to(organization)
        return attached

    def ever_had_plans(self, organization: OrganizationId) -> bool:
        """Whether any subscription was ever linked to it, perhaps only by what it continues."""
        return bool(self._index.known(LINKED, organization))

    def _found_attached_to(self, organization: OrganizationId) -> list[Subscription]:
        keys = self._with_heirs(self._index.known(LINKED, organization))
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

    def holders(self, key: SubscriptionKey, at: datetime) -> set[OrganizationId]:
        """Every organization whose plans a change of this register may concern at that time.

        Those it is or was linked to, those of its heirs, those of what it continues, whose end it
        may tell; those whom its billing account makes its match, or did when they proved it; and
        those in a cancellation that ever had a plan of the account, for any login of theirs may
        have found it their match.
        """
        concerned = self._with_heirs([key])
        subscription = self.subscription(key)
        if subscription.predecessor is not None:
            concerned.add(subscription.predecessor)
        found = {
            link.organization
            for each in concerned
            for link in self.links_of(self.subscription(each))
        }
        for account in {(key.marketplace, told) for _, told in subscription.accounts}:
            if self.is_crowded(account):
                continue
            if (holder := self.sole_holder(account, at)) is not None:
                found.add(holder)
            for each in self._index.known(ACCOUNTS, account):
                found |= self._index.known(PROOFS, each)
                found |= self._waiting_for_plans(self.subscription(each))
        return found

    def _waiting_for_plans(self, subscription: Subscription) -> set[OrganizationId]:
        """Those it was ever linked to that are in a cancellation."""
        linked = {link.organization for link in self._told_links_of(subscription)}
        return {each for each in linked if self.organization(each).state.in_cancellation}

    # --- billing accounts ---

    def sharing_accounts(self, organization: OrganizationId) -> list[Subscription]:
        """What was ever told to have a billing account that any of its plans had, by key."""
        told = {
            (each.key.marketplace, account)
            for each in self.attached_to(organization)
            for _, account in each.accounts
            if not self.is_crowded((each.key.marketplace, account))
        }
        keys = {key for account in told for key in self._index.known(ACCOUNTS, account)}
        return [self.subscription(key) for key in sorted(keys)]

    def matching(self, organization: OrganizationId, at: datetime) -> list[Subscription]:
        """The subscriptions that nobody had linked by then, and whose billing account was this
        organization's and no other's, by key (lifecycle.md section 4).
        """
        plans = self.attached_to(organization)
        told = {account for each in plans if (account := account_of(each, at)) is not None}
        free = {
            account: [each for each in self._of_account(account, at) if self._is_free(each, at)]
            for account in sorted(told)
            if not self.is_crowded(account)
        }
        if not any(free.values()):
            return []
        mine = {account_of(each, at) for each in plans if self._holds(each, at) == organization}
        return [
            candidate
            for account, found in free.items()
            if account in mine and self.sole_holder(account, at) == organization
            for candidate in found
        ]

    def _is_free(self, subscription: Subscription, at: datetime) -> bool:
        """Whether nobody had linked it by then."""
        return not any(link.occurred_at <= at for link in self.links_of(subscription))

    def _of_account(self, account: Account, at: datetime) -> Iterator[Subscription]:
        for key in sorted(self._index.known(ACCOUNTS, account)):
            subscription = self.subscription(key)
            if account_of(subscription, at) == account:
                yield subscription

    def is_crowded(self, account: Account) -> bool:
        """Whether more organizations than `HOLDERS_MAX` ever had a subscription of it: it proves
        nothing, and no match is looked for in it.  That never changes back.
        """
        if account in self.crowded:
            return True
        holders: set[OrganizationId] = set()
        for subscription in map(self.subscription, self._index.known(ACCOUNTS, account)):
            if account[1] in {told for _, told in subscription.accounts}:
                holders |= self._index.known(PROOFS, subscription.key)
                holders.update(each.organization for each in self._told_links_of(subscription))
            if len(holders) > HOLDERS_MAX:
                return True
        return False

    def sole_holder(self, account: Account, at: datetime) -> OrganizationId | None:
        """Whose account it was at that time; None: nobody's, that of several, or of too many.

        Where it was told by then whose it is, what was told later makes it nobody else's too.
        """
        if self.is_crowded(account):
            return None
        by_then, later = set[OrganizationId](), set[OrganizationId]()
        for subscription in self._of_account(account, at):
            if (holder := self._holds(subscription, at)) is not None:
                (by_then if subscription.account_known_by(at) else later).add(holder)
        holders = by_then or later
        return holders.pop() if len(holders) == 1 else None

    def _holds(self, subscription: Subscription, at: datetime) -> OrganizationId | None:
        """Whose plan it was at that time; a deactivation takes all plans linked by then."""
        links = [link for link in self._told_links_of(subscription) if link.occurred_at <= at]
        if not links:
            return None
        linked_at, holder = links[-1].occurred_at, self.organization(links[-1].organization)
        taken = any(linked_at <= taken_at <= at for taken_at in holder.plans_taken_at)
        return None if taken else holder.id

    # --- emails ---

    def locking(self, email: EmailHash) -> list[Organization]:
        """The organizations whose deactivation locked an email, by id."""
        return [each for each in self._of_email(email) if each.locked_email == email]

    def using(self, email: EmailHash) -> list[Organization]:
        """The organizations that are not deactivated and whose owner has an email, by id."""
        return [
            each
            for each in self._of_email(email)
            if each.counts_in_the_fleet and each.owner is not None and each.owner.value == email
        ]

    def _of_email(self, email: EmailHash) -> list[Organization]:
        return [self.organization(each) for each in sorted(self._index.known(EMAILS, email))]


def _what_links_read(organization: Organization) -> object:
    return organization.proofs, organization.plans_taken_at
