"""When an organization has an active plan: the union of all its plans in event time.

The last-plan rule of lifecycle.md section 2 is read off here, and so are `canceled_at` and, of
section 4, which plans count only once their reinstatement is completed.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from marketplace_worker.lifecycle.cancellation import Pause
from marketplace_worker.lifecycle.coverage.attachments import Attachment, attached_intervals
from marketplace_worker.lifecycle.coverage.intervals import (
    ActiveInterval,
    Moment,
    commitment_intervals,
    grant_interval,
    intervals_of,
)
from marketplace_worker.lifecycle.fleet import Fleet
from marketplace_worker.lifecycle.holders import Interval
from marketplace_worker.lifecycle.index import BillingAccount
from marketplace_worker.lifecycle.matching import ever_matching, plans_accounts
from marketplace_worker.lifecycle.organization import Organization
from marketplace_worker.lifecycle.ownership import (
    unlinked_projection_of,
)
from marketplace_worker.lifecycle.policy import AzureReinstatement, Policy
from marketplace_worker.lifecycle.subscription import FOREVER
from marketplace_worker.lifecycle.values import dataclass, replace
from marketplace_worker.lifecycle.vocabulary import (
    CompletedBy,
    Marketplace,
    OrganizationId,
    PlanType,
    SubscriptionKey,
)


@dataclass(frozen=True, slots=True)
class Coverage:
    """All plans of one organization.

    `intervals` are of confirmed plans; `waiting` of those whose reinstatement is not completed.
    `unconfirmed`: when a plan was active and not confirmed, up to now.
    """

    attachments: tuple[Attachment, ...]
    intervals: tuple[ActiveInterval, ...]
    waiting: tuple[ActiveInterval, ...] = ()
    unconfirmed: tuple[Interval, ...] = ()

    def active(self, moment: Moment) -> bool:
        """Whether any plan counts as active."""
        return any(interval.covers(moment) for interval in self.intervals)

    def reviving(self, moment: Moment) -> ActiveInterval | None:
        """The longest plan by which the organization is active again at that moment."""
        return _longest(interval for interval in self.intervals if interval.revives(moment))

    def pending(self, moment: Moment) -> ActiveInterval | None:
        """The longest plan that would make it so once its reinstatement is completed."""
        return _longest(interval for interval in self.waiting if interval.revives(moment))

    def last_end(self, at: datetime) -> ActiveInterval | None:
        """The plan that ended last, of those that had begun: its end is `canceled_at`.

        Of several at one instant, the one with the longest timeline.  None where no plan had begun:
        such an organization is not canceled.
        """
        begun = (interval for interval in self.intervals if interval.starts_at <= at)
        return max(begun, key=_lateness, default=None)

    def only_to_come(self, at: datetime) -> bool:
        """Whether it has plans and none has begun, so that none has ended."""
        return bool(self.intervals) and all(at < interval.starts_at for interval in self.intervals)

    def next_change(self, after: Moment) -> datetime | None:
        """When a plan next begins or ends by itself.

        While messages of an instant are processed, plans that end by themselves at that instant are
        still active.
        """
        coming = []
        for interval in (*self.intervals, *self.waiting):
            if after.at < interval.starts_at:
                coming.append(interval.starts_at)
            coming += [
                ends_at
                for ends_at in (interval.revives_until, interval.ends_at)
                if after.is_before(ends_at, by_itself=interval.ends_by_itself)
            ]
        next_at = min(coming, default=FOREVER)
        return next_at if next_at < FOREVER else None

    def pauses(self, since: datetime) -> tuple[Pause, ...]:
        """The intervals after that moment that count towards no deadline, merged, in order.

        Derived from the registers (lifecycle.md section 11), so that they follow old news in either
        direction: a failed Azure Reinstate paused nothing, nor did a plan of an account that
        another organization shared.
        """
        merged: list[Pause] = []
        for starts_at, ends_at in sorted(self.unconfirmed):
            if ends_at <= since:
                continue
            if merged and starts_at <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(merged[-1][1], ends_at))
            else:
                merged.append((max(starts_at, since), ends_at))
        return tuple(merged)

    @property
    def floor(self) -> datetime | None:
        """Until when the marketplaces require the data to be kept, over all plans."""
        return max((each.floor for each in self.attachments if each.floor), default=None)

    @property
    def subscriptions(self) -> tuple[SubscriptionKey, ...]:
        """The subscriptions that are the organization's now."""
        return tuple(each.subscription.key for each in self.attachments if each.current)


def _longest(intervals: Iterable[ActiveInterval]) -> ActiveInterval | None:
    return max(intervals, key=lambda interval: (interval.ends_at, interval.plan), default=None)


def _lateness(interval: ActiveInterval) -> tuple[datetime, int, str]:
    longest_first = {None: 2, PlanType.COMMIT: 1, PlanType.PAYG: 0}
    return (interval.ends_at, longest_first[interval.plan_type], interval.plan)


def coverage(
    organization: Organization,
    attachments: tuple[Attachment, ...],
    fleet: Fleet,
    policy: Policy,
    *,
    now: datetime,
) -> Coverage:
    """Combine all plans of an organization; `attachments` is the result of `attached`."""
    found = [
        interval
        for attachment in attachments
        for interval in attached_intervals(attachment, fleet, policy)
    ]
    unconfirmed: list[Interval] = []
    if organization.state.in_cancellation:
        proved_by_support = _proved_by_support(organization)
        found = [_judged(interval, organization, policy, proved_by_support) for interval in found]
        unconfirmed = [
            (each.starts_at, each.revives_until) for each in found if each.waits_for is not None
        ]
        accounts = plans_accounts(fleet, (each.subscription for each in attachments))
        for interval, (since, until) in matched_intervals(organization.id, accounts, fleet, policy):
            unconfirmed.append((max(interval.starts_at, since), min(interval.revives_until, until)))
            if since <= now < until:
                found.append(interval)
    others = [
        grant_interval(each) for each in organization.grants if organization.keeps(each.starts_at)
    ]
    confirmed = [interval for interval in found if interval.waits_for is None] + others
    confirmed += commitment_intervals(organization, confirmed)
    waiting = tuple(interval for interval in found if interval.waits_for is not None)
    up_to_now = [(since, min(until, now)) for since, until in unconfirmed]
    return Coverage(
        attachments,
        _since_recovery(organization, confirmed),
        waiting,
        tuple((since, until) for since, until in up_to_now if since < until),
    )


# --- what waits to be completed -------------------------------------------------------------------


def matched_intervals(
    organization: OrganizationId,
    accounts: Iterable[BillingAccount],
    fleet: Fleet,
    policy: Policy,
) -> Iterator[tuple[ActiveInterval, Interval]]:
    """The intervals of subscriptions that ever matched by their billing account, each with when it
    matched (section 4).  `accounts`: those of the organization's plans.
    """
    for subscription, matched in ever_matching(fleet, organization, accounts):
        projection = unlinked_projection_of(fleet, subscription)
        for interval in intervals_of(subscription, projection, fleet, policy):
            yield replace(interval, waits_for=CompletedBy.SIGN_IN), matched


def _proved_by_support(organization: Organization) -> Mapping[SubscriptionKey, datetime]:
    """When Support last confirmed each plan as the organization's."""
    said: dict[SubscriptionKey, datetime] = {}
    for proof in organization.proofs:
        if proof.by is CompletedBy.SUPPORT:
            said[proof.subscription] = max(said.get(proof.subscription, proof.at), proof.at)
    return said


def _judged(
    interval: ActiveInterval,
    organization: Organization,
    policy: Policy,
    proved_by_support: Mapping[SubscriptionKey, datetime],
) -> ActiveInterval:
    """An Azure plan that began after the cancellation waits for Support, if the policy says so.

    "After" refers to the `canceled_at` that was decided, even if later reports moved it: a
    reinstatement needs positive proof (lifecycle.md section 11).  An empty interval reinstates
    nothing and waits for nothing.
    """
    key, cancellation = interval.subscription, organization.cancellation
    assert cancellation is not None
    if (
        key is None
        or key.marketplace is not Marketplace.AZURE
        or interval.starts_at == interval.ends_at
    ):
        return interval
    in_time = interval.starts_at <= cancellation.decided_canceled_at
    proved = key in proved_by_support and proved_by_support[key] >= interval.starts_at
    by_itself = policy.reinstatement.azure is AzureReinstatement.AUTOMATIC
    return (
        interval
        if by_itself or proved or in_time
        else replace(interval, waits_for=CompletedBy.SUPPORT)
    )


# --- reading it off -------------------------------------------------------------------------------


def _since_recovery(
    organization: Organization, intervals: Iterable[ActiveInterval]
) -> tuple[ActiveInterval, ...]:
    """A plan linked while the organization was deactivated counts from the reactivation on."""
    recovery = organization.recovery
    if recovery is None:
        return tuple(intervals)
    return tuple(
        replace(interval, starts_at=max(interval.starts_at, recovery.reactivated_at))
        for interval in intervals
        if interval.ends_at > recovery.reactivated_at
    )
