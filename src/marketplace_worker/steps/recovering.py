"""Recovers from a restore, or from a failover to a standby that lagged: the numbers that were
published are not used again, and who was closed stays closed until a person has looked.

Broken off anywhere, it goes on when it is taken again: who was raised is not behind any more.
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
    """Who recovers, and why; `id` names what was typed."""

    id: str
    by: str
    reason: str


async def gather(worker: Worker, read_back: ReadBack) -> int:
    """Read all that was published into the database, beside what it holds; returns of how many
    organizations that was, the worker itself among them.

    Raises:
        Unavailable: Postgres or Kafka is away; type it again.
    """
    async for records in read_back(None):
        async with transaction(worker.pool) as conn:
            await published.gather(conn, filter(None, map(read_published, records)))
    async with transaction(worker.pool) as conn:
        return await published.count(conn)


async def pages(worker: Worker) -> AsyncIterator[Sequence[Gap]]:
    """Where what was gathered and what is stored do not say the same, by `ROWS_MAX`."""
    after: OrganizationId | None = None
    while True:
        async with transaction(worker.pool) as conn:
            page = await published.gaps(conn, after=after, limit=ROWS_MAX)
        if page:
            yield page
            after = page[-1].told.organization
        if len(page) < ROWS_MAX:
            return


async def withhold(worker: Worker) -> None:
    """Let nothing harmful be done from here on, before what was published is read."""
    async with transaction(worker.pool) as conn:
        stands = await safeguards.lock(conn)
        if stands.set_back_at is None:
            await safeguards.save(conn, replace(stands, set_back_at=await worker.clock(conn)))


async def begin(worker: Worker, operator: Operator) -> None:
    """Trip the guard, before anything else; nothing harmful is decided until a release.

    An epoch that was begun and not completed goes on.
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
    """Let these go on from what was published, in one transaction; each says so by a snapshot.

    `cause`: the id of what was typed, or found, which does this once for each.
    """
    async with transaction(worker.pool) as conn:
        ids = {each.told.organization for each in behind}
        loaded = await working_set.lock_for(conn, BatchScope(organizations=ids))
        unit = await UnitOfWork.begin(conn, loaded, worker)
        for each in behind:
            told = each.told
            lost_for = told.deactivated_for or DeactivationCause.MARKETPLACE_CANCELLATION
            fact = PublishedBefore(
                Identity(RECOVERY, f"{cause}/{told.organization}"),
                unit.now,
                told.organization,
                told.sequence,
                told.revision,
                lost_for if each.lost else None,
            )
            await unit.decide(fact, position="operator")
        await unit.write(conn, worker.topics)
    unit.report()


async def complete(worker: Worker, operator: Operator) -> None:
    """From here on the guard may be released; what was gathered is forgotten."""
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
    """Forget what was gathered to be looked at; not what a recovery that was broken off needs."""
    async with transaction(worker.pool) as conn:
        if not (await safeguards.read(conn)).epoch_open:
            await published.forget(conn)


async def judge(worker: Worker, fact: ClosureJudged) -> Outcome:
    """Decide on an organization that was published as deactivated, as a person says."""
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
