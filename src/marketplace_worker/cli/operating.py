"""The connection of commands that change something, as the workers do."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated
from uuid import uuid4

import typer

from marketplace_worker.clock import system_clock
from marketplace_worker.lifecycle.vocabulary import Identity
from marketplace_worker.operations.logs import set_up_logs
from marketplace_worker.policy_reading import read_policy
from marketplace_worker.runtime.worker import Worker, worker_of
from marketplace_worker.settings import Settings
from marketplace_worker.store.database import connecting, database_clock
from marketplace_worker.store.dsn import name_of_database
from marketplace_worker.store.migrations import require_current_schema
from marketplace_worker.terminal import visible

OPERATOR = "operator"
"""The source of messages that an operator's command creates."""


Yes = Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")]


def confirm(what: str, settings: Settings, *, yes: bool) -> None:
    """Ask whether that is to be done to the database of the settings, which is named.

    Raises `typer.Abort` where the answer is no, or nobody answers.
    """
    if yes:
        return
    where = visible(name_of_database(settings.postgres))
    sys.stderr.write(f"{what}, in database {where}? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise typer.Abort


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
