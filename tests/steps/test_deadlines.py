"""Deadlines: each due organization is processed by one worker, and derived again when it fires."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from acceptance.scenario import at, created
from acceptance.scenario import linked as linked_at
from acceptance.stage import MovableClock
from marketplace_worker.lifecycle.policy import Policy, Timeline
from marketplace_worker.runtime import queue_cursor
from marketplace_worker.runtime.worker import Worker
from marketplace_worker.steps.deadlines import fire_due
from marketplace_worker.steps.ingest import ingest
from marketplace_worker.store import organizations, policies
from marketplace_worker.store.database import transaction
from marketplace_worker.store.policies import PolicyBook
from steps import story_beginnings
from steps.story_beginnings import events_of, ingest_lines, kinds, login, records, states, use, wait


async def canceled(worker: Worker, clock: MovableClock, *names: str) -> None:
    """Organizations that were canceled on day 1, by day 1, each of a customer of its own."""
    clock.now = at(1)
    for name in names:
        await ingest(records(*story_beginnings.canceled(name)), worker)


async def test_nothing_fires_before_its_moment(worker: Worker, clock: MovableClock) -> None:
    """`payg` loses the control plane one day after the cancellation, not a microsecond sooner."""
    await canceled(worker, clock, "a")
    clock.now = at(2) - timedelta.resolution

    assert await fire_due(worker, limit=10) == 0

    clock.now = at(2)
    assert await fire_due(worker, limit=10) == 1
    assert await worker.pool.fetchval("SELECT state FROM organizations") == "control_plane_loss"


async def test_workers_that_search_at_once_share_the_due_organizations(
    worker: Worker, clock: MovableClock
) -> None:
    """SKIP LOCKED: no worker waits for another, and no deadline fires twice."""
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
    await ingest(records(linked_at(1.5, "a", "gcp", "ent-1")), worker)
    await worker.pool.execute("UPDATE organizations SET next_due_at = $1", at(1.6))
    clock.now = at(3)

    assert await fire_due(worker, limit=10) == 1
    assert await states(worker) == {"a": "active"}
    assert await worker.pool.fetchval("SELECT next_due_at FROM organizations") is None
    assert "organization.control_plane_lost" not in await kinds(worker, "a")


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
    """It is logged at `error` and tried again in an hour; the others are processed."""
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


async def test_a_recheck_that_changes_nothing_writes_nothing(
    worker: Worker, clock: MovableClock
) -> None:
    """
    A free organization is checked whenever it may have become inactive.  If it is in use, this
    writes nothing to the journal or the history and publishes nothing.
    """
    await ingest_lines(worker, clock, created(0, "a"), login(20, "a"))
    rows = """SELECT (SELECT count(*) FROM journal), (SELECT count(*) FROM decisions),
                     (SELECT count(*) FROM outbox)"""
    before = await worker.pool.fetchrow(rows)
    clock.now = at(23)

    assert await fire_due(worker, limit=10) == 1

    assert await worker.pool.fetchrow(rows) == before
    assert await worker.pool.fetchval("SELECT next_due_at FROM organizations") == at(43)


async def test_what_is_due_in_the_past_is_due_now(worker: Worker, clock: MovableClock) -> None:
    """After a month without a worker, reports must not claim that the deadlines were met."""
    await canceled(worker, clock, "a")
    await ingest_lines(worker, clock, login(50, "a"))

    due_at = await worker.pool.fetchval("SELECT next_due_at FROM organizations")
    assert due_at == at(50)


async def test_what_is_due_first_is_decided_first(worker: Worker, clock: MovableClock) -> None:
    """By its moment, then by id, as `simulate` has it."""
    await canceled(worker, clock, "b", "c", "a")
    await worker.pool.execute(
        "UPDATE organizations SET next_due_at = $1 WHERE organization_id = 'c'", at(1.5)
    )
    clock.now = at(2)
    for _ in range(3):
        await fire_due(worker, limit=1)

    rows = await worker.pool.fetch(
        "SELECT organization_id FROM journal WHERE source = 'deadline' ORDER BY id"
    )
    assert [row["organization_id"] for row in rows] == ["c", "a", "b"]


async def test_a_free_organization_is_deactivated_where_both_feeds_were_recent(
    worker: Worker, clock: MovableClock
) -> None:
    """Others are in use every other day, so the feeds are received and its inactivity counts."""
    others = [line for day in range(0, 31, 2) for line in (login(day, "b"), use(day, "b"))]
    await ingest_lines(worker, clock, created(0, "a"))
    for line in others:
        await wait(worker, clock, until=story_beginnings.day_of(line))
        await ingest_lines(worker, clock, line)
    await wait(worker, clock, until=30)

    assert (await states(worker))["a"] == "deactivated"
    assert await kinds(worker, "worker") == []


async def test_a_silent_feed_is_reported_once_a_day_and_nobody_is_deactivated(
    worker: Worker, clock: MovableClock
) -> None:
    """Both feeds were silent; the decision is tried again the next day."""
    await ingest_lines(worker, clock, created(0, "a"), created(0, "b"), login(10, "c"))
    with capture_logs() as lines:
        await wait(worker, clock, until=31)

    assert set((await states(worker)).values()) == {"active"}
    silent = await events_of(worker, "worker")
    assert [each["data"]["feed"] for each in silent] == ["logins", "api_requests"] * 2
    assert [each["data"]["last_heard_at"] is None for each in silent] == [False, True] * 2
    warned = [line for line in lines if line["event"] == "activity_feed_silent"]
    assert [line["log_level"] for line in warned] == ["warning"] * 4
    assert await worker.pool.fetchval("SELECT min(next_due_at) FROM organizations") == at(32)


async def test_an_organization_goes_by_the_policy_that_it_was_canceled_under(
    worker: Worker, clock: MovableClock
) -> None:
    """The newer policy is stricter; a worker that does not know the older one reads the table."""
    hard = replace(
        Policy(version="hard"),
        payg=Timeline(timedelta(hours=2), timedelta(days=5), timedelta(days=31)),
    )
    await canceled(worker, clock, "a")
    async with transaction(worker.pool) as conn:
        await policies.register(conn, Policy(), now=clock.now)
    newer = replace(worker, policies=PolicyBook(hard))
    await worker.pool.execute("UPDATE organizations SET next_due_at = $1", at(1.5))
    clock.now = at(1.5)

    await fire_due(newer, limit=10)
    assert await states(worker) == {"a": "canceled"}

    await wait(newer, clock, until=2)
    assert await states(worker) == {"a": "control_plane_loss"}
    versions = "SELECT policy_version FROM decisions ORDER BY id DESC LIMIT 1"
    assert await worker.pool.fetchval(versions) == "default"


async def test_the_search_for_due_organizations_continues_behind_the_last_and_then_restarts(
    worker: Worker, clock: MovableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Processed rows stay in the index while a snapshot is held.  A row that another worker had
    locked and released is found nevertheless.
    """
    await canceled(worker, clock, "a", "b")
    clock.now = at(2)
    async with transaction(worker.pool) as other:
        await organizations.claim_due(other, since=at(0), now=at(2), limit=1)
        assert await fire_due(worker, limit=10) == 1
        clock.now = at(2) + timedelta(hours=1)
        assert await fire_due(worker, limit=10) == 0
    assert worker.deadlines.since(clock.now) > at(2), "the one that was in hand is passed over"
    assert await fire_due(worker, limit=10) == 0
    monkeypatch.setattr(queue_cursor, "FROM_THE_BEGINNING_EVERY_S", 0.0)
    assert await fire_due(worker, limit=10) == 1


async def test_a_clock_that_goes_back_restarts_the_search(
    worker: Worker, clock: MovableClock
) -> None:
    """Organizations may become due before the position that the scan has reached."""
    clock.now = at(9)
    assert await fire_due(worker, limit=10) == 0
    await canceled(worker, clock, "a")
    clock.now = at(2)
    assert await fire_due(worker, limit=10) == 1
