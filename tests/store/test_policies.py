"""Policies by version: registered once, never changed, found for pinned organizations."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from marketplace_worker.errors import Misconfigured
from marketplace_worker.lifecycle.cancellation import Cancellation
from marketplace_worker.lifecycle.fleet import Fleet
from marketplace_worker.lifecycle.organization import Organization
from marketplace_worker.lifecycle.policy import Policy
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.vocabulary import OrganizationId
from marketplace_worker.store import policies
from marketplace_worker.store.database import Pool, transaction
from marketplace_worker.store.policies import PolicyBook

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SPRING = Policy(version="spring")
SUMMER = replace(SPRING, version="summer", guard=replace(SPRING.guard, minimum=7))


async def register(pool: Pool, policy: Policy, *, now: datetime = NOW) -> None:
    """Register a policy as a starting worker does."""
    async with transaction(pool) as conn:
        await policies.register(conn, policy, now=now)


def pinned_to(version: str) -> Fleet:
    """A fleet of one organization that was canceled under a policy."""
    fleet = Fleet()
    fleet.put(
        Organization(
            OrganizationId("acme"),
            state=State.CANCELED,
            cancellation=Cancellation(NOW, "story", version),
        )
    )
    return fleet


async def test_a_policy_is_kept_once_however_many_workers_start_with_it(pool: Pool) -> None:
    """With the time of its first use; a restart does not change it."""
    await asyncio.gather(*(register(pool, SPRING) for _ in range(4)))
    await register(pool, SPRING, now=NOW + timedelta(days=1))

    rows = await pool.fetch("SELECT version, first_used_at FROM policies")
    assert [tuple(row) for row in rows] == [("spring", NOW)]


async def test_another_policy_under_the_same_version_is_refused_with_what_to_do(
    pool: Pool,
) -> None:
    """Organizations are pinned to a version, whose content must not change."""
    await register(pool, SPRING)

    with pytest.raises(Misconfigured, match=r"policy spring: .* set another `version`"):
        await register(pool, replace(SUMMER, version="spring"))

    async with transaction(pool) as conn:
        assert await policies.read(conn, ["spring"]) == {"spring": SPRING}


async def test_a_policy_that_another_worker_registered_meanwhile_is_found(pool: Pool) -> None:
    """During a rollout one worker cancels under the new policy, and one of the old decides next."""
    book = PolicyBook(SPRING)
    async with transaction(pool) as conn:
        before = await book.policies_for(conn, pinned_to("summer"))
    await register(pool, SUMMER)

    async with transaction(pool) as conn:
        after = await book.policies_for(conn, pinned_to("summer"))

    assert before.pinned_to("summer") == SPRING, "unknown to all: as the one in force"
    assert after.pinned_to("summer").version == "summer"
