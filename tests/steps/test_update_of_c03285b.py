"""A worker goes on with a database that commit c03285b left, once it is migrated."""

import asyncpg
import pytest

from acceptance.scenario import at
from acceptance.stage import MovableClock
from marketplace_worker.inspection.replaying import verify
from marketplace_worker.inspection.sight import Inspector
from marketplace_worker.lifecycle.facts import GuardReleased
from marketplace_worker.lifecycle.vocabulary import Identity
from marketplace_worker.steps.deciding import Worker
from marketplace_worker.steps.operating import operate
from steps.stories import login, states, tell, use, wait
from store.fixtures import ENDED_AT, load_c03285b


@pytest.fixture
async def of_c03285b(postgres_dsn: str) -> None:
    """The database is not empty."""
    async with asyncpg.create_pool(postgres_dsn, min_size=1, max_size=1) as owner:
        await load_c03285b(owner)


@pytest.fixture
def worker(of_c03285b: None, worker: Worker, clock: MovableClock) -> Worker:
    """Migrates what was left, and goes on where it ended."""
    assert of_c03285b is None
    clock.now = ENDED_AT
    return worker


async def test_life_goes_on_and_can_be_folded_again(
    worker: Worker, clock: MovableClock, inspector: Inspector
) -> None:
    """Who was on the way down arrives there; who has a plan stays."""
    released = GuardReleased(Identity("operator", "r-9"), clock.now, "Olga", "looked at")
    await operate(released, worker)
    for day in range(53, 140, 2):
        await wait(worker, clock, until=day)
        await tell(worker, clock, login(day, "others"), use(day, "others"))

    found = [each async for page in verify(inspector) for each in page.differences]
    assert found == []
    assert clock.now == at(139)
    after = await states(worker)
    down = ("suspended-noticed", "suspended", "withheld-b", "noticed", "lost", "canceled")
    assert {after[name] for name in down} == {"deactivated"}
    assert {after[name] for name in ("sns", "matched", "azure-back")} == {"active"}
