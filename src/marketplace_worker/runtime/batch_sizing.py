"""Takes a batch in smaller parts where Postgres takes too long over it, down to the one record that
it takes too long over, as a batch on which we fail is halved (`ingest`).

What waits for somebody's lock does not count: that ends after `lock_timeout`, which is shorter.
"""

import sys
from collections.abc import Sequence
from time import monotonic

import structlog

from marketplace_worker.record import Record

TIMES = 3
"""So often it takes too long over a whole batch before that is taken in parts, and over one record
before that is parked: a server that is only slow now gets over it."""

SMALLER = 8
"""How much smaller each part is than the one before: it takes time to find out."""

TURN_S_MAX = 20.0
"""How long one turn goes on taking parts; what was taken is remembered."""

log = structlog.get_logger(__name__)


class BatchSizer:
    """How much one consumer takes in one transaction now."""

    def __init__(self) -> None:
        self.rows = sys.maxsize
        self._times = 0
        self._alone = ("", 0)
        self._taken: set[str] = set()
        self._size = 0
        self._turn_began = 0.0

    def begin(self, records: Sequence[Record]) -> Sequence[Record]:
        """A turn begins; returns what was not taken in an earlier one."""
        self._turn_began, self._size = monotonic(), len(records)
        if not self._taken:
            return records
        return [record for record in records if record.positional_id not in self._taken]

    @property
    def is_spent(self) -> bool:
        """Whether the turn has taken so long that the consumer must give a sign of life."""
        return monotonic() - self._turn_began > TURN_S_MAX

    def record_applied(self, part: Sequence[Record]) -> None:
        """Part of the batch was taken."""
        self._taken.update(record.positional_id for record in part)

    def end(self) -> None:
        """The batch was taken as a whole: the next may be taken in larger parts."""
        self._taken.clear()
        self.rows = min(self.rows * 2, sys.maxsize)
        if self.rows >= self._size:
            self.rows, self._times = sys.maxsize, 0

    def record_timeout(self, part: Sequence[Record]) -> bool:
        """Postgres took too long over a part; whether it is one record that is to be parked."""
        self._times += 1
        if self._times < TIMES:
            return False
        if len(part) > 1:
            self.rows = max(1, len(part) // SMALLER)
            log.warning("batch_taken_in_parts", first=part[0].position, rows=self.rows)
            return False
        position, times = self._alone
        times = times + 1 if position == part[0].position else 1
        self._alone = (part[0].position, times)
        return times >= TIMES
