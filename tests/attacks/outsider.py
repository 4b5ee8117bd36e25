"""What an outsider has: servers, the command line, the worker's log, clients of both servers.

Nothing here uses the worker's code. An attack is a coroutine that breaks something, checks how the
worker reacts, and calls `require` for each expectation. Each script ends with

    if __name__ == "__main__":
        repeat(attack)
"""

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from marketplace_worker.embedded import apache_kafka
from marketplace_worker.embedded.postgres import Durability, postgres

ROOT = Path(__file__).parents[2]
JARS = ROOT / ".cache" / "kafka"

PATIENCE_S = 60.0


@dataclass
class Worker:
    """A worker in a child process, and its log file."""

    process: asyncio.subprocess.Process
    log: Path

    def lines(self, *events: str) -> list[dict[str, Any]]:
        """Its log lines, all or only those of these events."""
        parsed = []
        for line in self.log.read_text(errors="replace").splitlines():
            try:
                each = json.loads(line)
            except ValueError:
                continue
            if not events or each.get("event") in events:
                parsed.append(each)
        return parsed

    async def logged(self, event: str, *, within_s: float = PATIENCE_S) -> dict[str, Any] | None:
        """The first log line of an event, once it is there; None if it does not appear in time."""
        await until(lambda: self.lines(event) or self.process.returncode is not None, within_s)
        return next(iter(self.lines(event)), None)


@dataclass
class Outsider:
    """Two servers of its own, and an environment that points to them."""

    folder: Path
    kafka: str
    dsn: str
    environment: dict[str, str] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)

    def require(self, holds: object, sentence: str) -> None:
        """Print whether an expectation holds, and record it if it does not."""
        print(f"{'holds' if holds else 'BROKEN'}: {sentence}", flush=True)
        if not holds:
            self.broken.append(sentence)

    async def command(self, *arguments: str, **variables: str) -> tuple[int, str]:
        """Run a command of `marketplace-worker`; return its exit status and output."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "marketplace_worker", *arguments,
            env=self.environment | variables,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        output, _ = await process.communicate()
        status = process.returncode if process.returncode is not None else -1
        print(f"$ marketplace-worker {' '.join(arguments)}   # exit status {status}", flush=True)
        return status, output.decode(errors="replace")

    async def succeed(self, *arguments: str, **variables: str) -> str:
        """Run a command that must exit with 0; return its output."""
        status, output = await self.command(*arguments, **variables)
        if status:
            raise SystemExit(output)
        return output

    @asynccontextmanager
    async def worker(self, *arguments: str, **variables: str) -> AsyncIterator[Worker]:
        """A worker that has started or failed to start; stopped on leaving."""
        log = self.folder / f"worker-{time.monotonic_ns()}.log"
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "marketplace_worker", "run", *arguments,
                env=self.environment | variables, stdout=output, stderr=output,
            )  # fmt: skip
        started = Worker(process, log)
        try:
            await started.logged("worker_started")
            yield started
        finally:
            if process.returncode is None:
                process.terminate()
                try:
                    await asyncio.wait_for(process.wait(), timeout=15)
                except TimeoutError:
                    process.kill()
            await process.wait()

    async def send(self, topic: str, value: bytes | None, key: bytes | None = None) -> None:
        """Write one record, and wait for the acknowledgement."""
        async with AIOKafkaProducer(
            bootstrap_servers=self.kafka, max_request_size=100_000_000
        ) as producer:
            await producer.send_and_wait(topic, value, key=key)

    async def records(self, topic: str) -> list[tuple[bytes | None, bytes | None]]:
        """Keys and values of all records of a topic."""
        async with AIOKafkaConsumer(
            topic, bootstrap_servers=self.kafka, auto_offset_reset="earliest"
        ) as consumer:
            ends = await consumer.end_offsets(consumer.assignment())
            found: list[tuple[bytes | None, bytes | None]] = []
            for partition, end in ends.items():
                while await consumer.position(partition) < end:
                    records = await consumer.getmany(partition, timeout_ms=500)
                    found += [(each.key, each.value) for of in records.values() for each in of]
        return found

    async def rows(self, query: str, *arguments: object) -> list[asyncpg.Record]:
        """The rows that a query returns."""
        connection = await asyncpg.connect(self.dsn)
        try:
            return list(await connection.fetch(query, *arguments))
        finally:
            await connection.close()


def example(name: str, organization: str, **data: object) -> bytes:
    """The published example of an inbound event, with another organization and other data."""
    event = json.loads((ROOT / f"schemas/examples/inbound/{name}.v1.json").read_text())
    event |= {"id": str(uuid4()), "subject": organization, "data": event["data"] | data}
    return json.dumps(event).encode()


async def until(holds: Callable[[], object], within_s: float = PATIENCE_S) -> bool:
    """Wait until a condition holds; False if it does not within that time."""
    end = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > end:
            return False
        await asyncio.sleep(0.1)
    return True


@asynccontextmanager
async def outsider(**variables: str) -> AsyncIterator[Outsider]:
    """Start Apache Kafka and Postgres, and create the schema and the topics as the README
    describes.

    `variables` are added to the environment of all commands.
    """
    with tempfile.TemporaryDirectory(prefix="attack-") as name:
        folder = Path(name)
        async with (
            apache_kafka.broker(JARS, folder / "kafka") as kafka,
            postgres(folder / "postgres", Durability.NONE) as dsn,
        ):
            inherited = {
                name: value
                for name, value in os.environ.items()
                if not name.startswith("MARKETPLACE_WORKER_")
            }
            own = {
                "MARKETPLACE_WORKER_KAFKA__BOOTSTRAP_SERVERS": kafka,
                "MARKETPLACE_WORKER_KAFKA__SESSION_TIMEOUT_MS": "6000",
                "MARKETPLACE_WORKER_POSTGRES__DSN": dsn,
                "MARKETPLACE_WORKER_EMAIL_KEY": "an outsider's key of 32 characters",
            }
            made = Outsider(folder, kafka, dsn, inherited | own | variables)
            await made.succeed("migrate")
            await made.succeed("topics", "create", "--partitions", "3", "--replication-factor", "1")
            yield made


def repeat(
    attack: Callable[[Outsider], Awaitable[None]], variables: Mapping[str, str] | None = None
) -> None:
    """Run the attack, print which expectations hold, and exit with 0, or 1 if any does not.

    `variables` are settings of the worker.
    """

    async def made() -> list[str]:
        async with outsider(**(variables or {})) as one:
            await attack(one)
            return one.broken

    sys.exit(1 if asyncio.run(made()) else 0)
