"""A worker on a database of a test's own, with a clock that the test moves."""

from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr

from acceptance.stage import MovableClock
from marketplace_worker.app import feeds
from marketplace_worker.contract.emails import email_hasher
from marketplace_worker.lifecycle.policy import Policy
from marketplace_worker.settings import Postgres, Topics
from marketplace_worker.steps.deciding import OutboundTopics, Worker
from marketplace_worker.store.database import connecting
from marketplace_worker.store.migrations import migrate
from marketplace_worker.store.policies import PolicyBook


@pytest.fixture
def clock() -> MovableClock:
    """Stands still until the test moves it."""
    return MovableClock()


@pytest.fixture
async def worker(postgres_dsn: str, clock: MovableClock) -> AsyncIterator[Worker]:
    """What the steps work with."""
    topics = Topics()
    async with connecting(Postgres(dsn=SecretStr(postgres_dsn))) as pool:
        await migrate(pool)
        yield Worker(
            pool=pool,
            policies=PolicyBook(Policy()),
            clock=clock,
            hash_email=email_hasher(b"sixteen characters"),
            feeds=feeds(topics),
            topics=OutboundTopics(topics.lifecycle, topics.state, topics.dead_letters),
        )
