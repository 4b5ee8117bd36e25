"""The product as a process, and what its log says.

`ours` is `marketplace-worker run` as anybody starts it, with its log going to a file.  Its figures
are taken from that log, so nothing asks Postgres or Kafka while it is measured.
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

from benchmarks.stage import PREFIX, Place

LOOK_EVERY_S = 0.05
"""How often the end of the log is read: what is measured is in its lines, not in when they are
read."""

PATIENCE_S = 240.0

Line = dict[str, Any]


class DidNotFinish(Exception):
    """The worker ended, or did not do its work in time; with the end of its log."""


@dataclass(slots=True)
class Worker:
    """A worker that runs; `process` is killed on leaving, as a crash would."""

    process: Process
    log: Path
    _offset: int = 0
    _rest: bytes = b""
    _lines: dict[str, list[Line]] = field(default_factory=dict)

    @property
    def pid(self) -> int:
        """Of its process."""
        return self.process.pid

    async def until(
        self, event: str, counted: str = "", count: float = 1, *, within_s: float = PATIENCE_S
    ) -> list[Line]:
        """Wait until the lines of one event come to `count`; returns all of that event so far.

        Args:
            event: the line's name, such as `batch_ingested`.
            counted: which of its fields is added up; each line counts as 1 where none is given.
            count: how much it must come to.
            within_s: how long that may take.

        Raises:
            DidNotFinish: it took longer, or the worker ended.
        """
        try:
            async with asyncio.timeout(within_s):
                while True:
                    ended = self.process.returncode is not None
                    lines = self.said(event)
                    if sum(line[counted] if counted else 1 for line in lines) >= count:
                        return lines
                    if ended:
                        raise DidNotFinish(f"the worker ended: {self.tail()}")
                    await asyncio.sleep(LOOK_EVERY_S)
        except TimeoutError:
            raise DidNotFinish(f"no {count} {counted} of {event}: {self.tail()}") from None

    def said(self, event: str) -> list[Line]:
        """The lines of one event up to now.  Others are not even parsed: there may be many."""
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
        """The end of its log, for a person."""
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
    """`marketplace-worker run --only …`, by its default settings; killed on leaving.

    `variables`: settings that are not the default, as environment variables.
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


@dataclass(frozen=True, slots=True)
class BatchSizer:
    """How fast lines of the log went: `done` in `seconds`, in so many batches."""

    done: float
    seconds: float
    batches: int

    @property
    def rate(self) -> float:
        """Per second."""
        return self.done / self.seconds

    @property
    def batch(self) -> float:
        """How many a batch held on average."""
        return self.done / self.batches


def pace(lines: Sequence[Line], counted: str, count: float) -> BatchSizer:
    """From the begin of the first batch to the line with which `count` were done.

    The first begins `took_ms` before its line; what was read for it before that is not counted.
    """
    done = 0.0
    for number, line in enumerate(lines, start=1):
        done += line[counted]
        if done >= count:
            return BatchSizer(done, (ended(line) - begun(lines[0])).total_seconds(), number)
    raise ValueError(f"the lines come to {done} {counted}, not to {count}")


def ended(line: Line) -> datetime:
    """When it was logged (UTC)."""
    return datetime.fromisoformat(line["ts"])


def begun(line: Line) -> datetime:
    """When what it tells of began (UTC)."""
    return ended(line) - timedelta(milliseconds=line["took_ms"])
