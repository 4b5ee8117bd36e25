"""A subscription as a plan of an organization: for how long it was its own, and what that makes
active.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from datetime import datetime
from operator import attrgetter

from marketplace_worker.lifecycle.coverage.intervals import (
    ActiveInterval,
    ending_at_move,
    intervals_of,
    starting_at_link,
)
from marketplace_worker.lifecycle.fleet import Fleet
from marketplace_worker.lifecycle.matching import attached_to
from marketplace_worker.lifecycle.organization import Organization
from marketplace_worker.lifecycle.ownership import links_of, projection_of, tenures_of
from marketplace_worker.lifecycle.policy import Policy
from marketplace_worker.lifecycle.projection import Projection, fold
from marketplace_worker.lifecycle.subscription import Link, Subscription
from marketplace_worker.lifecycle.values import dataclass, replace
from marketplace_worker.lifecycle.vocabulary import OrganizationId


@dataclass(frozen=True, slots=True)
class Holding:
    """The interval in which a subscription was an organization's, half-open.

    `since` is None if it was not linked before: then its own beginning counts.  `until`: when it
    was linked to another organization.  `kept`: no deactivation has removed it since.
    """

    since: datetime | None
    until: datetime | None
    kept: bool


@dataclass(frozen=True, slots=True)
class Attachment:
    """One subscription as a plan of an organization; `holdings` are in order of time.

    `floor`: until when the marketplace requires the data to be kept, by the reports of the time in
    which the subscription was the organization's.
    """

    subscription: Subscription
    projection: Projection
    links: tuple[Link, ...]
    holdings: tuple[Holding, ...]
    floor: datetime | None

    @property
    def current(self) -> bool:
        """Whether it is the organization's now."""
        return self.holdings[-1].kept and self.holdings[-1].until is None


def attached(organization: Organization, fleet: Fleet) -> tuple[Attachment, ...]:
    """The subscriptions that were ever an organization's, by key; its proofs make some so."""
    return tuple(
        attach(subscription, organization, fleet)
        for subscription in attached_to(fleet, organization.id)
    )


def attach(subscription: Subscription, organization: Organization, fleet: Fleet) -> Attachment:
    """Read a register as a plan of one of the organizations to which it was linked.

    Its plan type and its floor are those reported while it was this organization's.
    """
    tenures = tenures_of(fleet, subscription)[organization.id]
    holdings = tuple(
        Holding(each.since, each.until, organization.keeps(each.linked_at)) for each in tenures
    )
    links, projection = links_of(fleet, subscription), projection_of(fleet, subscription)
    until = tenures[-1].until
    if until is None:
        return Attachment(subscription, projection, links, holdings, projection.floor)
    by_then = fold(subscription.up_to(until), links[:1])
    projection = replace(projection, plan_type=tenures[-1].plan_type or by_then.plan_type)
    return Attachment(subscription, projection, links, holdings, by_then.floor)


def attached_intervals(
    attachment: Attachment, fleet: Fleet, policy: Policy
) -> Iterator[ActiveInterval]:
    """The intervals in which it makes the organization active, while it was the organization's."""
    intervals = list(intervals_of(attachment.subscription, attachment.projection, fleet, policy))
    for holding in attachment.holdings:
        if not holding.kept:
            continue
        here = intervals if holding.since is None else starting_at_link(intervals, holding.since)
        for interval in here:
            if holding.until is None:
                yield interval
            elif interval.starts_at <= holding.until:
                yield ending_at_move(interval, holding.until)


def usage_closed_at(attachment: Attachment, organization: OrganizationId) -> list[datetime]:
    """The ends whose final report this organization has to make, in order.

    An end belongs to the organization that held the subscription then; before any link, to the one
    that was linked first.
    """
    own = {
        closed_at
        for closed_at in attachment.projection.usage_closed_at
        if _holder(attachment.links, closed_at) == organization
    }
    return sorted(own)


def _holder(links: Sequence[Link], at: datetime) -> OrganizationId:
    by_then = bisect_right(links, at, key=attrgetter("occurred_at"))
    return links[max(by_then - 1, 0)].organization
