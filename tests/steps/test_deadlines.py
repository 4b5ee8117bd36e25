"""Due organizations, each for one worker, derived anew when they fire."""

import asyncio
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from acceptance.scenario import at, created, eventbridge, linked
from acceptance.stage import MovableClock
from marketplace_worker.steps.deadlines import fire_due
from marketplace_worker.steps.deciding import Worker
from marketplace_worker.steps.ingest import ingest
from steps.test_ingest import records


async def canceled(worker: Worker, clock: MovableClock, *names: str) -> None:
    """Organizations that were canceled on day 1, by day 1."""
    clock.now = at(1)
    for name in names:
        agreement = {"id": f"agmt-{name}", "status": "CANCELLED"}
        batch = records(
            created(0, name),
            linked(0.5, name, "aws", f"agmt-{name}", "payg"),
            eventbridge(1, "Purchase Agreement Ended", agreement),
        )
        await ingest(batch, worker)


async def test_nothing_fires_before_its_moment(worker: Worker, clock: MovableClock) -> None:
    """`payg` loses the control plane one day after the cancellation, not a microsecond sooner."""
    await canceled(worker, clock, "a")
    clock.now = at(2) - timedelta.resolution

    assert await fire_due(worker, limit=10) == 0

    clock.now = at(2)
    assert await fire_due(worker, limit=10) == 1
    assert await worker.pool.fetchval("SELECT state FROM organizations") == "control_plane_loss"


async def test_workers_that_look_at_once_share_the_due_organizations(
    worker: Worker, clock: MovableClock
) -> None:
    """SKIP LOCKED: nobody waits for another, and nothing fires twice."""
    names = [f"org-{number}" for number in range(40)]
    await canceled(worker, clock, *names)
    clock.now = at(2)

    fired = await asyncio.gather(*(fire_due(worker, limit=10) for _ in range(4)))
    fired.append(await fire_due(worker, limit=100))

    assert sum(fired) == len(names)
    lost = "SELECT count(*) FROM journal WHERE source = 'deadline'"
    assert await worker.pool.fetchval(lost) == len(names)


async def test_a_deadline_that_outlived_its_reason_does_nothing(
    worker: Worker, clock: MovableClock
) -> None:
    """The stored moment is only a hint: what is due is derived when it fires."""
    await canceled(worker, clock, "a")
    await ingest(records(linked(1.5, "a", "gcp", "ent-1")), worker)
    await worker.pool.execute("UPDATE organizations SET next_due_at = $1", at(1.6))
    clock.now = at(3)

    assert await fire_due(worker, limit=10) == 1
    assert await worker.pool.fetchval("SELECT state FROM organizations") == "active"
    assert await worker.pool.fetchval("SELECT next_due_at FROM organizations") is None


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param("jsonb_set(document, '{entered_at}', 'null')", id="what cannot be decided on"),
        pytest.param("'{}'", id="what cannot be read"),
    ],
)
async def test_one_organization_that_we_fail_on_does_not_hold_up_the_fleet(
    worker: Worker, clock: MovableClock, damage: str
) -> None:
    """It is logged at error and looked at again in an hour; the others go on."""
    sound = [f"org-{number}" for number in range(6)]
    await canceled(worker, clock, *sound[:3], "broken", *sound[3:])
    await worker.pool.execute(
        f"UPDATE organizations SET document = {damage} WHERE organization_id = 'broken'"
    )
    clock.now = at(2)

    with capture_logs() as lines:
        for _ in range(20):
            await fire_due(worker, limit=10)

    rows = await worker.pool.fetch("SELECT organization_id, state, next_due_at FROM organizations")
    by_id = {row["organization_id"]: row for row in rows}
    assert {by_id[name]["state"] for name in sound} == {"control_plane_loss"}
    assert by_id["broken"]["next_due_at"] == at(2) + timedelta(hours=1)
    failed = [line for line in lines if line["event"] == "deadline_failed"]
    assert [line["organizations"] for line in failed] == [["broken"]]
