"""Measures the oldest snapshot held in the database by any client.  The SQL is in snapshots.sql."""

from marketplace_worker.store.database import Connection
from marketplace_worker.store.queries import queries

SQL = queries("snapshots")


async def oldest_xmin_age(conn: Connection) -> int:
    """How many transactions have begun since the oldest snapshot still held was taken."""
    return int(await conn.fetchval(SQL["oldest_xmin_age"]) or 0)
