"""When something happens next to the organizations on their way down, by day."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from marketplace_worker.inspection.fleet_view import Inspector
from marketplace_worker.store import organizations
from marketplace_worker.store.database import one_moment
from marketplace_worker.store.organizations import DueOnDay

DAYS = 60

COUNTED_MAX = 100_000


@dataclass(frozen=True, slots=True)
class Calendar:
    """What is due up to `DAYS` days after `now`, overdue ones included.

    `complete`: False if there are more than `COUNTED_MAX`; then only the earliest are counted.
    """

    now: datetime
    due: Sequence[DueOnDay]
    complete: bool


async def calendar(inspector: Inspector) -> Calendar:
    """Count by index; the cost is that of the organizations on their way down."""
    until = inspector.now + timedelta(days=DAYS)
    async with one_moment(inspector.pool) as conn:
        due = await organizations.due_by_day(conn, until, limit=COUNTED_MAX)
    return Calendar(inspector.now, due, sum(each.organizations for each in due) < COUNTED_MAX)
