"""Reports the state of one organization and the reasons for it."""

from dataclasses import dataclass

from marketplace_worker.explain import Explanation, explain
from marketplace_worker.inspection.fleet_view import FleetView, Inspector, load_view
from marketplace_worker.lifecycle.events import Snapshot
from marketplace_worker.lifecycle.inactivity import LastSeen
from marketplace_worker.lifecycle.organization import Organization
from marketplace_worker.lifecycle.organization_view import OrganizationView
from marketplace_worker.lifecycle.settle import BY_DEADLINE
from marketplace_worker.lifecycle.snapshot import snapshot
from marketplace_worker.lifecycle.vocabulary import OrganizationId
from marketplace_worker.store.database import one_moment


@dataclass(frozen=True, slots=True)
class Report:
    """One organization.  `snapshot`: None if it was never created.  `seen`: its last activity."""

    organization: Organization
    snapshot: Snapshot | None
    explanation: Explanation
    seen: LastSeen


async def report(inspector: Inspector, organization: OrganizationId) -> Report:
    """Read and explain an organization, even an unknown one."""
    async with one_moment(inspector.pool) as conn:
        # Whether it could be reactivated depends on the other organizations of its owner.
        view = await load_view(conn, inspector, [organization], owners_of=[organization])
    return report_of(view)


def report_of(view: FleetView) -> Report:
    """Explain the only organization of a view."""
    (found,) = view.organizations
    fleet, policies, now = view.fleet, view.policies, view.now
    taken = (
        snapshot(
            OrganizationView(found, fleet, policies, now),
            revision=found.revision,
            causation_id=BY_DEADLINE,
        )
        if found.creation
        else None
    )
    explanation = explain(found, fleet, policies, now=now)
    return Report(found, taken, explanation, fleet.last_seen(found.id))
