"""Measures whether a message costs more in a large fleet than in a small one.

Fleets of 10,000, 100,000 and 1,000,000 organizations, with ten journal rows each, are processed in
turn: each run ingests the same number of notifications, fires the same number of deadlines and
relays the resulting messages, for organizations spread over the whole fleet.  After each run its
changes are undone, except in the journal and the history, which only grow.
"""

import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import asyncpg
from matplotlib.figure import Figure

from benchmarks import results
from benchmarks.cloning import TABLES
from benchmarks.fleet import Fleet, make_due, news, restore, save
from benchmarks.machine import cpu_s, cpu_s_under
from benchmarks.measuring import Options
from benchmarks.stage import Connection, Stage
from benchmarks.worker import Pace, Worker, pace, working
from marketplace_worker.store.queries import queries

SIZES = (10_000, 100_000, 1_000_000)
NOTIFIED_OF, FIRED = 3_000, 2_000
"""Numbers of notifications and due organizations per run; in the smallest fleet these are all."""

WANTED = "at most 1.3"

WORKS = {"ingest": "messages/s", "deadlines": "organizations/s", "relay": "messages/s"}
COLORS = ("#2a78d6", "#d98c3f", "#5b9a5b")

POPULATION_RUNS = 5

RUNS = count(1)
"""Numbers the runs of all fleets, so that messages have new identities in each run."""


@dataclass(slots=True)
class Grown:
    """A fleet of one size and its measurements, by workload and in the order of the runs.

    `per_s`: messages or organizations per second.  `cpu_ms`: processor time for each, of worker and
    Postgres together, in ms; `postgres_cpu_ms`: of Postgres alone.  `population_ms`: duration of
    the only statement that counts the whole fleet, in ms; ticks run it when the guard's limit may
    be near, which does not happen here.  `row_bytes`: bytes per row of each table, with indexes.
    """

    fleet: Fleet
    template: str
    journal_rows: int = 0
    population_ms: float = 0.0
    row_bytes: Mapping[str, float] = field(default_factory=dict)
    per_s: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    cpu_ms: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    postgres_cpu_ms: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def add(self, work: str, pace: Pace, worker_s: float, postgres_s: float) -> None:
        """Add the result of one run, with the processor time that it took, in seconds."""
        self.per_s[work].append(pace.rate)
        self.cpu_ms[work].append(1_000 * (worker_s + postgres_s) / pace.done)
        self.postgres_cpu_ms[work].append(1_000 * postgres_s / pace.done)
        sys.stderr.write(
            f"  {work} {self.fleet.size}: {pace.rate:,.0f}/s, {self.cpu_ms[work][-1]:.2f} CPU ms\n"
        )


async def measure(stage: Stage, options: Options) -> list[results.Row]:
    """Measure ingest, deadlines and relay in each of the fleets."""
    sizes = [options.size(each, least=100 * 10**place) for place, each in enumerate(SIZES)]
    smallest = Fleet(sizes[0])
    sample = smallest.sample(min(NOTIFIED_OF, smallest.notified))
    leaving = min(FIRED, smallest.leaving)
    grown = []
    for size in sizes:
        fleet = Fleet(size)
        name = await stage.template(f"growth-{size}", fleet.build)
        async with _connected(stage, name) as connection:
            await save(connection, [*fleet.sample(len(sample)), *fleet.leaving_sample(leaving)])
            rows = await connection.fetchval("SELECT count(*) FROM journal")
            population_ms, row_bytes = (
                await _population_ms(connection),
                await _row_bytes(connection),
            )
        grown.append(Grown(fleet, name, rows, population_ms, row_bytes))
    for _ in range(options.runs):
        for each in grown:
            await _run(stage, each, len(sample), leaving)
    return list(_rows(stage, grown))


async def _population_ms(connection: Connection) -> float:
    took = []
    for _ in range(POPULATION_RUNS):
        began = perf_counter()
        await connection.fetchval(queries("organizations")["population"])
        took.append(1_000 * (perf_counter() - began))
    return median(took)


async def _row_bytes(connection: Connection) -> dict[str, float]:
    """Bytes per row by table, from the statistics collected after the fleet was built."""
    rows = await connection.fetch(
        "SELECT relname AS name, pg_total_relation_size(oid) / reltuples AS bytes FROM pg_class"
        " WHERE relname = ANY($1::text[]) AND reltuples > 0",
        TABLES,
    )
    return {row["name"]: round(row["bytes"]) for row in rows}


async def _run(stage: Stage, grown: Grown, notified: int, fired: int) -> None:
    """Run all three workloads once, in a fleet in its initial state."""
    number = next(RUNS)
    prefix = f"growth-{number}."
    now = datetime.now(UTC)
    await stage.topics(prefix)
    messages = [news(each, now, number) for each in grown.fleet.sample(notified)]
    await stage.send(prefix, messages)
    async with _connected(stage, grown.template) as connection:
        await restore(connection)
        await make_due(connection, grown.fleet.leaving_sample(fired))
    place = stage.place(stage.dsn(grown.template), prefix)
    for work, event, counted in (
        ("ingest", "batch_ingested", "records"),
        ("deadlines", "deadlines_fired", "organizations"),
        ("relay", "batch_relayed", "messages"),
    ):
        async with _connected(stage, grown.template) as connection:
            promised = await connection.fetchval("SELECT count(*) FROM outbox")
        done = {"ingest": notified, "deadlines": fired, "relay": promised}[work]
        async with working(place, [work]) as worker:
            await worker.until("worker_started")
            worker_s, postgres_s = _cpu_s(stage, worker)
            lines = await worker.until(event, counted, done)
            worker_then_s, postgres_then_s = _cpu_s(stage, worker)
        grown.add(
            work,
            pace(lines, counted, done),
            worker_then_s - worker_s,
            postgres_then_s - postgres_s,
        )


def _cpu_s(stage: Stage, worker: Worker) -> tuple[float, float]:
    """The processor time of the worker and of Postgres, in seconds."""
    return cpu_s(worker.pid), cpu_s_under(stage.folder / "postgres")


@asynccontextmanager
async def _connected(stage: Stage, template: str) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(stage.dsn(template))
    try:
        yield connection
    finally:
        await connection.close()


def _rows(stage: Stage, grown: Sequence[Grown]) -> Iterator[results.Row]:
    """Rates for the smallest fleet; for the others the cost of a message relative to it."""
    first, *larger = grown
    for work, unit in WORKS.items():
        yield results.row(
            "growth",
            f"{work}, {_organizations(first)}",
            unit,
            {"ours": first.per_s[work]},
            details=_details(first, work),
            ran_on=stage.ran_on,
        )
        for each in larger:
            yield results.row(
                "growth",
                f"{work}, {_organizations(each)}",
                "times the cost",
                {"ours": _times(first.per_s[work], each.per_s[work])},
                wanted=WANTED,
                details=_details(each, work) | {"times_cpu": _times_cpu(each, first, work)},
                ran_on=stage.ran_on,
            )


def _times_cpu(grown: Grown, first: Grown, work: str) -> float | None:
    """Processor time relative to the smallest fleet; None if a run there took less than the
    kernel's resolution of 10 ms.
    """
    if not all(first.cpu_ms[work]):
        return None
    return round(median(_times(grown.cpu_ms[work], first.cpu_ms[work])), 2)


def _organizations(grown: Grown) -> str:
    return f"{grown.fleet.size:,} organizations"


def _details(grown: Grown, work: str) -> dict[str, Any]:
    return {
        "organizations": grown.fleet.size,
        "journal_rows": grown.journal_rows,
        "per_s": round(median(grown.per_s[work])),
        "cpu_ms": round(median(grown.cpu_ms[work]), 3),
        "postgres_cpu_ms": round(median(grown.postgres_cpu_ms[work]), 3),
        "population_ms": round(grown.population_ms, 1),
        "row_bytes": grown.row_bytes,
    }


def _times(these: Sequence[float], those: Sequence[float]) -> list[float]:
    """The ratios of `these` to `those`, run by run, because the machine changes between runs."""
    return [this / that for this, that in zip(these, those, strict=True)]


def plot(rows: Sequence[results.Row], file: Path) -> None:
    """Plot each workload's cost, relative to the smallest fleet, over the size of the fleet."""
    figure = Figure(figsize=(7, 3), layout="constrained")
    axes = figure.subplots()
    for work, color in zip(WORKS, COLORS, strict=True):
        of_work = [row for row in rows if row.work.startswith(work)]
        sizes = [row.details["organizations"] for row in of_work]
        times = [1.0, *(row.ours for row in of_work[1:])]
        axes.plot(sizes, times, marker="o", color=color, label=work)
    axes.axhline(1.3, color="#9aa4af", linestyle="--", label="what is wanted at most")
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("organizations; ten journal rows each")
    axes.set_ylabel("times the cost")
    axes.legend(frameon=False)
    results.store(figure, file)
