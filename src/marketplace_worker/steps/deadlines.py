"""Decides on organizations whose deadline has come, one batch in one transaction."""

from datetime import timedelta
from time import perf_counter

import structlog

from marketplace_worker.errors import Unavailable, machine_refusals_named
from marketplace_worker.lifecycle.decide import deadline_of
from marketplace_worker.lifecycle.vocabulary import OrganizationId
from marketplace_worker.runtime.clock_check import compare_clocks
from marketplace_worker.runtime.unit_of_work import UnitOfWork
from marketplace_worker.runtime.worker import Worker
from marketplace_worker.store import organizations, working_set
from marketplace_worker.store.database import transaction

LOOK_AGAIN_AFTER = timedelta(hours=1)
"""When an organization that a bug of ours failed on is tried again; an `error` was logged."""

log = structlog.get_logger(__name__)


async def fire_due(worker: Worker, *, limit: int) -> int:
    """Decide on up to `limit` due organizations; returns how many there were.

    Safe in many workers at once: each claims different ones.  The deadline is derived again from
    the stored state, so that an obsolete one has no effect (docs/architecture.md).

    Before anything fires, a clock that has moved is compared with this machine's, which trips the
    guard if it ran ahead (lifecycle.md section 8).

    An organization whose decision fails because of a bug is found by halving the batch, logged at
    `error` and postponed: it does not delay the others.

    Raises:
        Unavailable: Postgres is away, or this machine refuses memory, a file or a thread; nothing
            was decided.
    """
    claimed: list[OrganizationId] = []
    try:
        with machine_refusals_named():
            while not await _fire_due(worker, limit, claimed):
                await compare_clocks(worker)
    except Unavailable:
        raise
    except Exception:
        if len(claimed) > 1:
            return await fire_due(worker, limit=len(claimed) // 2)
        log.exception("deadline_failed", organizations=claimed)
        for organization in claimed:
            async with transaction(worker.pool) as conn:
                now = await worker.clock(conn)
                until = now + LOOK_AGAIN_AFTER
                await organizations.postpone(conn, organization, now=now, until=until)
    return len(claimed)


async def _fire_due(worker: Worker, limit: int, claimed: list[OrganizationId]) -> bool:
    """The same, or nothing; `claimed` receives the claimed organizations.  False: the clocks have
    to be compared first.
    """
    began = perf_counter()
    async with transaction(worker.pool) as conn:
        now = await worker.local_clock.checked_now(conn, worker.clock)
        if now is None:
            return False
        since = worker.deadlines.since(now)
        due = await organizations.claim_due(conn, since=since, now=now, limit=limit)
        if not due:
            worker.deadlines.advance_past(now)
            return True
        claimed += [each.id for each in due]
        loaded = await working_set.load_due(
            conn, [each.read() for each in due], worker.policies.current, now=now
        )
        unit = await UnitOfWork.begin(conn, loaded, worker, now=now)

        for organization in claimed:
            await unit.decide(
                deadline_of(loaded.fleet.organization(organization), now), position="deadline"
            )

        await unit.write(conn, worker.topics)
    worker.deadlines.advance(due[-1].due_at)
    unit.report()
    log.info(
        "deadlines_fired",
        organizations=len(due),
        events=len(unit.events),
        took_ms=round((perf_counter() - began) * 1000, 1),
    )
    return True
