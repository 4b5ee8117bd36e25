"""A database that any commit since 0.1 left verifies without difference after `migrate`."""

import gzip
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from pydantic import SecretStr

import servers
from marketplace_worker.inspection.fleet_view import Inspector
from marketplace_worker.inspection.replaying import verify
from marketplace_worker.lifecycle.policy import Policy
from marketplace_worker.settings import Postgres
from marketplace_worker.store import organizations
from marketplace_worker.store.database import Pool, connecting, transaction
from marketplace_worker.store.migrations import migrate, require_current_schema
from marketplace_worker.store.policies import PolicyBook

LEFT = sorted((Path(__file__).parent / "fixtures/left").glob("*.sql.gz"))
RELEASE_0_2 = Path(__file__).parent / "fixtures/left/e4539bc.sql.gz"
"""Its schema is today's; its documents state no version."""

ROLE = """DO $$ BEGIN
    CREATE ROLE marketplace_worker_app NOLOGIN;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$"""
"""The database's roles are the server's, and not in the file."""

SUMS = """
SELECT state, sum(change)::bigint AS n FROM state_changes
GROUP BY state HAVING sum(change) <> 0 ORDER BY state
"""
COUNTS = (
    "SELECT state, count(*) AS n FROM organizations WHERE created GROUP BY state ORDER BY state"
)


@pytest.fixture
def postgres_template() -> str:
    """Nothing: each test here migrates a database from an earlier schema."""
    return servers.EMPTY


@pytest.fixture(params=LEFT, ids=lambda file: file.name.partition(".")[0])
async def left(request: pytest.FixtureRequest, postgres_dsn: str) -> AsyncIterator[Pool]:
    """Connections of the owner of a database that an old commit left."""
    # One connection by itself: the file sets what must not outlive it.
    connection = await asyncpg.connect(postgres_dsn)
    try:
        await connection.execute(ROLE)
        await connection.execute(gzip.decompress(request.param.read_bytes()).decode())
    finally:
        await connection.close()
    async with asyncpg.create_pool(postgres_dsn, min_size=1, max_size=2) as owner:
        yield owner


async def test_a_database_that_any_commit_left_verifies_after_the_migration(
    left: Pool, postgres_dsn: str
) -> None:
    """Also one between two releases, whose migrations were written anew since; and once more after
    a second `migrate`, which has nothing to do.
    """
    stored = await left.fetchval("SELECT count(*) FROM organizations")
    assert stored > 20

    assert await migrate(left) != []
    assert await migrate(left) == []
    assert await left.fetch(SUMS) == await left.fetch(COUNTS)

    async with connecting(Postgres(dsn=SecretStr(postgres_dsn))) as pool:
        await require_current_schema(pool)
        assert await verified(pool) >= stored


@pytest.mark.parametrize("left", [RELEASE_0_2], ids=["e4539bc"], indirect=True)
async def test_documents_of_0_2_are_processed_further_beside_those_of_today(
    left: Pool, postgres_dsn: str
) -> None:
    """Half of the organizations are written again: the journal, of which not a byte has changed,
    still comes to all of them.
    """
    await migrate(left)
    async with connecting(Postgres(dsn=SecretStr(postgres_dsn))) as pool:
        async with transaction(pool) as conn:
            rows = await conn.fetch("SELECT organization_id, next_due_at FROM organizations")
            due_at = {row["organization_id"]: row["next_due_at"] for row in rows[::2]}
            locked = await organizations.lock(conn, due_at.keys())
            await organizations.save(conn, locked, due_at)
        versions = await pool.fetch(
            "SELECT document ->> 'format' AS format, count(*) FROM organizations GROUP BY 1"
        )
        assert dict(map(tuple, versions)) == {None: len(rows) // 2, "1": len(due_at)}
        assert await verified(pool) == len(rows)


async def verified(pool: Pool) -> int:
    """The number of organizations that verify without a difference."""
    now = await pool.fetchval("SELECT now()")
    pages = [page async for page in verify(Inspector(pool, PolicyBook(Policy()), now))]
    assert [each for page in pages for each in page.differences] == []
    return sum(page.organizations for page in pages)
