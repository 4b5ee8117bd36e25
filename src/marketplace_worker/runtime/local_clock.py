"""This machine's clock beside the clock of decisions: it decides nothing, and notices a jump."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from marketplace_worker.lifecycle.safeguards import clock_moved
from marketplace_worker.store.database import Connection, DecisionClock


@dataclass(frozen=True, slots=True)
class ClockReading:
    """The clock of decisions said `now` between two readings of this machine's.

    Between those the process may have been suspended: how far the one clock is ahead of the other
    is known only to lie between two values.
    """

    now: datetime
    before: datetime
    after: datetime

    def ahead(self, expected: timedelta) -> timedelta:
        """How far the clock of decisions is ahead; of what is possible, what is nearest to that."""
        least, most = sorted((self.now - self.before, self.now - self.after))
        return min(max(expected, least), most)


@dataclass(slots=True)
class LocalClock:
    """This machine's clock, and how far that of decisions was ahead of it (`known`) when both were
    compared last; None: they were not yet.
    """

    read: Callable[[], datetime]
    known: timedelta | None = None

    async def compare(self, conn: Connection, clock: DecisionClock) -> ClockReading:
        """Read both clocks."""
        before = self.read()
        now = await clock(conn)
        return ClockReading(now, before, self.read())

    async def checked_now(self, conn: Connection, clock: DecisionClock) -> datetime | None:
        """The moment of decisions; None: one of the clocks has moved against the other since they
        were compared last, so they have to be compared first.
        """
        reading = await self.compare(conn, clock)
        if self.known is None or clock_moved(self.known, reading.ahead(self.known)):
            return None
        return reading.now
