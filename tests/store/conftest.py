"""A database with the current schema, as its owner sees it and as the worker does."""

from collections.abc import AsyncIterator

import asyncpg
import pytest
from pydantic import SecretStr

from marketplace_worker.settings import Postgres
from marketplace_worker.store.database import Pool, connecting


@pytest.fixture
def postgres_template(schema_template: str) -> str:
    """Databases here have the current schema from the beginning."""
    return schema_template


@pytest.fixture
async def owner(postgres_dsn: str) -> AsyncIterator[Pool]:
    """Connections of who may change everything."""
    async with asyncpg.create_pool(postgres_dsn, min_size=1) as pool:
        yield pool


@pytest.fixture
async def pool(postgres_dsn: str) -> AsyncIterator[Pool]:
    """The worker's own connections."""
    async with connecting(Postgres(dsn=SecretStr(postgres_dsn))) as pool:
        yield pool
