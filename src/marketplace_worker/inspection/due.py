"""What will happen to whom up to a moment, if nothing more is heard."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from marketplace_worker.inspection.sight import PAGE, Inspector, Sight, look_at_all
from marketplace_worker.lifecycle.forecast import Forthcoming, first_trip, forecast, going_on
from marketplace_worker.lifecycle.limits import control_plane_limit, limit
from marketplace_worker.lifecycle.safeguards import Trip
from marketplace_worker.lifecycle.vocabulary import OrganizationId
from marketplace_worker.store import organizations, safeguards
from marketplace_worker.store.database import one_moment


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is due, in order.

    `trip`: of the guard for steps, where it is tripped.  `limit` and `control_plane_limit`: how
    many harmful steps, and how many entries into `control_plane_loss`, an hour may hold.  `trips`:
    what is due and would go past; None: nothing, or it is tripped already.
    """

    now: datetime
    until: datetime
    coming: Sequence[Forthcoming]
    trip: Trip | None
    limit: int
    control_plane_limit: int
    trips: Forthcoming | None


async def outlook(inspector: Inspector, until: datetime) -> Outlook:
    """Read every organization of which anything becomes by then, and run the rules ahead."""
    coming: list[Forthcoming] = []
    async with one_moment(inspector.pool) as conn:

        async def due(after: OrganizationId | None) -> Sequence[OrganizationId]:
            return await organizations.due_until(conn, until, after=after, limit=PAGE)

        guard = await safeguards.read(conn)
        population = await organizations.population(conn)
        async for sight in look_at_all(conn, inspector, due):
            coming += _coming(sight, until)
    coming.sort(key=lambda each: (each.at, each.due_at))
    rules = inspector.policies.current.guard
    return Outlook(
        now=inspector.now,
        until=until,
        coming=coming,
        trip=guard.trip,
        limit=limit(rules, population),
        control_plane_limit=control_plane_limit(rules, population),
        trips=None if guard.trip else first_trip(guard, coming, rules, population),
    )


def _coming(sight: Sight, until: datetime) -> list[Forthcoming]:
    fleet = replace(sight.fleet, feeds=going_on(sight.fleet.feeds, sight.now, until))
    return [
        each
        for organization in sight.organizations
        for each in forecast(organization, fleet, sight.policies, now=sight.now, until=until)
    ]
