"""When an organization has an active plan: all its plans, laid over one another in event time.

The last-plan rule of lifecycle.md section 2 is read off here, and so are `canceled_at` and, of
section 4, which plans count only once their reinstatement is completed.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from marketplace_worker.lifecycle.claims import (
    Claim,
    claims_of,
    commitment_claims,
    grant_claim,
    moved,
)
from marketplace_worker.lifecycle.course import Course, fold
from marketplace_worker.lifecycle.events import CompletedBy
from marketplace_worker.lifecycle.fleet import Fleet
from marketplace_worker.lifecycle.organization import (
    Cancellation,
    Organization,
    Pause,
    Waited,
)
from marketplace_worker.lifecycle.plans import FOREVER, Link, Subscription
from marketplace_worker.lifecycle.policy import AzureReinstatement, Policy
from marketplace_worker.lifecycle.vocabulary import (
    Marketplace,
    OrganizationId,
    PlanType,
    SubscriptionKey,
)


@dataclass(frozen=True, slots=True)
class Attachment:
    """One subscription as a plan of an organization.

    `until`: when it was moved to another.  `kept`: no deactivation has taken it since.
    """

    subscription: Subscription
    course: Course
    links: tuple[Link, ...]
    until: datetime | None
    kept: bool

    @property
    def current(self) -> bool:
        """Whether it is the organization's now."""
        return self.kept and self.until is None


@dataclass(frozen=True, slots=True)
class Coverage:
    """All plans of one organization.

    `claims` are of confirmed plans; `waiting` of those whose reinstatement is not completed.
    """

    attachments: tuple[Attachment, ...]
    claims: tuple[Claim, ...]
    waiting: tuple[Claim, ...] = ()

    def active(self, at: datetime) -> bool:
        """Whether any plan counts as active."""
        return any(claim.covers(at) for claim in self.claims)

    def reviving(self, at: datetime) -> Claim | None:
        """A plan that proves, at that moment, that the organization is active again."""
        return _longest(claim for claim in self.claims if claim.revives(at))

    def pending(self, at: datetime) -> Claim | None:
        """A plan that would prove it, once its reinstatement is completed."""
        return _longest(claim for claim in self.waiting if claim.revives(at))

    def last_end(self, at: datetime) -> Claim | None:
        """The plan that ended last, of those that had begun: its end is `canceled_at`.

        Of several at one instant, the one with the longest timeline.  None where no plan had begun:
        such an organization is not canceled.
        """
        begun = (claim for claim in self.claims if claim.starts_at <= at)
        return max(begun, key=_lateness, default=None)

    def only_to_come(self, at: datetime) -> bool:
        """Whether it has plans, and each is still to begin: then none has ended."""
        return bool(self.claims) and all(at < claim.starts_at for claim in self.claims)

    def next_change(self, after: datetime) -> datetime | None:
        """When a plan next begins or ends by itself."""
        moments = (
            moment
            for claim in (*self.claims, *self.waiting)
            for moment in (claim.starts_at, claim.revives_until, claim.ends_at)
        )
        return min((m for m in moments if after < m < FOREVER), default=None)

    def waited(self, cancellation: Cancellation, now: datetime) -> tuple[Waited, ...]:
        """What is and was waited for.

        Of a subscription that was ever linked here it is read from the register, so an interval
        that turns out never to have been (Azure: a Reinstate that failed) is gone.  Of one that
        matched by its account and is another's by now, it is what was known before, up to now.
        """
        waiting = [
            Waited(claim.subscription, claim.starts_at, claim.revives_until)
            for claim in self.waiting
            if claim.subscription is not None
        ]
        known = {each.subscription for each in waiting}
        known |= {each.subscription.key for each in self.attachments}
        former = [
            replace(each, ends_at=min(each.ends_at, now))
            for each in cancellation.waited
            if each.subscription not in known
        ]
        return (*former, *waiting)

    def pauses(self, cancellation: Cancellation, now: datetime) -> tuple[Pause, ...]:
        """When, since the cancellation and up to now, the clock stood still, in order."""
        since = cancellation.canceled_at
        derived = (
            (max(each.starts_at, since), min(each.ends_at, now))
            for each in self.waited(cancellation, now)
            if each.starts_at < now and each.ends_at > since
        )
        merged: list[Pause] = []
        for starts_at, ends_at in sorted(derived):
            if merged and starts_at <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(merged[-1][1], ends_at))
            else:
                merged.append((starts_at, ends_at))
        return tuple(merged)

    @property
    def floor(self) -> datetime | None:
        """Until when the marketplaces want the data kept, over all plans."""
        return max((a.course.floor for a in self.attachments if a.course.floor), default=None)

    @property
    def subscriptions(self) -> tuple[SubscriptionKey, ...]:
        """Those that are the organization's now."""
        return tuple(each.subscription.key for each in self.attachments if each.current)


def _longest(claims: Iterable[Claim]) -> Claim | None:
    return max(claims, key=lambda claim: (claim.ends_at, claim.plan), default=None)


def _lateness(claim: Claim) -> tuple[datetime, int, str]:
    longest_first = {None: 2, PlanType.COMMIT: 1, PlanType.PAYG: 0}
    return (claim.ends_at, longest_first[claim.plan_type], claim.plan)


def attached(organization: Organization, fleet: Fleet) -> tuple[Attachment, ...]:
    """The subscriptions that were ever an organization's, by key; its proofs make some so."""
    return tuple(
        attach(subscription, organization, fleet)
        for subscription in fleet.attached_to(organization.id)
    )


def coverage(
    organization: Organization,
    attachments: tuple[Attachment, ...],
    fleet: Fleet,
    policy: Policy,
    *,
    now: datetime,
) -> Coverage:
    """Lay all plans of an organization over one another; `attachments` are what `attached` found.

    Which of Azure's are confirmed depends on what is confirmed already: one that began while a
    confirmed plan was active is, and so on until nothing changes (lifecycle.md section 11).
    """
    told = [
        claim
        for attachment in attachments
        if attachment.kept
        for claim in _subscription_claims(attachment, fleet, policy)
    ]
    if organization.state.in_cancellation:
        told = [_judged(claim, organization, policy) for claim in told]
        told += matched_claims(organization.id, fleet, policy, now)
    others = [
        grant_claim(each) for each in organization.grants if organization.keeps(each.starts_at)
    ]
    while True:
        confirmed = [claim for claim in told if claim.waits_for is None] + others
        confirmed += commitment_claims(organization, confirmed)
        begun_in_time = [claim for claim in told if _begun_in_time(claim, confirmed)]
        if not begun_in_time:
            break
        told = [replace(c, waits_for=None) if c in begun_in_time else c for c in told]
    waiting = tuple(claim for claim in told if claim.waits_for is not None)
    return Coverage(attachments, tuple(_since_recovery(organization, confirmed)), waiting)


def attach(subscription: Subscription, organization: Organization, fleet: Fleet) -> Attachment:
    """Read a register as a plan of one of the organizations that it was linked to."""
    links = fleet.links_of(subscription)
    last = max(i for i, link in enumerate(links) if link.organization == organization.id)
    until = links[last + 1].occurred_at if last + 1 < len(links) else None
    kept = organization.keeps(links[last].occurred_at)
    return Attachment(subscription, fleet.course_of(subscription), links, until, kept)


def _subscription_claims(attachment: Attachment, fleet: Fleet, policy: Policy) -> Iterator[Claim]:
    subscription = attachment.subscription
    for claim in claims_of(subscription, attachment.course, fleet, policy):
        if attachment.until is None:
            yield claim
        elif claim.starts_at <= attachment.until:
            yield moved(claim, attachment.until)


# --- what waits to be completed -------------------------------------------------------------------


def matched_claims(
    organization: OrganizationId, fleet: Fleet, policy: Policy, at: datetime
) -> list[Claim]:
    """What nobody had linked by then, and whose billing account was its own (section 4)."""
    return [
        replace(claim, waits_for=CompletedBy.SIGN_IN)
        for subscription in fleet.matching(organization, at)
        for claim in claims_of(subscription, fold(subscription, ()), fleet, policy)
    ]


def _judged(claim: Claim, organization: Organization, policy: Policy) -> Claim:
    """Azure's plan that began after the cancellation waits for Support, where policy says so.

    What is pending stays so, whichever way old news moves `canceled_at`: positive proof only.
    """
    key, cancellation = claim.subscription, organization.cancellation
    assert cancellation is not None
    if key is None or key.marketplace is not Marketplace.AZURE:
        return claim
    is_pending = organization.pending is not None and organization.pending.subscription == key
    in_time = claim.starts_at <= cancellation.canceled_at and not (
        is_pending and claim.ends_at > cancellation.canceled_at
    )
    proved = any(
        proof.by is CompletedBy.SUPPORT and proof.subscription == key
        for proof in organization.proofs
        if proof.at >= claim.starts_at
    )
    by_itself = policy.reinstatement.azure is AzureReinstatement.AUTOMATIC
    return (
        claim if by_itself or proved or in_time else replace(claim, waits_for=CompletedBy.SUPPORT)
    )


def _begun_in_time(claim: Claim, confirmed: Sequence[Claim]) -> bool:
    """Whether Azure's plan that waits began while a confirmed one was active after all."""
    return claim.waits_for is CompletedBy.SUPPORT and any(
        other.starts_at <= claim.starts_at <= other.ends_at and other.starts_at < other.ends_at
        for other in confirmed
    )


# --- reading it off -------------------------------------------------------------------------------


def _since_recovery(organization: Organization, claims: Iterable[Claim]) -> Iterator[Claim]:
    """A plan linked while the organization was deactivated counts from the reactivation on."""
    recovery = organization.recovery
    for claim in claims:
        if recovery is None:
            yield claim
        elif claim.ends_at > recovery.reactivated_at:
            yield replace(claim, starts_at=max(claim.starts_at, recovery.reactivated_at))


def usage_closed_at(attachment: Attachment, organization: OrganizationId) -> list[datetime]:
    """The ends whose final report is this organization's to make, in order.

    An end belongs to who held the subscription then; before any link, to who was linked first.
    """
    own = {
        closed_at
        for closed_at in attachment.course.usage_closed_at
        if _holder(attachment.links, closed_at) == organization
    }
    return sorted(own)


def _holder(links: Sequence[Link], at: datetime) -> OrganizationId:
    held = [link for link in links if link.occurred_at <= at]
    return (held[-1] if held else links[0]).organization
