"""`python -m benchmarks.peers [NAME …]`: ours and other stream processors, counting usage events.

All read the same topic from its beginning and leave the same rows in `activity`.  Speed is measured
by the growth of these rows, alike for all.  In one more run each is killed (SIGKILL) right after a
transaction, at two fifths of the events, and started again; then its counts are compared.
"""

import argparse
import asyncio
import json
import logging
import random
import sys
from asyncio.subprocess import STDOUT, Process
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from uuid import uuid4

import asyncpg
import uvloop

from benchmarks import results, usage, workloads
from benchmarks.machine import cpu_s
from benchmarks.measuring import RUN_S_MIN, Options
from benchmarks.peers.counting import SESSION_TIMEOUT_MS, Job
from benchmarks.stage import PREFIX, ROOT, Connection, Place, Stage, staging
from benchmarks.worker import working
from marketplace_worker.operations.logs import set_up_logs

ENVIRONMENTS = ROOT / ".cache/peers"
"""Where the Makefile creates the peers' environments."""

ORGANIZATIONS = 20_000
EVENTS = 200_000
TIMES = 4
"""How often the events are in the topic, so that the fastest takes more than five seconds."""

TOPICS = "peers."
RUNS = 2
KILLED_AT = 0.4
POLL_S = 0.1
POLL_BEFORE_KILL_S = 0.002
STEADY_S = 90.0
"""A contender is done when its counts have not changed for this long: a killed group is taken over
after its session timeout and a rebalance, which is slow on the embedded broker.
"""

STEADY_ENOUGH_S = 5.0
"""The same where enough is counted."""

SESSION = {f"{PREFIX}KAFKA__SESSION_TIMEOUT_MS": str(SESSION_TIMEOUT_MS)}

PATIENCE_S = 240.0


class Stuck(Exception):
    """A contender did not count all events; the message has the end of its output."""


@dataclass(frozen=True, slots=True)
class Contender:
    """A stream processor, and its guarantees.

    `environment`: the folder of its environment; empty: this one.  `module`: empty for ours.
    `validates`: whether it validates events and sets unreadable ones aside.
    """

    name: str
    module: str
    environment: str
    validates: str
    promise: str

    @property
    def python(self) -> str:
        """The Python of its environment."""
        folder = ENVIRONMENTS / self.environment
        return str(folder / "bin/python") if self.environment else sys.executable


CONTENDERS = (
    Contender("ours", "", "", "yes, dead letters", "exactly once"),
    Contender("bytewax", "with_bytewax", "bytewax", "no", "at least once"),
    Contender("quixstreams", "with_quixstreams", "quixstreams", "no", "at least once"),
    Contender("arroyo", "with_arroyo", "arroyo", "no", "at least once"),
    Contender("FastStream", "with_faststream", "", "yes, by pydantic", "at least once"),
)


@dataclass(frozen=True, slots=True)
class Expected:
    """The requests that must be counted, by organization."""

    requests: Mapping[str, int]
    events: int

    @property
    def total(self) -> int:
        """The sum over all organizations."""
        return sum(self.requests.values())

    async def compare(self, connection: Connection) -> str:
        """The comparison of the counts, in words."""
        rows = await connection.fetch("SELECT organization_id, requests FROM activity")
        counted = {row["organization_id"]: int(row["requests"]) for row in rows}
        wrong = sum(counted.get(each, 0) != wanted for each, wanted in self.requests.items())
        if not wrong:
            return "exact"
        share = sum(counted.values()) / self.total - 1
        much = "too many" if share > 0 else "too few"
        return f"{much}: {share:+.2%}, {wrong:,} organizations wrong"


def main() -> None:
    """Measure the contenders named on the command line, or all."""
    names = [each.name for each in CONTENDERS]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(names))
    parser.add_argument("--runs", type=int, default=RUNS, help="of each, without the killed one")
    parser.add_argument("--scale", type=float, default=1.0, help="of the number of events")
    parser.add_argument("--tansu", action="store_true", help="the embedded broker in any case")
    parser.add_argument("--dry", action="store_true", help="print the table, and write nothing")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(names):
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    set_up_logs(sys.stderr, "warning")
    logging.getLogger("aiokafka").setLevel(logging.ERROR)  # new topics have no leader at first
    rows, failed = uvloop.run(_measure(arguments))
    results.show(rows)
    for row in rows:
        sys.stdout.write(f"{row.work}: after a kill {row.details['after_a_kill']}\n")
    if not arguments.dry:
        results.save(rows)
    sys.exit(failed)


async def _measure(arguments: argparse.Namespace) -> tuple[list[results.Row], int]:
    """The rows, and how many contenders failed.  A failure does not stop the others."""
    options = Options(arguments.runs, arguments.scale)
    wanted = arguments.names or [each.name for each in CONTENDERS]
    contenders = [each for each in CONTENDERS if each.name in wanted]
    async with staging(embedded=arguments.tansu) as stage:
        sys.stderr.write(f"{stage.ran_on}\n")
        await stage.template("peers", partial(usage.build, organizations=ORGANIZATIONS))
        expected = await _fill(stage, options)
        speeds: dict[str, list[Speed]] = {each.name: [] for each in contenders}
        counted: dict[str, str] = {}
        failed: set[str] = set()
        for turn in range(options.runs + 1):
            for contender in contenders:
                if contender.name in failed:
                    continue
                try:
                    if turn < options.runs:
                        speed = await _speed(stage, contender, expected)
                        speeds[contender.name].append(speed)
                        sys.stderr.write(f"  {contender.name} {speed}\n")
                    else:
                        found = await _after_a_kill(stage, contender, expected)
                        counted[contender.name] = found
                        sys.stderr.write(f"  {contender.name} after a kill: {found}\n")
                except Stuck as error:
                    sys.stderr.write(f"  {contender.name} failed: {error}\n")
                    failed.add(contender.name)
        rows = [
            _row(stage, each, speeds[each.name], expected, counted[each.name])
            for each in contenders
            if each.name not in failed
        ]
        return rows, len(failed)


async def _fill(stage: Stage, options: Options) -> Expected:
    """Send all events."""
    await stage.topics(TOPICS)
    count = options.size(EVENTS, least=5_000)
    events = workloads.usage(random.Random(1), ORGANIZATIONS, datetime.now(UTC), count)
    requests: Counter[str] = Counter()
    for _, key, value in events:
        requests[key.decode()] += TIMES * int(json.loads(value)["data"]["requests"])
    for _ in range(TIMES):
        await stage.send(TOPICS, events)
    return Expected(requests, TIMES * count)


@dataclass(frozen=True, slots=True)
class Speed:
    """The speed of one run, from the first visible rows until all were visible."""

    rate: float
    seconds: float
    cpu_us: float

    def __str__(self) -> str:
        return f"{self.rate:,.0f}/s for {self.seconds:.1f} s, {self.cpu_us:.1f} us each"


async def _speed(stage: Stage, contender: Contender, expected: Expected) -> Speed:
    async with (
        stage.database("peers") as dsn,
        _connected(dsn) as connection,
        _running(stage.place(dsn, TOPICS), contender, _folder(stage), stage) as running,
    ):
        first = await _until(connection, 1, running)
        began, began_cpu = perf_counter(), cpu_s(running.process.pid)
        await _until(connection, expected.total, running)
        seconds, cpu = perf_counter() - began, cpu_s(running.process.pid) - began_cpu
    events = expected.events * (1 - first / expected.total)
    return Speed(events / seconds, seconds, 1e6 * cpu / events)


async def _after_a_kill(stage: Stage, contender: Contender, expected: Expected) -> str:
    """The counts after a kill and a restart, in words."""
    async with stage.database("peers") as dsn, _connected(dsn) as connection:
        place, folder = stage.place(dsn, TOPICS), _folder(stage)
        async with _running(place, contender, folder, stage) as running:
            least = int(expected.total * KILLED_AT)
            await _until(connection, least, running, every_s=POLL_BEFORE_KILL_S)
        async with _running(place, contender, folder, stage) as running:
            await _until_steady(connection, running, expected.total)
            return await expected.compare(connection)


def _row(
    stage: Stage,
    contender: Contender,
    speeds: Sequence[Speed],
    expected: Expected,
    after_a_kill: str,
) -> results.Row:
    shortest_s = min(each.seconds for each in speeds)
    return results.row(
        "peers",
        contender.name,
        "messages/s",
        {"ours": [each.rate for each in speeds]},
        short={} if shortest_s >= RUN_S_MIN else {contender.name: round(shortest_s, 1)},
        details={
            "events": expected.events,
            "cpu_us_of_each": round(median(each.cpu_us for each in speeds), 1),
            "after_a_kill": after_a_kill,
            "validates": contender.validates,
            "promises": contender.promise,
        },
        ran_on=stage.ran_on,
    )


# --- one run --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Running:
    """A contender's process, and the file with its output."""

    process: Process
    log: Path

    def check(self) -> None:
        """Raise `Stuck` if it ended."""
        if self.process.returncode is not None:
            raise Stuck(self.tail())

    def tail(self) -> str:
        """The end of its output."""
        return self.log.read_bytes()[-3_000:].decode(errors="replace")


@asynccontextmanager
async def _running(
    place: Place, contender: Contender, folder: Path, stage: Stage
) -> AsyncIterator[Running]:
    """Run a contender; it is killed on leaving."""
    if not contender.module:
        async with working(place, ["ingest"], variables=SESSION) as worker:
            yield Running(worker.process, worker.log)
        return
    job = Job(
        kafka=stage.kafka,
        topic=place.settings.topics.api_requests,
        group=place.settings.kafka.group_prefix,
        dsn=place.dsn,
        folder=str(folder),
    )
    log = folder / "output"
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            contender.python, "-m", f"benchmarks.peers.{contender.module}", json.dumps(asdict(job)),
            cwd=ROOT, stdout=output, stderr=STDOUT,
        )  # fmt: skip
    try:
        yield Running(process, log)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def _folder(stage: Stage) -> Path:
    folder = stage.folder / f"peer-{uuid4().hex}"
    folder.mkdir()
    return folder


@asynccontextmanager
async def _connected(dsn: str) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(dsn)
    try:
        yield connection
    finally:
        await connection.close()


async def _until(
    connection: Connection, requests: int, running: Running, *, every_s: float = POLL_S
) -> int:
    """Wait until so many requests are counted; returns how many are."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            while (counted := await _counted(connection)) < requests:
                running.check()
                await asyncio.sleep(every_s)
            return counted
    except TimeoutError:
        raise Stuck(running.tail()) from None


async def _until_steady(connection: Connection, running: Running, enough: int) -> None:
    """Wait until the counts no longer change."""
    counted, since = await _counted(connection), perf_counter()
    while perf_counter() - since < (STEADY_S if counted < enough else STEADY_ENOUGH_S):
        running.check()
        await asyncio.sleep(POLL_S)
        newest = await _counted(connection)
        if newest != counted:
            counted, since = newest, perf_counter()


async def _counted(connection: Connection) -> int:
    return int(await connection.fetchval("SELECT coalesce(sum(requests), 0) FROM activity"))


if __name__ == "__main__":
    main()
