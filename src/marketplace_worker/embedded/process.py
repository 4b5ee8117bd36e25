"""Starts servers as child processes, waits until they are ready, and stops them in bounded time.

The only module that starts processes.  A child has its own session, so that Ctrl-C in the terminal
reaches only this process, which then stops the children in order.  On Linux the kernel ends them if
this process dies without having stopped them (`launch.py`).
"""

import asyncio
import contextlib
import fcntl
import functools
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from marketplace_worker.errors import Misconfigured, Unavailable

LOOPBACK = "127.0.0.1"
SERVER_PORTS = (12_000, 32_000)
"""Below the ports for outgoing connections: from 32,768 on Linux, from 49,152 on other systems."""
POLL_SECONDS = 0.02
LOG_TAIL_BYTES = 2_000
STARTS_MAX = 5
START_AGAIN_SECONDS = 0.5
"""Pause before another attempt: another process may have taken the port meanwhile, or a killed
Postgres may not have ended yet.
"""

_LAUNCH = str(Path(__file__).with_name("launch.py"))


@dataclass(frozen=True, slots=True)
class SystemAccount:
    """The user of the operating system that a child runs as.

    `passes_closed_folders`: it may search folders that are closed to it, as root may.  Needed if
    the checkout is in such a folder, for example in root's home.
    """

    uid: int
    gid: int
    passes_closed_folders: bool


@dataclass(frozen=True, slots=True)
class Command:
    """How to run one server.

    Args:
        name: for messages, such as `Postgres`.
        program: the executable and its arguments.
        folder: working directory; `log` and `pid` are written there.
        stop_signals: sent one after another, `stop_seconds` apart; then SIGKILL.
        account: None for the current user.
        environment: the whole environment; nothing is inherited.
    """

    name: str
    program: Sequence[str]
    folder: Path
    stop_signals: Sequence[signal.Signals]
    stop_seconds: float = 10.0
    account: SystemAccount | None = None
    environment: tuple[tuple[str, str], ...] = ()


Ready = Callable[[], Awaitable[bool]]


class _EndedEarly(Unavailable):
    """The server ended by itself before it was ready."""


@contextlib.asynccontextmanager
async def listening(
    command: Callable[[int], Command],
    ready: Callable[[int], Awaitable[bool]],
    *,
    port: int | None,
    ready_seconds: float,
) -> AsyncIterator[int]:
    """Run a server that listens on `port` of the loopback address (None: a free one); yields it.

    A server that ends while starting is started again a few times, each time on another free port.

    Raises:
        Unavailable: it did not start or was not ready in time.
    """
    async with contextlib.AsyncExitStack() as stack:
        for starts_left in reversed(range(STARTS_MAX if port is None else 1)):
            chosen = free_port() if port is None else port
            probe = functools.partial(ready, chosen)
            try:
                await stack.enter_async_context(
                    running(command(chosen), probe, ready_seconds=ready_seconds)
                )
                break
            except _EndedEarly:
                if not starts_left:
                    raise
                await asyncio.sleep(START_AGAIN_SECONDS)
        yield chosen


@contextlib.asynccontextmanager
async def running(command: Command, ready: Ready, *, ready_seconds: float) -> AsyncIterator[int]:
    """Run a server until the block is left; yields its process id once `ready()` returns true.

    Raises:
        Unavailable: it ended or was not ready in time; the message ends with the log's last lines.
    """
    log = command.folder / "log"
    pid_file = command.folder / "pid"
    child = _start(command, log)
    try:
        pid_file.write_text(f"{child.pid}\n")
        await _wait_until_ready(command, child, ready, ready_seconds)
        yield child.pid
    finally:
        await _stop(command, child)
        pid_file.unlink(missing_ok=True)


async def finished(command: Command, *, within_seconds: float) -> None:
    """Run a program that ends by itself.

    Raises:
        Unavailable: it failed or did not end in time; the message ends with the log's last lines.
    """
    log = command.folder / "log"
    child = _start(command, log)
    try:
        if not await _comes_true(lambda: child.poll() is not None, within_seconds):
            raise Unavailable(f"{command.name} did not end in {within_seconds:g} s: {_tail(log)}")
        if child.returncode != 0:
            raise Unavailable(f"{command.name} failed ({child.returncode}): {_tail(log)}")
    finally:
        await _stop(command, child)


async def answers_kafka(host: str, port: int) -> bool:
    """Whether a Kafka broker at this address answers now (ApiVersions, version 0)."""
    client = b"probe"
    body = b"\x00\x12\x00\x00" + (1).to_bytes(4, "big") + len(client).to_bytes(2, "big") + client
    try:
        reader, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    try:
        writer.write(len(body).to_bytes(4, "big") + body)
        head = await asyncio.wait_for(reader.readexactly(10), timeout=1)
        return head[4:8] == body[4:8] and head[8:10] == b"\x00\x00"
    except (OSError, asyncio.IncompleteReadError, TimeoutError):
        return False
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def free_port() -> int:
    """A TCP port of the loopback address on which no process listens at this moment.

    It is not one that the system uses for outgoing connections.  Otherwise a client that retries
    while the server is down could get the server's port as its own, connect to itself, and so keep
    the server from starting.
    """
    while True:
        port = random.randrange(*SERVER_PORTS)  # noqa: S311 - no secret
        with socket.socket() as probe:
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
            return port


def wheel(package: str, *inside: str) -> Path:
    """The path of a file inside an installed wheel of the extra `embedded`.

    Raises:
        Misconfigured: the wheel is not installed.
    """
    spec = find_spec(package)
    for location in spec.submodule_search_locations or () if spec else ():
        path = Path(location).joinpath(*inside).resolve()
        if path.exists():
            return path
    raise Misconfigured(
        f"the embedded servers are not installed ({package} is missing): "
        "pip install 'marketplace-worker[embedded]'"
    )


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[Path]:
    """Lock a folder (created if missing) for one server; yields its absolute path.

    The lock ends with this process at the latest.

    Raises:
        Misconfigured: another process has locked it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Misconfigured(f"another process runs an embedded server in {folder}") from None
        yield folder.resolve()


def _start(command: Command, log: Path) -> subprocess.Popen[bytes]:
    launch = [sys.executable, "-I", "-S", _LAUNCH, str(os.getpid())]
    launch.append(str(int(command.stop_signals[0])))
    if command.account is not None:
        launch += ["--user", str(command.account.uid), str(command.account.gid)]
        if command.account.passes_closed_folders:
            launch.append("--pass-closed-folders")
    with log.open("ab") as output:
        return subprocess.Popen(  # noqa: S603 - our own programs, no shell
            [*launch, "--", *command.program],
            cwd=command.folder,
            env=dict(command.environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


async def _wait_until_ready(
    command: Command, child: subprocess.Popen[bytes], ready: Ready, seconds: float
) -> None:
    log = command.folder / "log"
    give_up_at = time.monotonic() + seconds
    while True:
        is_ready = await ready()
        if child.poll() is not None:
            raise _EndedEarly(
                f"{command.name} ended while starting ({child.returncode}): {_tail(log)}"
            )
        if is_ready:
            return
        if time.monotonic() > give_up_at:
            raise Unavailable(f"{command.name} was not ready in {seconds:g} s: {_tail(log)}")
        await asyncio.sleep(POLL_SECONDS)


async def _stop(command: Command, child: subprocess.Popen[bytes]) -> None:
    """Stop the child and wait for its end; if this task is cancelled meanwhile, kill the child."""
    try:
        for number in command.stop_signals:
            if child.poll() is not None:
                return
            child.send_signal(number)
            await _comes_true(lambda: child.poll() is not None, command.stop_seconds)
    finally:
        if child.poll() is None:
            child.kill()
        child.wait()


def _tail(log: Path) -> str:
    text = log.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace").strip()
    return f"{text}\n(all of it: {log})" if text else f"it said nothing (log: {log})"


def works_in(pid: int, folder: Path) -> bool:
    """Whether the process runs and has this folder as its working directory (Linux only)."""
    try:
        return Path(f"/proc/{pid}/cwd").readlink() == folder
    except OSError:
        return False


async def end_stranger(
    pid: int, folder: Path, signals: Sequence[signal.Signals], *, within_seconds: float
) -> None:
    """End a process that works in this folder and is not our child; with SIGKILL if necessary."""
    for number in (*signals, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        if await _comes_true(lambda: not works_in(pid, folder), within_seconds):
            return


async def _comes_true(condition: Callable[[], bool], within_seconds: float) -> bool:
    """Poll a condition; returns False if it did not become true in time.

    Even the end of a child is polled for: that works with every event loop and Python version.
    """
    for _ in range(round(within_seconds / POLL_SECONDS)):
        if condition():
            return True
        await asyncio.sleep(POLL_SECONDS)
    return condition()
