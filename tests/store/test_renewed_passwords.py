"""Passwords and certificates for Postgres are replaced on disk while the worker runs."""

import asyncio
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import pytest
from pydantic import SecretStr

from marketplace_worker.errors import Unavailable
from marketplace_worker.runtime.probes import keep_connections_current
from marketplace_worker.settings import Postgres, SecretFile
from marketplace_worker.settings.credentials import Credentials
from marketplace_worker.store.database import Pool, connecting
from marketplace_worker.store.migrations import migrate
from marketplace_worker.store.sessions import APPLICATION_ROLE


def dsn_of(user: str, dsn: str) -> str:
    """The DSN with another user."""
    url = urlsplit(dsn)
    return url._replace(netloc=f"{user}:secret@{url.hostname}:{url.port}").geturl()


async def users(pool: Pool) -> set[str]:
    """The users of several connections of the pool that are in use at once."""

    async def user() -> str:
        async with pool.acquire() as connection:
            await asyncio.sleep(0.05)
            return str(await connection.fetchval("SELECT session_user"))

    return set(await asyncio.gather(*(user() for _ in range(3))))


async def test_connections_are_made_anew_when_the_dsns_file_changes(
    postgres_dsn: str, tmp_path: Path
) -> None:
    """An invalid DSN changes nothing, because the file may be half written."""
    before, after = (f"user_{uuid4().hex}" for _ in range(2))
    async with connecting(Postgres(dsn=SecretStr(postgres_dsn))) as pool:
        await migrate(pool)
    owner = await asyncpg.connect(postgres_dsn)
    try:
        await owner.execute(
            f"CREATE ROLE {before} LOGIN PASSWORD 'secret' IN ROLE {APPLICATION_ROLE};"
            f"CREATE ROLE {after} LOGIN PASSWORD 'secret' IN ROLE {APPLICATION_ROLE}"
        )
        file = tmp_path / "dsn"
        file.write_text(dsn_of(before, postgres_dsn))
        postgres = Postgres(dsn=SecretFile(file), pool_connections_max=8)
        credentials = Credentials(postgres)
        async with connecting(postgres) as pool:
            assert await users(pool) == {before}
            await keep_connections_current(pool, postgres, credentials)
            assert await users(pool) == {before}

            file.write_text(dsn_of("nobody_there", postgres_dsn))
            with pytest.raises(Unavailable, match="open a connection to Postgres: Postgres at"):
                await keep_connections_current(pool, postgres, credentials)
            file.write_text("")
            await keep_connections_current(pool, postgres, credentials)
            assert await users(pool) == {before}

            file.write_text(dsn_of(after, postgres_dsn))
            await keep_connections_current(pool, postgres, credentials)
            assert await users(pool) == {after}
    finally:
        await owner.execute(f"DROP ROLE {before}; DROP ROLE {after}")
        await owner.close()


def test_credentials_change_with_the_files_alone(tmp_path: Path) -> None:
    """A certificate as well as a secret; values in the settings themselves stay."""
    secret, root = tmp_path / "dsn", tmp_path / "root.pem"
    secret.write_text("postgresql://one")
    root.write_text("one")
    postgres = Postgres(dsn=SecretFile(secret), sslmode="verify-full", ssl_root_cert_file=root)
    credentials = Credentials(postgres)
    assert not credentials.changed
    for file in (secret, root):
        file.write_text("postgresql://two")
        assert credentials.changed
        credentials.use()
        assert not credentials.changed
    root.unlink()
    assert not credentials.changed, "it is just being replaced"
    assert not Credentials(Postgres(dsn=SecretStr("postgresql://one"))).changed
