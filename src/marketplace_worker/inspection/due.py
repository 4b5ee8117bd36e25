"""Forecasts what happens to each organization up to a moment if no more messages arrive."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from marketplace_worker.explain.forecast import ForecastEntry, continue_feeds, first_trip, forecast
from marketplace_worker.inspection.fleet_view import PAGE, FleetView, Inspector, load_views
from marketplace_worker.lifecycle.limits import control_plane_limit, destructive_step_limit
from marketplace_worker.lifecycle.safeguards import Trip
from marketplace_worker.lifecycle.vocabulary import OrganizationId
from marketplace_worker.store import organizations, safeguards
from marketplace_worker.store.database import one_moment


@dataclass(frozen=True, slots=True)
class DueReport:
    """The steps that become due, in order.

    `trip`: the guard's trip for steps, if it is tripped.  `limit` and `control_plane_limit`: how
    many destructive steps, and how many entries into `control_plane_loss`, are allowed per hour.
    `trips`: the step that would exceed a limit; None: none would, or the guard is tripped already.
    """

    now: datetime
    until: datetime
    coming: Sequence[ForecastEntry]
    trip: Trip | None
    limit: int
    control_plane_limit: int
    trips: ForecastEntry | None


async def due_report(inspector: Inspector, until: datetime) -> DueReport:
    """Read every organization that is due by then, and apply the rules up to that moment."""
    coming: list[ForecastEntry] = []
    async with one_moment(inspector.pool) as conn:

        async def due(after: OrganizationId | None) -> Sequence[OrganizationId]:
            return await organizations.due_until(conn, until, after=after, limit=PAGE)

        guard = await safeguards.read(conn)
        population = await organizations.population(conn)
        async for view in load_views(conn, inspector, due):
            coming += _coming(view, until)
    coming.sort(key=lambda each: (each.at, each.due_at))
    rules = inspector.policies.current.guard
    return DueReport(
        now=inspector.now,
        until=until,
        coming=coming,
        trip=guard.trip,
        limit=destructive_step_limit(rules, population),
        control_plane_limit=control_plane_limit(rules, population),
        trips=None if guard.trip else first_trip(guard, coming, rules, population),
    )


def _coming(view: FleetView, until: datetime) -> list[ForecastEntry]:
    fleet = replace(view.fleet, feeds=continue_feeds(view.fleet.feeds, view.now, until))
    return [
        each
        for organization in view.organizations
        for each in forecast(organization, fleet, view.policies, now=view.now, until=until)
    ]
