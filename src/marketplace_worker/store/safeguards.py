"""The safeguards: one row for the whole fleet.  The SQL is in safeguards.sql."""

from marketplace_worker.documents import safeguards_from_json, safeguards_to_json
from marketplace_worker.lifecycle.safeguards import Safeguards
from marketplace_worker.store.database import Connection
from marketplace_worker.store.queries import queries

SQL = queries("safeguards")


async def read(conn: Connection) -> Safeguards:
    """As they stand, without a lock."""
    return safeguards_from_json(await conn.fetchval(SQL["read"]))


async def lock(conn: Connection) -> Safeguards:
    """As they stand; until the transaction ends, no other takes a harmful step.

    The last of all locks (docs/architecture.md).
    """
    return safeguards_from_json(await conn.fetchval(SQL["lock"]))


async def save(conn: Connection, safeguards: Safeguards) -> None:
    """Write them; this transaction has locked them."""
    await conn.execute(SQL["save"], safeguards_to_json(safeguards))
