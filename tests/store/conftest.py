"""A database as its owner sees it, empty at first; and as the worker does, with the schema."""

from collections.abc import AsyncIterator

import asyncpg
import pytest
from pydantic import SecretStr

from marketplace_worker.settings import Postgres
from marketplace_worker.store.database import Pool, connecting
from marketplace_worker.store.migrations import migrate


@pytest.fixture
async def owner(postgres_dsn: str) -> AsyncIterator[Pool]:
    """Connections of who may change everything; the database was never migrated."""
    async with asyncpg.create_pool(postgres_dsn, min_size=1) as pool:
        yield pool


@pytest.fixture
async def pool(owner: Pool, postgres_dsn: str) -> AsyncIterator[Pool]:
    """The worker's own connections to a database with the current schema."""
    await migrate(owner)
    async with connecting(Postgres(dsn=SecretStr(postgres_dsn))) as pool:
        yield pool
