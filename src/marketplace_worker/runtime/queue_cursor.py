"""From where a queue in time is looked through: what was done before is passed over.

A row that is done stays in its index for as long as any transaction could still see it (a backup,
a forgotten session, a replication slot), and each look would go through all of them.  The order of
these queues decides nothing, so a row that was missed may wait for the next look from the
beginning.
"""

import time
from datetime import datetime, timedelta

from marketplace_worker.record import EPOCH

FROM_THE_BEGINNING_EVERY_S = 10.0

MARGIN = timedelta(minutes=1)
"""What is written now may be for a moment so long ago: its transaction read the clock then."""


class QueueCursor:
    """How far one process has come in such a queue."""

    def __init__(self) -> None:
        self._done_until = EPOCH
        self._began_at: float | None = None

    def since(self, now: datetime) -> datetime:
        """From which moment on to look, where it is `now` by the clock of the queue."""
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
        """Everything up to this moment was done; but for what others have in hand."""
        self._done_until = max(self._done_until, until)

    def advance_past(self, now: datetime) -> None:
        """Nothing is left that was due `now`."""
        self.advance(now - MARGIN)
