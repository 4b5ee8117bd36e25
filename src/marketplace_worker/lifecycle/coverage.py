"""When an organization has an active plan: all its plans, laid over one another in event time.

The last-plan rule of lifecycle.md section 2 is read off here, and so is `canceled_at`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from marketplace_worker.lifecycle.events import PlanSummary
from marketplace_worker.lifecycle.fleet import Fleet
from marketplace_worker.lifecycle.organization import Commitment, Organization
from marketplace_worker.lifecycle.plans import Course, Link, Span, Subscription, fold
from marketplace_worker.lifecycle.policy import Policy
from marketplace_worker.lifecycle.vocabulary import (
    Initiator,
    OrganizationId,
    PlanType,
    Reason,
    SubscriptionKey,
)

_COMMITMENT = "commitment:"

FOREVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Claim:
    """An interval, half-open, in which one plan makes the organization active.

    Up to `revives_until` it also brings a canceled organization back; beyond, where a superseded
    plan waits for its successor, it only keeps an active one (lifecycle.md section 11).
    """

    plan: str
    plan_type: PlanType | None
    starts_at: datetime
    ends_at: datetime
    revives_until: datetime
    reason: Reason
    initiator: Initiator

    @property
    def is_commitment(self) -> bool:
        """Whether the plan is a commitment rather than a subscription."""
        return self.plan.startswith(_COMMITMENT)

    def covers(self, at: datetime) -> bool:
        """Whether the plan counts as active at that moment."""
        return self.starts_at <= at < self.ends_at


@dataclass(frozen=True, slots=True)
class Attachment:
    """One subscription as a plan of an organization.  `until`: when it was moved to another."""

    subscription: Subscription
    course: Course
    links: tuple[Link, ...]
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Coverage:
    """All plans of one organization."""

    attachments: tuple[Attachment, ...]
    claims: tuple[Claim, ...]

    def active(self, at: datetime) -> bool:
        """Whether any plan counts as active."""
        return any(claim.covers(at) for claim in self.claims)

    def reviving(self, at: datetime) -> Claim | None:
        """A plan that proves, at that moment, that the organization is active again."""
        proofs = [c for c in self.claims if c.starts_at <= at < c.revives_until]
        return max(proofs, key=lambda c: (c.ends_at, c.plan), default=None)

    def last_end(self, at: datetime) -> Claim | None:
        """The plan that ended last, of those that had begun: its end is `canceled_at`.

        Of several at one instant, the one with the longest timeline.  None where no plan had begun:
        such an organization is not canceled.
        """
        begun = [claim for claim in self.claims if claim.starts_at <= at]
        return max(begun, key=_lateness, default=None)

    def next_change(self, after: datetime) -> datetime | None:
        """When a plan next begins or ends by itself."""
        moments = (
            moment
            for claim in self.claims
            for moment in (claim.starts_at, claim.revives_until, claim.ends_at)
        )
        return min((m for m in moments if after < m < FOREVER), default=None)

    @property
    def floor(self) -> datetime | None:
        """Until when the marketplaces want the data kept, over all plans."""
        return max((a.course.floor for a in self.attachments if a.course.floor), default=None)


def _lateness(claim: Claim) -> tuple[datetime, int, str]:
    longest_first = {None: 2, PlanType.COMMIT: 1, PlanType.PAYG: 0}
    return (claim.ends_at, longest_first[claim.plan_type], claim.plan)


def coverage(organization: Organization, fleet: Fleet, policy: Policy) -> Coverage:
    """Lay all plans of an organization over one another."""
    attachments = tuple(
        attach(subscription, organization.id, fleet)
        for subscription in fleet.attached_to(organization.id)
    )
    claims = [
        claim
        for attachment in attachments
        for claim in _subscription_claims(attachment, fleet, policy)
    ]
    claims += _commitment_claims(organization.commitments, claims)
    return Coverage(attachments, tuple(claims))


def attach(subscription: Subscription, organization: OrganizationId, fleet: Fleet) -> Attachment:
    """Read a register as a plan of one of the organizations that it was linked to."""
    links = fleet.links_of(subscription)
    last = max(i for i, link in enumerate(links) if link.organization == organization)
    until = links[last + 1].occurred_at if last + 1 < len(links) else None
    return Attachment(subscription, fold(subscription, links), links, until)


def _subscription_claims(attachment: Attachment, fleet: Fleet, policy: Policy) -> Iterator[Claim]:
    for span in attachment.course.spans:
        ends_at = revives_until = FOREVER if span.ends_at is None else span.ends_at
        if span.superseded:
            ends_at = _continued_until(span, attachment.subscription, fleet, policy)
        claim = Claim(
            str(attachment.subscription.key),
            attachment.course.plan_type,
            span.starts_at,
            ends_at,
            revives_until,
            span.reason,
            span.initiator,
        )
        if attachment.until is None:
            yield claim
        elif claim.starts_at <= attachment.until:
            yield _moved(claim, attachment.until)


def _moved(claim: Claim, until: datetime) -> Claim:
    """For the former organization the plan ended when it was linked elsewhere (section 2)."""
    if claim.ends_at <= until:
        return claim
    return replace(
        claim,
        ends_at=until,
        revives_until=min(claim.revives_until, until),
        reason=Reason.UNKNOWN,
        initiator=Initiator.SYSTEM,
    )


def _continued_until(
    span: Span, subscription: Subscription, fleet: Fleet, policy: Policy
) -> datetime:
    """A superseded plan counts until its successor's does, or for a while without one."""
    assert span.ends_at is not None
    begins = [
        first.starts_at
        for successor in fleet.successors(subscription.key)
        for first in fold(successor, fleet.links_of(successor)).spans[:1]
    ]
    latest = _later(span.ends_at, policy)
    return max(span.ends_at, min([*begins, latest]))


def _later(ends_at: datetime, policy: Policy) -> datetime:
    within = policy.grace.successor_within
    return ends_at + within if ends_at < FOREVER - within else FOREVER


def _commitment_claims(commitments: Sequence[Commitment], others: Iterable[Claim]) -> list[Claim]:
    """A commitment counts from its beginning, and from its link where a plan was active then.

    Which commitments began early depends on one another: looked at until nothing changes.
    """
    claims = {each.commitment_id: _commitment_claim(each, each.starts_at) for each in commitments}
    settled = False
    while not settled:
        settled = True
        for each in commitments:
            claim = claims[each.commitment_id]
            if each.linked_at < claim.starts_at and any(
                other.covers(each.linked_at) for other in (*others, *claims.values())
            ):
                claims[each.commitment_id] = _commitment_claim(each, each.linked_at)
                settled = False
    return list(claims.values())


def _commitment_claim(commitment: Commitment, starts_at: datetime) -> Claim:
    return Claim(
        f"{_COMMITMENT}{commitment.commitment_id}",
        PlanType.COMMIT,
        starts_at,
        commitment.ends_at,
        commitment.ends_at,
        Reason.COMMIT_EXPIRED,
        Initiator.SYSTEM,
    )


def usage_closed_at(attachment: Attachment, organization: OrganizationId) -> list[datetime]:
    """The ends whose final report is this organization's to make.

    An end belongs to who held the subscription then; before any link, to who was linked first.
    """
    return [
        closed_at
        for closed_at in attachment.course.usage_closed_at
        if _holder(attachment.links, closed_at) == organization
    ]


def _holder(links: Sequence[Link], at: datetime) -> OrganizationId:
    held = [link for link in links if link.occurred_at <= at]
    return (held[-1] if held else links[0]).organization


def plan_summaries(
    organization: Organization, covered: Coverage, at: datetime
) -> tuple[PlanSummary, ...]:
    """The plans of an organization, as its snapshot shows them."""
    active = {claim.plan for claim in covered.claims if claim.covers(at)}
    subscriptions = [
        PlanSummary(
            name=str(attachment.subscription.key),
            marketplace=attachment.subscription.key.marketplace,
            status=_status(attachment),
            active=str(attachment.subscription.key) in active,
            ends_at=attachment.course.ends_at,
            plan_type=attachment.course.plan_type,
        )
        for attachment in covered.attachments
        if attachment.until is None
    ]
    commitments = [
        PlanSummary(
            name=f"{_COMMITMENT}{each.commitment_id}",
            marketplace=None,
            status="committed",
            active=f"{_COMMITMENT}{each.commitment_id}" in active,
            ends_at=each.ends_at,
            plan_type=PlanType.COMMIT,
        )
        for each in organization.commitments
    ]
    return (*subscriptions, *commitments)


def _status(attachment: Attachment) -> str:
    status = attachment.course.status
    assert status is not None, "an attached subscription counts as active at the least"
    return status


def current_plans(covered: Coverage) -> tuple[SubscriptionKey, ...]:
    """The subscriptions that are the organization's now."""
    return tuple(a.subscription.key for a in covered.attachments if a.until is None)
