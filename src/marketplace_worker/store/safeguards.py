"""The safeguards: one row for the whole fleet.  The SQL is in safeguards.sql."""

from marketplace_worker.documents import safeguards_from_json, safeguards_to_json
from marketplace_worker.lifecycle.safeguards import Safeguards
from marketplace_worker.store.database import Connection
from marketplace_worker.store.queries import queries

SQL = queries("safeguards")


async def read(conn: Connection) -> Safeguards:
    """Read the safeguards without a lock."""
    return safeguards_from_json(await conn.fetchval(SQL["read"]))


async def lock(conn: Connection) -> Safeguards:
    """Lock and read the safeguards; until the transaction ends, no other takes a destructive step.

    Must be the last lock of a transaction (docs/architecture.md).
    """
    return safeguards_from_json(await conn.fetchval(SQL["lock"]))


async def save(conn: Connection, safeguards: Safeguards) -> None:
    """Write the safeguards, which this transaction has locked."""
    await conn.execute(SQL["save"], safeguards_to_json(safeguards))
