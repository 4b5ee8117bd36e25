"""A process that has imported all modules and forks a child for each job, so that jobs start fast.

    python -m faults.fork_server

Each line on standard input is a job.  It prints `born PID` and later `gone PID CODE`.  It ends,
with all children, at the end of its input.
"""

import asyncio
import gc
import os
import pickle
import select
import signal
import sys
import traceback
from base64 import b64decode, b64encode
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from faults import steps_to_kill, worker_under_test

IMPORTED = (steps_to_kill, worker_under_test)
"""Modules imported before forking."""

TESTS = Path(__file__).parents[1]

JOB_BYTES_MAX = 2**20
CHILD_S = 60.0

Job = Callable[[], object]
"""A picklable callable."""


@dataclass(frozen=True)
class Child:
    """A process that does one job."""

    pid: int
    _ended: asyncio.Future[int]

    @property
    def returncode(self) -> int | None:
        """The exit code, as in `subprocess`; None while it runs."""
        return self._ended.result() if self._ended.done() else None

    def kill(self) -> None:
        """SIGKILL."""
        self._signal(signal.SIGKILL)

    def terminate(self) -> None:
        """SIGTERM."""
        self._signal(signal.SIGTERM)

    def _signal(self, number: signal.Signals) -> None:
        if not self._ended.done():
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def wait(self) -> int:
        """Wait for its end; its exit code."""
        return await asyncio.shield(self._ended)


class ForkServer:
    """Starts children; made by `opened`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._unborn: deque[asyncio.Future[Child]] = deque()
        self._living: dict[int, asyncio.Future[int]] = {}

    @classmethod
    @asynccontextmanager
    async def opened(cls) -> AsyncIterator["ForkServer"]:
        """Run a fork server until the block is left."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "faults.fork_server",
            cwd=TESTS, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )  # fmt: skip
        fork_server = cls(process)
        listening = asyncio.create_task(fork_server._listen())
        try:
            yield fork_server
        finally:
            assert process.stdin is not None
            process.stdin.close()
            await process.wait()
            await listening

    async def start(self, job: Job) -> Child:
        """Start a job in a child."""
        assert self._process.stdin is not None
        self._unborn.append(asyncio.get_running_loop().create_future())
        self._process.stdin.write(b64encode(pickle.dumps(job)) + b"\n")
        return await self._unborn[-1]

    async def done(self, job: Job) -> int:
        """Run a job to its end; returns the child's exit code."""
        child = await self.start(job)
        try:
            async with asyncio.timeout(CHILD_S):
                return await child.wait()
        finally:
            child.kill()

    async def _listen(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            match line.split():
                case [b"born", pid]:
                    ended = self._living[int(pid)] = asyncio.get_running_loop().create_future()
                    self._unborn.popleft().set_result(Child(int(pid), ended))
                case [b"gone", pid, code]:
                    self._living.pop(int(pid)).set_result(int(code))
                case _:
                    raise AssertionError(line)


# --- in the process itself ------------------------------------------------------------------------


def _serve() -> None:
    gc.freeze()  # otherwise each child copies the pages that its first collection touches
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake)
    jobs, children = b"", set[int]()
    while True:
        ready, _, _ = select.select([0, woken], [], [])
        if woken in ready:
            os.read(woken, 1024)
        while children and (ended := os.waitpid(-1, os.WNOHANG))[0]:
            children.remove(ended[0])
            print("gone", ended[0], os.waitstatus_to_exitcode(ended[1]), flush=True)
        if 0 in ready:
            received = os.read(0, JOB_BYTES_MAX)
            if not received:
                break
            *whole, jobs = (jobs + received).split(b"\n")
            for job in whole:
                children.add(_born(job))
    for child in children:
        os.kill(child, signal.SIGKILL)


def _born(job: bytes) -> int:
    child = os.fork()
    if child == 0:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(2, 1)
        _live(job)
    print("born", child, flush=True)
    return child


def _live(job: bytes) -> None:
    try:
        pickle.loads(b64decode(job))()
        sys.stdout.flush()
        os._exit(0)
    except BaseException:  # noqa: BLE001 - the child ends here, whatever happened
        traceback.print_exc()
        os._exit(1)


if __name__ == "__main__":
    _serve()
