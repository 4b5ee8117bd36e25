"""Deletes what has exceeded its retention: old rows of the journal, and old dead letters.

The rows are folded into checkpoints first, so that the journal can still be replayed.
"""

from datetime import datetime, timedelta
from itertools import chain
from time import perf_counter

import structlog

from marketplace_worker.journal.replay import ReplayResult
from marketplace_worker.lifecycle.families import ReplayGroup
from marketplace_worker.lifecycle.safeguards import CLOCK_TOLERANCE
from marketplace_worker.runtime.clock_check import compare_clocks
from marketplace_worker.runtime.worker import Worker
from marketplace_worker.settings import Retention
from marketplace_worker.store import (
    activity,
    dead_letters,
    possible_use,
    replay,
    safeguards,
)
from marketplace_worker.store.database import Connection, transaction

SEEDS = 100
"""How many old rows one transaction starts from; related rows are added."""

ROWS_MAX = 1_000
"""The maximum of rows, or dead letters, deleted in one transaction: folding them blocks the event
loop.
"""

MARGIN = timedelta(days=31)
"""How much longer than the longest inactivity window unreadable activity is kept: a later policy
may have a longer window.
"""

RETAIN_EVERY_S = 60.0
"""How often to check while nothing is old enough."""

log = structlog.get_logger(__name__)


class Tampered(Exception):
    """Rows were changed after they were written: nothing is deleted until an operator has
    checked.
    """


class ClockJumped(Exception):
    """The decision clock ran ahead: nothing is deleted until an operator has checked."""


async def retain(worker: Worker, retention: Retention) -> int:
    """Delete one small batch, in one transaction; returns the number of rows.

    One worker at a time does it; the others find nothing to do.  Rows that are not as they were
    written stay, with all that are younger, and are logged at `error`.  So does everything where
    the clock of decisions ran ahead, until an operator releases the guard for steps.

    Raises:
        Unavailable: Postgres is away; nothing was deleted.
    """
    try:
        gone = await _retain(worker, retention)
        while gone is None:
            await compare_clocks(worker)
            gone = await _retain(worker, retention)
    except ClockJumped as found:
        command = "marketplace-worker guard status"
        log.error("retention_stopped", reason=str(found), see=command)  # noqa: TRY400 - no bug
        return 0
    except Tampered as found:
        command = "marketplace-worker replay --verify"
        log.error("retention_stopped", reason=str(found), see=command)  # noqa: TRY400 - no bug
        return 0
    return gone


async def _retain(worker: Worker, retention: Retention) -> int | None:
    """The same; None: the clocks have to be compared first."""
    began = perf_counter()
    async with transaction(worker.pool) as conn:
        if not await replay.lead(conn):
            return 0
        now = await worker.local_clock.checked_now(conn, worker.clock)
        if now is None:
            return None
        now = await _earliest_clock(conn, now, worker)
        letters = await dead_letters.delete_old(
            conn, before=now - timedelta(days=retention.dead_letters_days), limit=ROWS_MAX
        )
        window = worker.policies.current.inactivity.longest_window + MARGIN
        unread = await possible_use.delete_old(conn, before=now - window, limit=ROWS_MAX)
        before = now - timedelta(days=retention.journal_days)
        seeds = await replay.oldest(conn, before=before, limit=SEEDS)
        group = await replay.group_of(
            conn,
            {each.organization for each in seeds if each.organization is not None},
            {each.subscription for each in seeds if each.subscription is not None},
        )
        replayed = await replay.replay(conn, group, until=before, limit=ROWS_MAX)
        if replayed.damages:
            first = replayed.damages[0]
            raise Tampered(f"row {first.entry.id} of the journal: {first.what}")
        await _let_go(conn, group, replayed)
        alone = {s.id for s in seeds if s.organization is None and s.subscription is None}
        rows = alone | {each.id for each in replayed.entries}
        await replay.retire(conn, rows)
    if rows or letters:
        log.info(
            "batch_retired",
            rows=len(rows),
            organizations=len(group.organizations),
            dead_letters=letters,
            took_ms=round((perf_counter() - began) * 1000, 1),
        )
    return len(rows) + letters + unread


async def _earliest_clock(conn: Connection, now: datetime, worker: Worker) -> datetime:
    """The moment from which retention counts back: the earliest of the decision clock, this
    machine's, and the newest record read from Kafka.  A single wrong clock makes nothing old.

    Raises:
        ClockJumped: it ran ahead, and no operator has released the guard since.
    """
    jumped_at = (await safeguards.read(conn)).clock_jumped_at
    if jumped_at is not None:
        raise ClockJumped(f"the database's clock ran ahead, to {jumped_at.isoformat()}")
    own = worker.local_clock.read()
    recorded_at = await activity.newest_record_at(conn, until=own + CLOCK_TOLERANCE)
    return min(now, own, recorded_at or own)


async def _let_go(conn: Connection, group: ReplayGroup, replayed: ReplayResult) -> None:
    """Store checkpoints, so that folding starts after these rows."""
    if not replayed.entries:
        return
    fleet, last = replayed.fleet, replayed.entries[-1]
    organizations = (fleet.organization(each) for each in group.organizations)
    subscriptions = (fleet.subscription(each) for each in group.subscriptions)
    await replay.save_checkpoints(
        conn,
        chain(organizations, subscriptions),
        replayed.heads,
        journal_id=last.id,
        decided_at=last.decided_at,
    )
