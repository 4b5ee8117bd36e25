"""Runs contenders in turn: ours, floor, naive, ours, floor, naive, …

A run of `ours` and of a floor lasts at least `RUN_S_MIN`: a shorter one is repeated with more work.
Rates are compared, so contenders may do different amounts of the same work.
"""

import asyncio
import json
import math
import os
import sys
from asyncio.subprocess import PIPE
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from time import perf_counter
from typing import Any, Protocol

import asyncpg

from benchmarks.capturing import Before, Captured, captured
from benchmarks.machine import cpu_s
from benchmarks.results import SPREAD_MAX, Row, row, spread
from benchmarks.stage import PREFIX, Stage
from benchmarks.worker import Pace, pace, working
from marketplace_worker.settings import Topics

RUNS = 3
"""Runs of `ours` and of a floor."""

EXTRA_RUNS_MAX = 2
"""How many more runs if the spread is over `SPREAD_MAX`."""

NAIVE_RUNS = 2
"""A naive contender only shows how many times faster `ours` is, so short runs suffice."""

RUN_S_MIN = 5.0
RUN_S_AIM = 6.5
"""How long a run should take, once the rate is known."""

GROUP_S_MAX = 100.0
"""No extra runs that would take longer than this together with the others."""

CONTENDER_S_MAX = 240.0


@dataclass(frozen=True, slots=True)
class Options:
    """How much to measure.  `runs`: per contender.  `scale`: factor for all sizes and times."""

    runs: int = RUNS
    scale: float = 1.0

    def size(self, number: int, *, least: int = 1) -> int:
        """A number of messages or organizations, multiplied by the scale."""
        return max(least, round(number * self.scale))

    def run_s(self, seconds: float) -> float:
        """A duration, multiplied by the scale."""
        return seconds * min(1.0, self.scale)


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a contender: `rate` in pieces of work per second, over `seconds`."""

    rate: float
    seconds: float


class Contender(Protocol):
    """Does `count` pieces of work, from the same initial state each time; at most `available`."""

    count: int
    available: int
    runs_max: int
    run_s_min: float

    async def run(self) -> Run:
        """Do the work once."""


class ContenderFailed(Exception):
    """A contender's process ended without a result; the message has its output."""


async def alternate(contenders: Mapping[str, Contender], options: Options) -> dict[str, list[Run]]:
    """Run the contenders in turn; returns each one's runs, in order.

    In turn, so that a temporary disturbance of the machine affects all of them.  Repeats up to
    `EXTRA_RUNS_MAX` times more where the rates are spread over more than `SPREAD_MAX`.
    """
    runs: dict[str, list[Run]] = defaultdict(list)
    began = perf_counter()
    for turn in range(options.runs + EXTRA_RUNS_MAX):
        so_far_s = perf_counter() - began
        if turn >= options.runs:
            rates = [
                [run.rate for run in each]
                for name, each in runs.items()
                if contenders[name].run_s_min
            ]
            # A single run has no spread: `--runs 1` only tries everything out.
            if options.runs == 1 or max(map(spread, rates)) <= SPREAD_MAX:
                break
            if so_far_s * (turn + 1) / turn > GROUP_S_MAX:
                break
        for name, contender in contenders.items():
            if turn < contender.runs_max:
                runs[name].append(await long_enough(contender, options))
                rate, seconds = runs[name][-1].rate, runs[name][-1].seconds
                sys.stderr.write(f"  {name} {rate:,.0f}/s for {seconds:.1f} s\n")
    return dict(runs)


async def long_enough(contender: Contender, options: Options) -> Run:
    """Run a contender; repeat with more work if that was too short and there is more work.

    Adjusts `count` to the rate, also for later runs.
    """
    shortest_s = options.run_s(contender.run_s_min)
    while True:
        run = await contender.run()
        aimed = math.ceil(run.rate * options.run_s(RUN_S_AIM))
        if run.seconds < shortest_s and contender.count < contender.available:
            contender.count = min(contender.available, max(aimed, contender.count + 1))
            continue
        if contender.run_s_min and run.seconds > 2 * options.run_s(RUN_S_AIM):
            contender.count = min(contender.count, aimed)
        return run


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
    available: int
    command: Sequence[str] = (sys.executable, "-m", "marketplace_worker")
    runs_max: int = RUNS + EXTRA_RUNS_MAX
    run_s_min: float = RUN_S_MIN
    batch: int = 0
    """Average size of a batch in the last run."""
    cpu_ms: list[float] = field(default_factory=list)
    """Processor time of the worker for each piece of work, in ms, run by run."""

    async def run(self) -> Run:
        """Do the work once, on a new copy of the template."""
        async with self.stage.database(self.template) as dsn:
            went = await self.work(dsn)
            return Run(went.rate, went.seconds)

    async def work(self, dsn: str) -> Pace:
        """Do the work once in an existing database, without cleaning up."""
        place = self.stage.place(dsn, self.prefix)
        async with working(place, [self.loop], command=self.command) as worker:
            await worker.until("worker_started")
            cpu_before = cpu_s(worker.pid)
            lines = await worker.until(self.event, self.counted, self.count)
            cpu_after = cpu_s(worker.pid)
        went = pace(lines, self.counted, self.count)
        done = sum(line[self.counted] for line in lines)
        self.cpu_ms.append((cpu_after - cpu_before) * 1000 / done)
        self.batch = round(went.batch)
        return went


async def capture(ours: Ours, *, deadlines: bool = False) -> Captured:
    """Capture the rows that `ours` writes for all available work, in a run that is not measured.

    `deadlines`: the subjects are due organizations; otherwise messages.
    """
    count, ours.count = ours.count, ours.available
    async with ours.stage.database(ours.template) as dsn:
        connection = await asyncpg.connect(dsn)
        try:
            before = await Before.of(connection)
            await ours.work(dsn)
            ours.cpu_ms.clear()
            return await captured(connection, before, deadlines=deadlines)
        finally:
            ours.count = count
            await connection.close()


@dataclass(slots=True)
class Rival:
    """A floor or a naive contender: a module that runs in its own process."""

    ours: Ours
    module: str
    count: int
    available: int
    topics: Callable[[Topics], Sequence[str]] = lambda _: ()
    template: str = ""
    """If empty, the template of `ours`."""
    captured: str = ""
    runs_max: int = RUNS + EXTRA_RUNS_MAX
    run_s_min: float = RUN_S_MIN
    cpu_ms: list[float] = field(default_factory=list)

    async def run(self) -> Run:
        """Do the work once, in batches as large as those of `ours`."""
        stage = self.ours.stage
        async with stage.database(self.template or self.ours.template) as dsn:
            place = stage.place(dsn, self.ours.prefix)
            topics = place.settings.topics
            job = {
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
            measured = await process(self.module, job)
            self.cpu_ms.append(measured["cpu_s"] * 1000 / measured["done"])
            return Run(measured["rate"], measured["seconds"])


def naive_rival(ours: Ours, module: str, count: int, **more: Any) -> Rival:  # noqa: ANN401 - fields of Rival
    """A naive contender: fewer runs, and as short as its count makes them."""
    return Rival(ours, module, count, count, runs_max=NAIVE_RUNS, run_s_min=0.0, **more)


def compared(
    ours: Ours,
    runs: Mapping[str, Sequence[Run]],
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
        {name: [run.rate for run in each] for name, each in runs.items()},
        wanted=wanted,
        short=too_short(runs),
        details={"done": done, "batch": ours.batch, "cpu_ms_of_each": cpu_ms, **details},
        ran_on=ours.stage.ran_on,
    )


def too_short(runs: Mapping[str, Sequence[Run]]) -> dict[str, float]:
    """The shortest run, in seconds, of each contender with a run below `RUN_S_MIN`.

    Not of the naive one.
    """
    shortest = {name: min(run.seconds for run in each) for name, each in runs.items()}
    return {
        name: round(seconds, 1)
        for name, seconds in shortest.items()
        if name != "naive" and seconds < RUN_S_MIN
    }
