"""The organization as a whole, as its snapshot shows it."""

from marketplace_worker.lifecycle.coverage.attachments import Attachment
from marketplace_worker.lifecycle.coverage.combined import Coverage
from marketplace_worker.lifecycle.coverage.intervals import Moment
from marketplace_worker.lifecycle.events import PlanSummary, Snapshot
from marketplace_worker.lifecycle.organization import Commitment, Grant, Organization
from marketplace_worker.lifecycle.organization_view import OrganizationView
from marketplace_worker.lifecycle.vocabulary import PlanType


def snapshot(view: OrganizationView, *, revision: int, causation_id: str) -> Snapshot:
    """The snapshot of an organization, which must have been created."""
    organization = view.organization
    assert organization.creation is not None
    assert organization.tier is not None
    cancellation = organization.cancellation
    return Snapshot(
        standing=view.standing(),
        revision=revision,
        last_event_sequence=organization.sequence,
        taken_at=view.now,
        causation_id=causation_id,
        tier=organization.tier.value,
        created_at=organization.creation.occurred_at,
        canceled_at=cancellation.canceled_at if cancellation else None,
        plans=_plans(organization, view.covered, view.moment),
    )


def _plans(organization: Organization, covered: Coverage, at: Moment) -> tuple[PlanSummary, ...]:
    active = {interval.plan for interval in covered.intervals if interval.covers(at)}
    subscriptions = [
        PlanSummary(
            name=str(attachment.subscription.key),
            marketplace=attachment.subscription.key.marketplace,
            status=_status(attachment),
            active=str(attachment.subscription.key) in active,
            ends_at=attachment.projection.ends_at,
            plan_type=attachment.projection.plan_type,
        )
        for attachment in covered.attachments
        if attachment.current
    ]
    commitments = [
        _summary(f"commitment:{each.commitment_id}", "committed", each, PlanType.COMMIT, active)
        for each in organization.commitments
        if organization.keeps(each.updated_at)
    ]
    grants = [
        _summary(f"grant:{each.id}", "granted", each, None, active)
        for each in organization.grants
        if organization.keeps(each.starts_at)
    ]
    return (*subscriptions, *commitments, *grants)


def _summary(
    name: str,
    status: str,
    plan: Commitment | Grant,
    plan_type: PlanType | None,
    active: set[str],
) -> PlanSummary:
    return PlanSummary(
        name=name,
        marketplace=None,
        status=status,
        active=name in active,
        ends_at=plan.ends_at,
        plan_type=plan_type,
    )


def _status(attachment: Attachment) -> str:
    status = attachment.projection.status
    assert status is not None, "an attached subscription counts as active at the least"
    return status
