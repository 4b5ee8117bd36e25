"""A log pipe that nobody reads: the worker keeps working, and can be stopped."""

import asyncio
import fcntl
import os
from collections.abc import Iterator
from typing import BinaryIO

import pytest

from acceptance.probed_worker import ProbedStage, stopped
from acceptance.stage import command, until
from faults.test_health import send_something, worker_with_a_clock

pytestmark = pytest.mark.faults


class Pipe:
    """A pipe for standard output and standard error that is full from the start."""

    def __init__(self) -> None:
        self._reading, writing = os.pipe()
        self.output: BinaryIO = os.fdopen(writing, "wb", buffering=0)
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4_096)
        os.set_blocking(writing, False)
        while self.output.write(b"." * 4_096):
            pass
        os.set_blocking(writing, True)

    def close(self) -> None:
        """Close the pipe without reading it."""
        self.output.close()
        os.close(self._reading)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """A pipe that nobody reads."""
    pipe = Pipe()
    yield pipe
    pipe.close()


async def test_a_worker_with_an_unread_log_works_and_stops(probed: ProbedStage, pipe: Pipe) -> None:
    """A worker that blocks on writing a line could not be stopped even by SIGTERM."""
    async with command("run", settings=probed.settings, output=pipe.output) as worker:
        await until(probed.ready)
        topic = probed.settings.topics.organization_changes
        await probed.stage.producer.send_and_wait(topic, b"unreadable")
        await until(lambda: kept(probed))
        assert await stopped(worker) == 0


async def kept(probed: ProbedStage) -> bool:
    """Whether the worker has ingested what was sent."""
    return bool(await probed.stage.pool.fetchval("SELECT EXISTS (SELECT FROM dead_letters)"))


async def test_a_failed_start_exits_although_its_log_is_unread(pipe: Pipe) -> None:
    """It does not wait until its last line can be written."""
    async with command("run", output=pipe.output) as worker:
        assert await asyncio.wait_for(worker.wait(), timeout=60) == 2


async def test_a_blocked_event_loop_ends_although_the_log_is_unread(
    probed: ProbedStage, pipe: Pipe
) -> None:
    """The watchdog does not wait for a reader of the log."""
    async with worker_with_a_clock(probed, "time.sleep(3600)", pipe.output) as worker:
        await until(probed.ready)
        await send_something(probed)
        assert await asyncio.wait_for(worker.wait(), timeout=60) == 1
