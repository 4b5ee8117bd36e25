"""What several commands share: their options, and how they come to servers and a clock."""

from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
import uvloop

from marketplace_worker.app import read_policy
from marketplace_worker.inspection.sight import Inspector
from marketplace_worker.settings import Settings
from marketplace_worker.store.database import connecting, database_clock, transaction
from marketplace_worker.store.migrations import require_current_schema
from marketplace_worker.store.policies import PolicyBook

T = TypeVar("T")

Config = Annotated[
    Path | None,
    typer.Option(
        help="TOML file of settings; the environment (MARKETPLACE_WORKER_…) wins over it."
    ),
]

AsJson = Annotated[
    bool, typer.Option("--json", help="One JSON document instead of a table, for programs.")
]


def go(work: Coroutine[Any, Any, T]) -> T:
    """Run what waits for servers."""
    return uvloop.run(work)


@asynccontextmanager
async def inspecting(settings: Settings) -> AsyncIterator[Inspector]:
    """The database to ask, by the policy of the settings, as of now."""
    policy = read_policy(settings.policy_file)
    async with connecting(settings.postgres) as pool:
        await require_current_schema(pool)
        async with transaction(pool) as conn:
            now = await database_clock(conn)
        yield Inspector(pool, PolicyBook(policy), now)
