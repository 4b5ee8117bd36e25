"""Decisions dated by a clock that was ahead are moved to their real times, and can be replayed."""

from datetime import datetime, timedelta
from itertools import pairwise

import pytest

from acceptance.scenario import at, committed, created
from acceptance.stage import MovableClock
from marketplace_worker.inspection.fleet_view import Inspector
from marketplace_worker.lifecycle.facts import GuardReleased
from marketplace_worker.lifecycle.reanchoring import WrongClockPeriod
from marketplace_worker.lifecycle.vocabulary import Identity
from marketplace_worker.runtime.worker import Worker
from marketplace_worker.steps.deadlines import fire_due
from marketplace_worker.steps.guard_operations import operate
from marketplace_worker.steps.reanchoring import Correction, CorrectionOrder, correct, corrections
from marketplace_worker.store import journal
from marketplace_worker.store.database import transaction
from steps.story_beginnings import (
    canceled,
    day_of,
    events_of,
    ingest_lines,
    kinds,
    states,
    support,
    wait,
)
from steps.test_replaying import differences

YEAR = timedelta(days=365)
WRONG = WrongClockPeriod.between(at(4.51), at(4.51) + YEAR)
"""On day 4.5 the clock ran a year ahead, and some minutes later it was seen."""
ORDER = CorrectionOrder("o-1", "Olga", "the clock was wrong")


async def found(worker: Worker) -> list[Correction]:
    """Everything that needs correction."""
    return [each async for page in corrections(worker.pool, WRONG) for each in page]


async def due_at(worker: Worker, organization: str) -> datetime | None:
    """The next deadline of an organization."""
    query = "SELECT next_due_at FROM organizations WHERE organization_id = $1"
    moment: datetime | None = await worker.pool.fetchval(query, organization)
    return moment


async def gone_wrong(worker: Worker, clock: MovableClock) -> None:
    """One is in `control_plane_loss`, one just canceled, and one has a plan up to day 200, when the
    clock runs ahead; some hours pass before it is set right, and nobody notices.
    """
    lines = [
        *canceled("acme"),
        created(0, "lives", tier="plus"),
        committed(0.5, "lives", "c-1", 0, 200),
        created(0, "held", tier="plus"),
        committed(0.5, "held", "c-2", 0, 4.4),
    ]
    await ingest_lines(worker, clock, *sorted(lines, key=day_of))
    await wait(worker, clock, until=4.5)
    assert await states(worker) == {
        "acme": "control_plane_loss", "lives": "active", "held": "canceled",
    }  # fmt: skip
    clock.now = at(4.5) + YEAR
    for _ in range(3):
        await fire_due(worker, limit=10)
        clock.now += timedelta(hours=2)
    clock.now = at(4.75)


async def test_without_it_all_waits_until_next_year(worker: Worker, clock: MovableClock) -> None:
    """An organization's time never goes back by itself."""
    await gone_wrong(worker, clock)
    for organization in ("acme", "lives", "held"):
        due = await due_at(worker, organization)
        assert due is not None
        assert due > at(4.5) + YEAR


async def test_what_was_decided_meanwhile_counts_from_when_it_really_was(
    worker: Worker, clock: MovableClock, inspector: Inspector
) -> None:
    """Notices of that time are withdrawn and given anew, dwell counts from then, and who lost a
    plan by the clock alone has it back.
    """
    await gone_wrong(worker, clock)
    assert await states(worker) == {
        "acme": "control_plane_loss", "lives": "control_plane_loss",
        "held": "control_plane_loss",
    }  # fmt: skip
    listed = {each.organization: each for each in await found(worker)}
    assert {id_: (each.announced, each.stepped) for id_, each in listed.items()} == {
        "acme": (True, False), "held": (True, True), "lives": (True, True),
    }  # fmt: skip

    assert await correct(worker, WRONG, ORDER) == 3

    assert await found(worker) == []
    assert (await states(worker))["lives"] == "active"
    assert (await kinds(worker, "acme"))[-1] == "organization.notice_withdrawn"
    assert await differences(inspector) == []
    for organization in ("acme", "lives", "held"):
        due = await due_at(worker, organization)
        assert due is not None
        assert due <= at(300)
    await wait(worker, clock, until=100)
    assert await states(worker) == {
        "acme": "deactivated", "lives": "active", "held": "deactivated",
    }  # fmt: skip
    steps = [
        each for each in await events_of(worker, "held") if each["type"].endswith("suspended.v1")
    ]
    assert [each["time"] < "2026-03" for each in steps] == [True]
    assert await differences(inspector) == []


async def test_it_may_be_typed_again_and_the_sequence_goes_on(
    worker: Worker, clock: MovableClock
) -> None:
    """What is corrected is not found again, and no event is published twice."""
    await gone_wrong(worker, clock)
    await correct(worker, WRONG, ORDER)
    before = await worker.pool.fetchval("SELECT count(*) FROM outbox")
    assert await correct(worker, WRONG, CorrectionOrder("o-2", "Olga", "again")) == 0
    assert await worker.pool.fetchval("SELECT count(*) FROM outbox") == before
    events = await events_of(worker, "acme")
    assert all(int(a["sequence"]) + 1 == int(b["sequence"]) for a, b in pairwise(events))


@pytest.mark.parametrize("released", [True, False])
async def test_what_the_guard_counted_is_moved_too(
    worker: Worker, clock: MovableClock, *, released: bool
) -> None:
    """Otherwise the steps of that hour would count until next year."""
    await gone_wrong(worker, clock)
    if not released:
        clock.now += YEAR
        worker.local_clock.read = lambda: at(4.8)
        await fire_due(worker, limit=10)
        clock.now -= YEAR
    await correct(worker, WRONG, ORDER)
    document = await worker.pool.fetchval("SELECT document::text FROM safeguards")
    assert "2027" not in document
    fact = GuardReleased(Identity("operator", "r"), clock.now, "Olga", "mended")
    await operate(fact, worker)


async def test_holds_that_ended_by_the_wrong_clock_are_listed(
    worker: Worker, clock: MovableClock
) -> None:
    """Not those that were released or replaced, have expired since, or stand."""
    asked = [created(0, name, tier="plus") for name in ("ended", "released", "stands", "expired")]
    for name, until in (("ended", 100), ("released", 100), ("stands", 900), ("expired", 4.2)):
        line = support(1, "place_hold", name, kind="legal", expires_at=at(until).isoformat())
        asked.append(line)
    await ingest_lines(worker, clock, *asked, support(2, "release_hold", "released", kind="legal"))
    clock.now = at(4.5) + YEAR
    await fire_due(worker, limit=10)
    clock.now = at(4.75)

    async with transaction(worker.pool) as conn:
        ended = await journal.holds_ended(conn, after=clock.now)
    assert [(each.organization, each.expires_at) for each in ended] == [("ended", at(100))]
