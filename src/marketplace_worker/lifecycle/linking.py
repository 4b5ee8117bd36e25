"""Links that a person should check (lifecycle.md section 2)."""

from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from datetime import datetime
from operator import itemgetter

from marketplace_worker.lifecycle.subscription import Link, Subscription
from marketplace_worker.lifecycle.values import dataclass, replace
from marketplace_worker.lifecycle.vocabulary import OrganizationId, SubscriptionKey, marketplace_id


@dataclass(frozen=True, slots=True)
class NotableLink:
    """A link that takes a subscription from another organization (None: from none), or names
    another billing account than the known one.
    """

    subscription: SubscriptionKey
    linked_at: datetime
    id: str
    organization: OrganizationId
    taken_from: OrganizationId | None
    account_contradicts: bool


def notable_links(subscription: Subscription, links: Sequence[Link]) -> Iterator[NotableLink]:
    """The notable links in force, in the given order."""
    by_notes = replace(subscription, links=()).accounts
    by_links = deque(subscription.links if subscription.accounts else ())
    known: str | None = None
    holder: OrganizationId | None = None
    for link in links:
        while by_links and by_links[0].order < link.order:
            known = by_links.popleft().billing_account or known
        taken_from = holder if holder != link.organization else None
        contradicts = _contradicts(link, known or _account_by_then(by_notes, link.occurred_at))
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


def _account_by_then(accounts: Sequence[tuple[datetime, str]], at: datetime) -> str | None:
    """The account by the last notification up to then; before the first one, that."""
    by_then = bisect_right(accounts, at, key=itemgetter(0))
    return accounts[by_then - 1][1] if by_then else min(accounts, default=(at, None))[1]


def _contradicts(link: Link, known: str | None) -> bool:
    """Whether the marketplace or an earlier link named another billing account."""
    if link.billing_account is None or known is None:
        return False
    return marketplace_id(known) != marketplace_id(link.billing_account)
