"""A billing account of over 100 organizations matches no purchase (lifecycle.md section 11)."""

from collections.abc import Sequence

import pytest
from structlog.testing import capture_logs

from acceptance.scenario import created, eventbridge
from acceptance.stage import MovableClock
from marketplace_worker.inspection.fleet_view import Inspector
from marketplace_worker.inspection.replaying import Difference, verify
from marketplace_worker.lifecycle import ownership
from marketplace_worker.lifecycle.holders import HOLDERS_MAX
from marketplace_worker.lifecycle.scope import scope_of
from marketplace_worker.lifecycle.vocabulary import Marketplace, OrganizationId, SubscriptionKey
from marketplace_worker.runtime.worker import Worker
from marketplace_worker.settings import Retention
from marketplace_worker.steps.ingest import ingest
from marketplace_worker.steps.retention import retain
from marketplace_worker.store import working_set
from marketplace_worker.store.database import transaction
from steps.story_beginnings import (
    Line,
    bought,
    day_of,
    ended,
    facts,
    ingest_lines,
    linked,
    login,
    records,
    states,
    wait,
)

RESELLER = "a reseller"
FEW = 10
"""The limit in most of these tests: with the real one of a hundred they take ten times as long."""


@pytest.fixture
def small_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lower the limit to `FEW`."""
    monkeypatch.setattr(ownership, "HOLDERS_MAX", FEW)


def of_one_account(count: int) -> list[Line]:
    """So many organizations had one agreement, one after the other; the last still has it."""
    return [
        line
        for n in range(1, count + 1)
        for line in (
            created(n / 1_000, f"org-{n}", tier="plus"),
            linked(n / 1_000, f"org-{n}", "agmt-1", RESELLER),
        )
    ]


async def ingest_at_once(worker: Worker, clock: MovableClock, lines: Sequence[Line]) -> None:
    """All in one batch, when the last of them is received."""
    records_in_order = records(*sorted(lines, key=day_of))
    clock.now = records_in_order[-1].recorded_at
    await ingest(records_in_order, worker)


def bought_again(last: int) -> list[Line]:
    """The last of them cancels, and another agreement is bought with the account."""
    return [ended(2, "agmt-1", RESELLER), bought(3, "agmt-2", RESELLER), login(4, f"org-{last}")]


async def differences(
    inspector: Inspector, only: OrganizationId | None = None
) -> Sequence[Difference]:
    """What `replay --verify` finds."""
    return [each async for page in verify(inspector, only) for each in page.differences]


@pytest.mark.parametrize(
    ("count", "state"), [(HOLDERS_MAX, "active"), (HOLDERS_MAX + 1, "canceled")]
)
async def test_no_match_is_searched_in_an_account_of_more_than_a_hundred(
    worker: Worker, clock: MovableClock, inspector: Inspector, count: int, state: str
) -> None:
    """Though one organization alone holds it now."""
    await ingest_at_once(worker, clock, of_one_account(count))
    await ingest_lines(worker, clock, *bought_again(count))

    assert (await states(worker))[f"org-{count}"] == state
    assert await differences(inspector) == []


@pytest.mark.usefixtures("small_limit")
async def test_a_crowded_account_is_logged_once(worker: Worker, clock: MovableClock) -> None:
    """At `warning`, by the worker that detects it first."""
    with capture_logs() as lines:
        await ingest_at_once(worker, clock, of_one_account(FEW))
        assert [each for each in lines if each["event"] == "billing_account_crowded"] == []
        for line in of_one_account(FEW + 3)[-6:]:
            await ingest_lines(worker, clock, line)

    (logged_line,) = [each for each in lines if each["event"] == "billing_account_crowded"]
    assert logged_line["log_level"] == "warning"
    assert (logged_line["marketplace"], logged_line["billing_account"]) == ("aws", RESELLER)


@pytest.mark.usefixtures("small_limit")
async def test_a_proof_that_was_made_stays(
    worker: Worker, clock: MovableClock, inspector: Inspector
) -> None:
    """An organization keeps its plan when the account becomes crowded."""
    await ingest_at_once(worker, clock, of_one_account(FEW))
    await ingest_lines(worker, clock, *bought_again(FEW))
    name = f"org-{FEW}"
    assert (await states(worker))[name] == "active"

    await ingest_lines(
        worker, clock, created(5, "one-more"), linked(5, "one-more", "agmt-3", RESELLER)
    )
    await wait(worker, clock, until=9)

    assert (await states(worker))[name] == "active"
    assert await differences(inspector) == []


async def test_nobody_loads_or_locks_all_that_is_in_a_crowded_account(
    worker: Worker, clock: MovableClock
) -> None:
    """Otherwise each notification would wait for all others of the reseller, and read them."""
    many = [
        line
        for n in range(HOLDERS_MAX + 20)
        for line in (
            created(0, f"customer-{n}", tier="plus"),
            linked(0.1, f"customer-{n}", f"agmt-of-{n}", RESELLER),
        )
    ]
    await ingest_at_once(worker, clock, many)
    clock.now = records(bought(1, "new", RESELLER))[0].recorded_at

    for line in (bought(1, "agmt-of-7", RESELLER), linked(1, "customer-7", "new", RESELLER)):
        async with transaction(worker.pool) as conn:
            scope = scope_of(facts(worker, line))
            loaded = await working_set.lock_for(conn, scope)
        assert loaded.fleet.subscriptions.keys() <= {
            SubscriptionKey(Marketplace.AWS, id_) for id_ in ("agmt-of-7", "new")
        }
        assert loaded.locked == {"customer-7"}

    rows = "SELECT count(*) FROM billing_accounts"
    before = await worker.pool.fetchval(rows)
    await ingest_lines(worker, clock, bought(1, "new", RESELLER))
    assert await worker.pool.fetchval(rows) == before, "nobody need find it through the account"


async def test_nobody_loads_or_locks_all_that_was_bought_in_an_account_that_nobody_holds(
    worker: Worker, clock: MovableClock
) -> None:
    """It matches nobody; the first sign-up looks at all of it."""
    await ingest_at_once(worker, clock, [bought(0, f"agmt-{n}", RESELLER) for n in range(30)])
    clock.now = records(bought(1, "new", RESELLER))[0].recorded_at
    renewed = {"id": "agmt-3", "intent": "RENEW", "previousAgreementId": "agmt-of-another"}
    renewal = eventbridge(1, "Purchase Agreement Created", renewed)

    async def loaded(line: Line) -> int:
        async with transaction(worker.pool) as conn:
            scope = scope_of(facts(worker, line))
            loaded = await working_set.lock_for(conn, scope)
        return len(loaded.fleet.subscriptions)

    assert await loaded(bought(1, "agmt-7", RESELLER)) == 1
    assert await loaded(bought(1, "new", RESELLER)) == 1
    assert await loaded(linked(1, "customer", "agmt-7")) == 30
    assert await loaded(linked(1, "customer", "another", RESELLER)) > 30
    assert await loaded(renewal) > 30, "who holds the other holds this one too"

    await ingest_lines(worker, clock, linked(1, "customer", "agmt-7"))
    assert await loaded(bought(1, "agmt-8", RESELLER)) >= 30


@pytest.mark.usefixtures("small_limit")
async def test_what_comes_to_a_crowded_account_later_can_be_folded_again(
    worker: Worker, clock: MovableClock, inspector: Inspector
) -> None:
    """
    An organization of the account cancels; what it bought is linked days later.  Replayed with its
    own records alone, the purchase would be a match, because the others are not loaded.
    """
    await ingest_at_once(worker, clock, of_one_account(FEW + 1))
    await ingest_lines(
        worker,
        clock,
        created(1, "late", tier="plus"),
        linked(1, "late", "first", RESELLER),
        ended(2, "first", RESELLER),
        bought(3, "second", RESELLER),
        login(3.5, "late"),
    )
    assert (await states(worker))["late"] == "canceled"
    await ingest_lines(worker, clock, linked(5, "late", "second"))
    assert (await states(worker))["late"] == "active"

    assert await differences(inspector) == []
    assert await differences(inspector, OrganizationId("late")) == []
    clock.now = records(created(400, "x"))[0].recorded_at
    while await retain(worker, Retention(journal_days=30, dead_letters_days=30)):
        assert await differences(inspector) == []
