"""An empty database, and one with the schema."""

from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr

from marketplace_worker.settings import Postgres
from marketplace_worker.store.database import Pool, connecting
from marketplace_worker.store.migrations import migrate


@pytest.fixture
async def empty(postgres_dsn: str) -> AsyncIterator[Pool]:
    """A database that was never migrated."""
    async with connecting(Postgres(dsn=SecretStr(postgres_dsn))) as pool:
        yield pool


@pytest.fixture
async def pool(empty: Pool) -> Pool:
    """A database with the current schema."""
    await migrate(empty)
    return empty
