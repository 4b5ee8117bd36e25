"""The ids below which the outbox is empty, as far as one process knows.

A row that is deleted stays in the indexes for as long as any transaction could still see it: a
backup that runs for hours, a session that was forgotten, a replication slot.  Without a lower bound
each look at the outbox goes through all that was sent meanwhile.

An id below one that was sent may still come: ids are handed out before the commit.  So a bound
holds only up to what was *settled*: every transaction that may have taken such an id has ended.
"""

import time
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime

from marketplace_worker.store.database import Connection
from marketplace_worker.store.queries import queries

SQL = queries("outbox")

OBSERVE_EVERY_S = 0.5
"""How often to ask which transactions have ended: Postgres holds all its locks still for that."""

KEPT_S = 600.0
"""How long bounds are kept; then everything is scanned, in case a row was inserted by hand."""


@dataclass(frozen=True, slots=True)
class SettledIds:
    """What was known of a server at one moment: all ids up to `settled` are written, or never."""

    server: datetime
    settled: int


class Floors:
    """The bounds, by topic and shard; shared by all that look at the outbox in one process."""

    def __init__(self, *, look_every_s: float = OBSERVE_EVERY_S) -> None:
        self._look_every_s = look_every_s
        self._server: datetime | None = None
        self._settled = 0
        self._floors: defaultdict[tuple[str, int], int] = defaultdict(int)
        self._sample: tuple[int, set[str]] | None = None
        self._looking = False
        self._looked_at = self._forgotten_at = time.monotonic()

    async def observe(self, conn: Connection) -> SettledIds:
        """See what is settled by now; for what is asked on this connection after it.

        Another server, after a failover or a restore, may hand out the same ids again: nothing is
        known of it.
        """
        row = await conn.fetchrow(SQL["last_id"])
        assert row is not None
        server, last_id, now = row["server"], row["id"], time.monotonic()
        if server != self._server or last_id < self._settled or now - self._forgotten_at > KEPT_S:
            self._forget(server)
        if now - self._looked_at >= self._look_every_s and not self._looking:
            self._looking, self._looked_at = True, now
            try:
                # After the id was read: whoever took it, or a lower one, is among these, or ended.
                promising = {each[0] for each in await conn.fetch(SQL["promising"])}
            finally:
                self._looking = False
            if server == self._server:
                self._see(last_id, promising)
        return SettledIds(server, self._settled if server == self._server else 0)

    def of(self, seen: SettledIds, topic: str, shard: int) -> int:
        """Below this id a shard of a topic holds nothing in line."""
        return self._floors[topic, shard] if seen.server == self._server else 0

    def keep(self, seen: SettledIds, topic: str, shard: int, lowest: int | None) -> None:
        """Keep the lowest id in line of a shard of a topic; None: it holds none.

        `seen` is what was known before it was looked for.
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
