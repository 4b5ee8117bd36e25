"""Options that several commands share, and their connections to the database and its clock."""

import sys
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, TypeVar
from uuid import uuid4

import typer
import uvloop
from pydantic import TypeAdapter, ValidationError

from marketplace_worker.app import read_policy, system_clock, worker_of
from marketplace_worker.contract.fields import Prose, Text, first_problem
from marketplace_worker.errors import Misconfigured
from marketplace_worker.inspection.fleet_view import Inspector
from marketplace_worker.lifecycle.vocabulary import Identity
from marketplace_worker.operations.logs import set_up_logs
from marketplace_worker.runtime.worker import Worker
from marketplace_worker.settings import Settings
from marketplace_worker.store.database import connecting, database_clock, transaction
from marketplace_worker.store.migrations import require_current_schema
from marketplace_worker.store.policies import PolicyBook
from marketplace_worker.terminal import visible

T = TypeVar("T")

OPERATOR = "operator"
"""The source of messages that an operator's command creates."""

Config = Annotated[
    Path | None,
    typer.Option(
        help="TOML settings file; environment variables (MARKETPLACE_WORKER_…) take precedence."
    ),
]

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")]

_TEXT: TypeAdapter[str] = TypeAdapter(Text)
_PROSE: TypeAdapter[str] = TypeAdapter(Prose)


def name_of(by: str) -> str:
    """The value of `--by`, checked; raises `Misconfigured`."""
    return _words("--by", _TEXT, by)


def reason_of(reason: str) -> str:
    """The value of `--reason`, checked; raises `Misconfigured`."""
    return _words("--reason", _PROSE, reason)


def _words(option: str, kind: TypeAdapter[str], value: str) -> str:
    if not value.strip() or visible(value) != value:
        raise Misconfigured(f"{option}: must be text on one line")
    try:
        return kind.validate_python(value.strip())
    except ValidationError as error:
        raise Misconfigured(f"{option}: {first_problem(error)[1]}") from error


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end."""
    return uvloop.run(work)


@asynccontextmanager
async def inspecting(settings: Settings) -> AsyncIterator[Inspector]:
    """Connect for reading: the database, the configured policy, and the current time."""
    policy = read_policy(settings.policy_file)
    async with connecting(settings.postgres) as pool:
        await require_current_schema(pool)
        async with transaction(pool) as conn:
            now = await database_clock(conn)
        yield Inspector(pool, PolicyBook(policy), now)


@asynccontextmanager
async def operating(settings: Settings) -> AsyncIterator[Worker]:
    """Connect for writing, as the workers do; log lines go to standard error."""
    set_up_logs(sys.stderr, settings.log_level)
    policy = read_policy(settings.policy_file)
    async with connecting(settings.postgres) as pool:
        await require_current_schema(pool)
        yield worker_of(settings, policy, pool, database_clock, system_clock)


def by_operator() -> Identity:
    """A new identity for the fact that a command creates."""
    return Identity(OPERATOR, str(uuid4()))
