"""Reports the state of one organization, the reasons for it, and its history."""

from dataclasses import dataclass

from marketplace_worker.explain import Explanation, explain
from marketplace_worker.explain.values import NotCreated
from marketplace_worker.inspection.fleet_view import FleetView, Inspector, load_view
from marketplace_worker.inspection.history import HistoryPage, page_of_history
from marketplace_worker.inspection.timeline import OrganizationTimeline, timeline
from marketplace_worker.lifecycle.events import Snapshot
from marketplace_worker.lifecycle.inactivity import LastSeen
from marketplace_worker.lifecycle.organization import Organization
from marketplace_worker.lifecycle.organization_view import OrganizationView
from marketplace_worker.lifecycle.settle import BY_DEADLINE
from marketplace_worker.lifecycle.snapshot import snapshot
from marketplace_worker.lifecycle.vocabulary import OrganizationId
from marketplace_worker.store import journal
from marketplace_worker.store.database import one_moment

DECISIONS_MAX = 300
"""How many decisions a timeline shows: the newest."""


@dataclass(frozen=True, slots=True)
class Report:
    """One organization.  `snapshot`: None if it was never created.  `seen`: its last activity."""

    organization: Organization
    snapshot: Snapshot | None
    explanation: Explanation
    seen: LastSeen


@dataclass(frozen=True, slots=True)
class FullReport:
    """One organization with its timeline and a page of its history, read at one moment."""

    report: Report
    timeline: OrganizationTimeline
    history: HistoryPage

    @property
    def known(self) -> bool:
        """Whether anything about it was ever received."""
        return self.report.explanation.why != NotCreated(kept=False) or bool(self.history.facts)


async def full_report(
    inspector: Inspector, organization: OrganizationId, *, before: int, facts: int
) -> FullReport:
    """Read everything about an organization; of its history, `facts` before the place `before`."""
    async with one_moment(inspector.pool) as conn:
        view = await load_view(conn, inspector, [organization], owners_of=[organization])
        decided = await journal.decided(conn, organization, limit=DECISIONS_MAX)
        page = await page_of_history(conn, view, organization, before=before, limit=facts)
    found = report_of(view)
    drawn = timeline(view, found.explanation, decided, limit=DECISIONS_MAX)
    return FullReport(found, drawn, page)


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
