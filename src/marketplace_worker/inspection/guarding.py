"""The state of the guard, and the organizations whose steps it withholds."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from marketplace_worker.explain.situation import case_of, next_change
from marketplace_worker.explain.values import StepWithheld
from marketplace_worker.inspection.fleet_view import PAGE, FleetView, Inspector, load_views
from marketplace_worker.lifecycle.limits import control_plane_limit, destructive_step_limit
from marketplace_worker.lifecycle.safeguards import WINDOW, Trip
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.vocabulary import OrganizationId
from marketplace_worker.store import organizations, safeguards
from marketplace_worker.store.database import one_moment

_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class WithheldStep:
    """A step that is due and that the guard withholds."""

    organization: OrganizationId
    state: State
    step: State
    due_at: datetime
    withheld_since: datetime


@dataclass(frozen=True, slots=True)
class Counted:
    """The number in the last hour, and the limit per hour."""

    counted: int
    limit: int


@dataclass(frozen=True, slots=True)
class GuardStatus:
    """The guard for steps and the guard for requested deactivations, with their counts.

    `trip`: the trip of the guard for steps; `requests_trip`: of the guard for requested
    deactivations.  `by_one_person`: the highest number of requests of one person.  `fleet`: how
    many organizations are not deactivated.  `set_back_at`: since when the database is known to lack
    published decisions.  `withheld`: ordered by when they were due.
    """

    trip: Trip | None
    harmful: Counted
    control_plane: Counted
    requests_trip: Trip | None
    requested: Counted
    by_one_person: Counted
    fleet: int
    set_back_at: datetime | None
    withheld: Sequence[WithheldStep]


async def guard_status(inspector: Inspector) -> GuardStatus:
    """Read the guard, and all organizations with a withheld step."""
    withheld: list[WithheldStep] = []
    async with one_moment(inspector.pool) as conn:

        async def page(after: OrganizationId | None) -> Sequence[OrganizationId]:
            # None is due by then, so the query returns only those with a withheld step.
            return await organizations.due_until(conn, _NEVER, after=after, limit=PAGE)

        guard = await safeguards.read(conn)
        fleet = await organizations.population(conn)
        async for view in load_views(conn, inspector, page):
            withheld += _withheld(view)
    withheld.sort(key=lambda each: (each.due_at, each.organization))
    rules, since = inspector.policies.current.guard, inspector.now - WINDOW
    requested = guard.requested_since(since).values()
    return GuardStatus(
        trip=guard.trip,
        harmful=Counted(guard.destructive_steps_since(since), destructive_step_limit(rules, fleet)),
        control_plane=Counted(guard.control_plane_since(since), control_plane_limit(rules, fleet)),
        requests_trip=guard.requests_trip,
        requested=Counted(sum(requested), rules.requested_per_hour),
        by_one_person=Counted(max(requested, default=0), rules.requested_per_person),
        fleet=fleet,
        set_back_at=guard.set_back_at,
        withheld=withheld,
    )


def _withheld(view: FleetView) -> list[WithheldStep]:
    found = []
    for each in view.organizations:
        comes = next_change(case_of(each, view.fleet, view.policies, now=view.now))
        if isinstance(comes, StepWithheld):
            due = comes.deadline
            found.append(WithheldStep(each.id, each.state, due.step, due.at, comes.since))
    return found
