"""Recovers from a restore, or from a failover to a standby that lagged: published sequence numbers
are not used again, and a deactivated organization stays deactivated until an operator has judged
it.

After an interruption it continues when it is started again: organizations that were raised are no
longer behind.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace

from marketplace_worker.contract.published import read_published
from marketplace_worker.lifecycle.decide import Outcome
from marketplace_worker.lifecycle.facts import (
    ClosureJudged,
    EpochBegan,
    EpochCompleted,
    PublishedBefore,
)
from marketplace_worker.lifecycle.scope import BatchScope, scope_of
from marketplace_worker.lifecycle.vocabulary import DeactivationCause, Identity, OrganizationId
from marketplace_worker.runtime.unit_of_work import UnitOfWork
from marketplace_worker.runtime.worker import Worker
from marketplace_worker.store import published, safeguards, working_set
from marketplace_worker.store.database import Connection, transaction
from marketplace_worker.store.published import Gap
from marketplace_worker.streams.reading_back import ReadBack

ROWS_MAX = 500
"""How many organizations one transaction raises at most."""

RECOVERY = "recovery"
"""The source of what is read back."""


@dataclass(frozen=True, slots=True)
class Operator:
    """Who recovers, and why; `id` identifies the command."""

    id: str
    by: str
    reason: str


async def gather(worker: Worker, read_back: ReadBack) -> int:
    """Read all published messages into the database, beside its own data; returns the number of
    organizations, including the worker itself.

    Raises:
        Unavailable: Postgres or Kafka is away; run it again.
    """
    async for records in read_back(None):
        async with transaction(worker.pool) as conn:
            await published.gather(conn, filter(None, map(read_published, records)))
    async with transaction(worker.pool) as conn:
        return await published.count(conn)


async def pages(worker: Worker) -> AsyncIterator[Sequence[Gap]]:
    """The organizations for which gathered and stored data differ, by `ROWS_MAX`."""
    after: OrganizationId | None = None
    while True:
        async with transaction(worker.pool) as conn:
            page = await published.gaps(conn, after=after, limit=ROWS_MAX)
        if page:
            yield page
            after = page[-1].summary.organization
        if len(page) < ROWS_MAX:
            return


async def withhold(worker: Worker) -> None:
    """Withhold all destructive steps from now on, before the published messages are read."""
    async with transaction(worker.pool) as conn:
        stands = await safeguards.lock(conn)
        if stands.set_back_at is None:
            await safeguards.save(conn, replace(stands, set_back_at=await worker.clock(conn)))


async def begin(worker: Worker, operator: Operator) -> None:
    """Trip the guard before anything else; no destructive step is decided until a release.

    An epoch that was begun and not completed continues.
    """
    async with transaction(worker.pool) as conn:
        newest = await published.of_the_worker(conn)
        unit = await _lock_safeguards(conn, worker)
        stands = unit.fleet.safeguards
        if stands.epoch_open and newest <= stands.sequence:
            return
        began = EpochBegan(
            Identity("operator", operator.id), unit.now, operator.by, operator.reason, newest
        )
        await unit.decide(began, position="operator")
        await unit.write(conn, worker.topics)
    unit.report()


async def raise_numbers(worker: Worker, behind: Sequence[Gap], cause: str) -> None:
    """Continue the published numbers of these in one transaction; each publishes a snapshot.

    `cause`: the id of the command or the detection, which does this once for each.
    """
    async with transaction(worker.pool) as conn:
        ids = {each.summary.organization for each in behind}
        loaded = await working_set.lock_for(conn, BatchScope(organizations=ids))
        unit = await UnitOfWork.begin(conn, loaded, worker)
        for each in behind:
            summary = each.summary
            lost_for = summary.deactivated_for or DeactivationCause.MARKETPLACE_CANCELLATION
            fact = PublishedBefore(
                Identity(RECOVERY, f"{cause}/{summary.organization}"),
                unit.now,
                summary.organization,
                summary.sequence,
                summary.revision,
                lost_for if each.lost else None,
            )
            await unit.decide(fact, position="operator")
        await unit.write(conn, worker.topics)
    unit.report()


async def complete(worker: Worker, operator: Operator) -> None:
    """Allow releases of the guard from now on, and delete the gathered data."""
    async with transaction(worker.pool) as conn:
        unit = await _lock_safeguards(conn, worker)
        completed = EpochCompleted(
            Identity("operator", f"{operator.id}/completed"),
            unit.now,
            operator.by,
            operator.reason,
        )
        await unit.decide(completed, position="operator")
        await unit.write(conn, worker.topics)
        await published.forget(conn)
        await published.compared(conn, await published.server_started_at(conn))
    unit.report()


async def forget(worker: Worker) -> None:
    """Delete data gathered for inspection; not that of an interrupted recovery."""
    async with transaction(worker.pool) as conn:
        if not (await safeguards.read(conn)).epoch_open:
            await published.forget(conn)


async def judge(worker: Worker, fact: ClosureJudged) -> Outcome:
    """Apply an operator's judgement of an organization that was published as deactivated."""
    async with transaction(worker.pool) as conn:
        loaded = await working_set.lock_for(conn, scope_of([fact]))
        unit = await UnitOfWork.begin(conn, loaded, worker)
        decision = await unit.decide(fact, position="operator")
        await unit.write(conn, worker.topics)
    unit.report()
    return decision.outcome


async def _lock_safeguards(conn: Connection, worker: Worker) -> UnitOfWork:
    loaded = working_set.WorkingSet()
    await loaded.lock_safeguards(conn)
    return await UnitOfWork.begin(conn, loaded, worker)
