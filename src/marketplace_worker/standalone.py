"""Runs the worker with embedded servers, for trials: `run --embedded` and the demo."""

import os
import secrets
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path

import structlog

from marketplace_worker.app import Loop, run
from marketplace_worker.embedded.kafka import broker
from marketplace_worker.embedded.postgres import Durability, postgres
from marketplace_worker.settings import Settings, load_settings
from marketplace_worker.store.database import connecting
from marketplace_worker.store.migrations import migrate
from marketplace_worker.streams.topics import create_topics

PARTITIONS = 3

SESSION_TIMEOUT_MS = "2000"
"""Short, because Tansu delays a group's first join by half of it.  Kafka refuses one so short."""

log = structlog.get_logger(__name__)


@asynccontextmanager
async def servers(
    folder: Path, durability: Durability, *, kafka: str | None = None
) -> AsyncIterator[dict[str, str]]:
    """Run Postgres on the data in `folder`, and a broker that keeps its data in memory.

    With `kafka` (`host:port`), that broker is used instead.  Yields the settings for connecting to
    both, as environment variables.
    """
    async with (
        postgres(folder / "postgres", durability) as dsn,
        nullcontext(kafka) if kafka else broker(folder / "kafka") as bootstrap,
    ):
        environment = {
            "MARKETPLACE_WORKER_POSTGRES__DSN": dsn,
            "MARKETPLACE_WORKER_KAFKA__BOOTSTRAP_SERVERS": bootstrap,
        }
        if kafka is None:
            environment["MARKETPLACE_WORKER_KAFKA__SESSION_TIMEOUT_MS"] = SESSION_TIMEOUT_MS
        yield environment


async def prepare(settings: Settings) -> None:
    """Migrate the database and create the topics, as an operator would."""
    async with connecting(settings.postgres) as pool:
        await migrate(pool)
    await create_topics(
        settings.kafka, settings.topics, partitions=PARTITIONS, replication_factor=1
    )


async def run_embedded(folder: Path, config: Path | None, loops: Collection[Loop]) -> None:
    """Run the worker on embedded servers until it receives SIGTERM or SIGINT.

    Postgres's data and the key of the email hashes are kept in `folder` for the next run.  The
    broker's topics are lost when it stops.
    """
    async with servers(folder, Durability.FULL) as environment:
        defaults = {"MARKETPLACE_WORKER_EMAIL_KEY": _email_key(folder)}
        settings = load_settings(config, {**defaults, **os.environ, **environment})
        await prepare(settings)
        log.info("embedded_servers_started", kafka=settings.kafka.bootstrap_servers)
        await run(settings, loops)


def _email_key(folder: Path) -> str:
    file, new = folder / "email.key", folder / "email.key.new"
    if not file.exists():
        new.touch(mode=0o600)
        new.write_text(secrets.token_hex(32))
        new.rename(file)
    return file.read_text()
