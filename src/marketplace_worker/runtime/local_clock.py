"""Compares this machine's clock with the decision clock, to detect a jump of either."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from marketplace_worker.lifecycle.safeguards import clock_moved
from marketplace_worker.store.database import Connection, DecisionClock


@dataclass(frozen=True, slots=True)
class ClockReading:
    """The decision clock's `now`, read between two readings of this machine's clock.

    The process may have been suspended in between, so the difference of the clocks is only known
    to lie between two values.
    """

    now: datetime
    before: datetime
    after: datetime

    def ahead(self, expected: timedelta) -> timedelta:
        """How far the decision clock is ahead: the possible value that is nearest to `expected`."""
        least, most = sorted((self.now - self.before, self.now - self.after))
        return min(max(expected, least), most)


@dataclass(slots=True)
class LocalClock:
    """This machine's clock.

    `known`: how far the decision clock was ahead of it when both were last compared; None before
    the first comparison.
    """

    read: Callable[[], datetime]
    known: timedelta | None = None

    async def compare(self, conn: Connection, clock: DecisionClock) -> ClockReading:
        """Read both clocks."""
        before = self.read()
        now = await clock(conn)
        return ClockReading(now, before, self.read())

    async def checked_now(self, conn: Connection, clock: DecisionClock) -> datetime | None:
        """The decision clock's time; None if the clocks must be compared first, because one has
        moved against the other since the last comparison.
        """
        reading = await self.compare(conn, clock)
        if self.known is None or clock_moved(self.known, reading.ahead(self.known)):
            return None
        return reading.now
