"""Splits a batch that Postgres takes too long to apply, down to a single record.

Waiting for a lock does not count: it ends after `lock_timeout`, which is shorter.
"""

import sys
from collections.abc import Sequence
from time import monotonic

import structlog

from marketplace_worker.record import Record

TIMES = 3
"""How often a batch times out before it is split, and a record before it is parked: a server that
is slow only now recovers."""

SMALLER = 8
"""By which factor each part is smaller than the one before: each attempt costs a timeout."""

TURN_S_MAX = 20.0
"""How long one turn continues with parts; what was applied is remembered."""

log = structlog.get_logger(__name__)


class BatchSizer:
    """How many records one consumer applies in one transaction now."""

    def __init__(self) -> None:
        self.rows = sys.maxsize
        self._times = 0
        self._alone = ("", 0)
        self._taken: set[str] = set()
        self._size = 0
        self._turn_began = 0.0

    def begin(self, records: Sequence[Record]) -> Sequence[Record]:
        """Begin a turn; returns the records that no earlier turn has applied."""
        self._turn_began, self._size = monotonic(), len(records)
        if not self._taken:
            return records
        return [record for record in records if record.positional_id not in self._taken]

    @property
    def is_spent(self) -> bool:
        """Whether the turn has taken so long that the consumer must return to its loop."""
        return monotonic() - self._turn_began > TURN_S_MAX

    def record_applied(self, part: Sequence[Record]) -> None:
        """Remember that part of the batch was applied."""
        self._taken.update(record.positional_id for record in part)

    def end(self) -> None:
        """End the turn: the whole batch was applied, so the next parts may be larger."""
        self._taken.clear()
        self.rows = min(self.rows * 2, sys.maxsize)
        if self.rows >= self._size:
            self.rows, self._times = sys.maxsize, 0

    def record_timeout(self, part: Sequence[Record]) -> bool:
        """Count a timeout; returns whether the part is one record that must be parked."""
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
