"""Runs the product as a process, and reads the measurements from its log.

`ours` is `marketplace-worker run` with its log written to a file.  Because the results come from
the log, the measurement itself sends no requests to Postgres or Kafka.
"""

import asyncio
import json
import os
import sys
from asyncio.subprocess import STDOUT, Process
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg

from benchmarks.stage import PREFIX, Place

LOOK_EVERY_S = 0.05
"""How often the end of the log is read.  It does not affect the results, which use the times in the
lines."""

PATIENCE_S = 240.0

Line = dict[str, Any]


class DidNotFinish(Exception):
    """The worker ended or did not finish in time; the message has the end of its log."""


@dataclass(slots=True)
class Worker:
    """A running worker; `process` is killed on leaving, as in a crash."""

    process: Process
    log: Path
    _offset: int = 0
    _rest: bytes = b""
    _lines: dict[str, list[Line]] = field(default_factory=dict)

    @property
    def pid(self) -> int:
        """The id of its process."""
        return self.process.pid

    async def until(
        self, event: str, counted: str = "", count: float = 1, *, within_s: float = PATIENCE_S
    ) -> list[Line]:
        """Wait until the log lines of one event add up to `count`; returns these lines.

        Args:
            event: the event of the lines, such as `batch_ingested`.
            counted: the field to sum; if empty, each line counts as 1.
            count: the sum to wait for.
            within_s: the time limit.

        Raises:
            DidNotFinish: the time limit was exceeded, or the worker ended.
        """
        try:
            async with asyncio.timeout(within_s):
                while True:
                    ended = self.process.returncode is not None
                    lines = self.lines_of(event)
                    if sum(line[counted] if counted else 1 for line in lines) >= count:
                        return lines
                    if ended:
                        raise DidNotFinish(f"the worker ended: {self.tail()}")
                    await asyncio.sleep(LOOK_EVERY_S)
        except TimeoutError:
            raise DidNotFinish(f"no {count} {counted} of {event}: {self.tail()}") from None

    def lines_of(self, event: str) -> list[Line]:
        """The lines of one event so far.  Others are not parsed: there may be many."""
        with self.log.open("rb") as file:
            file.seek(self._offset)
            new = file.read()
        self._offset += len(new)
        *whole, self._rest = (self._rest + new).split(b"\n")
        for text in whole:
            name = _event_of(text)
            if name in _OF_INTEREST:
                self._lines.setdefault(name, []).append(json.loads(text))
        assert event in _OF_INTEREST, "name it there"
        return self._lines.get(event, [])

    def tail(self) -> str:
        """The last lines of its log, for messages."""
        return self.log.read_bytes()[-3_000:].decode(errors="replace")


_OF_INTEREST = frozenset(
    {"worker_started", "batch_ingested", "batch_relayed", "deadlines_fired", "partitions_assigned"}
)


def _event_of(line: bytes) -> str:
    return line[len(b'{"event": "') : line.find(b'"', 11)].decode(errors="replace")


@asynccontextmanager
async def working(
    place: Place,
    loops: Collection[str],
    *,
    variables: dict[str, str] | None = None,
    command: Sequence[str] = (sys.executable, "-m", "marketplace_worker"),
    name: str = "worker",
) -> AsyncIterator[Worker]:
    """Run `marketplace-worker run --only …` with default settings; it is killed on leaving.

    `variables`: other settings, as environment variables.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    folder = Path(place.environment[f"{PREFIX}POLICY_FILE"]).parent
    log = folder / f"{name}-{uuid4().hex}.log"
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            *command, "run", "--only", ",".join(loops),
            env={**inherited, **place.environment, **(variables or {})},
            stdout=output, stderr=STDOUT,
        )  # fmt: skip
    try:
        yield Worker(process, log)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        log.unlink(missing_ok=True)


async def until_none_due(place: Place) -> None:
    """Wait until no organization is due."""
    connection = await asyncpg.connect(place.dsn)
    try:
        async with asyncio.timeout(PATIENCE_S):
            while await connection.fetchval(
                "SELECT EXISTS (SELECT FROM organizations WHERE next_due_at <= now())"
            ):
                await asyncio.sleep(LOOK_EVERY_S)
    finally:
        await connection.close()


@dataclass(frozen=True, slots=True)
class Pace:
    """The speed read from log lines: `done` pieces of work in `seconds`, in `batches` batches."""

    done: float
    seconds: float
    batches: int

    @property
    def rate(self) -> float:
        """Pieces of work per second."""
        return self.done / self.seconds

    @property
    def batch(self) -> float:
        """The average size of a batch."""
        return self.done / self.batches


def pace(lines: Sequence[Line], counted: str, count: float) -> Pace:
    """The speed from the start of the first batch to the line with which `count` is reached.

    The first batch started `took_ms` before its line; fetching its records is not included.
    """
    done = 0.0
    for number, line in enumerate(lines, start=1):
        done += line[counted]
        if done >= count:
            return Pace(done, (ended(line) - begun(lines[0])).total_seconds(), number)
    raise ValueError(f"the lines come to {done} {counted}, not to {count}")


def ended(line: Line) -> datetime:
    """When the line was logged (UTC)."""
    return datetime.fromisoformat(line["ts"])


def begun(line: Line) -> datetime:
    """When the logged batch started (UTC)."""
    return ended(line) - timedelta(milliseconds=line["took_ms"])
