"""The locks: who may concern the same organization waits, and then sees what the other decided.

Each test holds one transaction open, and looks whether another, which must wait for it, does.
"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from marketplace_worker.lifecycle.facts import Fact, Notified, SubscriptionLinked
from marketplace_worker.lifecycle.fleet import Fleet
from marketplace_worker.lifecycle.notes import Activated, Note, Pended
from marketplace_worker.lifecycle.plans import Link
from marketplace_worker.lifecycle.vocabulary import (
    Identity,
    Marketplace,
    OrganizationId,
    SubscriptionKey,
)
from marketplace_worker.store import neighbourhood, subscriptions
from marketplace_worker.store.database import Connection, Pool, transaction

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ACME = OrganizationId("acme")
FIRST = SubscriptionKey(Marketplace.AWS, "first")
SECOND = SubscriptionKey(Marketplace.AWS, "second")
AZURE = SubscriptionKey(Marketplace.AZURE, "other")

RENEWED = Note(NOW, 0, "renewed", Pended(successor_of=FIRST))


def heard(key: SubscriptionKey, note: Note) -> Notified:
    """A notification."""
    return Notified(Identity("aws", note.id), key, note, "word")


def linked(key: SubscriptionKey) -> SubscriptionLinked:
    """The subscription becomes acme's."""
    return SubscriptionLinked(Identity("/tests", f"link {key}"), NOW, ACME, key)


async def lock(pool: Pool, facts: Sequence[Fact]) -> Fleet:
    """Lock what these facts may change, and let it go at once."""
    async with transaction(pool) as conn:
        return await neighbourhood.lock(conn, neighbourhood.subjects_of(facts))


async def waits(pool: Pool, other: asyncio.Task[Fleet]) -> bool:
    """Whether the other transaction comes to wait for a lock, rather than to its end."""
    query = """
        SELECT EXISTS (SELECT FROM pg_stat_activity
                       WHERE datname = current_database() AND wait_event_type = 'Lock')
    """
    async with asyncio.timeout(10):
        while not other.done():
            if await pool.fetchval(query):
                return True
    return False


@pytest.mark.parametrize(
    ("mine", "others"),
    [
        pytest.param([linked(FIRST)], [linked(AZURE)], id="the same organization"),
        pytest.param(
            [heard(FIRST, Note(NOW, 1, "a", Activated()))],
            [heard(FIRST, Note(NOW, 1, "b", Activated()))],
            id="the same subscription, of nobody",
        ),
        pytest.param(
            [heard(AZURE, Note(NOW, 1, "a", Activated()))],
            [heard(SECOND, Note(NOW, 1, "b", Activated()))],
            id="two subscriptions of one organization",
        ),
    ],
)
async def test_who_may_concern_the_same_organization_waits(
    pool: Pool, mine: Sequence[Fact], others: Sequence[Fact]
) -> None:
    """All rows are there already, so it is their locks that are waited for."""
    await _acme_has(pool, SECOND, AZURE)
    await lock(pool, [*mine, *others])

    async with transaction(pool) as conn:
        await neighbourhood.lock(conn, neighbourhood.subjects_of(mine))
        other = asyncio.create_task(lock(pool, others))
        assert await waits(pool, other)
    await other


async def test_a_successor_and_the_link_of_its_unknown_predecessor_meet(pool: Pool) -> None:
    """
    Nobody has heard of the first yet.  Whoever links it must see that the second continues it, or
    the second would be nobody's until its next news.
    """
    async with transaction(pool) as conn:
        await neighbourhood.lock(conn, neighbourhood.subjects_of([heard(SECOND, RENEWED)]))
        await _save_renewal(conn)
        other = asyncio.create_task(lock(pool, [linked(FIRST)]))
        assert await waits(pool, other)

    assert SECOND in (await other).subscriptions


async def test_a_family_that_grew_while_its_lock_was_waited_for_is_seen_whole(pool: Pool) -> None:
    """What was found before the wait is old: it is looked for again until nothing is new."""
    await lock(pool, [heard(FIRST, Note(NOW, 1, "a", Activated()))])

    async with transaction(pool) as conn:
        await neighbourhood.lock(conn, neighbourhood.subjects_of([heard(SECOND, RENEWED)]))
        await _save_renewal(conn)
        other = asyncio.create_task(lock(pool, [linked(FIRST)]))
        assert await waits(pool, other)

    assert SECOND in (await other).subscriptions


async def _acme_has(pool: Pool, *keys: SubscriptionKey) -> None:
    async with transaction(pool) as conn:
        fleet = await neighbourhood.lock(
            conn, neighbourhood.subjects_of([linked(key) for key in keys])
        )
        await subscriptions.save(
            conn, [fleet.subscription(key).linked(Link(NOW, "l", ACME)) for key in keys]
        )


async def _save_renewal(conn: Connection) -> None:
    fleet = Fleet()
    await subscriptions.save(conn, [fleet.subscription(SECOND).heard(RENEWED)])
