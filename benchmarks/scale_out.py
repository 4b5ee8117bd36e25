"""Measures the throughput of 1, 2 and 4 workers on one Postgres and one Kafka, and what limits it.

Each worker has its own partitions.  While Kafka is filled they are stopped (SIGSTOP), so that all
start at the same time.  The processor time of each part and the wait events of the workers'
connections in Postgres show whether processors or waits are the limit.
"""

import asyncio
import contextlib
import os
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

import asyncpg
from matplotlib.figure import Figure

from benchmarks import results
from benchmarks.cloning import clone, seed
from benchmarks.machine import cpu_s, cpu_s_under, machine_cpu_s
from benchmarks.measuring import Options
from benchmarks.stage import PARTITIONS, Connection, Message, Place, Stage
from benchmarks.worker import PATIENCE_S, Line, Worker, begun, ended, working
from benchmarks.workloads import ACTIVE, NOTIFIED, Kind, number_of, usage
from marketplace_worker.settings import Settings

WORKERS = (1, 2, 4)
LOOPS = ("ingest", "deadlines", "relay", "retention")

ORGANIZATIONS = 12_000
USES = 120_000

LOOK_EVERY_S = 0.1

RUNS = count(1)


@dataclass(frozen=True, slots=True)
class Work:
    """The messages to send, the fleet, and the number of messages that must result."""

    name: str
    template: str
    messages: Sequence[Message]
    relayed: int


@dataclass(slots=True)
class Measured:
    """The runs of one workload with a number of workers.

    `per_s`: messages per second until all are ingested; `through_per_s`: until all resulting
    messages are in Kafka.  `cpu_ms`: processor time per message, by part, in ms.  `busy`: the share
    of all processors' time taken by these parts, and by all processes, until the end.  `waits`: how
    often the workers' statements were seen in each wait event of Postgres.
    """

    per_s: list[float] = field(default_factory=list)
    through_per_s: list[float] = field(default_factory=list)
    cpu_ms: dict[str, list[float]] = field(default_factory=dict)
    busy: dict[str, list[float]] = field(default_factory=dict)
    waits: "Counter[str]" = field(default_factory=Counter)


async def measure(stage: Stage, options: Options) -> list[results.Row]:
    """Measure notifications and usage events with 1, 2 and 4 workers in turn."""
    kinds = len(NOTIFIED)
    organizations = options.size(ORGANIZATIONS, least=600) // kinds * kinds
    build = partial(_build, organizations=organizations)
    leaving = await stage.template("scale-out-leaving", partial(build, kinds=NOTIFIED))
    # Only active organizations: canceled ones watch their activity, which triples the cost.
    staying = await stage.template("scale-out-staying", partial(build, kinds=[ACTIVE]))
    now = datetime.now(UTC)
    numbers = list(range(organizations))
    chance = random.Random(1)
    chance.shuffle(numbers)
    notifications = [NOTIFIED[each % kinds].news(number_of(each), now) for each in numbers]
    uses = usage(chance, organizations, now, options.size(USES, least=2_000))
    works = (
        Work("notifications", leaving, notifications, 3 * len(notifications)),
        Work("usage", staying, uses, 0),
    )
    rows = []
    for work in works:
        measured = {workers: Measured() for workers in WORKERS}
        for _ in range(options.runs):
            for workers, each in measured.items():
                await _run(stage, work, workers, each)
        rows += [_row(stage, work, measured, workers) for workers in WORKERS]
    return rows


async def _build(
    connection: Connection, settings: Settings, *, organizations: int, kinds: Sequence[Kind]
) -> None:
    for place, number in enumerate(await seed(settings, kinds, datetime.now(UTC))):
        await clone(connection, number, range(place, organizations, len(kinds)))


async def _run(stage: Stage, work: Work, workers: int, measured: Measured) -> None:
    prefix = f"scale-{next(RUNS)}."
    await stage.topics(prefix)
    async with stage.database(work.template) as dsn, AsyncExitStack() as stack:
        place = stage.place(dsn, prefix)
        crew = [await stack.enter_async_context(_one(place, n)) for n in range(workers)]
        await _shared_out(crew, place)
        with _held(crew, of=stage):
            await stage.send(prefix, work.messages)
            before, machine_before = _cpu_s(stage, crew), machine_cpu_s()
        async with _sampling(dsn, measured.waits):
            taken = await _until(crew, "batch_ingested", "records", len(work.messages))
            sent = await _until(crew, "batch_relayed", "messages", work.relayed)
        spent = {part: each - before[part] for part, each in _cpu_s(stage, crew).items()}
        machine = machine_cpu_s() - machine_before
    began = min(begun(line) for line in taken)
    taken_s = (ended(taken[-1]) - began).total_seconds()
    through_s = max(taken_s, (ended(sent[-1]) - began).total_seconds() if sent else 0.0)
    messages = len(work.messages)
    measured.per_s.append(messages / taken_s)
    measured.through_per_s.append(messages / through_s)
    for whose, cpu in (("these", sum(spent.values())), ("all", machine)):
        share = cpu / through_s / (os.cpu_count() or 1)
        measured.busy.setdefault(whose, []).append(share)
    for part, each in spent.items():
        measured.cpu_ms.setdefault(part, []).append(1_000 * each / messages)


def _one(place: Place, number: int) -> contextlib.AbstractAsyncContextManager[Worker]:
    return working(place, LOOPS, name=f"worker-{number}")


async def _shared_out(crew: Sequence[Worker], place: Place) -> None:
    """Wait until every worker runs and the partitions are assigned among all of them."""
    topics = place.settings.topics
    wanted = {
        "facts": len(topics.facts) * PARTITIONS,
        "activity": len(topics.activity) * PARTITIONS,
    }
    for each in crew:
        await each.until("worker_started")
    await _wait(lambda: all(_shared(crew, name, count) for name, count in wanted.items()))


def _shared(crew: Sequence[Worker], group: str, partitions: int) -> bool:
    held = [_partitions_of(each, group) for each in crew]
    return all(held) and sum(held) == partitions


def _partitions_of(worker: Worker, group: str) -> int:
    """How many partitions the worker's members of a group have."""
    last = {line["consumer"]: line["partitions"] for line in worker.lines_of("partitions_assigned")}
    return sum(len(held) for member, held in last.items() if member.startswith(f"{group}-"))


async def _until(crew: Sequence[Worker], event: str, counted: str, count: int) -> list[Line]:
    """Wait until `count` is reached; returns the log lines of all workers up to then, in order."""
    lines: list[Line] = []

    def done() -> bool:
        lines[:] = sorted((line for each in crew for line in each.lines_of(event)), key=ended)
        return sum(int(line[counted]) for line in lines) >= count

    await _wait(done)
    return lines


async def _wait(done: Callable[[], bool]) -> None:
    """Poll until `done` returns true.  Raises `TimeoutError` after `PATIENCE_S`."""
    async with asyncio.timeout(PATIENCE_S):
        while not done():
            await asyncio.sleep(LOOK_EVERY_S)


@contextlib.contextmanager
def _held(crew: Sequence[Worker], *, of: Stage) -> Iterator[None]:
    """Stop the workers until the block is left.  Not on Tansu, with its session timeout of 2 s."""
    for each in crew if of.apache else ():
        os.kill(each.pid, signal.SIGSTOP)
    yield
    for each in crew if of.apache else ():
        os.kill(each.pid, signal.SIGCONT)


def _cpu_s(stage: Stage, crew: Sequence[Worker]) -> dict[str, float]:
    return {
        "workers": sum(cpu_s(each.pid) for each in crew),
        "postgres": cpu_s_under(stage.folder / "postgres"),
        "kafka": cpu_s_under(stage.folder / "kafka"),
    }


@asynccontextmanager
async def _sampling(dsn: str, waits: "Counter[str]") -> AsyncIterator[None]:
    """Sample the wait events of the workers' statements ten times per second, inside the block."""
    connection = await asyncpg.connect(dsn)

    async def sample() -> None:
        while True:
            rows = await connection.fetch(
                "SELECT CASE WHEN wait_event = 'ClientRead' THEN 'waiting for the worker'"
                " ELSE coalesce(wait_event_type || ' ' || wait_event, 'working') END AS what"
                " FROM pg_stat_activity"
                " WHERE application_name = 'marketplace-worker' AND state = 'active'"
                " AND datname = current_database()"
            )
            waits.update(row["what"] for row in rows)
            await asyncio.sleep(LOOK_EVERY_S)

    sampling = asyncio.create_task(sample())
    try:
        yield
    finally:
        sampling.cancel()
        await asyncio.gather(sampling, return_exceptions=True)
        await connection.close()


def _row(stage: Stage, work: Work, measured: Mapping[int, Measured], workers: int) -> results.Row:
    here = measured[workers]
    seen = sum(here.waits.values()) or 1
    return results.row(
        "scale_out",
        f"{work.name}, {workers} worker{'s' if workers > 1 else ''}",
        "messages/s",
        {"ours": here.per_s},
        details={
            "workers": workers,
            "messages": len(work.messages),
            "times_one_worker": round(median(here.per_s) / median(measured[1].per_s), 2),
            "through_per_s": round(median(here.through_per_s)),
            "cpu_ms_a_message": {
                part: round(median(each), 3) for part, each in here.cpu_ms.items()
            },
            "share_of_processors": {
                whose: round(median(each), 2) for whose, each in here.busy.items()
            },
            "statements_were": {
                what: round(times / seen, 3) for what, times in here.waits.most_common(6)
            },
        },
        ran_on=stage.ran_on,
    )


def plot(rows: Sequence[results.Row], file: Path) -> None:
    """Plot the cost of a message, by part, over the number of workers; and the rates."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    works = list(dict.fromkeys(row.work.partition(",")[0] for row in rows))
    for axes, work in zip(figure.subplots(1, len(works), squeeze=False)[0], works, strict=True):
        of_work = [row for row in rows if row.work.startswith(work)]
        names = [str(row.details["workers"]) for row in of_work]
        bottom = [0.0] * len(of_work)
        for part, color in (("workers", "#2a78d6"), ("postgres", "#d98c3f"), ("kafka", "#9aa4af")):
            costs: list[float] = [_cost(row.details, part) for row in of_work]
            axes.bar(names, costs, bottom=bottom, color=color, label=part)
            bottom = [low + cost for low, cost in zip(bottom, costs, strict=True)]
        for place, row in enumerate(of_work):
            axes.annotate(f"{row.ours:,.0f}/s", (place, bottom[place]), ha="center", va="bottom")
        axes.set_title(work)
        axes.set_xlabel("workers")
        axes.set_ylabel("milliseconds of a processor a message")
        axes.set_ylim(top=1.1 * max(bottom))
    figure.legend(
        *axes.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False
    )
    results.store(figure, file)


def _cost(details: Mapping[str, Any], part: str) -> float:
    return float(details["cpu_ms_a_message"][part])
