"""Applies an operator's trip or release of the guard (lifecycle.md section 8)."""

from marketplace_worker.lifecycle.decide import Decision, Outcome
from marketplace_worker.lifecycle.facts import GuardReleased, GuardTripped
from marketplace_worker.lifecycle.scope import scope_of
from marketplace_worker.lifecycle.vocabulary import GuardSide
from marketplace_worker.runtime.unit_of_work import UnitOfWork
from marketplace_worker.runtime.worker import Worker
from marketplace_worker.store import organizations, working_set
from marketplace_worker.store.database import transaction


async def operate(fact: GuardTripped | GuardReleased, worker: Worker) -> Decision:
    """Decide on it in one transaction; the result applies to all workers.

    A release of steps makes the withheld organizations due now.  Their rows are locked before the
    safeguards, as in every other step: the safeguards are locked last.

    Raises:
        Unavailable: Postgres is away, or another transaction locked in another order; nothing was
            decided, and the same fact may be passed again.
    """
    releases_steps = isinstance(fact, GuardReleased) and fact.guard is not GuardSide.REQUESTS
    async with transaction(worker.pool) as conn:
        if releases_steps:
            await organizations.lock_withheld(conn)
        loaded = await working_set.lock_for(conn, scope_of([fact]))
        unit = await UnitOfWork.begin(conn, loaded, worker)

        decision = await unit.decide(fact, position="operator")

        await unit.write(conn, worker.topics)
        if releases_steps and decision.outcome is Outcome.APPLIED:
            await organizations.wake_withheld(conn, now=unit.now)
    unit.report()
    return decision
