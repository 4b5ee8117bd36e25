"""Runs the servers, and creates a database and topics for each contender.

Postgres is the embedded one.  Kafka is Apache Kafka if its jars are present (`make test-kafka` and
`make bench` fetch them with mvn), otherwise the embedded Tansu; every result names the broker.
"""

import os
import platform
import shutil
import sysconfig
import tempfile
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import asyncpg
from aiokafka import AIOKafkaProducer
from aiokafka.partitioner import DefaultPartitioner

from benchmarks.machine import memory_mb
from marketplace_worker.embedded import apache_kafka, kafka, postgres
from marketplace_worker.settings import Settings, Topics, load_settings
from marketplace_worker.store.database import connecting
from marketplace_worker.store.migrations import migrate
from marketplace_worker.streams.topics import create_topics

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]
else:
    Connection = Any

ROOT = Path(__file__).parent.parent
CACHE = ROOT / ".cache"
JARS = CACHE / "kafka"
"""Where the Makefile downloads Apache Kafka."""

PREFIX = "MARKETPLACE_WORKER_"
EMAIL_KEY = "the key of the benchmarks"
BATCH_BYTES = 256 * 1024
PARTITIONS = 12
"""Partitions of each topic; the default of `topics create`."""

DEBIAN = "/usr/share/python-wheels"
"""Found in the configure arguments of Debian's Python, whose build uses PGO (`profile-opt`)."""

POLICY = """version = "benchmarks"
[guard]
minimum = 1000000000
[reinstatement]
azure = "automatic"
"""
"""The default policy, but with an open guard, and with automatic reinstatement for Azure."""

Message = tuple[str, bytes, bytes]
"""Topic (by its default name), key, value."""

Build = Callable[[Connection, Settings], Awaitable[None]]
"""Fills a template database; the settings are for connecting to it."""


@dataclass(frozen=True, slots=True)
class Place:
    """A contender's settings, as environment variables and parsed."""

    environment: dict[str, str]
    settings: Settings

    @property
    def dsn(self) -> str:
        """The DSN of its database."""
        return self.settings.postgres.dsn.get_secret_value()


@dataclass(slots=True)
class Stage:
    """Both servers, which run during all benchmarks."""

    kafka: str
    postgres: str
    ran_on: str
    folder: Path
    apache: bool
    _numbers: "count[int]" = field(default_factory=count)
    _templates: set[str] = field(default_factory=set)

    def place(self, dsn: str, topics: str = "", *, policy: bool = True) -> Place:
        """A contender's settings: the defaults, except for names.

        Args:
            dsn: of the database.
            topics: prefix of the topics' names.
            policy: whether to use the policy of the benchmarks instead of the default one.
        """
        names = {name: topics + each.default for name, each in Topics.model_fields.items()}
        environment = {
            f"{PREFIX}POSTGRES__DSN": dsn,
            f"{PREFIX}KAFKA__BOOTSTRAP_SERVERS": self.kafka,
            # Unique groups, so that each contender reads a topic from its beginning.
            f"{PREFIX}KAFKA__GROUP_PREFIX": f"{topics}group-{next(self._numbers)}",
            f"{PREFIX}EMAIL_KEY": EMAIL_KEY,
            **{f"{PREFIX}TOPICS__{name.upper()}": value for name, value in names.items()},
        }
        if policy:
            environment[f"{PREFIX}POLICY_FILE"] = str(self._policy())
        if not self.apache:
            # Tansu delays a group's first join by half of it; Kafka refuses one so short.
            environment[f"{PREFIX}KAFKA__SESSION_TIMEOUT_MS"] = "2000"
        return Place(environment, load_settings(None, environment))

    def _policy(self) -> Path:
        file = self.folder / "policy.toml"
        file.write_text(POLICY)
        return file

    # --- Postgres ---

    async def template(self, name: str, build: Build) -> str:
        """A migrated database filled by `build`, created once; to be copied, not to be changed."""
        if name in self._templates:
            return name
        await self.execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
        place = self.place(self.dsn(name))
        async with connecting(place.settings.postgres) as pool:
            await migrate(pool)
        connection = await asyncpg.connect(self.dsn(name))
        try:
            await build(connection, place.settings)
            # So that copies have statistics and no rows whose hint bits must still be set.
            await connection.execute("VACUUM (FREEZE, ANALYZE)")
        finally:
            await connection.close()
        self._templates.add(name)
        return name

    @asynccontextmanager
    async def database(self, template: str) -> AsyncIterator[str]:
        """Copy a template; yields the copy's DSN, and drops it when the block is left."""
        name = f"run_{next(self._numbers)}"
        await self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY = FILE_COPY')
        try:
            yield self.dsn(name)
        finally:
            await self.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def dsn(self, database: str) -> str:
        """The DSN of a database on this server, for the superuser."""
        return urlsplit(self.postgres)._replace(path=f"/{database}").geturl()

    async def execute(self, statement: str) -> None:
        """Run a statement in a database that is not measured."""
        connection = await asyncpg.connect(self.postgres)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    # --- Kafka ---

    async def topics(self, prefix: str, *, partitions: int = PARTITIONS) -> None:
        """Create all topics, with names that start with `prefix`."""
        settings = self.place(self.postgres, prefix).settings
        await create_topics(
            settings.kafka, settings.topics, partitions=partitions, replication_factor=1
        )

    async def send(self, prefix: str, messages: Sequence[Message]) -> None:
        """Send messages to the topics of `prefix`; returns when the broker has them all.

        Builds the batches itself, which takes a third of the time of the producer's `send`.
        """
        producer = AIOKafkaProducer(bootstrap_servers=self.kafka, max_batch_size=BATCH_BYTES)
        await producer.start()
        try:
            for (topic, partition), of_partition in (
                await _by_partition(producer, prefix, messages)
            ).items():
                await _send_to(producer, topic, partition, of_partition)
            await producer.flush()
        finally:
            await producer.stop()


async def _by_partition(
    producer: AIOKafkaProducer, prefix: str, messages: Sequence[Message]
) -> dict[tuple[str, int], list[Message]]:
    """The messages by topic and partition, which is that of their keys, as for every producer."""
    names = {topic for topic, _, _ in messages}
    partitions = {name: sorted(await producer.partitions_for(prefix + name)) for name in names}
    partition_of = DefaultPartitioner()
    found: dict[tuple[str, bytes], int] = {}
    sorted_out: dict[tuple[str, int], list[Message]] = defaultdict(list)
    for message in messages:
        topic, key, _ = message
        partition = found.get((topic, key))
        if partition is None:
            partition = partition_of(key, partitions[topic], partitions[topic])
            found[topic, key] = partition
        sorted_out[prefix + topic, partition].append(message)
    return sorted_out


async def _send_to(
    producer: AIOKafkaProducer, topic: str, partition: int, messages: Sequence[Message]
) -> None:
    batch = producer.create_batch()
    for _, key, value in messages:
        if batch.append(key=key, value=value, timestamp=None) is None:
            await producer.send_batch(batch, topic, partition=partition)
            batch = producer.create_batch()
            batch.append(key=key, value=value, timestamp=None)
    await producer.send_batch(batch, topic, partition=partition)


@asynccontextmanager
async def staging(*, durable: bool = True, embedded: bool = False) -> AsyncIterator[Stage]:
    """Run both servers until the block is left; then their data is removed.

    Args:
        durable: whether Postgres waits for the disk at each commit, as in production.
        embedded: use the embedded broker even if Apache's jars are present.
    """
    durability = postgres.Durability.FULL if durable else postgres.Durability.NONE
    folder = _folder()
    jar = next(iter(sorted(JARS.glob("kafka_2.13-*.jar"))), None)
    apache = not embedded and jar is not None and shutil.which("java") is not None
    broker = (
        apache_kafka.broker(JARS, folder / "kafka") if apache else kafka.broker(folder / "kafka")
    )
    try:
        async with postgres.postgres(folder / "postgres", durability) as dsn:
            await _tune(dsn)  # takes effect at the next start
        async with postgres.postgres(folder / "postgres", durability) as dsn, broker as address:
            stage = Stage(address, dsn, "", folder, apache)
            stage.ran_on = await _ran_on(stage, jar, durable=durable)
            yield stage
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _folder() -> Path:
    CACHE.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir=CACHE))
    folder.chmod(0o755)  # Postgres may run as another user
    return folder


async def _tune(dsn: str) -> None:
    """Give Postgres a quarter of the machine's memory for its buffers, as its manual advises.

    Also prevents checkpoints by time or size, so that none falls into one contender's run only.
    Copying a database starts with a checkpoint, so all runs start alike.
    """
    quarter_mb = memory_mb() // 4
    connection = await asyncpg.connect(dsn)
    try:
        for setting in (
            f"shared_buffers = '{quarter_mb}MB'",
            "max_wal_size = '8GB'",
            "checkpoint_timeout = '1h'",
        ):
            await connection.execute(f"ALTER SYSTEM SET {setting}")
    finally:
        await connection.close()


async def _ran_on(stage: Stage, jar: Path | None, *, durable: bool) -> str:
    connection = await asyncpg.connect(stage.postgres)
    try:
        version = str(await connection.fetchval("SHOW server_version")).split()[0]
    finally:
        await connection.close()
    fsync = "fsync on" if durable else "fsync off"
    broker = f"Apache Kafka {jar.stem.rpartition('-')[2]}" if stage.apache and jar else "Tansu"
    return f"{os.cpu_count()} cores; {broker}; Postgres {version}, {fsync}; {_python()}"


def _python() -> str:
    """The Python that runs everything here, and how it was built."""
    arguments = sysconfig.get_config_var("CONFIG_ARGS") or ""
    if DEBIAN in arguments:
        built = "by Debian, with PGO"
    elif "--enable-optimizations" in arguments:
        built = "with PGO and LTO" if "--with-lto" in arguments else "with PGO"
    else:
        built = "without optimizations"
    return f"Python {platform.python_version()}, built {built}"
