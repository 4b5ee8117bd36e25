"""The demo's clock, which runs faster than real time."""

import asyncio
from datetime import datetime, timedelta
from typing import NoReturn

from marketplace_worker.store.database import Connection

TICK = timedelta(hours=1)
TICK_S = 0.01


class FastClock:
    """A clock that stands still until `run`; then it advances an hour about every ten milliseconds.

    It ticks on the worker's own event loop.  On a slow machine the clock is slow too, so that the
    story stays the same.
    """

    def __init__(self, began: datetime) -> None:
        self._began = began
        self._now = began

    def __call__(self) -> datetime:
        """The current time (UTC)."""
        return self._now

    async def of_worker(self, _: Connection) -> datetime:
        """The current time; used in place of the database's clock."""
        return self._now

    def day(self, moment: datetime) -> float:
        """Days from the beginning to a moment."""
        return (moment - self._began) / timedelta(days=1)

    async def run(self) -> NoReturn:
        """Advance the clock until cancelled."""
        while True:
            await asyncio.sleep(TICK_S)
            self._now += TICK

    async def later(self, wait: timedelta = TICK) -> None:
        """Return when the clock has advanced by `wait`, never earlier."""
        end = self._now + wait
        while self._now < end:  # noqa: ASYNC110 - it is time itself that is waited for
            await asyncio.sleep(TICK_S)
