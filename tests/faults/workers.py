"""Runs workers in their own processes with a clock that the test moves, and sends them messages."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
from aiokafka.errors import KafkaError

from acceptance.stage import Stage, environment
from faults.workload import Message
from marketplace_worker.app import Loop
from marketplace_worker.errors import Unavailable

T = TypeVar("T")

TESTS = Path(__file__).parents[1]

PATIENCE_S = 150.0
"""How long a fault test waits for an expected result: longer than an outage."""

CONSUMERS = frozenset({"facts-1", "facts-2", "activity-1", "activity-2"})
"""The consumers of one worker, as log lines name them."""

AWAY = (KafkaError, asyncpg.PostgresError, asyncpg.InterfaceError, Unavailable, OSError)
"""Exceptions raised by requests to a server that is down."""


class ClockFile:
    """The clock of all workers, in a file; it stands still until a test moves it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.move(datetime(1970, 1, 1, tzinfo=UTC))

    @property
    def now(self) -> datetime:
        """The current time."""
        return datetime.fromisoformat(self.path.read_text())

    def move(self, moment: datetime) -> None:
        """Set the time, atomically for readers."""
        new = self.path.with_suffix(".new")
        new.write_text(moment.isoformat())
        new.replace(self.path)


@dataclass
class FaultStage(Stage):
    """A stage whose workers use the test's clock, and whose servers may be down."""

    clock_file: ClockFile = field(init=False)

    @property
    def prefix(self) -> str:
        """The prefix of its topics' names."""
        return self._prefix

    @property
    def sent(self) -> int:
        """How many messages were sent so far."""
        return sum(self.ends.values())


async def eventually(happened: Callable[[], Awaitable[bool]], *, pause_s: float = 0.02) -> None:
    """Wait until a condition holds; errors of a server that is down are retried."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                async with asyncio.timeout(10):
                    if await happened():
                        return
            except (*AWAY, TimeoutError):
                pass
            await asyncio.sleep(pause_s)


@asynccontextmanager
async def worker(
    stage: FaultStage,
    log: Path,
    *,
    loops: Collection[Loop] = tuple(Loop),
    variables: Mapping[str, str] | None = None,
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a worker that appends its log to a file; killed on leaving if it has not ended.

    `variables` are added to its environment, which has the stage's settings.
    """
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "faults.worker_under_test",
            str(stage.clock_file.path), ",".join(loops),
            cwd=TESTS,
            env=environment_of(stage, variables),
            stdout=output, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def environment_of(stage: FaultStage, variables: Mapping[str, str] | None) -> dict[str, str]:
    """A worker's environment: the stage's settings, overridden by `variables`."""
    return {**os.environ, **environment(stage.settings), **(variables or {})}


def lines(log: Path, *events: str) -> list[dict[str, Any]]:
    """A worker's log lines, optionally of some events only."""
    unique = []
    for line in log.read_text(errors="replace").splitlines() if log.exists() else ():
        try:
            each = json.loads(line)
        except ValueError:
            continue  # cut off by a kill
        if not events or each.get("event") in events:
            unique.append(each)
    return unique


async def send(stage: FaultStage, messages: Sequence[Message], *, at: datetime) -> None:
    """Send messages, recorded at a moment; returns when the broker has them all."""
    stamp = round(at.timestamp() * 1000)
    sent = [
        await stage.producer.send(stage.prefix + topic, value, key=key, timestamp_ms=stamp)
        for topic, key, value in messages
    ]
    for each in await asyncio.gather(*sent):
        place = (each.topic, each.partition)
        stage.ends[place] = max(stage.ends.get(place, 0), each.offset + 1)


async def retry_while_down(question: Callable[[], Awaitable[T]]) -> T:
    """Ask a server, and retry while it is down."""
    answers: list[T] = []

    async def answered() -> bool:
        answers.append(await question())
        return True

    await eventually(answered)
    return answers[0]
