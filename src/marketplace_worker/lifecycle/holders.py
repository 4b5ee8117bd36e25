"""Which organization held a billing account, and when, by the links of all its subscriptions."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import groupby
from operator import itemgetter

from marketplace_worker.lifecycle.subscription import FOREVER, Link, Subscription
from marketplace_worker.lifecycle.values import dataclass
from marketplace_worker.lifecycle.vocabulary import OrganizationId

HOLDERS_MAX = 100
"""How many organizations may ever have had subscriptions of one billing account for it to prove
anything: an account of more is a reseller's, or a constant (lifecycle.md section 11).
"""

Interval = tuple[datetime, datetime]
"""Half-open: from, until."""


@dataclass(frozen=True, slots=True)
class Stake:
    """The interval in which one subscription made a billing account an organization's; half-open.

    `known`: whether the subscription's account was reported by then.
    """

    account: str
    organization: OrganizationId
    starts_at: datetime
    ends_at: datetime
    known: bool


def stakes_of(
    subscription: Subscription,
    links: Sequence[Link],
    taken_at: Callable[[OrganizationId], Collection[datetime]],
) -> Iterator[Stake]:
    """The stakes of a subscription with these links in its accounts; a deactivation of an
    organization removes (`taken_at`) all plans that were linked by then.
    """
    history = subscription.account_history
    accounts = [
        (began_at, following[0] if following else FOREVER, account, known)
        for (began_at, account, known), following in zip(
            history, (*history[1:], None), strict=False
        )
    ]
    place = 0
    for link, following in zip(links, (*links[1:], None), strict=False):
        since, until = link.occurred_at, following.occurred_at if following else FOREVER
        until = min([until, *(at for at in taken_at(link.organization) if since <= at)])
        while place < len(accounts) and accounts[place][1] <= since:
            place += 1
        while place < len(accounts) and accounts[place][0] < until:
            began_at, ended_at, account, known = accounts[place]
            starts_at, ends_at = max(since, began_at), min(until, ended_at)
            if starts_at < ends_at:
                yield Stake(account, link.organization, starts_at, ends_at, known)
            if until <= ended_at:
                break
            place += 1


class Holders:
    """Who held one billing account, and when; `linked` and `proved` are all organizations that ever
    had a subscription of it, by the kind of link.
    """

    def __init__(
        self,
        stakes: Iterable[Stake] = (),
        linked: frozenset[OrganizationId] = frozenset(),
        proved: frozenset[OrganizationId] = frozenset(),
        *,
        is_crowded: bool = False,
    ) -> None:
        self.linked = linked
        self.proved = proved
        self.is_crowded = is_crowded
        self._changes = list(_changes(stakes))
        self._alone: dict[OrganizationId, list[Interval]] = {}
        for (since, holder), following in zip(
            self._changes, (*self._changes[1:], None), strict=False
        ):
            if holder is not None:
                until = following[0] if following else FOREVER
                self._alone.setdefault(holder, []).append((since, until))

    def alone_at(self, at: datetime) -> OrganizationId | None:
        """The organization that was its only holder; None: it had none, or several."""
        place = bisect_right(self._changes, at, key=itemgetter(0))
        return self._changes[place - 1][1] if place else None

    def alone(self, organization: OrganizationId) -> Sequence[Interval]:
        """When an organization was its only holder, in order."""
        return self._alone.get(organization, ())


def _changes(stakes: Iterable[Stake]) -> Iterator[tuple[datetime, OrganizationId | None]]:
    """From when on it was one organization's alone (None: no one's, or several organizations').

    If its holder was known by then, later reports give it no other holder.
    """
    by_then, later = Counter[OrganizationId](), Counter[OrganizationId]()
    before: OrganizationId | None = None
    begins_and_ends = [
        (at, step, stake)
        for stake in stakes
        for at, step in ((stake.starts_at, 1), (stake.ends_at, -1))
    ]
    begins_and_ends.sort(key=itemgetter(0))
    for at, group in groupby(begins_and_ends, key=itemgetter(0)):
        for _, step, stake in group:
            counted = by_then if stake.known else later
            counted[stake.organization] += step
            if not counted[stake.organization]:
                del counted[stake.organization]
        holders = by_then or later
        holder = next(iter(holders)) if len(holders) == 1 else None
        if holder != before:
            yield at, holder
            before = holder


CROWDED = Holders(is_crowded=True)
"""The holders of an account that proves nothing, because it has too many."""
