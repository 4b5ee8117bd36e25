"""The connection of commands that look: they need the database alone, and write nothing."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from marketplace_worker.inspection.fleet_view import Inspector
from marketplace_worker.policy_reading import read_policy
from marketplace_worker.settings import load_inspection_settings
from marketplace_worker.store import policies
from marketplace_worker.store.database import connecting, database_clock, one_moment
from marketplace_worker.store.migrations import require_current_schema
from marketplace_worker.store.policies import PolicyBook


@asynccontextmanager
async def inspecting(config: Path | None) -> AsyncIterator[Inspector]:
    """Connect for reading: the database, the policy that the workers use, and the current time.

    The configured policy counts only where no worker has ever used one: this machine's file need
    not be the workers'.

    Raises:
        Misconfigured: the settings of the database or the policy are unusable.
        Unavailable: the database does not answer.
    """
    settings = load_inspection_settings(config)
    async with connecting(settings.postgres) as pool:
        await require_current_schema(pool)
        async with one_moment(pool) as conn:
            now = await database_clock(conn)
            policy = await policies.in_force(conn) or read_policy(settings.policy_file)
        yield Inspector(pool, PolicyBook(policy), now)
