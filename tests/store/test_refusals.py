"""Which of Postgres's refusals pass by themselves, and which are of what we write."""

import secrets

import asyncpg
import pytest

from marketplace_worker.lifecycle.vocabulary import Marketplace, OrganizationId, SubscriptionKey
from marketplace_worker.store import subscriptions
from marketplace_worker.store.database import Pool, transaction


async def test_what_is_too_large_for_an_index_does_not_pass_by_itself(pool: Pool) -> None:
    """It would be tried for ever; so it is found in its batch, and parked."""
    large = SubscriptionKey(Marketplace.AWS, secrets.token_hex(4_000))

    with pytest.raises(asyncpg.ProgramLimitExceededError):
        async with transaction(pool) as conn:
            await subscriptions.link(conn, {(OrganizationId("acme"), large)})
