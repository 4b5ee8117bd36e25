"""Debian's Postgres with TLS: trusted certificates, logins, and the messages of refusals."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from pydantic import SecretStr

import servers
from acceptance.stage import until
from certificates import Authority
from faults.debian_postgres import CERTIFIED, TlsServer, tls_server
from marketplace_worker.embedded import process
from marketplace_worker.errors import Misconfigured, Unavailable
from marketplace_worker.settings import Postgres, SecretFile
from marketplace_worker.store.database import connecting, transaction

pytestmark = pytest.mark.faults


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TlsServer]:
    """One server for all tests of the module."""
    async with AsyncExitStack() as stack:
        folder = await stack.enter_async_context(
            servers.own_folder(tmp_path_factory.mktemp("postgres"))
        )
        folder.mkdir(parents=True, exist_ok=True)
        authority = Authority(tmp_path_factory.mktemp("authority"))
        server = await stack.enter_async_context(tls_server(folder, authority))
        await until(lambda: _answers(server))
        await server.execute(f"CREATE USER {CERTIFIED}", "CREATE USER renewed PASSWORD 'first'")
        yield server


async def _answers(server: TlsServer) -> bool:
    try:
        await server.execute("SELECT 1")
    except (OSError, asyncpg.PostgresError):
        return False
    return True


def settings(server: TlsServer, dsn: str | SecretStr = "", **changes: Any) -> Postgres:  # noqa: ANN401 - settings
    """Validated settings of a worker that trusts only the server's CA."""
    own = {"sslmode": "verify-full", "ssl_root_cert_file": server.authority.certificate}
    secret = dsn if isinstance(dsn, SecretStr) else SecretStr(dsn or server.dsn())
    return Postgres(**{"dsn": secret, **own, **changes})


async def refusal(postgres: Postgres, *others: type[Exception]) -> str:
    """The message of a refused start: `Misconfigured`, or one of the `others`."""
    with pytest.raises((Misconfigured, *others)) as error:
        async with connecting(postgres):
            pass
    return str(error.value)


async def encrypted(postgres: Postgres) -> bool:
    """Whether the worker's connections are encrypted."""
    async with connecting(postgres) as pool:
        mine = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
        return bool(await pool.fetchval(mine))


async def test_a_server_with_a_valid_certificate_is_connected_to(server: TlsServer) -> None:
    """With the settings, and with a DSN of the same content."""
    assert await encrypted(settings(server))
    root = server.authority.certificate
    written = f"{server.dsn()}?sslmode=verify-full&sslrootcert={root}"
    assert await encrypted(Postgres(dsn=SecretStr(written)))


async def test_a_certificate_of_another_authority_is_reported(
    server: TlsServer, tmp_path: Path
) -> None:
    """The message names the certificate, not the URL."""
    stranger = Authority(tmp_path / "stranger")
    message = await refusal(settings(server, ssl_root_cert_file=stranger.certificate))
    assert (
        "its certificate was issued by an authority that is not in postgres.ssl_root_cert_file"
        in message
    )
    assert f"Postgres at {process.LOOPBACK}:{server.port}: " in message


async def test_a_certificate_for_another_host_is_reported(server: TlsServer) -> None:
    """Its certificate is for 127.0.0.1 only; with verify-ca the name is not checked."""
    elsewhere = server.dsn(host="localhost")
    message = await refusal(settings(server, elsewhere))
    assert "its certificate is for another host name: set postgres.dsn to a name" in message
    assert await encrypted(settings(server, elsewhere, sslmode="verify-ca"))


async def test_an_expired_certificate_is_reported(server: TlsServer) -> None:
    """The server's certificate."""
    expired = server.authority.issue("expired", process.LOOPBACK, expired=True)
    await server.show(expired)
    try:

        async def is_shown() -> bool:
            try:
                async with connecting(settings(server)):
                    return False
            except Misconfigured as refused:
                return "its certificate has expired" in str(refused)

        await until(is_shown)
    finally:
        await server.show(server.authority.issue("postgres", process.LOOPBACK))


async def test_a_wrong_password_and_a_connection_without_tls_are_reported(
    server: TlsServer,
) -> None:
    """With Postgres's own message, and without the password."""
    wrong = server.dsn().replace(server.password, "no-such")
    message = await refusal(settings(server, wrong))
    assert '(postgres.dsn): password authentication failed for user "postgres"' in message
    assert "no-such" not in message
    message = await refusal(settings(server, sslmode="disable", ssl_root_cert_file=None))
    assert "no encryption" in message


async def test_a_server_without_tls_is_reported(server: TlsServer, postgres_dsn: str) -> None:
    """The embedded Postgres is built without TLS."""
    assert "does not support TLS: enable it there, or change postgres.sslmode" in await refusal(
        settings(server, postgres_dsn)
    )


async def test_a_client_certificate_logs_in_and_a_refused_one_is_reported(
    server: TlsServer, tmp_path: Path
) -> None:
    """Configured by settings, or in a DSN in libpq's terms."""
    ours = server.authority.issue(CERTIFIED)
    own = {"ssl_cert_file": ours.certificate, "ssl_key_file": ours.key}
    assert await encrypted(settings(server, server.dsn(CERTIFIED), **own))
    message = await refusal(settings(server, server.dsn(CERTIFIED)))
    assert "set postgres.ssl_cert_file and ssl_key_file" in message
    strange = Authority(tmp_path / "stranger").issue(CERTIFIED)
    shown = {"ssl_cert_file": strange.certificate, "ssl_key_file": strange.key}
    # The server sends the message and closes the connection; either may be noticed first.
    message = await refusal(settings(server, server.dsn(CERTIFIED), **shown), Unavailable)
    assert "does not accept our certificate, postgres.ssl_cert_file" in message
    other = server.authority.issue("somebody")
    shown = {"ssl_cert_file": other.certificate, "ssl_key_file": other.key}
    message = await refusal(settings(server, server.dsn(CERTIFIED), **shown))
    assert "certificate authentication failed" in message


async def test_a_renewed_certificate_is_read_from_its_file(
    server: TlsServer, tmp_path: Path
) -> None:
    """The next connection uses it, as with Kafka."""
    ours, files = server.authority.issue(CERTIFIED), {}
    for name, issued in (("ssl_cert_file", ours.certificate), ("ssl_key_file", ours.key)):
        files[name] = tmp_path / name
        files[name].write_bytes(issued.read_bytes())
        files[name].chmod(0o600)
    async with connecting(settings(server, server.dsn(CERTIFIED), **files)) as pool:
        await pool.expire_connections()
        files["ssl_cert_file"].write_text("-----BEGIN CERTIFICATE-----\n")
        with pytest.raises(Unavailable):
            async with transaction(pool):
                pass
        renewed = server.authority.issue(CERTIFIED)
        files["ssl_cert_file"].write_bytes(renewed.certificate.read_bytes())
        files["ssl_key_file"].write_bytes(renewed.key.read_bytes())
        async with transaction(pool) as conn:
            assert await conn.fetchval("SELECT current_user") == CERTIFIED


async def test_a_renewed_dsn_is_read_from_its_file(server: TlsServer, tmp_path: Path) -> None:
    """The next connection uses it; until then the worker waits, and reports the reason."""
    file = tmp_path / "dsn"
    renewed = server.dsn("renewed").replace("renewed@", "renewed:{}@")
    file.write_text(renewed.format("first"))
    async with connecting(settings(server, SecretFile(file))) as pool:
        await server.execute("ALTER USER renewed PASSWORD 'second'")
        await pool.expire_connections()
        with pytest.raises(Unavailable, match=r"password authentication failed for user .renewed"):
            async with transaction(pool):
                pass
        file.write_text("")
        with pytest.raises(Unavailable, match="dsn is empty"):
            async with transaction(pool):
                pass
        file.write_text(renewed.format("second") + "\n")
        async with transaction(pool) as conn:
            assert await conn.fetchval("SELECT current_user") == "renewed"
