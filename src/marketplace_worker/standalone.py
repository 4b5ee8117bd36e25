"""Runs the worker with embedded servers, for trials: `run --embedded` and the demo."""

import json
import os
import secrets
import sys
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, nullcontext
from pathlib import Path
from shlex import quote

import structlog

from marketplace_worker.app import Loop, run
from marketplace_worker.embedded.kafka import broker
from marketplace_worker.embedded.postgres import Durability, postgres
from marketplace_worker.settings import DELIMITER, PREFIX, Settings, load_settings
from marketplace_worker.store.database import connecting
from marketplace_worker.store.migrations import migrate
from marketplace_worker.streams.topics import create_topics

PARTITIONS = 3

SESSION_TIMEOUT_MS = "2000"
"""Short, because Tansu delays a group's first join by half of it.  Kafka refuses one so short."""

CONNECTION_FILE = "connection.toml"
"""The name of the settings file that `run --embedded` writes into its folder."""

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
    broker's topics are lost when it stops.  While it runs, `CONNECTION_FILE` in the folder has the
    settings with which other commands reach the servers; standard error says so.
    """
    async with servers(folder, Durability.FULL) as environment:
        key = _email_key(folder)
        defaults = {"MARKETPLACE_WORKER_EMAIL_KEY": key.read_text()}
        settings = load_settings(config, {**defaults, **os.environ, **environment})
        await prepare(settings)
        log.info("embedded_servers_started", kafka=settings.kafka.bootstrap_servers)
        variables = {**environment, "MARKETPLACE_WORKER_EMAIL_KEY_FILE": str(key.resolve())}
        kept = f"Postgres keeps its data in {folder}; the broker's topics are lost when it stops."
        with reachable(folder, variables, kept=kept, customer="acme"):
            await run(settings, loops)


@contextmanager
def reachable(
    folder: Path, variables: Mapping[str, str], *, kept: str, customer: str
) -> Iterator[None]:
    """While inside, `CONNECTION_FILE` in the folder has the settings of the environment variables.

    Only its owner can read it.  Standard error says how to use both.

    Args:
        folder: for the file.
        variables: settings by which the servers can be reached.
        kept: a sentence on what is left when they stop.
        customer: the organization in the commands to try.
    """
    file, new = folder / CONNECTION_FILE, folder / f"{CONNECTION_FILE}.new"
    new.unlink(missing_ok=True)
    new.touch(mode=0o600)
    new.write_text(_as_toml(variables), encoding="utf-8")
    new.rename(file)
    try:
        sys.stderr.write(_instructions(file, variables, kept=kept, customer=customer))
        sys.stderr.flush()
        yield
    finally:
        file.unlink(missing_ok=True)


def _as_toml(variables: Mapping[str, str]) -> str:
    """The settings of environment variables as a settings file; a TOML string is one of JSON's."""
    tables: dict[str, list[str]] = {}
    for variable, value in variables.items():
        group, _, name = variable.removeprefix(PREFIX).lower().rpartition(DELIMITER)
        written = value if value.isdecimal() else json.dumps(value)
        tables.setdefault(group, []).append(f"{name} = {written}\n")
    lines = "# Written by `marketplace-worker run --embedded`; removed when it stops.\n"
    for group in sorted(tables):  # "" first: what follows a heading belongs to it
        lines += (f"\n[{group}]\n" if group else "") + "".join(tables[group])
    return lines


def _instructions(file: Path, variables: Mapping[str, str], *, kept: str, customer: str) -> str:
    """How to use the servers from another terminal."""
    exports = "".join(f"  export {name}={quote(value)}\n" for name, value in variables.items())
    return f"""
{kept}
To work with both in another terminal, paste:

{exports}
  marketplace-worker send story leaves --organization {customer}
  marketplace-worker tail --since PT1H
  marketplace-worker org explain {customer}
  marketplace-worker console   # then open http://127.0.0.1:8600

The same settings are in {file}: without the variables, give each command --folder {file.parent}.

"""


def _email_key(folder: Path) -> Path:
    """The file of the key, created if missing."""
    file, new = folder / "email.key", folder / "email.key.new"
    if not file.exists():
        new.touch(mode=0o600)
        new.write_text(secrets.token_hex(32))
        new.rename(file)
    return file
