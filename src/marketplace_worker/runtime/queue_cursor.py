"""Remembers how far a queue ordered by time was processed, so that a scan skips what is done.

A processed row stays in its index while any transaction could still see it (a backup, a forgotten
session, a replication slot), and each scan would read all of them.  Order does not matter in these
queues, so a row that was skipped may wait for the next scan from the beginning.
"""

import time
from datetime import datetime, timedelta

from marketplace_worker.record import EPOCH

FROM_THE_BEGINNING_EVERY_S = 10.0

MARGIN = timedelta(minutes=1)
"""A row that is written now may be due this long ago: its transaction read the clock then."""


class QueueCursor:
    """The position of one process in such a queue."""

    def __init__(self) -> None:
        self._done_until = EPOCH
        self._began_at: float | None = None

    def since(self, now: datetime) -> datetime:
        """From which moment on to scan; `now` is the time of the queue's clock."""
        too_old = (
            self._began_at is None
            or time.monotonic() - self._began_at > FROM_THE_BEGINNING_EVERY_S
            or now < self._done_until - MARGIN
        )
        if too_old:
            self._began_at = time.monotonic()
            self._done_until = EPOCH
        return self._done_until

    def advance(self, until: datetime) -> None:
        """Everything up to this moment was processed, or is in progress elsewhere."""
        self._done_until = max(self._done_until, until)

    def advance_past(self, now: datetime) -> None:
        """Nothing is left that was due by `now`."""
        self.advance(now - MARGIN)
