"""Fixtures for the steps: a worker on the test's own database, with a clock that the test moves."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest
from pydantic import SecretStr

from acceptance.scenario import at
from acceptance.stage import MovableClock
from marketplace_worker.contract.emails import email_hasher
from marketplace_worker.contract.topics import feeds
from marketplace_worker.inspection.fleet_view import Inspector
from marketplace_worker.lifecycle.policy import Policy
from marketplace_worker.runtime.intake import IntakeBreaker
from marketplace_worker.runtime.local_clock import LocalClock
from marketplace_worker.runtime.worker import OutboundTopics, Worker
from marketplace_worker.settings import Ingest, Postgres, Topics
from marketplace_worker.store import policies
from marketplace_worker.store.database import Pool, connecting, transaction
from marketplace_worker.store.policies import PolicyBook


@pytest.fixture
def clock() -> MovableClock:
    """A clock that stands still until the test moves it."""
    return MovableClock()


@pytest.fixture
def postgres_template(schema_template: str) -> str:
    """The template of these tests' databases, with the current schema."""
    return schema_template


@pytest.fixture
async def worker(postgres_dsn: str, clock: MovableClock) -> AsyncIterator[Worker]:
    """The dependencies of the steps."""
    async with working_on(postgres_dsn, clock) as worker:
        yield worker


@asynccontextmanager
async def working_on(dsn: str, clock: MovableClock) -> AsyncIterator[Worker]:
    """A worker on any database with the current schema, which need not be empty."""
    topics = Topics()
    async with connecting(Postgres(dsn=SecretStr(dsn))) as pool:
        async with transaction(pool) as conn:
            await policies.register(conn, Policy(), now=at(0))
        yield Worker(
            pool=pool,
            policies=PolicyBook(Policy()),
            clock=clock,
            local_clock=LocalClock(clock.of_machine),
            hash_email=email_hasher(b"sixteen characters"),
            feeds=feeds(topics),
            topics=OutboundTopics(topics.lifecycle, topics.state, topics.dead_letters),
            intake=IntakeBreaker(Ingest()),
        )


@pytest.fixture
async def owner(worker: Worker, postgres_dsn: str) -> AsyncIterator[Pool]:
    """A pool of connections to the worker's database as its owner."""
    assert worker is not None, "it has made the schema"
    async with asyncpg.create_pool(postgres_dsn, min_size=1, max_size=2) as pool:
        yield pool


@pytest.fixture
def inspector(worker: Worker) -> Inspector:
    """An inspector with a clock long after the events."""
    return Inspector(worker.pool, worker.policies, at(1_000))
