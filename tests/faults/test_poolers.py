"""PgBouncer between the worker and Postgres: session pooling works, other modes are refused."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import pytest
from pydantic import SecretStr

import servers
from acceptance.stage import command
from faults.pgbouncer import pgbouncer
from marketplace_worker.errors import Misconfigured, Unavailable
from marketplace_worker.settings import Postgres
from marketplace_worker.store import sessions
from marketplace_worker.store.database import connecting, transaction
from marketplace_worker.store.migrations import migrate, require_current_schema

pytestmark = pytest.mark.faults


@pytest.fixture
async def dsn(postgres_server: str) -> AsyncIterator[str]:
    """A database with the schema for each test."""
    async with servers.fresh_database(postgres_server, f"pooled_{uuid4().hex}") as dsn:
        async with connecting(Postgres(dsn=SecretStr(dsn))) as pool:
            await migrate(pool)
        yield dsn


@asynccontextmanager
async def others(dsn: str, count: int) -> AsyncIterator[None]:
    """Clients that query continuously, so that PgBouncer reassigns server connections."""
    connections = [await asyncpg.connect(dsn, statement_cache_size=0) for _ in range(count)]

    async def ask(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        while True:
            await connection.execute("SELECT pg_sleep(0.001)")

    tasks = [asyncio.create_task(ask(each)) for each in connections]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for each in connections:
            each.terminate()


@pytest.mark.parametrize("busy", [0, 4], ids=["alone", "with others"])
@pytest.mark.parametrize("mode", ["transaction", "statement"])
async def test_a_pooler_without_sessions_is_refused_by_name(
    dsn: str, tmp_path: Path, mode: str, busy: int
) -> None:
    """Before the worker changes a setting of a connection that another client would get next."""
    async with pgbouncer(tmp_path / "pgbouncer", dsn, mode) as pooled, others(pooled, busy):
        with pytest.raises(Misconfigured, match=r"pooler in transaction mode \(PgBouncer: pool_"):
            async with connecting(Postgres(dsn=SecretStr(pooled))):
                pass
        server = await asyncpg.connect(pooled, statement_cache_size=0)
        role = await server.fetchval("SELECT current_setting('role')")
        await server.close()
    assert role == "none"


async def test_the_command_reports_it_with_status_2(dsn: str, tmp_path: Path) -> None:
    """Only an operator can fix it."""
    settings = tmp_path / "settings.toml"
    async with pgbouncer(tmp_path / "pgbouncer", dsn, "transaction") as pooled:
        settings.write_text(
            f"email_key = 'sixteen characters'\n[kafka]\nbootstrap_servers = '127.0.0.1:1'\n"
            f"[postgres]\ndsn = '{pooled}'\n"
        )
        async with command("run", "--config", str(settings)) as child:
            output, _ = await child.communicate()
    assert child.returncode == 2
    assert b"set pool_mode=session" in output


async def test_with_session_pooling_a_worker_has_its_role_and_its_time_outs(
    dsn: str, tmp_path: Path
) -> None:
    """PgBouncer would refuse or ignore them as startup parameters."""
    postgres = Postgres(dsn=SecretStr(dsn), statement_timeout_ms=300)
    for passed_over in ("", "statement_timeout,idle_in_transaction_session_timeout"):
        folder = tmp_path / f"pgbouncer{len(passed_over)}"
        async with pgbouncer(
            folder, dsn, "session", ignore_startup_parameters=passed_over
        ) as pooled:
            through = postgres.model_copy(update={"dsn": SecretStr(pooled)})
            async with connecting(through) as pool:
                await require_current_schema(pool)
                assert await pool.fetchval("SELECT current_user") == "marketplace_worker_app"
                with pytest.raises(Unavailable, match="statement timeout"):
                    async with transaction(pool) as conn:
                        await conn.execute("SELECT pg_sleep(20)")


async def test_a_pooler_with_a_single_session_counts_as_session_pooling(
    dsn: str, tmp_path: Path
) -> None:
    """The check needs two connections; if the second one times out, sessions are not shared."""
    async with pgbouncer(tmp_path / "pgbouncer", dsn, "session", default_pool_size="1") as pooled:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(sessions, "POOLER_TIMEOUT_S", 0.5)
            async with connecting(Postgres(dsn=SecretStr(pooled))) as pool:
                assert await pool.fetchval("SELECT 1") == 1


async def test_required_server_settings_are_checked(dsn: str) -> None:
    """Without them, a crash of Postgres would lose batches whose offsets are committed."""
    connection = await asyncpg.connect(dsn)
    database = urlsplit(dsn).path[1:]
    await connection.execute(f"ALTER DATABASE {database} SET synchronous_commit = off")
    await connection.close()
    with pytest.raises(Misconfigured, match="synchronous_commit is off"):
        async with connecting(Postgres(dsn=SecretStr(dsn))):
            pass
