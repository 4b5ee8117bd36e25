"""Measures the worker's memory under load, its start time and its import time.

There is no contender to compare with; each figure has an upper bound.
"""

import asyncio
import random
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from time import perf_counter

from benchmarks import results
from benchmarks.machine import peak_memory_mb
from benchmarks.measuring import Options
from benchmarks.stage import PREFIX, Connection, Stage
from benchmarks.worker import Worker, working
from benchmarks.workloads import ACTIVE, number_of, usage
from marketplace_worker.embedded.process import free_port
from marketplace_worker.settings import Settings

EMPTY = "empty"
LOOPS = ("ingest", "deadlines", "relay", "retention")
PORT = f"{PREFIX}HTTP_PORT"

CUSTOMERS = 2_500
USES = 30_000
"""How many usage events are sent together with the other messages."""

MEMORY_RUNS = 1
LOOK_EVERY_S = 0.01
MODULE = "marketplace_worker.cli"
EXPENSIVE = 10


async def measure(stage: Stage, options: Options) -> list[results.Row]:
    """Peak memory under load, from process start to ready, and import time."""
    await stage.template(EMPTY, _nothing)
    loads = min(MEMORY_RUNS, options.runs)
    memory, starts = [], []
    for number in range(options.runs):
        # A new prefix for each load, so that the next start finds no records of the last one.
        prefix = f"footprint-{min(number, loads)}."
        if number <= loads:
            await stage.topics(prefix)
        async with stage.database(EMPTY) as dsn:
            port = free_port()
            began = perf_counter()
            place = stage.place(dsn, prefix)
            async with working(place, LOOPS, variables={PORT: str(port)}) as worker:
                await _ready(port)
                starts.append(perf_counter() - began)
                if number < loads:
                    await _load(stage, prefix, worker, options)
                    memory.append(peak_memory_mb(worker.pid))
    imports = [await _import_s() for _ in range(options.runs)]
    return [
        results.row(
            "footprint", "peak memory under load", "MB", {"ours": memory},
            wanted="< 150", ran_on=stage.ran_on,
            details={"customers": options.size(CUSTOMERS), "uses": options.size(USES)},
        ),
        results.row(
            "footprint", "process start to ready", "s", {"ours": starts},
            wanted="< 2", ran_on=stage.ran_on,
        ),
        results.row(
            "footprint", "import", "s", {"ours": imports}, ran_on=stage.ran_on,
            details={"milliseconds_of": await most_expensive(MODULE)},
        ),
    ]  # fmt: skip


async def _nothing(connection: Connection, settings: Settings) -> None:
    """Add nothing: the database has only the schema."""


async def _ready(port: int) -> None:
    """Wait until the worker's readiness probe succeeds."""
    while True:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /readyz HTTP/1.0\r\n\r\n")
            answer = await reader.read()
            writer.close()
        except OSError:
            answer = b""
        if answer.split(b" ", 2)[1:2] == [b"200"]:
            return
        await asyncio.sleep(LOOK_EVERY_S)


async def _load(stage: Stage, prefix: str, worker: Worker, options: Options) -> None:
    """Send new customers, their notifications and cancellations, and usage events; wait until all
    resulting messages are sent.
    """
    now = datetime.now(UTC)
    customers = options.size(CUSTOMERS, least=100)
    numbers = [number_of(number) for number in range(customers)]
    messages = [message for each in numbers for _, message in ACTIVE.history(each, now)]
    messages += [ACTIVE.news(each, now) for each in numbers]
    messages += usage(random.Random(1), customers, now, options.size(USES, least=1_000))
    await stage.send(prefix, messages)
    await worker.until("batch_ingested", "records", len(messages))
    events = sum(line["events"] for line in worker.lines_of("batch_ingested"))
    await worker.until("batch_relayed", "messages", events)


async def _import_s() -> float:
    """How long a new process takes to import the command, without the interpreter's start."""
    program = (
        "from time import perf_counter as now; began = now(); "
        f"import {MODULE}; print(now() - began)"
    )
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdout=PIPE, stderr=DEVNULL
    )
    out, _ = await child.communicate()
    return float(out)


async def most_expensive(module: str, count: int = EXPENSIVE) -> Mapping[str, float]:
    """The packages whose own modules take longest to import, with milliseconds.

    Measured by `python -X importtime`, which makes each import somewhat slower.
    """
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-X", "importtime", "-c", f"import {module}", stdout=DEVNULL, stderr=PIPE
    )
    _, err = await child.communicate()
    milliseconds = _by_package(err.decode().splitlines())
    return dict(sorted(milliseconds.items(), key=lambda each: -each[1])[:count])


def _by_package(lines: Sequence[str]) -> dict[str, float]:
    milliseconds: dict[str, float] = defaultdict(float)
    for line in lines:
        own, _, module = (each.strip() for each in line.removeprefix("import time:").split("|"))
        if own.isdecimal():
            milliseconds[module.partition(".")[0]] += int(own) / 1_000
    return {name: round(each, 1) for name, each in milliseconds.items()}
