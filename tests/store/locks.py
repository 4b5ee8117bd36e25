"""Whether a transaction waits for another: without that, a test of locks shows nothing."""

import asyncio
from typing import Any

from marketplace_worker.store.database import Pool

WAITING = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


async def waits(pool: Pool, other: asyncio.Task[Any], *, among: int = 1) -> bool:
    """Whether the other transaction comes to wait for a lock, rather than to its end.

    `among`: how many wait then, itself included.
    """
    async with asyncio.timeout(10):
        while not other.done():
            if await _waiting(pool) >= among:
                return True
    return False


async def _waiting(pool: Pool) -> int:
    async with pool.acquire() as conn, conn.transaction():
        await conn.execute("SET LOCAL ROLE NONE")  # the worker's own may not look at others
        return int(await conn.fetchval(WAITING))
