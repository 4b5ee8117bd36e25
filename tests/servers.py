"""Which Kafka and which Postgres a test run talks to, and how they come up.

Given by the environment (`KAFKA=host:port`, `POSTGRES=dsn`), else in containers where a Docker
engine answers, else the embedded ones.  `--broker` and `--database` choose by name.
"""

import asyncio
import contextlib
import enum
import functools
import gc
import os
import shutil
import tempfile
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
from pydantic import SecretStr

from marketplace_worker.embedded import apache_kafka, kafka, postgres, process
from marketplace_worker.settings import (
    UNKEYED_EMAIL_KEY,
    Deadlines,
    Kafka,
    Postgres,
    Relay,
    Settings,
    Topics,
)

JARS = Path(__file__).parent.parent / ".cache" / "kafka"
"""Where `make test-kafka` puts Apache Kafka."""
GIVEN_SERVER_SECONDS_MAX = 10.0

MEMORY = Path("/dev/shm")
MEMORY_FREE_MIN = 4 * 2**30
"""A run's Postgres keeps its files in memory where this much is free, in bytes: a test's database
is copied there in a tenth of the time."""


class Broker(enum.StrEnum):
    """The ways to a Kafka broker."""

    GIVEN = "given"
    DOCKER = "docker"
    TANSU = "tansu"
    APACHE = "apache"


class Database(enum.StrEnum):
    """The ways to a Postgres."""

    GIVEN = "given"
    DOCKER = "docker"
    EMBEDDED = "embedded"


AUTO = "auto"

CHOICE = pytest.StashKey["Choice"]()
"""Where the run keeps its choice."""


@dataclass(frozen=True)
class Choice:
    """The servers of this run; `because` says why, for a person."""

    broker: Broker
    database: Database
    because: str
    kafka: str = ""
    postgres: str = ""

    def header(self) -> list[str]:
        """Two lines for the top of the run."""
        brokers = {
            Broker.GIVEN: f"{self.kafka} (KAFKA)",
            Broker.DOCKER: "cp-kafka in a container",
            Broker.TANSU: "embedded Tansu",
            Broker.APACHE: f"Apache Kafka from {JARS}",
        }
        databases = {
            Database.GIVEN: f"{urlsplit(self.postgres).hostname} (POSTGRES)",
            Database.DOCKER: "Postgres 18 in a container",
            Database.EMBEDDED: "embedded Postgres 18",
        }
        return [
            f"kafka: {brokers[self.broker]}; postgres: {databases[self.database]}{self.because}",
        ]


def choose(broker: str, database: str) -> Choice:
    """Settle the servers.  A Docker engine is asked for only where it decides something."""
    given_kafka, given_postgres = os.environ.get("KAFKA", ""), os.environ.get("POSTGRES", "")
    if broker == AUTO and given_kafka:
        broker = Broker.GIVEN
    if database == AUTO and given_postgres:
        database = Database.GIVEN
    because = ""
    if AUTO in (broker, database):
        docker = docker_answers()
        because = "" if docker else " (no Docker engine answers)"
        if broker == AUTO:
            broker = Broker.DOCKER if docker else Broker.TANSU
        if database == AUTO:
            database = Database.DOCKER if docker else Database.EMBEDDED
    return Choice(Broker(broker), Database(database), because, given_kafka, given_postgres)


@functools.cache
def docker_answers() -> bool:
    """Whether a Docker engine answers within a few seconds."""
    import docker  # noqa: PLC0415 - slow, and not needed where the servers are given
    from docker.errors import DockerException  # noqa: PLC0415

    with warnings.catch_warnings():
        # Docker's client forgets its sockets when no engine answers.
        warnings.simplefilter("ignore", ResourceWarning)
        try:
            with contextlib.closing(docker.from_env(timeout=3)) as client:
                return bool(client.ping())
        except (DockerException, OSError):
            return False
        finally:
            gc.collect()


def start_broker(choice: Choice, folder: Path) -> AbstractAsyncContextManager[str]:
    """Bring up the broker of this run; yields `host:port`."""
    match choice.broker:
        case Broker.GIVEN:
            return _given_broker(choice.kafka)
        case Broker.DOCKER:
            return _docker_broker()
        case Broker.TANSU:
            return kafka.broker(folder)
        case Broker.APACHE:
            return apache_kafka.broker(JARS, folder)


def start_postgres(choice: Choice, folder: Path) -> AbstractAsyncContextManager[str]:
    """Bring up the Postgres of this run; yields the DSN of a user who may create databases."""
    match choice.database:
        case Database.GIVEN:
            return _given_postgres(choice.postgres)
        case Database.DOCKER:
            return _docker_postgres()
        case Database.EMBEDDED:
            return postgres.postgres(folder, postgres.Durability.NONE)


@contextlib.contextmanager
def postgres_folder(on_disk: Path) -> Iterator[Path]:
    """A folder for the files of a run's Postgres, removed in the end; in memory if it has room."""
    in_memory = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free >= MEMORY_FREE_MIN
    folder = Path(tempfile.mkdtemp(prefix="postgres-", dir=MEMORY)) if in_memory else on_disk
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


EMPTY = "template0"
"""Postgres's own name of an empty database to copy."""


@contextlib.asynccontextmanager
async def fresh_database(server: str, name: str, template: str = EMPTY) -> AsyncIterator[str]:
    """A database of its own on that server, dropped in the end; yields its DSN.

    Empty, or a copy of `template`, which nobody may be connected to.
    """
    connection = await asyncpg.connect(server)
    try:
        # Files are copied, not logged: nothing here outlives a crash.
        await connection.execute(
            f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY file_copy'
        )
        try:
            yield urlsplit(server)._replace(path=f"/{name}").geturl()
        finally:
            await connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
    finally:
        await connection.close()


@contextlib.asynccontextmanager
async def own_folder(folder: Path) -> AsyncIterator[Path]:
    """A folder for a server's files, removed in the end."""
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.asynccontextmanager
async def _given_broker(address: str) -> AsyncIterator[str]:
    host, _, port = address.split(",", maxsplit=1)[0].rpartition(":")
    if not host or not port.isdecimal():
        raise RuntimeError(f"KAFKA={address}: host:port is wanted")
    for _attempt in range(round(GIVEN_SERVER_SECONDS_MAX)):
        if await process.answers_kafka(host, int(port)):
            break
        await asyncio.sleep(1)
    else:
        raise RuntimeError(f"KAFKA={address}: no broker answers there")
    yield address


@contextlib.asynccontextmanager
async def _given_postgres(dsn: str) -> AsyncIterator[str]:
    connection = await asyncpg.connect(dsn, timeout=GIVEN_SERVER_SECONDS_MAX)
    await connection.close()
    yield dsn


@contextlib.asynccontextmanager
async def _docker_broker() -> AsyncIterator[str]:
    from testcontainers.community.kafka import KafkaContainer  # noqa: PLC0415

    container = KafkaContainer("confluentinc/cp-kafka:8.1.0").with_kraft()
    container.with_env("KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR", "1")
    container.with_env("KAFKA_TRANSACTION_STATE_LOG_MIN_ISR", "1")
    try:
        await asyncio.to_thread(container.start, timeout=120)
        yield container.get_bootstrap_server()
    finally:
        await asyncio.to_thread(container.stop)


@contextlib.asynccontextmanager
async def _docker_postgres() -> AsyncIterator[str]:
    from testcontainers.community.postgres import PostgresContainer  # noqa: PLC0415

    container = PostgresContainer("postgres:18", driver=None)
    settings = postgres.SETTINGS[postgres.Durability.NONE]
    container.with_command(" ".join(f"-c {setting}" for setting in settings))
    try:
        await asyncio.to_thread(container.start)
        yield container.get_connection_url()
    finally:
        await asyncio.to_thread(container.stop)


def clear_settings() -> None:
    """Forget the settings of the person who runs the tests."""
    for name in [name for name in os.environ if name.startswith("MARKETPLACE_WORKER_")]:
        del os.environ[name]


def settings(choice: Choice, bootstrap: str, dsn: str, prefix: str) -> Settings:
    """A worker's settings with names of one test's own, and timeouts in which a test can wait."""
    # Tansu lets a first member wait half of it; Kafka does not, and refuses less than 6 s.
    session_timeout_ms = 2_000 if choice.broker is Broker.TANSU else 6_000
    names = {name: prefix + field.default for name, field in Topics.model_fields.items()}
    return Settings(
        kafka=Kafka(
            bootstrap_servers=bootstrap,
            group_prefix=f"{prefix}worker",
            session_timeout_ms=session_timeout_ms,
            rebalance_timeout_ms=20_000,
            request_timeout_ms=30_000,
        ),
        postgres=Postgres(dsn=SecretStr(dsn), pool_connections_max=8),
        topics=Topics(**names),
        deadlines=Deadlines(poll_interval_ms=10),
        relay=Relay(poll_interval_ms=10),
        email_key=SecretStr(UNKEYED_EMAIL_KEY),
    )
