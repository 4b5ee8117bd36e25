"""The rights of the worker's role: it can only append to the journal and the history."""

from collections.abc import AsyncIterator
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import pytest
from pydantic import SecretStr

from marketplace_worker.errors import Misconfigured
from marketplace_worker.settings import Postgres
from marketplace_worker.store import sessions
from marketplace_worker.store.database import Pool, connecting
from marketplace_worker.store.migrations import migrate, require_current_schema


@pytest.fixture
async def filled(owner: Pool, pool: Pool) -> Pool:
    """One row in each."""
    await owner.execute("""
        INSERT INTO journal (source, message_id, kind, occurred_at, decided_at, policy_version,
                             organization_id, outcome, fact, salt, content_hash, previous_hash,
                             hash)
        VALUES ('s', 'm', 'k', now(), now(), 'v', 'acme', 'applied', '{}', '', '', '', '');
        INSERT INTO decisions (source, message_id, organization_id, decided_at, policy_version,
                               events)
        VALUES ('s', 'm', 'acme', now(), 'v', '[{"details": 1}]');
        INSERT INTO organizations (organization_id, document, state, sequence)
        VALUES ('acme', '{}', 'active', 0);
    """)
    return pool


@pytest.mark.parametrize("table", ["journal", "decisions"])
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE {} SET policy_version = 'another'",
        "DELETE FROM {}",
        "TRUNCATE {}",
        "ALTER TABLE {} ADD COLUMN x integer",
        "DROP TABLE {}",
    ],
)
async def test_what_was_written_down_cannot_be_changed(
    filled: Pool, table: str, statement: str
) -> None:
    """Neither by the worker nor by an attacker with its credentials."""
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await filled.execute(statement.format(table))


async def test_what_is_young_cannot_be_retired(filled: Pool, owner: Pool) -> None:
    """The function itself checks the age of the rows."""
    rows = "SELECT count(*) FROM journal"
    await filled.execute("SELECT retire_journal(ARRAY(SELECT id FROM journal))")
    assert await filled.fetchval(rows) == 1

    await owner.execute("UPDATE journal SET decided_at = now() - interval '31 days'")
    await filled.execute("SELECT retire_journal(ARRAY(SELECT id FROM journal))")
    assert await filled.fetchval(rows) == 0
    assert await filled.fetchval("SELECT count(*) FROM decisions") == 0


async def test_only_who_was_erased_can_be_emptied(filled: Pool, owner: Pool) -> None:
    """The function itself checks for the erasure."""
    left = "SELECT count(fact) FROM journal"
    await filled.execute("SELECT erase_journal('acme')")
    assert await filled.fetchval(left) == 1

    await owner.execute("""UPDATE organizations SET document = '{"erased_at": "2026-01-01"}'""")
    await filled.execute("SELECT erase_journal('acme')")
    assert await filled.fetchval(left) == 0
    assert await filled.fetchval("SELECT events::text FROM decisions") == "[]"


async def test_a_row_without_its_hash_cannot_be_added(pool: Pool) -> None:
    """A bug cannot write one either."""
    with pytest.raises(asyncpg.CheckViolationError, match="journal_is_chained"):
        await pool.execute("""
            INSERT INTO journal (source, message_id, kind, occurred_at, decided_at, policy_version,
                                 outcome, fact)
            VALUES ('s', 'm', 'k', now(), now(), 'v', 'applied', '{}')
        """)


async def test_every_connection_works_as_that_role(pool: Pool) -> None:
    """Whatever its login; here the server's superuser."""
    assert await pool.fetchval("SELECT current_user") == "marketplace_worker_app"
    assert await pool.fetchval("SELECT session_user") != "marketplace_worker_app"


@pytest.fixture
async def user(owner: Pool, pool: Pool, postgres_dsn: str) -> AsyncIterator[Postgres]:
    """Settings of a user of the workers' own, who owns nothing and is granted nothing yet."""
    assert pool is not None, "the schema is there"
    name = f"worker_{uuid4().hex}"
    await owner.execute(f"CREATE USER {name} PASSWORD 'secret'")
    parts = urlsplit(postgres_dsn)
    login = parts._replace(netloc=f"{name}:secret@{parts.hostname}:{parts.port}")
    yield Postgres(dsn=SecretStr(login.geturl()))
    await owner.execute(f"DROP USER {name}")


def name_of(user: Postgres) -> str:
    """The name of a login."""
    return urlsplit(user.dsn.get_secret_value()).username or ""


async def test_a_user_of_the_workers_own_needs_no_more_than_the_role(
    owner: Pool, user: Postgres
) -> None:
    """It can start; and it cannot change the journal, though it leaves the role."""
    await owner.execute(f"GRANT marketplace_worker_app TO {name_of(user)}")

    async with connecting(user) as pool:
        await require_current_schema(pool)
        assert await pool.fetchval("SELECT current_user") == "marketplace_worker_app"
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await pool.execute("SET LOCAL ROLE NONE; DELETE FROM journal")


async def test_a_user_without_the_role_gets_the_grant_to_run(user: Postgres) -> None:
    """Before anything runs with other rights."""
    with pytest.raises(Misconfigured, match="GRANT marketplace_worker_app TO"):
        async with connecting(user):
            pass


async def test_a_user_who_does_not_own_the_tables_cannot_migrate(
    owner: Pool, user: Postgres
) -> None:
    """`Misconfigured`: only a person can fix it."""
    await owner.execute(f"GRANT marketplace_worker_app TO {name_of(user)}")
    async with connecting(user) as pool:
        with pytest.raises(
            Misconfigured, match=r"may not migrate this database .permission denied"
        ):
            await migrate(pool)


async def test_a_session_that_works_as_another_is_refused(
    owner: Pool, user: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its rights would not be those of the configured user."""
    await owner.execute(f"GRANT marketplace_worker_app TO {name_of(user)}")
    undone = sessions.SQL["begin"].replace("set_config('role', $4, false)", "$4")
    monkeypatch.setitem(sessions.SQL, "begin", undone)
    with pytest.raises(Misconfigured, match=f"role is {name_of(user)} instead of marketplace"):
        async with connecting(user):
            pass
