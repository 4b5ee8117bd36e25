"""Moves what was decided by a clock that was ahead to when it really was, page by page.

Each correction is a fact of its own, so the journal folds to what is stored.  What is corrected
already is not found again: an operator who is interrupted types the same once more.
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
    """What is to be corrected of one organization.

    `announced`: its standing notice is withdrawn.  `stepped`: it entered its `state` by the wrong
    clock, and stays in it.  `decided_at`: when anything was said of it last, by the wrong clock.
    """

    organization: OrganizationId
    state: State
    decided_at: datetime | None
    announced: bool
    stepped: bool


@dataclass(frozen=True, slots=True)
class CorrectionOrder:
    """Who has it corrected, and why; `id` names it."""

    id: str
    by: str
    reason: str


async def corrections(pool: Pool, wrong: WrongClockPeriod) -> AsyncIterator[Sequence[Correction]]:
    """What there is to be corrected, by organization, page by page; nothing is changed."""
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
    """Correct all of them, and what the guard counted; returns how many organizations.

    Each is looked at as it stands then; whoever was only to be looked at too late is looked at now.

    Raises:
        Unavailable: Postgres is away, or somebody locked the same in another order; what was
            corrected is, and the same may be typed again.
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
