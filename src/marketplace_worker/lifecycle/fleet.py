"""The organizations and subscriptions at hand: what a decision may look up.

Holds the whole fleet in `simulate`, and in the worker the working set of one batch.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from marketplace_worker.lifecycle.facts import ActivityFact, ApiRequested, LoggedIn
from marketplace_worker.lifecycle.holders import Interval
from marketplace_worker.lifecycle.inactivity import Feeds, LastSeen
from marketplace_worker.lifecycle.index import (
    ACCOUNTS,
    LINKED,
    LOCKED_EMAILS,
    OWNERS,
    BillingAccount,
    Index,
    Memo,
    account_of,
)
from marketplace_worker.lifecycle.organization import Organization
from marketplace_worker.lifecycle.registers import Registers
from marketplace_worker.lifecycle.safeguards import Safeguards
from marketplace_worker.lifecycle.subscription import FOREVER, Subscription
from marketplace_worker.lifecycle.vocabulary import (
    EmailHash,
    OrganizationId,
    SubscriptionKey,
    by_key,
)


@dataclass(slots=True)
class Fleet(Registers):
    """Lookups by key, by link, by succession, by billing account and by email.

    The owner of a fleet fills it with `put`, and with what was heard of activity; decisions read
    it, and look at a change before it is made through `with_subscription` and `with_organization`.
    """

    seen: dict[OrganizationId, LastSeen] = field(default_factory=dict)
    feeds: Feeds = field(default_factory=Feeds)
    safeguards: Safeguards = field(default_factory=Safeguards)

    def last_seen(self, organization: OrganizationId) -> LastSeen:
        """When the organization was last in use."""
        return self.seen.get(organization) or LastSeen()

    def record_activity(self, activity: ActivityFact) -> None:
        """An organization is in use, and a feed is alive."""
        seen, at = self.last_seen(activity.organization), activity.occurred_at
        match activity:
            case LoggedIn():
                seen = seen.with_login(at)
            case ApiRequested():
                seen = seen.with_request(at)
        self.seen[activity.organization] = seen
        self.feeds.record(activity.feed, at)

    def with_subscription(self, changed: Subscription) -> "Fleet":
        """The same fleet with one register changed; the fleet itself stays as it is."""
        return self._with(changed)

    def with_organization(self, changed: Organization) -> "Fleet":
        """The same fleet with one organization changed, as far as that bears on who holds which
        plan; the fleet itself stays as it is.
        """
        before = self.organization(changed.id)
        if (changed.proofs, changed.plans_taken_at) == (before.proofs, before.plans_taken_at):
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
            _read=Memo(self._read),
            _accounts=Memo(self._accounts),
            _proofs=Memo(self._proofs),
        )
        view.put(changed)
        return view

    # --- plans ---

    def attached_to(self, organization: OrganizationId) -> list[Subscription]:
        """Every subscription that was ever linked to it, or inherited such a link, by key."""
        keys = self._with_heirs(self._index.find(LINKED, organization))
        found = [self.subscription(key) for key in sorted(keys, key=by_key)]
        return [each for each in found if organization in self.tenures_of(each)]

    def ever_had_plans(self, organization: OrganizationId) -> bool:
        """Whether any subscription was ever linked to it, perhaps only by what it continues."""
        return bool(self._index.find(LINKED, organization))

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
            holder for each in concerned for holder in self.tenures_of(self.subscription(each))
        }
        for account in self._accounts_of_subscription(key):
            if self.is_crowded(account):
                continue
            holders = self._holders_of(account)
            if (holder := holders.alone_at(at)) is not None:
                found.add(holder)
            found |= holders.proved
            found |= {
                each for each in holders.linked if self.organization(each).state.in_cancellation
            }
        return found

    def matching(self, organization: OrganizationId, at: datetime) -> list[Subscription]:
        """The subscriptions that nobody had linked by then, and whose billing account was this
        organization's and no other's, by account and key (lifecycle.md section 4).
        """
        return [
            each
            for account in self._accounts_of(organization)
            if self.sole_holder(account, at) == organization
            for each in self._having(account)
            if account_of(each, at) == account and self._is_free(each, at)
        ]

    def ever_matching(
        self, organization: OrganizationId
    ) -> Iterator[tuple[Subscription, Interval]]:
        """What `matching` may find at any time, each with when: no longer than nobody had linked
        it, it had the account, and that was this organization's alone.
        """
        for account in self._accounts_of(organization):
            if self.is_crowded(account):
                continue
            alone = self._holders_of(account).alone(organization)
            for each in self._having(account) if alone else ():
                links = self.links_of(each)
                for since, until in self._while_having(account, each):
                    for began_at, ended_at in alone:
                        ends_at = min([until, ended_at, *(link.occurred_at for link in links[:1])])
                        if (starts_at := max(since, began_at)) < ends_at:
                            yield each, (starts_at, ends_at)

    def _accounts_of(self, organization: OrganizationId) -> list[BillingAccount]:
        """All billing accounts that any of its plans was ever told to have."""
        plans = self.attached_to(organization)
        return sorted(
            {account for each in plans for account in self._accounts_of_subscription(each.key)}
        )

    def _having(self, account: BillingAccount) -> list[Subscription]:
        """What was ever told to have it, by key."""
        return [
            self.subscription(key)
            for key in sorted(self._index.find(ACCOUNTS, account), key=by_key)
        ]

    def _while_having(
        self, account: BillingAccount, subscription: Subscription
    ) -> Iterator[Interval]:
        """When a subscription had a billing account."""
        history = self._account_history_of(subscription)
        for (since, name, _), following in zip(history, (*history[1:], None), strict=False):
            if name == account[1]:
                yield since, following[0] if following else FOREVER

    def _is_free(self, subscription: Subscription, at: datetime) -> bool:
        """Whether nobody had linked it by then."""
        return not any(link.occurred_at <= at for link in self.links_of(subscription)[:1])

    # --- emails ---

    def locking(self, email: EmailHash) -> list[Organization]:
        """The organizations whose deactivation locked an email, by id."""
        found = map(self.organization, sorted(self._index.find(LOCKED_EMAILS, email)))
        return [each for each in found if each.locked_email == email]

    def using(self, email: EmailHash) -> list[Organization]:
        """The organizations that are not deactivated and whose owner has an email, by id."""
        return [
            each
            for each in map(self.organization, sorted(self._index.find(OWNERS, email)))
            if each.counts_in_the_fleet and each.owner is not None and each.owner.value == email
        ]
