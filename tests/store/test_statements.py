"""Every statement is one that this schema can run."""

import pytest

from marketplace_worker.store.database import Pool
from marketplace_worker.store.queries import queries

TABLES = ("activity", "dead_letters", "decisions", "intake", "journal", "migrations",
          "organizations", "outbox", "policies", "possible_use", "refolding", "safeguards",
          "snapshots", "subscriptions")  # fmt: skip


@pytest.mark.parametrize("table", TABLES)
async def test_every_statement_can_be_prepared(pool: Pool, table: str) -> None:
    """A misspelt column or a wrong type is found here, not at night."""
    async with pool.acquire() as conn:
        for statement in queries(table).values():
            await conn.prepare(statement)
