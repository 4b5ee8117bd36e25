"""Records in the database that this worker runs and how it is, for `status` and the console."""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

from marketplace_worker.errors import Unavailable
from marketplace_worker.operations.health import Health
from marketplace_worker.store import workers
from marketplace_worker.store.database import Pool, transaction

RECORD_EVERY_S = 15.0
"""How old the row becomes while nothing changes."""

CHECK_EVERY_S = 1.0
"""How soon a change of readiness is recorded."""

LEAVE_TIMEOUT_S = 0.5
"""How long a worker that stops may wait for the deletion of its row."""


@dataclass(slots=True)
class OwnRow:
    """The row of this worker.  `own_clock`: of this machine (UTC)."""

    pool: Pool
    identity: workers.WorkerIdentity
    health: Health
    lag: Callable[[], workers.Lag]
    own_clock: Callable[[], datetime]
    _recorded: Sequence[str] | None = field(init=False, default=None)
    _recorded_at: float = field(init=False, default=0.0)

    async def record(self) -> int:
        """Write the row if it is old, or if readiness has changed since.  Returns 0: it is done.

        Where Postgres is away nothing is written: the other loops report that, and the row's age
        shows it.
        """
        # A library's error may contain a NUL, which Postgres cannot store.
        not_ready = [each.replace("\0", "") for each in self.health.not_ready_reasons()]
        is_new = time.monotonic() - self._recorded_at < RECORD_EVERY_S
        if is_new and not_ready == self._recorded:
            return 0
        with suppress(Unavailable):
            async with transaction(self.pool) as conn:
                await workers.record(
                    conn,
                    self.identity,
                    not_ready=not_ready,
                    lag=self.lag(),
                    own_clock=self.own_clock(),
                )
            self._recorded, self._recorded_at = not_ready, time.monotonic()
        return 0

    async def leave(self) -> None:
        """Delete the row, if Postgres answers at once; otherwise it is removed after a day."""
        with suppress(Unavailable, TimeoutError):
            async with asyncio.timeout(LEAVE_TIMEOUT_S), transaction(self.pool) as conn:
                await workers.delete(conn, self.identity.id)
