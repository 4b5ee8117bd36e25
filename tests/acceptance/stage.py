"""Helpers of the acceptance tests: send, wait, move the clock, read published messages."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Self

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from pydantic import BaseModel, SecretStr

from marketplace_worker.app import Loop, run
from marketplace_worker.lifecycle.safeguards import Safeguards
from marketplace_worker.record import Record
from marketplace_worker.settings import SecretFile, Settings
from marketplace_worker.store import safeguards
from marketplace_worker.store.database import Connection, Pool, transaction

PATIENCE_S = 60.0
"""How long a test waits for an expected result; far longer than it takes."""


@dataclass
class MovableClock:
    """A clock that stands still until a test moves it."""

    now: datetime = datetime(1970, 1, 1, tzinfo=UTC)

    async def __call__(self, _: Connection) -> datetime:
        return self.now

    def of_machine(self) -> datetime:
        """The same time, as the worker's own clock."""
        return self.now


async def until(happened: Callable[[], Awaitable[bool]]) -> None:
    """Wait until something has happened."""
    async with asyncio.timeout(PATIENCE_S):
        while not await happened():  # noqa: ASYNC110 - other processes have no event of ours
            await asyncio.sleep(0.005)


async def forget_everything(pool: Pool) -> None:
    """Restore the database's state after the migration."""
    rows = await pool.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    one_row_each = {"schema_migrations", "safeguards", "comparison"}
    emptied = sorted({row["tablename"] for row in rows} - one_row_each)
    async with transaction(pool) as conn:
        await conn.execute("SET LOCAL ROLE NONE")
        # TRUNCATE creates a new file for each table and index, which is far slower for a few rows.
        await conn.execute("".join(f"DELETE FROM {table};" for table in emptied))
        await safeguards.save(conn, Safeguards())


@dataclass
class Stage:
    """One test's worker, seen from outside."""

    settings: Settings
    pool: Pool
    producer: AIOKafkaProducer
    groups: Mapping[str, AIOKafkaConsumer]
    clock: MovableClock = field(default_factory=MovableClock)
    ends: dict[tuple[str, int], int] = field(default_factory=dict)

    @classmethod
    @asynccontextmanager
    async def of(cls, settings: Settings, pool: Pool) -> AsyncIterator[Self]:
        """Connect to the broker; no loop of the worker runs yet."""
        kafka = settings.kafka
        producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers)
        groups = {
            group: AIOKafkaConsumer(
                bootstrap_servers=kafka.bootstrap_servers, group_id=group, enable_auto_commit=False
            )
            for group in (kafka.facts_group, kafka.activity_group)
        }
        clients = (producer, *groups.values())
        for client in clients:
            await client.start()
        try:
            yield cls(settings, pool, producer, groups)
        finally:
            for client in clients:
                await client.stop()

    async def send(self, record: Record) -> None:
        """Send a record of a scenario, with its time; returns when the worker has ingested it."""
        topic = self._prefix + record.topic
        sent = await self.producer.send_and_wait(
            topic,
            record.value,
            key=record.key,
            timestamp_ms=round(record.recorded_at.timestamp() * 1000),
            headers=list(record.headers),
        )
        await until(lambda: self._committed(topic, sent.partition, sent.offset + 1))

    async def send_all(self, messages: Sequence[tuple[str, bytes, bytes]]) -> None:
        """Send (topic, key, value) of a scenario; returns when the broker has them all."""
        sent = [
            await self.producer.send(self._prefix + topic, value, key=key)
            for topic, key, value in messages
        ]
        for each in await asyncio.gather(*sent):
            place = (each.topic, each.partition)
            self.ends[place] = max(self.ends.get(place, 0), each.offset + 1)

    async def journalled(self, count: int) -> bool:
        """Whether the journal has this many facts."""
        query = "SELECT count(*) FROM journal WHERE source <> 'deadline'"
        return bool(await self.pool.fetchval(query) >= count)

    async def all_committed(self) -> bool:
        """Whether everything that was sent with `send_all` has been ingested."""
        committed = [
            await self._committed(topic, partition, end)
            for (topic, partition), end in self.ends.items()
        ]
        return all(committed)

    async def states(self) -> dict[str, str]:
        """The state of every organization."""
        rows = await self.pool.fetch("SELECT organization_id, state FROM organizations")
        return {row["organization_id"]: row["state"] for row in rows}

    async def _committed(self, topic: str, partition: int, offset: int) -> bool:
        kafka = self.settings.kafka
        facts = topic in self.settings.topics.facts
        group = self.groups[kafka.facts_group if facts else kafka.activity_group]
        committed = await group.committed(TopicPartition(topic, partition))
        return committed is not None and committed >= offset

    @property
    def _prefix(self) -> str:
        prefix: str = self.settings.topics.lifecycle.removesuffix("organizations.lifecycle")
        return prefix

    async def next_due_at(self) -> datetime | None:
        """The earliest deadline of all organizations."""
        due_at: datetime | None = await self.pool.fetchval(
            "SELECT min(next_due_at) FROM organizations"
        )
        return due_at

    async def nothing_due(self, at: datetime) -> bool:
        """Whether every deadline up to a moment has been decided."""
        due_at = await self.next_due_at()
        return due_at is None or due_at > at

    async def everything_sent(self) -> bool:
        """Whether the outbox is empty."""
        return not await self.pool.fetchval("SELECT EXISTS (SELECT FROM outbox)")

    async def pass_time(self, until_at: datetime, deadlines: MovableClock) -> None:
        """Move the clock to every deadline before `until_at`, one after another."""
        while (due_at := await self.next_due_at()) is not None and due_at < until_at:
            deadlines.now = max(due_at, deadlines.now)
            moment = deadlines.now
            await until(lambda moment=moment: self.nothing_due(moment))  # type: ignore[misc]

    async def published(self, topic: str) -> list[bytes]:
        """All values of a topic that is not empty, in order within a partition."""
        consumer = AIOKafkaConsumer(
            topic,
            bootstrap_servers=self.settings.kafka.bootstrap_servers,
            auto_offset_reset="earliest",
        )
        await consumer.start()
        try:
            return await _read_to_the_end(consumer)
        finally:
            await consumer.stop()


async def _read_to_the_end(consumer: AIOKafkaConsumer) -> list[bytes]:
    """Read until no record has come for a second after the first one.

    Tansu's end offsets are too low to be used.
    """
    values: list[bytes] = []
    quiet = 0
    async with asyncio.timeout(PATIENCE_S):
        while not values or quiet < 4:
            got = await consumer.getmany(timeout_ms=250)
            quiet = 0 if got else quiet + 1
            values += [record.value for records in got.values() for record in records]
    return values


@asynccontextmanager
async def working(
    settings: Settings, loops: Collection[Loop], clock: MovableClock
) -> AsyncIterator[None]:
    """The real worker, with some of its loops, in this process; stopped as by SIGTERM."""
    stop = asyncio.Event()
    task = asyncio.create_task(
        run(settings, loops, clock=clock, local_clock=clock.of_machine, stop=stop)
    )
    try:
        yield
    finally:
        stop.set()
        await task


def environment(settings: BaseModel, prefix: str = "MARKETPLACE_WORKER_") -> dict[str, str]:
    """Settings as environment variables."""
    variables: dict[str, str] = {}
    for name in type(settings).model_fields:
        match getattr(settings, name):
            case None:
                pass
            case BaseModel() as group:
                variables |= environment(group, f"{prefix}{name.upper()}__")
            case SecretFile() as secret:
                variables[f"{prefix}{name.upper()}_FILE"] = str(secret.path)
            case SecretStr() as secret:
                variables[prefix + name.upper()] = secret.get_secret_value()
            case value:
                variables[prefix + name.upper()] = str(value)
    return variables


@asynccontextmanager
async def command(
    *arguments: str,
    settings: Settings | None = None,
    folder: Path | None = None,
    output: IO[bytes] | int = asyncio.subprocess.PIPE,
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run `marketplace-worker` in a process; killed on leaving if it has not ended.

    `output` gets what it prints and logs.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "marketplace_worker", *arguments,
        env={**os.environ, **(environment(settings) if settings else {})},
        cwd=folder, stdout=output, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@asynccontextmanager
async def worker_process(
    settings: Settings, log: Path
) -> AsyncIterator[asyncio.subprocess.Process]:
    """`marketplace-worker run`, logging to a file."""
    with log.open("ab") as output:
        async with command("run", settings=settings, output=output) as process:
            yield process
