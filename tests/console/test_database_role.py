"""The console works with a database login that may only read, and cannot write with any."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import pytest
from pydantic import SecretStr

from marketplace_worker.console.application import PAGES, application
from marketplace_worker.console.page import PageContext
from marketplace_worker.errors import Unavailable
from marketplace_worker.lifecycle.policy import Policy
from marketplace_worker.settings import Console, Postgres
from marketplace_worker.store.database import Pool, connecting, transaction
from marketplace_worker.store.migrations import require_current_schema
from marketplace_worker.store.policies import PolicyBook
from marketplace_worker.store.sessions import Access

from .conftest import browsing
from .test_pages import PATHS

PAGE = Path(__file__).parents[2] / "docs/security.md"

INSERT = "INSERT INTO crowded_accounts VALUES ('aws', 'account')"


def sql_of_the_page() -> str:
    """The statements that make the login."""
    section = PAGE.read_text(encoding="utf-8").partition("## The console's database role")[2]
    (statements,) = re.findall(r"```sql\n(.*?)```", section, re.DOTALL)
    return str(statements)


@pytest.fixture
async def owner(postgres_dsn: str) -> AsyncIterator[Pool]:
    """Connections of the owner of the tables."""
    async with asyncpg.create_pool(postgres_dsn, min_size=1, max_size=2) as pool:
        yield pool


@pytest.fixture
async def reader(owner: Pool, postgres_dsn: str) -> AsyncIterator[Postgres]:
    """The login of the page, under a name of its own."""
    name = f"console_{uuid4().hex}"
    await owner.execute(re.sub(r"\bconsole\b", name, sql_of_the_page()).replace("'…'", "'secret'"))
    parts = urlsplit(postgres_dsn)
    login = parts._replace(netloc=f"{name}:secret@{parts.hostname}:{parts.port}")
    yield Postgres(dsn=SecretStr(login.geturl()))
    await owner.execute(f"DROP OWNED BY {name}; DROP USER {name}")


async def test_every_page_works_with_a_login_that_may_only_read(reader: Postgres) -> None:
    """The console changes nothing, so it needs no more."""
    async with connecting(reader, Access.READ) as pool:
        await require_current_schema(pool)
        app = application(PageContext(pool, PolicyBook(Policy())), Console())
        async with browsing(app) as browser:
            for route in PAGES:
                path = str(getattr(route, "path", ""))
                answer = await browser.get(PATHS.get(path, path))
                assert answer.status_code == 200, (path, answer.text)


async def test_it_reads_tables_of_later_versions(owner: Pool, reader: Postgres) -> None:
    """The owner's default privileges reach what a migration adds."""
    await owner.execute("CREATE TABLE later (n integer GENERATED ALWAYS AS IDENTITY)")
    async with connecting(reader, Access.READ) as pool, transaction(pool) as conn:
        assert await conn.fetchval("SELECT count(*) FROM later") == 0


async def test_that_login_cannot_write(reader: Postgres) -> None:
    """Whoever has stolen it leaves the console's read-only transactions."""
    async with asyncpg.create_pool(reader.dsn.get_secret_value(), min_size=1, max_size=1) as pool:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await pool.execute(INSERT)
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await pool.execute("SELECT nextval('outbox_id_seq')")


async def test_the_console_cannot_write_with_the_owners_login(pool: Pool) -> None:
    """Its transactions are read-only, whatever its login may do."""
    with pytest.raises(Unavailable, match="ReadOnlySQLTransactionError"):
        async with transaction(pool) as conn:
            await conn.execute(INSERT)
