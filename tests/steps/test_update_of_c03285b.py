"""A worker continues on a migrated database of commit c03285b."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import asyncpg
import pytest

import servers
from acceptance.scenario import at, azure
from acceptance.stage import MovableClock
from marketplace_worker.documents import subscription_from_json
from marketplace_worker.inspection.fleet_view import Inspector
from marketplace_worker.inspection.history import history
from marketplace_worker.inspection.replaying import Difference, verify
from marketplace_worker.lifecycle.decide import Outcome
from marketplace_worker.lifecycle.facts import Erased, GuardReleased
from marketplace_worker.lifecycle.projection import Projection, fold
from marketplace_worker.lifecycle.subscription import Subscription
from marketplace_worker.lifecycle.vocabulary import Identity, OrganizationId
from marketplace_worker.runtime.worker import Worker
from marketplace_worker.settings import Retention
from marketplace_worker.steps import retention
from marketplace_worker.steps.erasing import erase
from marketplace_worker.steps.guard_operations import operate
from marketplace_worker.steps.ingest import ingest
from marketplace_worker.steps.retention import retain
from marketplace_worker.store.database import Pool
from marketplace_worker.store.migrations import migrate
from steps.story_beginnings import (
    day_of,
    ingest_lines,
    login,
    move_to_day,
    records,
    states,
    support,
    use,
    wait,
)
from store.fixtures import ENDED_AT, guid, load_c03285b


@pytest.fixture
def postgres_template() -> str:
    """Nothing: `of_c03285b` fills the database."""
    return servers.EMPTY


@pytest.fixture
async def of_c03285b(postgres_dsn: str) -> None:
    """The migrated database of that commit."""
    async with asyncpg.create_pool(postgres_dsn, min_size=1, max_size=1) as owner:
        await load_c03285b(owner)
    async with asyncpg.create_pool(postgres_dsn, min_size=1, max_size=1) as owner:
        await migrate(owner)


@pytest.fixture
async def worker(of_c03285b: None, worker: Worker, owner: Pool, clock: MovableClock) -> Worker:
    """A worker with the time at which that commit ended; the migration uses Postgres's clock."""
    assert of_c03285b is None
    clock.now = ENDED_AT
    await owner.execute(
        "UPDATE organizations SET next_due_at = $1 WHERE next_due_at > now() - interval '1 hour'",
        ENDED_AT,
    )
    return worker


async def release(worker: Worker, clock: MovableClock) -> None:
    """The guard was tripped when the database was left."""
    released = GuardReleased(Identity("operator", "r-9"), clock.now, "Olga", "looked at")
    await operate(released, worker)


async def registers(worker: Worker) -> list[Subscription]:
    """All registers, by key."""
    rows = await worker.pool.fetch("SELECT document FROM subscriptions ORDER BY 1")
    found = (subscription_from_json(row["document"]) for row in rows)
    return sorted(found, key=lambda each: each.key)


async def differences(inspector: Inspector) -> list[Difference]:
    """What `replay --verify` finds."""
    return [each async for page in verify(inspector) for each in page.differences]


async def test_facts_under_the_other_spelling_count_from_the_first_recheck_on(
    worker: Worker, clock: MovableClock, inspector: Inspector
) -> None:
    """An end that nobody had connected cancels; a suspension that was reported to be over waits for
    Support; what is gone for good stays so, and a hold goes on.
    """
    before = await states(worker)

    await wait(worker, clock, until=52)

    after = await states(worker)
    assert {name: after[name] for name in after if after[name] != before[name]} == {
        "unheard-end": "canceled",
        "upper-link": "canceled",
        "moved-from": "canceled",
    }
    assert (after["both"], after["moved-to"]) == ("active", "active")
    assert after["closed"] == "deactivated"
    waiting = await worker.pool.fetch(
        "SELECT organization_id FROM organizations WHERE document ->> 'pending' IS NOT NULL"
    )
    assert "comes-back" in {row[0] for row in waiting}
    assert await differences(inspector) == []


async def test_nobody_is_harmed_sooner_for_it_than_dwell_and_notices_allow(
    worker: Worker, clock: MovableClock
) -> None:
    """Although the end was reported weeks ago, every step has its dwell and its notice from
    now on.
    """
    await release(worker, clock)
    for day in range(53, 120, 2):
        await wait(worker, clock, until=day)
        await ingest_lines(worker, clock, login(day, "others"), use(day, "others"))

    rows = await worker.pool.fetch(
        """SELECT decided_at, said ->> 'kind' AS kind
           FROM decisions, jsonb_array_elements(events) AS said
           WHERE organization_id = 'unheard-end' ORDER BY id"""
    )
    decisions = [(row["kind"], (row["decided_at"] - ENDED_AT) / timedelta(days=1)) for row in rows]
    steps = ("canceled", "control_plane_lost", "notice_given", "suspended", "deactivated")
    wanted = {f"organization.{each}" for each in steps}
    assert [(kind, round(day, 2)) for kind, day in decisions if kind in wanted] == [
        ("organization.canceled", 0),
        ("organization.control_plane_lost", 0.04),
        ("organization.notice_given", 0.04),
        ("organization.suspended", 3.04),
        ("organization.notice_given", 3.04),
        ("organization.deactivated", 10.04),
    ]


@pytest.mark.parametrize("spell", [str.lower, str.upper])
async def test_news_in_either_spelling_is_of_the_one_subscription(
    worker: Worker, clock: MovableClock, spell: Callable[[str], str]
) -> None:
    """Of the organization that either spelling had been linked to."""
    await wait(worker, clock, until=52)
    await ingest_lines(worker, clock, azure(52.1, "Suspend", spell(guid(22))))

    assert (await states(worker))["both"] == "canceled"


def without_usage(register: Subscription) -> Projection:
    """A register's projection without final reports."""
    return replace(fold(register, register.links), usage_closed_at=())


async def test_a_notification_that_is_delivered_again_changes_nothing(
    worker: Worker, clock: MovableClock, inspector: Inspector
) -> None:
    """Azure's have another identity than before: they are taken once more, and say the same.  What
    they now tell of the last usage calls for no report of an end long ago.
    """
    await wait(worker, clock, until=52)
    was = await states(worker)
    courses = [without_usage(each) for each in await registers(worker)]
    facts_at = [
        azure(4, "Suspend", guid(3)),
        azure(7, "Reinstate", guid(3)),
        azure(0.2, "Subscribe", guid(20).upper()),
        azure(15, "Suspend", guid(20).upper()),
        azure(49, "Unsubscribe", guid(21)),
        azure(1, "Renew", guid(22).upper()),
        azure(45, "Suspend", guid(22).upper()),
        azure(46, "Renew", guid(22)),
        azure(45, "Suspend", guid(25).upper()),
        azure(47, "Reinstate", guid(25)),
    ]

    await ingest(records(*sorted(facts_at, key=day_of)), worker)

    query = "SELECT count(*) FROM journal WHERE marketplace = 'azure' AND decided_at >= $1"
    assert await worker.pool.fetchval(query, ENDED_AT) == len(facts_at), "each was taken once more"
    assert await states(worker) == was
    assert [without_usage(each) for each in await registers(worker)] == courses
    reports = "SELECT count(*) FROM decisions WHERE events @> $1::jsonb AND decided_at >= $2"
    kind = '[{"kind": "metering.final_report_due"}]'
    assert await worker.pool.fetchval(reports, kind, ENDED_AT) == 0
    assert await differences(inspector) == []


async def test_a_failure_that_was_mistaken_for_a_duplicate_counts_when_it_is_delivered_again(
    worker: Worker, clock: MovableClock, inspector: Inspector
) -> None:
    """The operation had been announced, which earlier versions took for the end itself."""
    await wait(worker, clock, until=52)
    assert (await states(worker))["azure-failed"] == "control_plane_loss"
    failed = azure(49.1, "Unsubscribe", guid(4))
    failed["value"] |= {"status": "Failed", "id": "operation-4"}

    await ingest(records(failed), worker)

    assert (await states(worker))["azure-failed"] == "active"
    assert await differences(inspector) == []


async def test_history_lists_facts_under_either_spelling(
    worker: Worker, inspector: Inspector
) -> None:
    """`org history` finds the subscription under any spelling."""
    entries = await history(inspector, OrganizationId("both"))

    assert worker is not None
    assert {"Suspend", "Renew"} <= {each.what for each in entries}


async def test_rows_of_either_spelling_are_erased(
    worker: Worker, clock: MovableClock, inspector: Inspector
) -> None:
    """Also of an organization that was erased before the update."""
    left = """SELECT count(*) FROM journal
              WHERE subscription_id ILIKE $1 AND fact IS NOT NULL AND organization_id IS NULL"""
    assert await worker.pool.fetchval(left, "a0000028-%") == 0, "erased before"
    assert await worker.pool.fetchval(left, "a0000016-%") > 1
    await ingest_lines(worker, clock, support(52.5, "deactivate_organization", "both"))

    erased = Erased(Identity("operator", "e-9"), clock.now, OrganizationId("both"), "Olga", "asked")
    assert await erase(erased, worker) is Outcome.APPLIED

    assert await worker.pool.fetchval(left, "a0000016-%") == 0
    assert await differences(inspector) == []


async def test_rows_of_either_spelling_are_let_go(
    worker: Worker, clock: MovableClock, inspector: Inspector
) -> None:
    """Into checkpoints, in batches whose borders lie between the spellings."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(retention, "ROWS_MAX", 3)
        for day in (62, 75, 90, 200):
            await move_to_day(worker, clock, day)
            while await retain(worker, Retention(journal_days=30, dead_letters_days=30)):
                pass
            assert await differences(inspector) == []

    assert await worker.pool.fetchval("SELECT count(*) FROM journal") == 0


async def test_life_goes_on_and_can_be_folded_again(
    worker: Worker, clock: MovableClock, inspector: Inspector
) -> None:
    """Canceled organizations are deactivated; those with a plan stay active."""
    await release(worker, clock)
    for day in range(53, 140, 2):
        await wait(worker, clock, until=day)
        await ingest_lines(worker, clock, login(day, "others"), use(day, "others"))

    assert await differences(inspector) == []
    assert clock.now == at(139)
    after = await states(worker)
    down = ("suspended-noticed", "suspended", "withheld-b", "noticed", "lost", "canceled")
    assert {after[name] for name in down} == {"deactivated"}
    assert {after[name] for name in ("sns", "matched", "azure-back")} == {"active"}
