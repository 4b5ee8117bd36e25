"""Runs PgBouncer in front of a Postgres, in a given mode."""

import asyncio
import os
import pwd
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from marketplace_worker.embedded import process
from marketplace_worker.embedded.process import Command, SystemAccount


def debian_program(name: str, package: str) -> str:
    """The path of a program of a Debian package; fails the test if it is missing."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    if found is None:
        pytest.fail(f"{name} is not installed: apt-get install {package}")
    return found


def nobody() -> SystemAccount | None:
    """The user for servers that refuse to run as root; None if we are not root."""
    if os.geteuid() != 0:
        return None
    entry = pwd.getpwnam("nobody")
    return SystemAccount(uid=entry.pw_uid, gid=entry.pw_gid, passes_closed_folders=True)


def change_owner(*paths: Path) -> None:
    """Make the user of the servers the owner of some files."""
    account = nobody()
    if account is not None:
        for path in paths:
            os.chown(path, account.uid, account.gid)


async def listens(port: int) -> bool:
    """Whether a process accepts connections on the port."""
    try:
        _, writer = await asyncio.open_connection(process.LOOPBACK, port)
    except OSError:
        return False
    writer.close()
    return True


@asynccontextmanager
async def pgbouncer(folder: Path, dsn: str, mode: str, **settings: str) -> AsyncIterator[str]:
    """Run PgBouncer until the block is left; yields a DSN through it.

    It accepts every client, and logs in to Postgres with the given DSN.
    """
    program = debian_program("pgbouncer", "pgbouncer")
    folder.mkdir(parents=True)  # noqa: ASYNC240 - a moment, in a test
    there = urlsplit(dsn)

    def command(port: int) -> Command:
        lines = {
            "listen_addr": process.LOOPBACK,
            "listen_port": str(port),
            "unix_socket_dir": "",
            "auth_type": "any",
            "pool_mode": mode,
            "default_pool_size": "20",
            **settings,
        }
        file = folder / "pgbouncer.ini"
        file.write_text(
            f"[databases]\n* = host={there.hostname} port={there.port} user={there.username} "
            f"password={there.password}\n[pgbouncer]\n"
            + "".join(f"{name} = {value}\n" for name, value in lines.items())
        )
        change_owner(folder, file)
        return Command(
            name="PgBouncer",
            program=[program, str(file)],
            folder=folder,
            stop_signals=(signal.SIGINT, signal.SIGTERM),
            account=nobody(),
        )

    async with process.listening(command, listens, port=None, ready_seconds=30) as port:
        yield f"postgresql://any@{process.LOOPBACK}:{port}{there.path}"
