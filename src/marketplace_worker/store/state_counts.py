"""The state_changes table: how many organizations are in each state, by day.

The SQL is in state_counts.sql.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from marketplace_worker.lifecycle.states import State
from marketplace_worker.store.database import Connection
from marketplace_worker.store.queries import queries

SQL = queries("state_counts")

UNMERGED_MAX = 1_000
"""How many rows to leave unmerged: reading them costs less than a millisecond."""


@dataclass(frozen=True, slots=True)
class StateChange:
    """By how many the organizations in a state became more, or fewer, on a UTC day."""

    day: date
    state: State
    change: int


async def append(conn: Connection, changes: Mapping[State, int], *, day: date) -> None:
    """Record what this transaction changes; none waits for another."""
    moved = {state.value: change for state, change in changes.items() if change}
    if moved:
        await conn.execute(SQL["append"], day, list(moved), list(moved.values()))


async def lead(conn: Connection) -> bool:
    """Whether this transaction is the only one that merges and corrects."""
    return bool(await conn.fetchval(SQL["lead"]))


async def unmerged(conn: Connection) -> int:
    """How many rows wait to be merged, counted up to a bit more than twice `UNMERGED_MAX`."""
    rows: int = await conn.fetchval(SQL["unmerged"], 2 * UNMERGED_MAX + 100)
    return rows


async def merge(conn: Connection) -> bool:
    """Merge the rows of each day and state, if there are many; returns whether it did."""
    if await unmerged(conn) < UNMERGED_MAX:
        return False
    await conn.execute(SQL["merge"])
    return True


async def correct(conn: Connection, *, day: date) -> Mapping[State, int] | None:
    """Correct the numbers once a day; returns what was wrong, None if it was done before.

    They are wrong after a worker of an earlier version ran beside, or after a change by hand.
    """
    if await conn.fetchval(SQL["is_corrected"], day):
        return None
    wrong = await conn.fetch(SQL["correct"], day)
    await conn.execute(SQL["record_correction"], day)
    return {State(row["state"]): row["change"] for row in wrong}


async def history(conn: Connection) -> Sequence[StateChange]:
    """All changes, by day and state."""
    return [
        StateChange(row["day"], State(row["state"]), row["change"])
        for row in await conn.fetch(SQL["history"])
    ]


async def numbers(conn: Connection) -> Mapping[State, int]:
    """How many organizations are in each state now."""
    rows = await conn.fetch(SQL["numbers"])
    return {State(row["state"]): row["organizations"] for row in rows}


async def population(conn: Connection) -> int:
    """How many organizations exist and are not deactivated: the guard's limits depend on it."""
    return sum(n for state, n in (await numbers(conn)).items() if state is not State.DEACTIVATED)
