"""`python -m benchmarks.against [REF]`: processor time of the worker, compared with another commit.

The default is the newest release.  Both versions run in turn on the same servers, topics and
messages, and are used only from outside: commands, settings, log.  Each has databases of its own,
migrated and filled by itself.  Exits with 1 if a piece of work costs more than `RATIO_MAX` times as
much as at that commit, or if there was nothing to measure.
"""

import argparse
import asyncio
import logging
import random
import resource
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import asyncpg
import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks import workloads
from benchmarks.machine import cpu_s
from benchmarks.measuring import Options
from benchmarks.simulate import scenario
from benchmarks.stage import POLICY, PREFIX, Place, Stage, staging
from benchmarks.versions import HERE, Unavailable, Version, last_release, version_of
from benchmarks.worker import Worker, until_none_due
from benchmarks.workloads import ACTIVE, DUE, NOTIFIED, number_of
from marketplace_worker.operations.logs import set_up_logs

RATIO_MAX = 1.3
RUNS = 3
TICK_S = 0.01
"""The kernel counts processor time in steps of this length."""

CPU_S_MIN = 2.0
"""A measurement of less processor time is marked."""

NOTHING_S = 0.1
"""A shorter time means that the work was done before it could be measured, or that there was none:
a failure.
"""

USERS = 600
"""Active organizations, which the usage events concern: others watch their activity, which costs
three times as much."""

NOTIFIED_ORGANIZATIONS = 4_200
USES = 250_000
DUE_ORGANIZATIONS = 4_000
OUTBOX_COPIES = 6
SIMULATED = 2_400
UNTIL = "2026-11-02T00:00:00Z"

DWELL_S = 1

DUE_AT_ONCE = f"""{POLICY}
[minimum_dwell]
canceled = "PT{DWELL_S}S"
"""
"""Under this policy a cancellation that is a day old loses its control plane as soon as it is
known.
"""

MULTIPLY = """
INSERT INTO outbox (shard, topic, key, value, headers, written_at)
SELECT shard, topic, key, value, headers, written_at FROM outbox, generate_series(2, $1)
"""

Once = Callable[[Version], Awaitable[float]]
"""Does a piece of work once with a version; returns the processor time in seconds."""


@dataclass(slots=True)
class Work:
    """A piece of work: `count` of `unit`, and the processor times of each version's runs."""

    name: str
    unit: str
    count: int
    once: Once
    spent_s: dict[str, list[float]] = field(default_factory=dict)

    async def measure(self, versions: Sequence[Version], runs: int) -> None:
        """Run the versions alternately."""
        for _ in range(runs):
            for version in versions:
                spent = await self.once(version)
                self.spent_s.setdefault(version.name, []).append(spent)
                sys.stderr.write(f"  {self.name}, {version.name}: {spent:.2f} s\n")

    def us(self, version: Version) -> float:
        """Processor time for each of `unit`, in microseconds: of the cheapest run."""
        return 1e6 * max(TICK_S, min(self.spent_s[version.name])) / self.count

    @property
    def least_s(self) -> float:
        """The shortest measurement."""
        return min(min(each) for each in self.spent_s.values())

    def ratio(self, before: Version) -> float:
        """The cost in this checkout relative to the other version."""
        return self.us(HERE) / self.us(before)

    def faults(self, before: Version) -> list[str]:
        """Why the comparison fails; empty if it does not."""
        over = ["OVER THE LIMIT"] if self.ratio(before) > RATIO_MAX else []
        nothing = ["NOTHING MEASURED"] if self.least_s < NOTHING_S else []
        return over + nothing


def main() -> None:
    """Compare this checkout with a commit."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.against", description=__doc__)
    parser.add_argument("ref", nargs="?", help="a commit; by default the newest release")
    parser.add_argument("--runs", type=int, default=RUNS, help="of each version")
    parser.add_argument("--scale", type=float, default=1.0, help="of all sizes")
    parser.add_argument("--tansu", action="store_true", help="the embedded broker in any case")
    arguments = parser.parse_args()
    set_up_logs(sys.stderr, "warning")
    logging.getLogger("aiokafka").setLevel(logging.ERROR)  # new topics have no leader at first
    with tempfile.TemporaryDirectory() as folder:
        try:
            before = version_of(arguments.ref or last_release(), Path(folder))
        except Unavailable as missing:
            sys.exit(str(missing))
        policy = Path(folder) / "policy.toml"
        policy.write_text(DUE_AT_ONCE)
        versions = [_with_policy(each, policy) for each in (before, HERE)]
        options = Options(arguments.runs, arguments.scale)
        works, ran_on = uvloop.run(_compare(versions, options, embedded=arguments.tansu))
    show(works, before, ran_on)
    sys.exit(any(each.faults(before) for each in works))


def _with_policy(version: Version, policy: Path) -> Version:
    return replace(version, variables={**version.variables, f"{PREFIX}POLICY_FILE": str(policy)})


async def _compare(
    versions: Sequence[Version], options: Options, *, embedded: bool
) -> tuple[list[Work], str]:
    """Measure every work; what is over the limit, twice as often."""
    before = versions[0]
    async with staging(durable=False, embedded=embedded) as stage:
        works = await _prepare(stage, versions, options)
        for work in works:
            await work.measure(versions, options.runs)
            if work.ratio(before) > RATIO_MAX:
                await work.measure(versions, options.runs)
        return works, stage.ran_on


def show(works: Sequence[Work], before: Version, ran_on: str) -> None:
    """Print the table."""
    table = Table(box=None, pad_edge=False)
    for name in ("processor time of", before.name, HERE.name, "ratio", ""):
        table.add_column(name, justify="left" if name == "processor time of" else "right")
    for work in works:
        remarks = work.faults(before)
        remarks += [f"only {work.least_s:.1f} s"] if work.least_s < CPU_S_MIN else []
        table.add_row(
            f"{work.name}: {work.unit}",
            f"{work.us(before):.1f} us",
            f"{work.us(HERE):.1f} us",
            f"{work.ratio(before):.2f}",
            ", ".join(remarks),
        )
    Console(width=120).print(table)
    Console(width=120).print(f"at most {RATIO_MAX}; {ran_on}", highlight=False)


# --- preparing ------------------------------------------------------------------------------------


async def _prepare(stage: Stage, versions: Sequence[Version], options: Options) -> list[Work]:
    """Send all messages, and build the databases of each version."""
    now = datetime.now(UTC)
    users, kinds = options.size(USERS, least=20), len(NOTIFIED)
    last = users + options.size(NOTIFIED_ORGANIZATIONS, least=60)
    active = [(ACTIVE, number_of(n)) for n in range(users)]
    notified = [(NOTIFIED[n % kinds], number_of(n)) for n in range(users, last)]
    due = [(DUE, number_of(n)) for n in range(options.size(DUE_ORGANIZATIONS, least=20))]
    uses = workloads.usage(random.Random(1), users, now, options.size(USES, least=2_000))
    histories = {
        "fleet": [
            message for kind, n in [*active, *notified] for _, message in kind.history(n, now)
        ],
        "due": [message for kind, n in due for _, message in kind.history(n, now)],
    }
    news = [kind.news(n, now) for kind, n in notified]
    for prefix, messages in (
        ("fleet.", histories["fleet"]),
        ("due.", histories["due"]),
        ("news.", news),
        ("uses.", uses),
    ):
        await stage.topics(prefix)
        await stage.send(prefix, messages)
    outboxes = []
    for version in versions:
        sys.stderr.write(f"filling the databases of {version.name}\n")
        await _build(stage, version, "fleet", len(histories["fleet"]))
        await _build(stage, version, "due", len(histories["due"]))
        outboxes.append(await _fill_outbox(stage, version))
    ingesting = partial(_ingesting, stage)
    return [
        Work("usage", "an event", len(uses), partial(ingesting, "uses.", len(uses))),
        Work("notifications", "each", len(news), partial(ingesting, "news.", len(news))),
        Work("deadlines", "an organization", len(due), partial(_firing, stage)),
        Work("relay", "a message", min(outboxes), partial(_relaying, stage, min(outboxes))),
        Work("simulate", "a message", *_simulating(options.size(SIMULATED, least=60))),
    ]


async def _build(stage: Stage, version: Version, template: str, messages: int) -> None:
    """Build a database by ingesting the messages of a template's topics.

    Of the fleet, the deadlines that have passed fire as well.
    """
    name = _database(version, template)
    await stage.execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
    place = stage.place(stage.dsn(name), f"{template}.")
    await version.run(place, "migrate")
    async with version.working(place, "ingest") as worker:
        await worker.until("batch_ingested", "records", messages)
    await asyncio.sleep(2 * DWELL_S)
    if template == "fleet":
        async with version.working(place, "deadlines") as worker:
            await worker.until("worker_started")
            await until_none_due(place)
    await _in(place, "VACUUM (FREEZE, ANALYZE)")


async def _fill_outbox(stage: Stage, version: Version) -> int:
    """Multiply the outbox of a copy of the fleet; returns the number of messages."""
    source, name = _database(version, "fleet"), _database(version, "relay")
    await stage.execute(f'CREATE DATABASE "{name}" TEMPLATE "{source}" STRATEGY = FILE_COPY')
    connection = await asyncpg.connect(stage.dsn(name))
    try:
        await connection.execute(MULTIPLY, OUTBOX_COPIES)
        await connection.execute("VACUUM (FREEZE, ANALYZE)")
        return int(await connection.fetchval("SELECT count(*) FROM outbox"))
    finally:
        await connection.close()


def _database(version: Version, template: str) -> str:
    return f"{template} of {version.name}"


async def _in(place: Place, statement: str) -> None:
    connection = await asyncpg.connect(place.dsn)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


# --- one run --------------------------------------------------------------------------------------


async def _ingesting(stage: Stage, prefix: str, count: int, version: Version) -> float:
    async with stage.database(_database(version, "fleet")) as dsn:
        place = stage.place(dsn, prefix)
        return await _spent_s(
            version, place, "ingest", lambda it: it.until("batch_ingested", "records", count)
        )


async def _firing(stage: Stage, version: Version) -> float:
    async with stage.database(_database(version, "due")) as dsn:
        place = stage.place(dsn, "due.")
        return await _spent_s(version, place, "deadlines", lambda _: until_none_due(place))


async def _relaying(stage: Stage, count: int, version: Version) -> float:
    async with stage.database(_database(version, "relay")) as dsn:
        place = stage.place(dsn, "fleet.")
        return await _spent_s(
            version, place, "relay", lambda it: it.until("batch_relayed", "messages", count)
        )


async def _spent_s(
    version: Version, place: Place, loop: str, finish: Callable[[Worker], Awaitable[object]]
) -> float:
    """Processor time of the worker from the end of its start until `finish` returns, in seconds."""
    async with version.working(place, loop) as worker:
        await worker.until("worker_started")
        before = cpu_s(worker.pid)
        await finish(worker)
        return cpu_s(worker.pid) - before


def _simulating(organizations: int) -> tuple[int, Once]:
    """The number of messages, and the command; its start, without a scenario, is subtracted."""
    lines = scenario(organizations)
    text = b"".join(line + b"\n" for line in lines)

    async def once(version: Version) -> float:
        return await asyncio.to_thread(_simulate_s, version, text) - await asyncio.to_thread(
            _simulate_s, version, b""
        )

    return len(lines), once


def _simulate_s(version: Version, scenario: bytes) -> float:
    """Processor time of the command `simulate`, in seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [version.python, "-m", "marketplace_worker", "simulate", "-", "--until", UNTIL],
        input=scenario, stdout=subprocess.DEVNULL, env=version.environment(None), check=True,
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
