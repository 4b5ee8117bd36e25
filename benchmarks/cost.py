"""What a million notifications, usage events and idle organizations cost.

Measures processor time of the worker (with all loops), of Postgres and of Kafka until all resulting
messages are sent, and the rows and bytes that remain in Postgres, packed (`VACUUM FULL`).  Sending
the incoming messages to Kafka is not included.

An idle organization is on the free tier and still used: once a month its deadline for inactivity
comes, finds use, and the next one is set.
"""

import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from statistics import median

import asyncpg

from benchmarks import results, workloads
from benchmarks.cloning import clone, seed
from benchmarks.machine import cpu_s, cpu_s_under
from benchmarks.measuring import Options
from benchmarks.stage import Connection, Message, Place, Stage
from benchmarks.worker import Worker, until_none_due, working
from benchmarks.workloads import ACTIVE, NOTIFIED, Kind, number_of
from marketplace_worker.settings import Settings

LOOPS = ("ingest", "deadlines", "relay", "retention")
NOTIFICATIONS = 12_000
USES = 300_000
USED_ORGANIZATIONS = 20_000
IDLE_ORGANIZATIONS = 12_000
OUTGOING = 3
MILLION = 1_000_000
RUNS_MAX = 1
"""Processor time varies so little that one run suffices; `make bench` should take ten minutes."""

FREE = Kind(
    "free",
    lambda number, now: [
        (now - timedelta(days=1), workloads.created(number, now - timedelta(days=1), tier="free"))
    ],
    ACTIVE.news,
)

Finish = Callable[[Worker, Place], Awaitable[object]]


@dataclass(slots=True)
class Work:
    """A piece of work: `count` units of `name`.

    `finish`: waits until everything is done.  `empty`: the template whose rows are not counted.
    """

    name: str
    template: str
    prefix: str
    count: int
    finish: Finish
    empty: str
    begin: str = "SELECT"
    """A statement that makes the work due."""
    cpu_s: dict[str, list[float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stored:
    """What a database holds: rows by table, and bytes."""

    rows: dict[str, int]
    bytes: int


async def measure(stage: Stage, options: Options) -> list[results.Row]:
    """Measure each work; returns a row for each."""
    works = await _prepare(stage, options)
    rows = []
    for work in works:
        for _ in range(min(options.runs, RUNS_MAX)):
            before, after = await _run(stage, work)
        rows.append(_row(stage, work, before, after))
    return rows


async def _prepare(stage: Stage, options: Options) -> list[Work]:
    """Build the databases, and send the messages."""
    kinds = len(NOTIFIED)
    notified = options.size(NOTIFICATIONS, least=600) // kinds * kinds
    used, uses = options.size(USED_ORGANIZATIONS, least=100), options.size(USES, least=5_000)
    idle, now = options.size(IDLE_ORGANIZATIONS, least=600), datetime.now(UTC)
    for template, kind, count in (
        ("cost-notified", NOTIFIED, notified),
        ("cost-used", [ACTIVE], used),
        ("cost-idle", [FREE], idle),
        ("cost-empty", [], 0),
    ):
        await stage.template(template, partial(_build, kinds=kind, organizations=count))
    news = [NOTIFIED[n % kinds].news(number_of(n), now) for n in range(notified)]
    messages: dict[str, Sequence[Message]] = {
        "cost-notified.": news,
        "cost-used.": workloads.usage(random.Random(1), used, now, uses),
        "cost-idle.": [],
    }
    for prefix, sent in messages.items():
        await stage.topics(prefix)
        await stage.send(prefix, sent)

    async def all_sent(worker: Worker, _: Place) -> None:
        await worker.until("batch_relayed", "messages", OUTGOING * notified)

    async def all_counted(worker: Worker, _: Place) -> None:
        await worker.until("batch_ingested", "records", uses)

    async def all_checked(_: Worker, place: Place) -> None:
        await until_none_due(place)

    return [
        Work(
            "notifications", "cost-notified", "cost-notified.", notified, all_sent, "cost-notified"
        ),
        Work("usage events", "cost-used", "cost-used.", uses, all_counted, "cost-used"),
        Work(
            "idle organizations, a month",
            "cost-idle",
            "cost-idle.",
            idle,
            all_checked,
            "cost-empty",
            begin="UPDATE organizations SET next_due_at = now()",
        ),
    ]


async def _build(
    connection: Connection, settings: Settings, *, kinds: Sequence[Kind], organizations: int
) -> None:
    numbers = await seed(settings, kinds, datetime.now(UTC))
    for place, number in enumerate(numbers):
        await clone(connection, number, range(place, organizations, len(kinds)))


async def _run(stage: Stage, work: Work) -> tuple[Stored, Stored]:
    """Do the work once; returns what was stored before and after."""
    async with stage.database(work.empty) as dsn:
        before = await _stored(dsn)
    async with stage.database(work.template) as dsn:
        place = stage.place(dsn, work.prefix)
        await _execute(dsn, work.begin)
        async with working(place, LOOPS) as worker:
            await worker.until("worker_started")
            began = _cpu_s(stage, worker)
            await work.finish(worker, place)
            for part, spent in _cpu_s(stage, worker).items():
                work.cpu_s.setdefault(part, []).append(spent - began[part])
        return before, await _stored(dsn)


def _cpu_s(stage: Stage, worker: Worker) -> dict[str, float]:
    return {
        "worker": cpu_s(worker.pid),
        "postgres": cpu_s_under(stage.folder / "postgres"),
        "kafka": cpu_s_under(stage.folder / "kafka"),
    }


async def _execute(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def _stored(dsn: str) -> Stored:
    """Pack the tables, and measure them."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("VACUUM (FULL, ANALYZE)")
        tables = await connection.fetch(
            "SELECT relname::text AS name, pg_total_relation_size(oid) AS bytes FROM pg_class"
            " WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
        )
        rows = {
            each["name"]: await connection.fetchval(f'SELECT count(*) FROM "{each["name"]}"')
            for each in tables
        }
        return Stored(rows, sum(each["bytes"] for each in tables))
    finally:
        await connection.close()


def _row(stage: Stage, work: Work, before: Stored, after: Stored) -> results.Row:
    times = MILLION / work.count
    per_million = {part: median(each) * times for part, each in work.cpu_s.items()}
    added = {
        name: round((rows - before.rows.get(name, 0)) * times) for name, rows in after.rows.items()
    }
    return results.row(
        "cost",
        f"a million {work.name}",
        "processor seconds",
        {"ours": [sum(per_million.values())]},
        details={
            "measured": work.count,
            "cpu_s": {part: round(each, 1) for part, each in per_million.items()},
            "rows": sum(added.values()),
            "rows_of": {name: rows for name, rows in added.items() if rows},
            "bytes": round((after.bytes - before.bytes) * times),
        },
        ran_on=stage.ran_on,
    )
