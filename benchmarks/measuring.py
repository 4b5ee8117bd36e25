"""Runs contenders in turn: ours, floor, naive, ours, floor, naive, …"""

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import asyncpg

from benchmarks.capturing import Before, Captured, captured
from benchmarks.machine import cpu_s
from benchmarks.results import Row, row
from benchmarks.stage import PREFIX, Stage
from benchmarks.worker import BatchSizer, pace, working
from marketplace_worker.settings import Topics

RUNS = 5
CONTENDER_S_MAX = 240.0

RUN_S_MAX = 5.0
"""The longest run of `ours`; if it would take longer, less work is measured."""


@dataclass(frozen=True, slots=True)
class Options:
    """How much to measure.  `runs`: per contender.  `scale`: factor for all sizes."""

    runs: int = RUNS
    scale: float = 1.0

    def size(self, number: int, *, least: int = 1) -> int:
        """A number of messages or organizations, multiplied by the scale."""
        return max(least, round(number * self.scale))


Contender = Callable[[], Awaitable[float]]
"""Does the work once, from the same initial state as all others; returns its rate."""


class ContenderFailed(Exception):
    """A contender's process ended without a result; the message has its output."""


async def taking_turns(contenders: Mapping[str, Contender], runs: int) -> dict[str, list[float]]:
    """Run the contenders in turn; returns each one's rates, in the order of its runs.

    In turn, so that a temporary disturbance of the machine affects all of them.
    """
    figures: dict[str, list[float]] = defaultdict(list)
    for _ in range(runs):
        for name, contender in contenders.items():
            figures[name].append(await contender())
            sys.stderr.write(f"  {name} {figures[name][-1]:,.0f}\n")
    return dict(figures)


async def process(module: str, job: Mapping[str, Any]) -> dict[str, Any]:
    """Run a contender's module in its own process; returns its result.

    The job is passed as JSON on the command line; the process prints one line of JSON.
    """
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, json.dumps(job),
        env={name: value for name, value in os.environ.items() if not name.startswith(PREFIX)},
        stdout=PIPE, stderr=PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(CONTENDER_S_MAX):
            out, err = await child.communicate()
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    if child.returncode != 0 or not out.strip():
        raise ContenderFailed(f"{module}: {err[-3_000:].decode(errors='replace')}")
    answer: dict[str, Any] = json.loads(out.splitlines()[-1])
    return answer


@dataclass(slots=True)
class Ours:
    """The product's own command, running one loop on a copy of a template database.

    `event`, `counted`: the log event of a batch, and its field with the amount of work.
    """

    stage: Stage
    template: str
    prefix: str
    loop: str
    event: str
    counted: str
    count: int
    batch: int = 0
    """Average size of a batch in the last run."""
    cpu_ms: list[float] = field(default_factory=list)
    """Processor time of the worker for each of `count`, in ms, run by run."""

    async def __call__(self) -> float:
        """Do the work once, on a new copy of the template; returns the rate."""
        async with self.stage.database(self.template) as dsn:
            return (await self.work(dsn, self.count)).rate

    async def work(self, dsn: str, count: int) -> BatchSizer:
        """Do the work once in an existing database, without cleaning up."""
        place = self.stage.place(dsn, self.prefix)
        async with working(place, [self.loop]) as worker:
            await worker.until("worker_started")
            cpu_before = cpu_s(worker.pid)
            lines = await worker.until(self.event, self.counted, count)
            self.cpu_ms.append((cpu_s(worker.pid) - cpu_before) * 1000 / count)
        went = pace(lines, self.counted, count)
        self.batch = round(went.batch)
        return went


async def capture(ours: Ours, *, deadlines: bool = False) -> Captured:
    """Capture the rows that `ours` writes, in a run that is not measured.

    Reduces `ours.count` if the run took too long.  `deadlines`: the subjects are due organizations;
    otherwise messages.
    """
    async with ours.stage.database(ours.template) as dsn:
        connection = await asyncpg.connect(dsn)
        try:
            before = await Before.of(connection)
            went = await ours.work(dsn, ours.count)
            ours.count = min(ours.count, round(went.rate * RUN_S_MAX))
            return await captured(connection, before, deadlines=deadlines)
        finally:
            await connection.close()


@dataclass(frozen=True, slots=True)
class Rival:
    """A floor or a naive contender: a module that runs in its own process."""

    ours: Ours
    module: str
    count: int
    topics: Callable[[Topics], Sequence[str]] = lambda _: ()
    template: str = ""
    """If empty, the template of `ours`."""
    captured: str = ""
    cpu_ms: list[float] = field(default_factory=list)

    async def __call__(self) -> float:
        """Do the work once, in batches as large as those of `ours`; returns the rate."""
        stage = self.ours.stage
        async with stage.database(self.template or self.ours.template) as dsn:
            place = stage.place(dsn, self.ours.prefix)
            topics = place.settings.topics
            told = {
                "dsn": place.dsn,
                "kafka": stage.kafka,
                "group": place.settings.kafka.group_prefix,
                "session_timeout_ms": 10_000 if stage.apache else 2_000,
                "idempotent": stage.apache,
                "compression": place.settings.relay.compression,
                "topics": self.topics(topics),
                "outbound": topics.lifecycle,
                "count": self.count,
                "batch": self.ours.batch,
                "captured": self.captured,
            }
            measured = await process(self.module, told)
            self.cpu_ms.append(measured["cpu_s"] * 1000 / self.count)
            return float(measured["rate"])


def compared(
    ours: Ours,
    runs: Mapping[str, Sequence[float]],
    unit: str,
    wanted: str,
    rivals: Mapping[str, Rival],
    **details: object,
) -> Row:
    """The row of a group that has only one."""
    name = ours.template
    contenders: dict[str, Ours | Rival] = {"ours": ours, **rivals}
    done = {name: each.count for name, each in contenders.items()}
    cpu_ms = {name: median(each.cpu_ms) for name, each in contenders.items()}
    return row(
        name,
        name,
        unit,
        runs,
        wanted=wanted,
        details={"done": done, "batch": ours.batch, "cpu_ms_of_each": cpu_ms, **details},
        ran_on=ours.stage.ran_on,
    )
