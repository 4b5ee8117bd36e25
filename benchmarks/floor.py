"""What the floors share: a job from the command line, a consumer, and the clock of a run.

A floor is the least code that does the same reading and writing by hand.  It has no rule, no
validation, no retry and no log; what it writes was captured from ours, byte for byte.
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

if TYPE_CHECKING:  # the stage, with all of the product, takes long to import
    from benchmarks.stage import Connection

Job = dict[str, Any]
Measure = Callable[[Job], Coroutine[Any, Any, dict[str, Any]]]


def main(measure: Measure) -> None:
    """Do the job of the command line, and print what was measured."""
    sys.stdout.write(json.dumps(uvloop.run(measure(json.loads(sys.argv[1])))) + "\n")


@dataclass(slots=True)
class DecisionClock:
    """From the first piece of work to the last, by the clock and by the processor."""

    began: float = 0.0
    began_cpu: float = 0.0
    done: int = 0

    def begin(self) -> None:
        """Does nothing but the first time."""
        if not self.began:
            self.began, self.began_cpu = perf_counter(), process_time()

    def result(self) -> dict[str, Any]:
        """What a contender answers."""
        seconds = perf_counter() - self.began
        cpu_s = process_time() - self.began_cpu
        return {"rate": self.done / seconds, "cpu_s": cpu_s}


@asynccontextmanager
async def connected(job: Job) -> AsyncIterator["Connection"]:
    """The job's database."""
    connection = await asyncpg.connect(job["dsn"], server_settings={"timezone": "UTC"})
    try:
        yield connection
    finally:
        await connection.close()


async def consume(
    job: Job, take: Callable[[list[ConsumerRecord]], Awaitable[None]]
) -> dict[str, Any]:
    """Take the job's number of records in batches of its size; each is committed when taken."""
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
    clock = DecisionClock()
    try:
        while clock.done < job["count"]:
            got = await consumer.getmany(timeout_ms=50, max_records=job["batch"])
            batch = [record for records in got.values() for record in records]
            if batch:
                clock.begin()
                await take(batch)
                await consumer.commit()
                clock.done += len(batch)
        return clock.result()
    finally:
        await consumer.stop()
