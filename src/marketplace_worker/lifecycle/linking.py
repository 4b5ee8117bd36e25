"""Which links of a subscription a person should look at (lifecycle.md section 2)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from marketplace_worker.lifecycle.plans import Link, Subscription
from marketplace_worker.lifecycle.vocabulary import OrganizationId, SubscriptionKey, marketplace_id


@dataclass(frozen=True, slots=True)
class NotableLink:
    """A link that takes a subscription from another organization (None: from nobody), or names
    another billing account than the subscription was known to have.
    """

    subscription: SubscriptionKey
    linked_at: datetime
    id: str
    organization: OrganizationId
    taken_from: OrganizationId | None
    account_contradicts: bool


def notable_links(subscription: Subscription, links: Sequence[Link]) -> Iterator[NotableLink]:
    """The notable ones among the links in force, which stand in their order."""
    holder: OrganizationId | None = None
    for link in links:
        taken_from = holder if holder != link.organization else None
        contradicts = account_contradicts(subscription, link)
        if taken_from is not None or contradicts:
            yield NotableLink(
                subscription.key,
                link.occurred_at,
                link.id,
                link.organization,
                taken_from,
                contradicts,
            )
        holder = link.organization


def account_contradicts(subscription: Subscription, link: Link) -> bool:
    """Whether the marketplace, or the links before this one, name another billing account."""
    if link.billing_account is None:
        return False
    earlier = tuple(each for each in subscription.links if each.order < link.order)
    known = replace(subscription, links=earlier).account_at(link.occurred_at)
    return known is not None and known != marketplace_id(link.billing_account)
