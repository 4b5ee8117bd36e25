"""How many organizations are in each state, by day: kept by the transactions that change states."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from datetime import date, timedelta

from structlog.testing import capture_logs

from acceptance.operator_scenario import FLEET, TODAY
from acceptance.scenario import at, created, event
from acceptance.stage import MovableClock
from marketplace_worker.inspection.state_history import state_history
from marketplace_worker.lifecycle.states import State
from marketplace_worker.runtime.worker import Worker
from marketplace_worker.steps.state_counting import keep_state_counts
from marketplace_worker.store import state_counts
from marketplace_worker.store.database import Pool, transaction
from marketplace_worker.store.state_counts import UNMERGED_MAX, StateChange
from steps.story_beginnings import canceled, day_of, ingest_lines, linked, login, wait

ACTUAL = "SELECT state, count(*) AS n FROM organizations WHERE created GROUP BY state"


async def counted(pool: Pool, until: date = date.max) -> Mapping[State, int]:
    """The sums up to a day; states without organizations are left out."""
    sums: dict[State, int] = defaultdict(int)
    async with transaction(pool) as conn:
        for each in await state_counts.history(conn):
            if each.day <= until:
                sums[each.state] += each.change
    return {state: n for state, n in sums.items() if n}


async def actual(pool: Pool) -> Mapping[State, int]:
    """The organizations themselves."""
    return {State(row["state"]): row["n"] for row in await pool.fetch(ACTUAL)}


async def test_the_sums_are_the_organizations_in_each_state(
    worker: Worker, clock: MovableClock
) -> None:
    """After each day of a fleet with all that happens to one."""
    for line in FLEET:
        if day_of(line) <= TODAY:
            await wait(worker, clock, day_of(line))
            await ingest_lines(worker, clock, line)
            assert await counted(worker.pool) == await actual(worker.pool)
    assert len(await actual(worker.pool)) >= 3


async def test_each_day_has_its_own_numbers(worker: Worker, clock: MovableClock) -> None:
    """What was counted on a day stays."""
    await ingest_lines(worker, clock, *canceled("acme"), created(2, "globex"))
    await wait(worker, clock, 2.5)
    day = at(0).date()
    assert await counted(worker.pool, day) == {State.ACTIVE: 1}
    assert await counted(worker.pool, day + timedelta(days=1)) == {State.CANCELED: 1}
    both = {State.CONTROL_PLANE_LOSS: 1, State.ACTIVE: 1}
    assert await counted(worker.pool, day + timedelta(days=2)) == both


def test_the_history_adds_up_day_by_day() -> None:
    """What is older stands at the beginning; what a clock ahead of time has dated is of today."""
    today = at(10).date()
    changes = [
        StateChange(at(1).date(), State.ACTIVE, 5),
        StateChange(at(9).date(), State.ACTIVE, -2),
        StateChange(at(9).date(), State.CANCELED, 2),
        StateChange(at(400).date(), State.ACTIVE, 1),
    ]
    history = state_history(changes, today, days=3)
    assert history.days == [today - timedelta(days=2), today - timedelta(days=1), today]
    assert history.numbers[State.ACTIVE] == [5, 3, 4]
    assert history.numbers[State.CANCELED] == [0, 2, 2]
    assert history.numbers[State.SUSPENDED] == [0, 0, 0]
    assert history.population == 6


async def test_who_was_only_mentioned_is_not_counted(worker: Worker, clock: MovableClock) -> None:
    """Until its creation is reported."""
    await ingest_lines(worker, clock, linked(0, "acme", "agmt-1"), login(0, "globex"))
    assert await counted(worker.pool) == {}
    await ingest_lines(worker, clock, created(1, "acme"))
    assert await counted(worker.pool) == {State.ACTIVE: 1}
    await ingest_lines(
        worker, clock, event(2, "organization.tier_changed", "acme", {"tier": "plus"})
    )
    rows = await worker.pool.fetchval("SELECT count(*) FROM state_changes")
    assert rows == 1, "what changes no state writes nothing"


async def test_rows_are_merged_and_the_sums_stay(worker: Worker, clock: MovableClock) -> None:
    """Also while others append, and by one worker at a time."""
    clock.now = at(3)
    await ingest_lines(worker, clock, *canceled("acme"))
    async with transaction(worker.pool) as conn:
        for n in range(UNMERGED_MAX + 1):
            day = at(n % 3).date()
            await state_counts.append(conn, {State.ACTIVE: 1, State.SUSPENDED: -1}, day=day)
            await state_counts.append(conn, {State.ACTIVE: -1, State.SUSPENDED: 1}, day=day)
    before = await counted(worker.pool)
    await asyncio.gather(*(keep_state_counts(worker) for _ in range(3)))
    assert await counted(worker.pool) == before
    assert await worker.pool.fetchval("SELECT count(*) FROM state_changes") < 10


async def test_what_a_worker_of_an_earlier_version_changed_is_corrected_on_the_next_day(
    worker: Worker, clock: MovableClock, owner: Pool
) -> None:
    """It leaves no changes; the log says by how much the numbers were wrong."""
    await ingest_lines(worker, clock, created(0, "acme"), created(0, "globex"))
    await keep_state_counts(worker)
    await owner.execute("DELETE FROM state_changes")
    with capture_logs() as logged:
        await keep_state_counts(worker)
        assert await counted(worker.pool) == {}
        clock.now = at(1)
        await asyncio.gather(*(keep_state_counts(worker) for _ in range(3)))
    assert await counted(worker.pool) == {State.ACTIVE: 2}
    assert logged == [{"event": "state_counts_corrected", "active": 2, "log_level": "info"}]
