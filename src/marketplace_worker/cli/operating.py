"""The connection of commands that change something, as the workers do."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

from marketplace_worker.clock import system_clock
from marketplace_worker.lifecycle.vocabulary import Identity
from marketplace_worker.operations.logs import set_up_logs
from marketplace_worker.policy_reading import read_policy
from marketplace_worker.runtime.worker import Worker, worker_of
from marketplace_worker.settings import Settings
from marketplace_worker.store.database import connecting, database_clock
from marketplace_worker.store.migrations import require_current_schema

OPERATOR = "operator"
"""The source of messages that an operator's command creates."""


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
