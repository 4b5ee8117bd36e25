"""Matching: unlinked plans, their customers' sign-ins, and concurrent workers."""

import asyncio

import pytest
from msgspec import structs

from acceptance.scenario import at, created, event
from acceptance.stage import MovableClock
from marketplace_worker.documents import readings_from_json
from marketplace_worker.inspection.fleet_view import Inspector
from marketplace_worker.lifecycle.inactivity import LastSeen
from marketplace_worker.lifecycle.scope import scope_of
from marketplace_worker.lifecycle.vocabulary import OrganizationId
from marketplace_worker.runtime.activity_counting import ActivityCounting
from marketplace_worker.runtime.applying import read
from marketplace_worker.runtime.unit_of_work import UnitOfWork
from marketplace_worker.runtime.worker import Worker
from marketplace_worker.steps.ingest import ingest
from marketplace_worker.store import working_set
from marketplace_worker.store.database import Connection, transaction
from steps.story_beginnings import (
    Line,
    bought,
    canceled,
    ended,
    facts,
    ingest_lines,
    kinds,
    linked,
    login,
    records,
    states,
    support,
    wait,
)
from steps.test_replaying import differences
from store.locks import waits

MANY = [f"org-{number}" for number in range(24)]

LINKED_AGAIN = linked(1.5, "acme", "first of acme", "the customer")
"""The sign-up service reports who pays for what acme had."""
BOUGHT = bought(2, "second", "the customer")
"""The same customer buys again, and nobody links it."""


async def decide(conn: Connection, worker: Worker, line: Line) -> None:
    """Decide on a line as `ingest` does, in a transaction that stays open."""
    (fact,) = facts(worker, line)
    loaded = await working_set.lock_for(conn, scope_of([fact]))
    unit = await UnitOfWork.begin(conn, loaded, worker)
    await unit.decide(fact, "here")
    await unit.write(conn, worker.topics)


def with_two_plans(organization: str) -> list[Line]:
    """A linked plan and, on day 2, an unlinked one of the same customer."""
    agreement, account = f"first of {organization}", f"account of {organization}"
    return [
        created(0, organization),
        linked(0.5, organization, agreement, account),
        bought(2, f"second of {organization}", account),
    ]


def late_end(organization: str) -> Line:
    """The linked plan ended on day 1, before the customer bought again."""
    return {
        **ended(1, f"first of {organization}", f"account of {organization}"),
        "at": "2026-01-04T00:00:00Z",
    }


async def pending(worker: Worker) -> set[str]:
    """The organizations that wait for a sign-in."""
    rows = await worker.pool.fetch(
        "SELECT organization_id FROM organizations WHERE document ->> 'pending' IS NOT NULL"
    )
    return {row["organization_id"] for row in rows}


async def test_a_sign_in_after_the_purchase_completes_a_match(
    worker: Worker, clock: MovableClock
) -> None:
    """It becomes one fact in the journal, and from then on the plan belongs to the organization."""
    await ingest_lines(worker, clock, *canceled("acme"), bought(2, "second", "account of acme"))
    assert await pending(worker) == {"acme"}

    await ingest_lines(worker, clock, login(2.5, "acme"), login(2.5, "acme"))

    assert await states(worker) == {"acme": "active"}
    assert await kinds(worker, "acme") == [
        "organization.canceled",
        "metering.final_report_due",
        "organization.reinstatement_pending",
        "organization.reinstated",
    ]
    query = "SELECT count(*) FROM journal WHERE kind = 'identity.user.logged_in'"
    assert await worker.pool.fetchval(query) == 1
    held = "SELECT subscription_id FROM links WHERE organization_id = 'acme' ORDER BY 1"
    assert [row[0] for row in await worker.pool.fetch(held)] == ["first of acme", "second"]


async def test_an_account_that_another_released_matches_at_the_next_check(
    worker: Worker, clock: MovableClock
) -> None:
    """Two had shared it, so there was no match; the due step must find that one is left."""
    await ingest_lines(worker, clock, *canceled("acme"))
    await ingest_lines(
        worker,
        clock,
        created(1.1, "beta"),
        linked(1.2, "beta", "other", "account of acme"),
        bought(1.3, "second", "account of acme"),
    )
    assert await pending(worker) == set()

    await ingest_lines(worker, clock, support(1.5, "deactivate_organization", "beta"))
    await wait(worker, clock, until=2)

    assert await states(worker) == {"acme": "canceled", "beta": "deactivated"}
    assert await pending(worker) == {"acme"}


async def test_activity_that_nobody_watches_is_only_counted(
    worker: Worker, clock: MovableClock
) -> None:
    """A million logins must not become a million rows of the journal."""
    await ingest_lines(
        worker, clock, *with_two_plans("acme"), login(3, "acme"), login(3.5, "nobody")
    )

    query = "SELECT count(*) FROM journal WHERE kind = 'identity.user.logged_in'"
    assert await worker.pool.fetchval(query) == 0
    assert await worker.pool.fetchval("SELECT sum(logins) FROM activity") == 2


async def test_a_sign_in_that_was_sent_twice_is_one_fact(
    worker: Worker, clock: MovableClock
) -> None:
    """
    A producer that tries again writes a second record of the same event.  It is counted, as all
    activity is, but the journal knows it.
    """
    await ingest_lines(worker, clock, *canceled("acme"))
    (sign_in,) = records(login(2, "acme"))
    clock.now = at(2)

    await ingest([sign_in], worker)
    await ingest([structs.replace(sign_in, offset=sign_in.offset + 1)], worker)

    query = "SELECT outcome FROM journal WHERE kind = 'identity.user.logged_in'"
    assert [row["outcome"] for row in await worker.pool.fetch(query)] == ["no_change"]
    assert await worker.pool.fetchval("SELECT logins FROM activity") == 2


@pytest.mark.parametrize(
    ("mine", "others"),
    [
        pytest.param(LINKED_AGAIN, BOUGHT, id="the account first"),
        pytest.param(BOUGHT, LINKED_AGAIN, id="the purchase first"),
    ],
)
async def test_two_concurrent_halves_of_a_match_make_it(
    worker: Worker, clock: MovableClock, mine: Line, others: Line
) -> None:
    """Two workers process the purchase and the account, from two topics, concurrently."""
    await ingest_lines(worker, clock, *canceled("acme"))
    clock.now = at(3)

    async with transaction(worker.pool) as conn:
        await decide(conn, worker, mine)
        other = asyncio.create_task(ingest(records(others), worker))
        assert await waits(worker.pool, other)
    await other

    assert await pending(worker) == {"acme"}


async def test_concurrent_halves_of_many_matches_make_all_of_them(
    worker: Worker, clock: MovableClock
) -> None:
    """The same without controlling the locks, in any order."""
    for name in MANY:
        await ingest_lines(worker, clock, *canceled(name))
    clock.now = at(3)
    halves = [
        half
        for name in MANY
        for half in (
            linked(1.5, name, f"first of {name}", f"customer of {name}"),
            bought(2, f"second of {name}", f"customer of {name}"),
        )
    ]
    await asyncio.gather(*(ingest(records(half), worker) for half in halves))

    assert await pending(worker) == set(MANY)


async def test_a_login_that_is_being_counted_when_a_plan_ends_is_seen(
    worker: Worker, clock: MovableClock
) -> None:
    """The end waits until the login is counted and finds it: the customer is still active."""
    await ingest_lines(worker, clock, *with_two_plans("acme"))
    clock.now = at(3)
    sign_in = read(records(login(2.5, "acme")), worker).parts

    async with transaction(worker.pool) as conn:
        counting = await ActivityCounting.begin(conn, sign_in, worker.feeds)
        await counting.write(conn, locked=set())
        other = asyncio.create_task(ingest(records(late_end("acme")), worker))
        assert await waits(worker.pool, other)
    await other

    assert await states(worker) == {"acme": "active"}


async def test_a_login_that_comes_while_a_plan_ends_is_not_only_counted(
    worker: Worker, clock: MovableClock
) -> None:
    """
    No organization watched its activity when the batch started, so the login would only be counted.
    After counting, the worker reads again who watches, and repeats the batch.
    """
    await ingest_lines(worker, clock, *with_two_plans("acme"))
    clock.now = at(3)

    async with transaction(worker.pool) as conn:
        await decide(conn, worker, late_end("acme"))
        other = asyncio.create_task(ingest(records(login(2.5, "acme")), worker))
        assert await waits(worker.pool, other)
    await other

    assert await states(worker) == {"acme": "active"}
    assert await worker.pool.fetchval("SELECT sum(logins) FROM activity") == 1


async def test_many_logins_and_ends_at_once_leave_everybody_active(
    worker: Worker, clock: MovableClock
) -> None:
    """The same without controlling the locks."""
    for name in MANY:
        await ingest(records(*with_two_plans(name)), worker)
    clock.now = at(3)
    ends = records(*(late_end(name) for name in MANY))
    logins = [
        structs.replace(each, partition=number)
        for number, each in enumerate(records(*(login(2.5, name) for name in MANY)))
    ]
    pairs = zip(ends, logins, strict=True)
    await asyncio.gather(*(ingest([each], worker) for pair in pairs for each in pair))

    assert await pending(worker) == set()
    assert set((await states(worker)).values()) == {"active"}


async def test_activity_of_one_batch_is_seen_in_its_order(
    worker: Worker, clock: MovableClock
) -> None:
    """
    The first login is older than what the notice goes by; it is the second that withdraws it, and
    the story must say so.
    """
    await ingest_lines(worker, clock, created(0, "acme"))
    await wait(worker, clock, until=24)
    assert (await kinds(worker, "acme"))[-1] == "organization.notice_given"
    old, new = records(login(24, "acme", happened=0), login(24, "acme", happened=23.5))

    await ingest([old, new], worker)

    rows = await worker.pool.fetch(
        "SELECT events -> 0 ->> 'kind' AS kind FROM decisions WHERE source = 'identity./tests' "
        "AND message_id LIKE 'identity.user.logged_in%23.5%'"
    )
    assert [row["kind"] for row in rows] == ["organization.notice_withdrawn"]


@pytest.mark.parametrize("in_order", [True, False])
async def test_of_two_logins_the_one_that_proves_a_plan_does_so_whichever_arrives_last(
    worker: Worker, clock: MovableClock, inspector: Inspector, in_order: bool
) -> None:
    """
    On day 4 the account was acme's alone, on day 6 globex has a plan of it too; and the journal has
    what is needed to fold that again: the login that proved the plan, and of the others the newest.
    """
    logins = [login(7, "acme", happened=4), login(7, "acme", happened=6)]
    await ingest_lines(
        worker,
        clock,
        *canceled("acme"),
        created(2, "globex"),
        bought(3, "second", "account of acme"),
        linked(7, "globex", "of globex", "account of acme", happened=5),
        *(logins if in_order else reversed(logins)),
    )

    assert (await states(worker))["acme"] == "active"
    assert await differences(inspector) == []


async def test_a_login_from_before_the_cancellation_arrived_is_checked_then(
    worker: Worker, clock: MovableClock, inspector: Inspector
) -> None:
    """No decision waited for it when it was counted, and at a later login the account is shared."""
    await ingest_lines(
        worker,
        clock,
        *with_two_plans("acme"),
        created(2, "globex"),
        login(4, "acme"),
        linked(5, "globex", "of globex", "account of acme"),
        *(login(day, "acme") for day in range(6, 20)),
    )
    assert await worker.pool.fetchval("SELECT count(*) FROM login_days") == 15

    await ingest_lines(worker, clock, ended(20, "first of acme", "account of acme"))

    assert (await states(worker))["acme"] == "active"
    assert await differences(inspector) == []
    readings_query = (
        "SELECT readings FROM journal WHERE position IS NOT NULL ORDER BY id DESC LIMIT 1"
    )
    readings = readings_from_json(await worker.pool.fetchval(readings_query))
    assert readings.seen[OrganizationId("acme")] == LastSeen(at(19), None, (at(4),))


async def test_logins_of_who_never_had_a_plan_are_not_read(
    worker: Worker, clock: MovableClock
) -> None:
    """Without a plan of the organization's own a sign-in proves nothing, so no days are read."""
    acme = OrganizationId("acme")
    await ingest_lines(worker, clock, created(0, "acme"), login(1, "acme"), login(2, "acme"))
    for line, kept in (
        (event(3, "organization.tier_changed", "acme", {"tier": "plus"}), ()),
        (linked(3, "acme", "first of acme", "account of acme"), (at(1), at(2))),
    ):
        async with transaction(worker.pool) as conn:
            loaded = await working_set.lock_for(conn, scope_of(facts(worker, line)))
        assert loaded.fleet.last_seen(acme) == LastSeen(at(2), None, kept)
