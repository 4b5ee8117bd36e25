"""Debian's Postgres with TLS: the one of the wheel is built without."""

import secrets
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest

from certificates import Authority, Certificate
from faults.pgbouncer import change_owner, listens, nobody
from marketplace_worker.embedded import process
from marketplace_worker.embedded.process import Command

PROGRAMS = Path("/usr/lib/postgresql")
CERTIFIED = "certified"
"""The user who logs in with a certificate of that name."""


@dataclass(frozen=True)
class TlsServer:
    """A server that accepts only connections with TLS."""

    port: int
    password: str
    folder: Path
    authority: Authority

    def dsn(self, user: str = "postgres", *, host: str = process.LOOPBACK) -> str:
        """The DSN of a user, for the superuser with its password."""
        password = f":{self.password}" if user == "postgres" else ""
        return f"postgresql://{user}{password}@{host}:{self.port}/postgres"

    async def show(self, certificate: Certificate) -> None:
        """Configure the server's certificate."""
        _place(self.folder, certificate)
        await self.execute("SELECT pg_reload_conf()")

    async def execute(self, *statements: str) -> None:
        """Run statements as the superuser."""
        connection = await asyncpg.connect(self.dsn(), ssl="require")
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()


def _place(folder: Path, certificate: Certificate) -> None:
    for file, kind in ((certificate.certificate, "crt"), (certificate.key, "key")):
        placed = folder / f"server.{kind}"
        placed.write_bytes(file.read_bytes())
        placed.chmod(0o600)
        change_owner(placed)


@asynccontextmanager
async def tls_server(folder: Path, authority: Authority) -> AsyncIterator[TlsServer]:
    """Run a server until the block is left."""
    binaries = sorted(PROGRAMS.glob("*/bin"))  # noqa: ASYNC240 - a moment, in a test
    if not binaries:
        pytest.fail("Debian's Postgres is not installed: apt-get install postgresql")
    data, password_file = folder / "data", folder / "password"
    password = secrets.token_hex(8)
    password_file.write_text(password)
    trusted = folder / "authority.pem"
    trusted.write_bytes(authority.certificate.read_bytes())
    change_owner(folder, password_file, trusted)
    _place(folder, authority.issue("postgres", process.LOOPBACK))
    await process.finished(
        Command(
            name="initdb",
            program=[
                str(binaries[-1] / "initdb"), f"--pgdata={data}", "--username=postgres",
                f"--pwfile={password_file}", "--auth=scram-sha-256", "--encoding=UTF8",
                "--locale=C", "--no-sync",
            ],
            folder=folder,
            stop_signals=(signal.SIGTERM,),
            account=nobody(),
        ),
        within_seconds=60,
    )  # fmt: skip
    (data / "pg_hba.conf").write_text(
        f"hostssl all {CERTIFIED} 127.0.0.1/32 cert\nhostssl all all 127.0.0.1/32 scram-sha-256\n"
    )

    def command(port: int) -> Command:
        settings = {
            "port": port, "listen_addresses": process.LOOPBACK, "unix_socket_directories": "",
            "ssl": "on", "ssl_cert_file": folder / "server.crt",
            "ssl_key_file": folder / "server.key", "ssl_ca_file": trusted, "fsync": "off",
        }  # fmt: skip
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return Command(
            name="Postgres with TLS",
            program=[str(binaries[-1] / "postgres"), "-D", str(data), *options],
            folder=folder,
            stop_signals=(signal.SIGINT, signal.SIGQUIT),
            account=nobody(),
        )

    async with process.listening(command, listens, port=None, ready_seconds=30) as port:
        yield TlsServer(port, password, folder, authority)
