"""Compares the decision clock with this machine's; trips the guard if it ran ahead."""

from uuid import uuid4

import structlog

from marketplace_worker.lifecycle.facts import ClockMoved
from marketplace_worker.lifecycle.safeguards import clock_moved
from marketplace_worker.lifecycle.scope import BatchScope
from marketplace_worker.lifecycle.vocabulary import Identity
from marketplace_worker.runtime.unit_of_work import UnitOfWork
from marketplace_worker.runtime.worker import Worker
from marketplace_worker.store import working_set
from marketplace_worker.store.database import transaction

log = structlog.get_logger(__name__)

CLOCK = "clock"
"""The source of what is decided because a clock moved."""


async def compare_clocks(worker: Worker) -> None:
    """Compare both clocks, and decide on a jump, in one transaction.

    The known difference is shared by all workers: the first that sees a jump trips the guard, and
    the others find it tripped.

    Raises:
        Unavailable: Postgres is away; nothing was decided.
    """
    async with transaction(worker.pool) as conn:
        loaded = await working_set.lock_for(conn, BatchScope(safeguards=True))
        reading = await worker.local_clock.compare(conn, worker.clock)
        unit = await UnitOfWork.begin(conn, loaded, worker, now=reading.now)
        known = loaded.fleet.safeguards.clock_ahead
        ahead = reading.ahead(known)
        if clock_moved(known, ahead):
            fact = ClockMoved(Identity(CLOCK, str(uuid4())), reading.now, ahead)
            await unit.decide(fact, position=CLOCK)
            await unit.write(conn, worker.topics)
    if unit.entries:
        log.warning(
            "clock_moved",
            clock_at=reading.now.isoformat(),
            own_clock_at=reading.before.isoformat(),
            ahead_s=round(ahead.total_seconds()),
        )
    unit.report()
    worker.local_clock.known = unit.fleet.safeguards.clock_ahead
