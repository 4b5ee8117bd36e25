"""Measures the latency from sending a notification to receiving the resulting event.

One worker runs all its loops with default settings.  The measurement starts when a notification is
handed to the producer, so that its way to Kafka counts, and ends when a consumer of the lifecycle
topic receives the first event of that organization.  Producer and consumer are in one process,
which does nothing else.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from matplotlib.figure import Figure

from benchmarks import results
from benchmarks.cloning import clone, seed
from benchmarks.measuring import Options
from benchmarks.stage import PARTITIONS, Connection, Stage
from benchmarks.worker import working
from benchmarks.workloads import NOTIFIED, TOPICS, number_of
from marketplace_worker.settings import Settings

PREFIX = "latency."
LOOPS = ("ingest", "deadlines", "relay", "retention")

LOAD_PER_S, IDLE_PER_S = 500, 5
WARM_UP_S, WINDOW_S, IDLE_S = 2.0, 2.0, 6.0
"""After a warm-up, latency under load is measured in windows, each of which counts as a run."""

PATIENCE_S = 120.0


@dataclass(slots=True)
class Stopwatch:
    """Measures the time from each organization's notification to its first event.

    `sent_at` and `took_s`: by organization, in seconds of `perf_counter`.
    """

    producer: AIOKafkaProducer
    consumer: AIOKafkaConsumer
    sent_at: dict[int, float] = field(default_factory=dict)
    took_s: dict[int, float] = field(default_factory=dict)
    received: asyncio.Event = field(default_factory=asyncio.Event)

    async def send(self, numbers: Sequence[int], per_s: float) -> None:
        """Send a notification for each, evenly over time, without waiting for events."""
        began = perf_counter()
        for place, number in enumerate(numbers):
            await asyncio.sleep(max(0.0, began + place / per_s - perf_counter()))
            now = datetime.now(UTC)
            topic, key, value = NOTIFIED[number % len(NOTIFIED)].news(number_of(number), now)
            self.sent_at[number] = perf_counter()
            await self.producer.send(PREFIX + topic, value, key=key)

    async def listen(self) -> None:
        """Receive events until cancelled."""
        while True:
            received = await self.consumer.getmany(timeout_ms=1_000)
            at = perf_counter()
            for records in received.values():
                for record in records:
                    number = int(record.key[-8:])
                    if number not in self.took_s and number in self.sent_at:
                        self.took_s[number] = at - self.sent_at[number]
            self.received.set()

    async def all_of(self, numbers: Sequence[int]) -> list[float]:
        """Wait for the events of all these organizations; returns the latencies in milliseconds.

        Raises `TimeoutError` if some are missing.
        """
        async with asyncio.timeout(PATIENCE_S):
            while any(number not in self.took_s for number in numbers):
                self.received.clear()
                await self.received.wait()
        return [1_000 * self.took_s[number] for number in numbers]


async def measure(stage: Stage, options: Options) -> list[results.Row]:
    """Measure the latency nearly idle, and at 500 notifications per second."""
    window, warm = int(LOAD_PER_S * WINDOW_S), int(LOAD_PER_S * WARM_UP_S)
    idle = max(10, int(IDLE_PER_S * IDLE_S * min(1.0, options.scale)))
    count = warm + idle + window * options.runs
    numbers = list(range(-(-count // len(NOTIFIED)) * len(NOTIFIED)))
    random.Random(1).shuffle(numbers)

    async def fleet(connection: Connection, settings: Settings) -> None:
        now = datetime.now(UTC)
        for kind, number in enumerate(await seed(settings, NOTIFIED, now)):
            await clone(connection, number, range(kind, len(numbers), len(NOTIFIED)))

    template = await stage.template("latency", fleet)
    await stage.topics(PREFIX)
    async with stage.database(template) as dsn:
        place = stage.place(dsn, PREFIX)
        async with working(place, LOOPS) as worker, _stopwatch(stage) as watch:
            await worker.until("worker_started")
            first, numbers = numbers[:warm], numbers[warm:]
            await watch.send(first, LOAD_PER_S)
            await watch.all_of(first)
            few, numbers = numbers[:idle], numbers[idle:]
            await watch.send(few, IDLE_PER_S)
            idle_ms = await watch.all_of(few)
            many = numbers[: window * options.runs]
            await watch.send(many, LOAD_PER_S)
            load_ms = await watch.all_of(many)
    windows = [load_ms[at : at + window] for at in range(0, len(many), window)]
    return [
        _row(stage, f"nearly idle ({IDLE_PER_S}/s)", [idle_ms], ""),
        _row(stage, f"at {LOAD_PER_S}/s", windows, "< 250"),
    ]


def _row(stage: Stage, work: str, runs: Sequence[Sequence[float]], wanted: str) -> results.Row:
    every = [each for run in runs for each in run]
    return results.row(
        "latency",
        f"p99, {work}",
        "ms",
        {"ours": [percentile(run, 99) for run in runs]},
        wanted=wanted,
        details={
            "p50_ms": round(median(every), 1),
            "p99_ms": round(percentile(every, 99), 1),
            "longest_ms": round(max(every), 1),
            "notifications": len(every),
            "percentiles_ms": {p: round(percentile(every, p), 1) for p in (1, 10, 25, 75, 90, 95)},
        },
        ran_on=stage.ran_on,
    )


def percentile(values: Sequence[float], percent: int) -> float:
    """The value that `percent` percent of the values do not exceed."""
    return quantiles(values, n=100, method="inclusive")[percent - 1]


@asynccontextmanager
async def _stopwatch(stage: Stage) -> AsyncIterator[Stopwatch]:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=stage.kafka, auto_offset_reset="earliest", fetch_max_wait_ms=100
    )
    producer = AIOKafkaProducer(bootstrap_servers=stage.kafka, linger_ms=0)
    await producer.start()
    await consumer.start()
    consumer.assign([TopicPartition(PREFIX + TOPICS.lifecycle, p) for p in range(PARTITIONS)])
    watch = Stopwatch(producer, consumer)
    listening = asyncio.create_task(watch.listen())
    try:
        yield watch
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        await consumer.stop()
        await producer.stop()


def plot(rows: Sequence[results.Row], file: Path) -> None:
    """Plot median, 99th percentile and maximum for each load."""
    figure = Figure(figsize=(7, 2.2), layout="constrained")
    axes = figure.subplots()
    names = [row.work.removeprefix("p99, ") for row in rows]
    for name, key, color in (
        ("longest", "longest_ms", "#dfe3e8"),
        ("99 %", "p99_ms", "#9aa4af"),
        ("half", "p50_ms", results.COLORS["ours"]),
    ):
        axes.barh(names, [_detail(row.details, key) for row in rows], color=color, label=name)
    axes.invert_yaxis()
    axes.set_xlabel("milliseconds from a notification in Kafka to its event in Kafka")
    axes.legend(frameon=False)
    results.store(figure, file)


def _detail(details: Mapping[str, float], key: str) -> float:
    return float(details[key])
