"""Reports when more organizations were canceled in an hour than the guard lets through steps.

Nothing is withheld: a cancellation is news, and the guard checks its steps later.  The count takes
no lock, so it misses what other workers have not committed; each worker reports at most hourly.
"""

from dataclasses import dataclass
from datetime import datetime

import structlog

from marketplace_worker.lifecycle.limits import destructive_step_limit
from marketplace_worker.lifecycle.policy import Guard
from marketplace_worker.lifecycle.safeguards import WINDOW
from marketplace_worker.operations import metrics
from marketplace_worker.store import decisions, organizations
from marketplace_worker.store.database import Connection

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class MassCancellation:
    """`canceled` organizations within the hour up to `at`; the limit is `limit`."""

    at: datetime
    canceled: int
    limit: int


@dataclass(slots=True)
class CancellationAlarm:
    """What one worker remembers between batches.

    The fleet is counted at most once an hour: that reads an index as long as the fleet.
    """

    _reported_at: datetime | None = None
    _population: tuple[datetime, int] | None = None

    async def check(
        self, conn: Connection, guard: Guard, *, now: datetime
    ) -> MassCancellation | None:
        """Count the cancellations of the hour, where this batch has written one.

        None: they are within the limit, or were reported within the hour.
        """
        if self._reported_at is not None and self._reported_at > now - WINDOW:
            return None
        canceled = await decisions.canceled_since(conn, now - WINDOW, until=now)
        if canceled <= guard.minimum:
            return None
        most = destructive_step_limit(guard, await self._fleet(conn, now))
        return MassCancellation(now, canceled, most) if canceled > most else None

    async def _fleet(self, conn: Connection, now: datetime) -> int:
        if self._population is None or self._population[0] <= now - WINDOW:
            self._population = (now, await organizations.population(conn))
        return self._population[1]

    def report(self, found: MassCancellation) -> None:
        """Log and count it.  Call after the commit."""
        self._reported_at = found.at
        metrics.MASS_CANCELLATIONS.inc()
        log.error("many_organizations_canceled", canceled=found.canceled, limit=found.limit)
