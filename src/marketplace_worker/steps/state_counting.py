"""Keeps the numbers of organizations by state short and right: merges and corrects them."""

import structlog

from marketplace_worker.runtime.worker import Worker
from marketplace_worker.store import state_counts
from marketplace_worker.store.database import transaction

COUNT_EVERY_S = 60.0

log = structlog.get_logger(__name__)


async def keep_state_counts(worker: Worker) -> int:
    """Merge, and correct once a day; one worker at a time does it.  Returns 0: it is done.

    Raises:
        Unavailable: Postgres is away; nothing was changed.
    """
    async with transaction(worker.pool) as conn:
        if not await state_counts.lead(conn):
            return 0
        day = (await worker.clock(conn)).date()
        await state_counts.merge(conn)
        wrong = await state_counts.correct(conn, day=day)
    if wrong:
        log.info("state_counts_corrected", **{state.value: n for state, n in wrong.items()})
    return 0
