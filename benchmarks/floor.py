"""Shared code of the floors: the job from the command line, a consumer, and the timing of a run.

A floor is the least code that does the same reads and writes.  It has no rules, no validation, no
retries and no log; the rows that it writes were captured from `ours`.
"""

import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Any

import asyncpg
import uvloop
from aiokafka import AIOKafkaConsumer, ConsumerRecord

if TYPE_CHECKING:  # the stage imports the whole product, which takes long
    from benchmarks.stage import Connection

Job = dict[str, Any]
Measure = Callable[[Job], Coroutine[Any, Any, dict[str, Any]]]


def main(measure: Measure) -> None:
    """Run the job of the command line, and print the result."""
    sys.stdout.write(json.dumps(uvloop.run(measure(json.loads(sys.argv[1])))) + "\n")


@dataclass(slots=True)
class Stopwatch:
    """Measures wall-clock and processor time from the first piece of work to the last."""

    began: float = 0.0
    began_cpu: float = 0.0
    done: int = 0

    def begin(self) -> None:
        """Start the measurement; only the first call has an effect."""
        if not self.began:
            self.began, self.began_cpu = perf_counter(), process_time()

    def result(self) -> dict[str, Any]:
        """The measured times, as a contender reports them."""
        seconds = perf_counter() - self.began
        cpu_s = process_time() - self.began_cpu
        return {
            "rate": self.done / seconds,
            "seconds": seconds,
            "done": self.done,
            "cpu_s": cpu_s,
        }


@asynccontextmanager
async def connected(job: Job) -> AsyncIterator["Connection"]:
    """A connection to the job's database."""
    connection = await asyncpg.connect(job["dsn"], server_settings={"timezone": "UTC"})
    try:
        yield connection
    finally:
        await connection.close()


async def consume(
    job: Job, process: Callable[[list[ConsumerRecord]], Awaitable[None]]
) -> dict[str, Any]:
    """Process the job's number of records in batches of its size; commit after each batch."""
    consumer = AIOKafkaConsumer(
        *job["topics"],
        bootstrap_servers=job["kafka"],
        group_id=job["group"],
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=1024 * 1024,
        fetch_max_bytes=16 * 1024 * 1024,
        session_timeout_ms=job["session_timeout_ms"],
    )
    await consumer.start()
    clock = Stopwatch()
    try:
        while clock.done < job["count"]:
            got = await consumer.getmany(timeout_ms=50, max_records=job["batch"])
            batch = [record for records in got.values() for record in records]
            if batch:
                clock.begin()
                await process(batch)
                await consumer.commit()
                clock.done += len(batch)
        return clock.result()
    finally:
        await consumer.stop()
