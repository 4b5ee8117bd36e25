"""The fleet at one moment: the guard, what waits, and what arrives."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from marketplace_worker.inspection.fleet_view import Inspector
from marketplace_worker.inspection.guarding import Counted
from marketplace_worker.inspection.state_history import StateHistory, state_history
from marketplace_worker.lifecycle.limits import control_plane_limit, destructive_step_limit
from marketplace_worker.lifecycle.safeguards import WINDOW, Trip
from marketplace_worker.lifecycle.vocabulary import ActivityFeed
from marketplace_worker.store import activity, intake, outbox, safeguards, state_counts
from marketplace_worker.store.database import Connection
from marketplace_worker.store.floors import Floors

DAYS = 90


@dataclass(frozen=True, slots=True)
class GuardFigures:
    """The guard's trips, and its counts of the last hour with their limits."""

    trip: Trip | None
    requests_trip: Trip | None
    destructive: Counted
    control_plane: Counted
    requested: Counted
    set_back_at: datetime | None


@dataclass(frozen=True, slots=True)
class Overview:
    """The fleet at `now`.

    `states`: how many organizations are in each state, and were on the last `DAYS` days.
    `feeds`: when each feed's newest record happened; None: none was ever received.  `outbox_age`:
    how long the oldest message has waited for Kafka; `held`: how many messages Kafka has refused.
    `stopped`: the topics whose intake is stopped.
    """

    now: datetime
    states: StateHistory
    guard: GuardFigures
    feeds: Sequence[tuple[ActivityFeed, datetime | None]]
    outbox_age: timedelta
    held: int
    stopped: Sequence[intake.IntakeStop]


async def overview(conn: Connection, inspector: Inspector, floors: Floors) -> Overview:
    """Read all figures; `conn` is in one snapshot."""
    now = inspector.now
    guard = await safeguards.read(conn)
    changes = await state_counts.history(conn)
    states = state_history(changes, now.date(), days=DAYS)
    fleet = states.population
    feeds = await activity.feeds(conn, since=now.date())
    rules, since = inspector.policies.current.guard, now - WINDOW
    return Overview(
        now=now,
        states=states,
        guard=GuardFigures(
            trip=guard.trip,
            requests_trip=guard.requests_trip,
            destructive=Counted(
                guard.destructive_steps_since(since), destructive_step_limit(rules, fleet)
            ),
            control_plane=Counted(
                guard.control_plane_since(since), control_plane_limit(rules, fleet)
            ),
            requested=Counted(sum(guard.requested_since(since).values()), rules.requested_per_hour),
            set_back_at=guard.set_back_at,
        ),
        feeds=[
            (feed, max((day.last_at for day in feeds.days[feed].values()), default=None))
            for feed in ActivityFeed
        ],
        outbox_age=timedelta(seconds=await outbox.oldest_s(conn, floors)),
        held=await outbox.held(conn),
        stopped=[each for each in await intake.stops(conn) if each.holds],
    )
