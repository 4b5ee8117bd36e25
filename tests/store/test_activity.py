"""Activity: when an organization was last in use, and when each feed was received."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from marketplace_worker.lifecycle.inactivity import DayRange, LastSeen
from marketplace_worker.lifecycle.vocabulary import ActivityFeed, OrganizationId
from marketplace_worker.store import activity
from marketplace_worker.store.activity import ActivityCounts
from marketplace_worker.store.database import Pool, transaction
from store.locks import waits

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
ACME, BETA = OrganizationId("acme"), OrganizationId("beta")
LOGINS, API = ActivityFeed.LOGINS, ActivityFeed.API_REQUESTS


def hour(at: datetime) -> DayRange:
    """A feed has messages for an hour."""
    return DayRange(at, at + HOUR)


async def save_days(pool: Pool, *counts: tuple[ActivityFeed, int, DayRange]) -> None:
    """A batch of a partition was counted, for each."""
    for feed, partition, each in counts:
        async with transaction(pool) as conn:
            await activity.save_feed_days(conn, {(feed, each.first_at.date(), partition): each})


async def test_a_day_of_a_feed_is_from_its_first_to_its_last_moment_over_all_partitions(
    pool: Pool,
) -> None:
    """Batches come in any order, and no partition needs messages of the whole day."""
    await save_days(
        pool,
        (LOGINS, 0, hour(NOW)),
        (LOGINS, 0, hour(NOW - 2 * HOUR)),
        (LOGINS, 1, hour(NOW + 3 * HOUR)),
        (API, 0, hour(NOW - DAY)),
    )

    async with transaction(pool) as conn:
        feeds = await activity.feeds(conn, since=(NOW - 9 * DAY).date())

    assert feeds.days == {
        LOGINS: {NOW.date(): DayRange(NOW - 2 * HOUR, NOW + 4 * HOUR)},
        API: {(NOW - DAY).date(): hour(NOW - DAY)},
    }


async def test_the_last_day_of_a_feed_that_is_silent_is_found_however_long_ago_it_was(
    pool: Pool,
) -> None:
    """The report of a silent feed says since when it is silent; older days are not read."""
    await save_days(pool, *((LOGINS, 0, hour(NOW - days * DAY)) for days in (90, 80, 70)))

    async with transaction(pool) as conn:
        feeds = await activity.feeds(conn, since=(NOW - 30 * DAY).date())

    assert feeds.last_event_at(LOGINS) == NOW - 70 * DAY + HOUR
    assert len(feeds.days[LOGINS]) == 1
    assert feeds.last_event_at(API) is None


async def test_what_is_locked_is_counted_afterwards(pool: Pool) -> None:
    """Also of who was never in use: whoever counts it first waits for the decision."""
    async with transaction(pool) as conn:
        assert await activity.lock(conn, {BETA, ACME}) == {ACME: LastSeen(), BETA: LastSeen()}
        other = asyncio.create_task(_count_login(pool))
        assert await waits(pool, other)
    await other

    async with transaction(pool) as conn:
        assert (await activity.lock(conn, {ACME}))[ACME] == LastSeen(login_at=NOW)
        assert await activity.read(conn, {ACME}) == {ACME: LastSeen(NOW, logins=(NOW,))}


async def _count_login(pool: Pool) -> None:
    async with transaction(pool) as conn:
        await activity.count(conn, [counted(ACME, NOW)])


# --- logins by day --------------------------------------------------------------------------------


def counted(organization: OrganizationId, *logins: datetime) -> ActivityCounts:
    """What one batch has about an organization."""
    counts = ActivityCounts(organization)
    for at in logins:
        counts.add_login(at)
    return counts


@pytest.mark.parametrize("in_one_batch", [True, False])
async def test_of_each_day_the_first_and_the_last_login_are_kept_whatever_the_batches(
    pool: Pool, in_one_batch: bool
) -> None:
    """As the core keeps them (lifecycle.md section 5), in any order and any batches."""
    logins = [
        NOW, NOW - 2 * HOUR, NOW - 3 * HOUR, NOW - HOUR, NOW - 45 * DAY, NOW - 45 * DAY - 13 * HOUR,
        NOW - 400 * DAY, NOW + 20 * DAY, NOW - 20 * DAY,
    ]  # fmt: skip
    seen = LastSeen()
    for at in logins:
        seen = seen.with_login(at)
    batches = [logins] if in_one_batch else [[at] for at in logins]
    async with transaction(pool) as conn:
        for batch in batches:
            await activity.count(conn, [counted(BETA, NOW), counted(ACME, *batch)])

        assert (await activity.read(conn, {ACME})) == {ACME: seen}
    assert seen.logins[0] == NOW - 20 * DAY, "nothing from before the 45 days up to the newest"


async def test_what_is_kept_no_longer_is_let_go_with_the_first_login_of_a_day(pool: Pool) -> None:
    """So an organization has a row a day for 46 days at most, without any look at it later."""
    async with transaction(pool) as conn:
        for day in range(120):
            await activity.count(conn, [counted(ACME, NOW + day * DAY), counted(BETA, NOW)])
        days = "SELECT count(*) FROM login_days WHERE organization_id = $1"
        assert await conn.fetchval(days, ACME) == 46
        assert await conn.fetchval(days, BETA) == 1


async def test_api_requests_have_no_days(pool: Pool) -> None:
    """Usage is the most of all activity, and stays a maximum."""
    counts = ActivityCounts(ACME)
    counts.add_requests(NOW, 5)
    async with transaction(pool) as conn:
        await activity.count(conn, [counts])
        assert await activity.read(conn, {ACME}) == {ACME: LastSeen(None, NOW)}
        assert await conn.fetchval("SELECT count(*) FROM login_days") == 0
