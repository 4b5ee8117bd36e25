"""Lower bounds for scans of the outbox: ids below which it is known to be empty.

A deleted row stays in the indexes as long as any snapshot could still see it: of a backup that runs
for hours, a forgotten session, a replication slot.  Without a lower bound each query of the outbox
would scan all rows that were sent meanwhile.

A row with a lower id than a sent one may still appear, because ids are assigned before the commit.
So a bound is valid only up to the highest *settled* id: every transaction that may have taken that
id or a lower one has ended.
"""

import time
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime

from marketplace_worker.store.database import Connection
from marketplace_worker.store.queries import queries

SQL = queries("outbox")

OBSERVE_EVERY_S = 0.5
"""How often to read which transactions have ended.  Reading pg_locks blocks Postgres's locks."""

KEPT_S = 600.0
"""How long bounds are kept; then the whole table is scanned, in case a row was added by hand."""


@dataclass(frozen=True, slots=True)
class SettledIds:
    """What was known of a server at one moment: no row with an id up to `settled` will appear."""

    server: datetime
    settled: int


class Floors:
    """The bounds, by topic and shard; shared by all readers of the outbox in one process."""

    def __init__(self, *, look_every_s: float = OBSERVE_EVERY_S) -> None:
        self._look_every_s = look_every_s
        self._server: datetime | None = None
        self._settled = 0
        self._floors: defaultdict[tuple[str, int], int] = defaultdict(int)
        self._sample: tuple[int, set[str]] | None = None
        self._looking = False
        self._looked_at = self._forgotten_at = time.monotonic()

    async def observe(self, conn: Connection) -> SettledIds:
        """Update the settled id; the result is valid for later queries on this connection.

        After a failover or a restore another server may assign the same ids again, so all bounds
        are dropped.
        """
        row = await conn.fetchrow(SQL["last_id"])
        assert row is not None
        server, last_id, now = row["server"], row["id"], time.monotonic()
        if server != self._server or last_id < self._settled or now - self._forgotten_at > KEPT_S:
            self._forget(server)
        if now - self._looked_at >= self._look_every_s and not self._looking:
            self._looking, self._looked_at = True, now
            try:
                # Read after the id: a transaction that took it or a lower one is listed or ended.
                promising = {each[0] for each in await conn.fetch(SQL["promising"])}
            finally:
                self._looking = False
            if server == self._server:
                self._see(last_id, promising)
        return SettledIds(server, self._settled if server == self._server else 0)

    def of(self, seen: SettledIds, topic: str, shard: int) -> int:
        """The id below which a shard of a topic has no message in line."""
        return self._floors[topic, shard] if seen.server == self._server else 0

    def keep(self, seen: SettledIds, topic: str, shard: int, lowest: int | None) -> None:
        """Record the lowest id in line of a shard of a topic; None: no message is in line.

        `seen`: the result of `observe` from before the id was queried.
        """
        if seen.server == self._server:
            floor = seen.settled + 1 if lowest is None else min(lowest, seen.settled + 1)
            self._floors[topic, shard] = max(self._floors[topic, shard], floor)

    def _see(self, last_id: int, promising: set[str]) -> None:
        if self._sample is not None:
            id_, left = self._sample
            left &= promising
            if left:
                return
            self._settled = id_
        self._sample = (last_id, promising)

    def _forget(self, server: datetime) -> None:
        self._server = server
        self._settled = 0
        self._floors.clear()
        self._sample = None
        self._forgotten_at = time.monotonic()
