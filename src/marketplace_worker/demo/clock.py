"""The demo's clock, on which days pass as moments."""

import asyncio
from datetime import datetime, timedelta
from typing import NoReturn

from marketplace_worker.store.database import Connection

TICK = timedelta(hours=1)
TICK_S = 0.01


class FastClock:
    """Stands still until `run`; then an hour passes every ten milliseconds or so.

    It ticks on the event loop of the worker that goes by it: on a machine that is slow, the clock
    is slow too, and the story stays the same.
    """

    def __init__(self, began: datetime) -> None:
        self._began = began
        self._now = began

    def __call__(self) -> datetime:
        """The time (UTC)."""
        return self._now

    async def of_worker(self, _: Connection) -> datetime:
        """The same, in place of the database's."""
        return self._now

    def day(self, moment: datetime) -> float:
        """How many days after the beginning a moment is."""
        return (moment - self._began) / timedelta(days=1)

    async def run(self) -> NoReturn:
        """Let time pass."""
        while True:
            await asyncio.sleep(TICK_S)
            self._now += TICK

    async def later(self, wait: timedelta = TICK) -> None:
        """Return once so much more time has passed, never sooner."""
        end = self._now + wait
        while self._now < end:  # noqa: ASYNC110 - it is time itself that is waited for
            await asyncio.sleep(TICK_S)
