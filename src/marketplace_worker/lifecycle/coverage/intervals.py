"""The intervals in which one plan makes an organization active (lifecycle.md section 2).

`coverage` combines the intervals of all plans of an organization.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from enum import Enum

from marketplace_worker.lifecycle.fleet import Fleet
from marketplace_worker.lifecycle.organization import Commitment, Grant, Organization
from marketplace_worker.lifecycle.ownership import projection_of
from marketplace_worker.lifecycle.policy import Policy
from marketplace_worker.lifecycle.projection import Projection, Span
from marketplace_worker.lifecycle.subscription import FOREVER, Subscription
from marketplace_worker.lifecycle.values import dataclass, replace
from marketplace_worker.lifecycle.vocabulary import (
    CompletedBy,
    Initiator,
    PlanEndReason,
    PlanType,
    SubscriptionKey,
)


class Trigger(Enum):
    """Why an organization is decided on."""

    NEWS = "news"
    """A message concerns it."""
    DEADLINE = "deadline"
    """A deadline came: due steps and notices are carried out."""
    INSPECTION = "inspection"
    """An inspection: ends up to now count, and no step is carried out."""


@dataclass(frozen=True, slots=True)
class Moment:
    """An instant (UTC), and what is processed at it.

    At one instant all messages come before all deadlines: while messages are processed, a plan that
    ends by itself at that instant is still active (lifecycle.md section 11).
    """

    at: datetime
    trigger: Trigger = Trigger.INSPECTION

    def is_before(self, end: datetime, *, by_itself: bool) -> bool:
        """Whether an end is still ahead; an end that was reported for this instant is not."""
        if by_itself and self.trigger is Trigger.NEWS:
            return self.at <= end
        return self.at < end


@dataclass(frozen=True, slots=True)
class ActiveInterval:
    """An interval, half-open, in which one plan makes the organization active.

    Up to `revives_until` it also reinstates a canceled organization; after that, while a superseded
    plan waits for its successor, it only keeps an active one (lifecycle.md section 11).
    `ends_by_itself`: it ends at `ends_at` without a report.  `brought_by`: who causes a
    reinstatement by it.  `waits_for`: what completes that; None: nothing is missing.
    """

    plan: str
    plan_type: PlanType | None
    starts_at: datetime
    ends_at: datetime
    revives_until: datetime
    reason: PlanEndReason
    initiator: Initiator
    brought_by: Initiator = Initiator.CUSTOMER
    subscription: SubscriptionKey | None = None
    waits_for: CompletedBy | None = None
    ends_by_itself: bool = False

    def covers(self, moment: Moment) -> bool:
        """Whether the plan counts as active at that moment."""
        return self.starts_at <= moment.at and moment.is_before(
            self.ends_at, by_itself=self.ends_by_itself
        )

    def revives(self, moment: Moment) -> bool:
        """Whether the plan is active at that moment, rather than only waiting for a successor."""
        waits = self.revives_until < self.ends_at
        return self.starts_at <= moment.at and moment.is_before(
            self.revives_until, by_itself=self.ends_by_itself and not waits
        )


def intervals_of(
    subscription: Subscription, projection: Projection, fleet: Fleet, policy: Policy
) -> Iterator[ActiveInterval]:
    """One interval for each span of a subscription's projection."""
    for span in projection.spans:
        ends_at = revives_until = FOREVER if span.ends_at is None else span.ends_at
        if span.superseded:
            ends_at = _continued_until(span, subscription, fleet, policy)
        yield ActiveInterval(
            str(subscription.key),
            projection.plan_type,
            span.starts_at,
            ends_at,
            revives_until,
            span.reason,
            span.initiator,
            subscription=subscription.key,
            ends_by_itself=span.superseded or span.inferred,
        )


def starting_at_link(intervals: Sequence[ActiveInterval], since: datetime) -> list[ActiveInterval]:
    """For the new organization the plan began when it was linked to it (section 11).

    If it had ended by then, only its last end belongs to the new organization: an empty interval at
    the link.  `intervals` are of one subscription, in order.
    """
    later = [interval for interval in intervals if interval.ends_at > since]
    here = [
        replace(
            interval,
            starts_at=max(interval.starts_at, since),
            revives_until=max(interval.revives_until, since),
        )
        for interval in later
    ]
    if len(later) == len(intervals) or (here and here[0].starts_at == since):
        return here
    last = intervals[len(intervals) - len(later) - 1]
    ended = replace(last, starts_at=since, ends_at=since, revives_until=since, ends_by_itself=False)
    return [ended, *here]


def ending_at_move(interval: ActiveInterval, until: datetime) -> ActiveInterval:
    """For the former organization the plan ended when it was linked elsewhere (section 2)."""
    if interval.ends_at <= until:
        return interval
    return replace(
        interval,
        ends_at=until,
        revives_until=min(interval.revives_until, until),
        reason=PlanEndReason.UNKNOWN,
        initiator=Initiator.SYSTEM,
        ends_by_itself=False,
    )


def _continued_until(
    span: Span, subscription: Subscription, fleet: Fleet, policy: Policy
) -> datetime:
    """A superseded plan counts until its successor does, at most `grace.successor_within` longer.

    A successor that ended without ever having counted has not begun.
    """
    assert span.ends_at is not None
    begins = [
        each.starts_at
        for successor in fleet.successors(subscription.key)
        for each in projection_of(fleet, successor).spans
        if each.counted
    ]
    latest = _later(span.ends_at, policy)
    return max(span.ends_at, min([*begins, latest]))


def _later(ends_at: datetime, policy: Policy) -> datetime:
    within = policy.grace.successor_within
    return ends_at + within if ends_at < FOREVER - within else FOREVER


# --- what is no subscription ----------------------------------------------------------------------


def commitment_intervals(
    organization: Organization, others: Iterable[ActiveInterval]
) -> list[ActiveInterval]:
    """A commitment counts from its beginning, or from its link if a plan was active then.

    One that counts from its link may make another one count from its own, later link.  So they are
    processed in the order of their links, with all that have begun by then.
    """
    if not organization.commitments:
        return []
    commitments = [each for each in organization.commitments if organization.keeps(each.updated_at)]
    intervals = {
        each.commitment_id: _commitment_interval(each, each.starts_at) for each in commitments
    }
    begun = _Begun(sorted((*others, *intervals.values()), key=lambda interval: interval.starts_at))
    for each in sorted(commitments, key=lambda each: each.linked_at):
        if each.linked_at < each.starts_at and begun.any_covers(each.linked_at):
            early = intervals[each.commitment_id] = _commitment_interval(each, each.linked_at)
            begun.add(early)
    return list(intervals.values())


class _Begun:
    """Intervals in the order of their beginnings, queried at increasing moments."""

    def __init__(self, intervals: Sequence[ActiveInterval]) -> None:
        self._to_come = deque(intervals)
        self._longest: dict[bool, ActiveInterval] = {}

    def add(self, interval: ActiveInterval) -> None:
        """Add one that has begun."""
        longest = self._longest.get(interval.ends_by_itself)
        if longest is None or longest.ends_at < interval.ends_at:
            self._longest[interval.ends_by_itself] = interval

    def any_covers(self, at: datetime) -> bool:
        """Whether any is active for a message of that moment."""
        while self._to_come and self._to_come[0].starts_at <= at:
            self.add(self._to_come.popleft())
        return any(interval.covers(Moment(at, Trigger.NEWS)) for interval in self._longest.values())


def next_commitment_at(organization: Organization, now: datetime) -> datetime | None:
    """When the first of its commitments that have not started does; None: there is none."""
    coming = (
        each.starts_at
        for each in organization.commitments
        if now < each.starts_at and organization.keeps(each.updated_at)
    )
    return min(coming, default=None)


def _commitment_interval(commitment: Commitment, starts_at: datetime) -> ActiveInterval:
    return ActiveInterval(
        f"commitment:{commitment.commitment_id}",
        PlanType.COMMIT,
        starts_at,
        commitment.ends_at,
        commitment.ends_at,
        PlanEndReason.COMMIT_EXPIRED,
        Initiator.SYSTEM,
        brought_by=Initiator.VENDOR,
        ends_by_itself=True,
    )


def grant_interval(grant: Grant) -> ActiveInterval:
    """A support grant that ends: its plan type is unknown (section 7)."""
    return ActiveInterval(
        f"grant:{grant.id}",
        None,
        grant.starts_at,
        grant.ends_at,
        grant.ends_at,
        PlanEndReason.GRANT_EXPIRED,
        Initiator.SYSTEM,
        brought_by=Initiator.SUPPORT,
        ends_by_itself=True,
    )
