"""Moves decisions made by a clock that was ahead to their real time, page by page.

Each correction is a separate fact, so the journal folds to the stored state.  Corrected
organizations are not found again: after an interruption the operator runs the same command again.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from marketplace_worker.lifecycle.facts import ClockCorrected
from marketplace_worker.lifecycle.fleet import Fleet
from marketplace_worker.lifecycle.organization import Organization
from marketplace_worker.lifecycle.reanchoring import (
    WrongClockPeriod,
    announced_wrongly,
    reanchored,
    reanchored_safeguards,
    stepped_wrongly,
)
from marketplace_worker.lifecycle.scope import scope_of
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.vocabulary import Identity, OrganizationId
from marketplace_worker.runtime.unit_of_work import UnitOfWork
from marketplace_worker.runtime.worker import Worker
from marketplace_worker.store import organizations, working_set
from marketplace_worker.store.database import Pool, transaction

PAGE = 200
"""How many organizations are corrected in one transaction."""


@dataclass(frozen=True, slots=True)
class Correction:
    """The correction of one organization.

    `announced`: its current notice is withdrawn.  `stepped`: it entered its `state` by the wrong
    clock, and stays in it.  `decided_at`: when its last event was decided, by the wrong clock.
    """

    organization: OrganizationId
    state: State
    decided_at: datetime | None
    announced: bool
    stepped: bool


@dataclass(frozen=True, slots=True)
class CorrectionOrder:
    """Who corrects it, and why; `id` identifies the command."""

    id: str
    by: str
    reason: str


async def corrections(pool: Pool, wrong: WrongClockPeriod) -> AsyncIterator[Sequence[Correction]]:
    """The corrections to make, by organization, page by page; nothing is changed."""
    after: OrganizationId | None = None
    while True:
        async with transaction(pool) as conn:
            page = await organizations.decided_from(conn, wrong.since, after=after, limit=PAGE)
        if not page:
            return
        after = page[-1].id
        yield [_correction(each, wrong) for each in page if _is_wrong(each, wrong)]


def _is_wrong(organization: Organization, wrong: WrongClockPeriod) -> bool:
    return reanchored(organization, wrong) != organization or announced_wrongly(organization, wrong)


def _is_wrong_still(
    organization: OrganizationId | None, fleet: Fleet, wrong: WrongClockPeriod
) -> bool:
    """Now that it is locked; None: what the guard counted."""
    if organization is None:
        return reanchored_safeguards(fleet.safeguards, wrong) != fleet.safeguards
    return _is_wrong(fleet.organization(organization), wrong)


def _correction(organization: Organization, wrong: WrongClockPeriod) -> Correction:
    return Correction(
        organization.id,
        organization.state,
        organization.decided_at if wrong.holds(organization.decided_at) else None,
        announced_wrongly(organization, wrong),
        stepped_wrongly(organization, wrong),
    )


async def correct(worker: Worker, wrong: WrongClockPeriod, order: CorrectionOrder) -> int:
    """Correct all of them, and the guard's counts; returns the number of organizations.

    Each is decided on in its current state; one whose next check would be too late is checked now.

    Raises:
        Unavailable: Postgres is away, or another transaction locked in another order; earlier
            corrections are kept, and the command may be run again.
    """
    await _correct_page(worker, wrong, order, [None])
    corrected = 0
    after: OrganizationId | None = None
    while True:
        async with transaction(worker.pool) as conn:
            page = await organizations.decided_from(conn, wrong.since, after=after, limit=PAGE)
        if not page:
            return corrected
        after = page[-1].id
        found = [each.id for each in page if _is_wrong(each, wrong)]
        await _correct_page(worker, wrong, order, found)
        corrected += len(found)
        async with transaction(worker.pool) as conn:
            now = await worker.clock(conn)
            await organizations.recheck_now(
                conn, [each.id for each in page], since=wrong.since, now=now
            )


async def _correct_page(
    worker: Worker,
    wrong: WrongClockPeriod,
    order: CorrectionOrder,
    found: Sequence[OrganizationId | None],
) -> None:
    if not found:
        return
    async with transaction(worker.pool) as conn:
        now = await worker.clock(conn)
        facts = [
            ClockCorrected(
                Identity("operator", f"{order.id}/{each or ''}"),
                now, each, wrong.since, wrong.ahead, order.by, order.reason,
            )
            for each in found
        ]  # fmt: skip
        loaded = await working_set.lock_for(conn, scope_of(facts))
        unit = await UnitOfWork.begin(conn, loaded, worker)
        for fact in facts:
            if _is_wrong_still(fact.organization, loaded.fleet, wrong):
                await unit.decide(fact, position="operator")
        await unit.write(conn, worker.topics)
    unit.report()
