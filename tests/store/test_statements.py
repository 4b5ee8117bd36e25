"""Every statement is valid for the current schema."""

from importlib import resources

import pytest

from marketplace_worker.store.database import Pool
from marketplace_worker.store.queries import queries

STORE = resources.files("marketplace_worker.store")
TABLES = sorted(
    each.name.removesuffix(".sql") for each in STORE.iterdir() if each.name.endswith(".sql")
)


@pytest.mark.parametrize("table", TABLES)
async def test_every_statement_can_be_prepared(pool: Pool, table: str) -> None:
    """Finds misspelt columns and wrong types without running the statements."""
    async with pool.acquire() as conn:
        for statement in queries(table).values():
            await conn.prepare(statement)
