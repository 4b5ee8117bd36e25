"""Captures the rows that `ours` wrote, per subject, so that `floor` can write the same bytes.

The tables' columns are read from the database, so the floor follows every change of the schema.
"""

import gc
import pickle
import tempfile
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg

if TYPE_CHECKING:  # the floors import this module, and start faster without the stage
    from benchmarks.stage import Connection

Values = tuple[Any, ...]

APPENDED = ("journal", "decisions", "outbox")
CHANGED = {
    "organizations": ("organization_id",),
    "subscriptions": ("marketplace", "subscription_id"),
}
"""The tables whose rows are changed, with the columns of their keys."""


@dataclass(frozen=True, slots=True)
class Columns:
    """The written columns of a table, with the types of their arrays."""

    table: str
    types: Mapping[str, str]

    def statement(self) -> str:
        """The statement that updates rows, found by their keys; its parameters are `arrays`."""
        keys = CHANGED[self.table]
        changed = ", ".join(
            f"{name} = {self._value('new', name)}" for name in self.types if name not in keys
        )
        found = " AND ".join(f"{self.table}.{name} = new.{name}" for name in keys)
        return (
            f"UPDATE {self.table} SET {changed}"
            f" FROM {self._unnest()} AS new ({', '.join(self.types)}) WHERE {found}"
        )

    def arrays(self, rows: Sequence[Values]) -> list[list[Any]]:
        """The parameters: a list for each column."""
        if not rows:
            return [[] for _ in self.types]
        return [list(column) for column in zip(*rows, strict=True)]

    def _unnest(self) -> str:
        types = ("text" if kind in {"json", "jsonb"} else kind for kind in self.types.values())
        arrays = (f"${place}::{kind}[]" for place, kind in enumerate(types, start=1))
        return f"unnest({', '.join(arrays)})"

    def _value(self, row: str, name: str) -> str:
        kind = self.types[name]
        return f"{row}.{name}::{kind}" if kind in {"json", "jsonb"} else f"{row}.{name}"


@dataclass(frozen=True, slots=True)
class Written:
    """The rows written for one subject: new ones (`APPENDED`) and updated ones (`CHANGED`)."""

    organization: str
    rows: Mapping[str, Sequence[Values]]


@dataclass(frozen=True, slots=True)
class Captured:
    """All rows that `ours` wrote, by subject: a message's position, or a due organization."""

    columns: Mapping[str, Columns]
    written: Mapping[str, Written]
    safeguards: str

    def save(self, folder: Path) -> str:
        """Write it to a file for another process; returns the file's path."""
        with tempfile.NamedTemporaryFile("wb", dir=folder, delete=False) as output:
            pickle.dump(self, output, pickle.HIGHEST_PROTOCOL)
        return output.name

    @classmethod
    def load(cls, file: str) -> "Captured":
        """Read what `save` wrote.  The garbage collector ignores it: it is never garbage."""
        gc.disable()
        with Path(file).open("rb") as saved:
            captured = pickle.load(saved)  # noqa: S301 - our own file
        gc.freeze()
        gc.enable()
        assert isinstance(captured, cls)
        return captured

    async def writer(
        self, connection: "Connection"
    ) -> Callable[[Sequence[Written]], Awaitable[None]]:
        """A function that writes the rows of some subjects, in order.

        It adds rows with COPY, and updates others with one prepared statement for each table.
        """
        prepared = {
            table: await connection.prepare(columns.statement())
            for table, columns in self.columns.items()
            if table in CHANGED
        }

        async def write(subjects: Sequence[Written]) -> None:
            for table, columns in self.columns.items():
                rows = [row for subject in subjects for row in subject.rows[table]]
                if table in prepared:
                    await prepared[table].fetch(*columns.arrays(rows))
                else:
                    await connection.copy_records_to_table(
                        table, columns=[*columns.types], records=rows
                    )

        return write


@dataclass(frozen=True, slots=True)
class Before:
    """The last rows of the appended tables before `ours` started."""

    last: Mapping[str, int]

    @classmethod
    async def of(cls, connection: "Connection") -> "Before":
        """Read the last rows now."""
        return cls(
            {
                table: await connection.fetchval(f"SELECT coalesce(max(id), 0) FROM {table}")
                for table in APPENDED
            }
        )


def written_of_each(captured: Captured) -> dict[str, dict[str, float]]:
    """Average number of rows and bytes per subject, by table."""
    subjects = captured.written.values()
    return {
        table: {
            "rows": sum(len(each.rows[table]) for each in subjects) / len(subjects),
            "bytes": round(
                sum(
                    len(value)
                    for each in subjects
                    for values in each.rows[table]
                    for value in values
                    if isinstance(value, str | bytes)
                )
                / len(subjects)
            ),
        }
        for table in captured.columns
    }


async def captured(connection: "Connection", before: Before, *, deadlines: bool) -> Captured:
    """Read the rows written since `before`.

    `deadlines`: the subjects are due organizations; otherwise messages.
    """
    columns = {
        table: Columns(table, await _types(connection, table)) for table in (*APPENDED, *CHANGED)
    }
    rows = {table: await _since(connection, columns[table], before) for table in APPENDED}
    decisions = defaultdict(list)
    for row in rows["decisions"]:
        decisions[row["source"], row["message_id"]].append(row)
    promises = defaultdict(list)
    for row in rows["outbox"]:
        promises[row["key"]].append(tuple(row))
    organizations, subscriptions = await _changed(connection, columns, rows["journal"], decisions)
    written = {}
    for row in rows["journal"]:
        decided = decisions[row["source"], row["message_id"]]
        organization = decided[0]["organization_id"]
        subject = organization if deadlines else row["position"]
        key = (row["marketplace"], row["subscription_id"])
        written[subject] = Written(
            organization,
            {
                "journal": [tuple(row)],
                "decisions": [tuple(each) for each in decided],
                "outbox": promises[organization.encode()],
                "organizations": [organizations[organization]],
                "subscriptions": [subscriptions[key]] if key in subscriptions else [],
            },
        )
    if not subscriptions:
        del columns["subscriptions"]
    safeguards = await connection.fetchval("SELECT document FROM safeguards")
    return Captured(columns, written, safeguards)


async def _changed(
    connection: "Connection",
    columns: Mapping[str, Columns],
    journal: Sequence[asyncpg.Record],
    decisions: Mapping[Any, Sequence[asyncpg.Record]],
) -> tuple[dict[str, Values], dict[tuple[str, str], Values]]:
    """The rows of the organizations and subscriptions named by the new journal rows."""
    ids = [each["organization_id"] for decided in decisions.values() for each in decided]
    names = ", ".join(columns["organizations"].types)
    organizations = await connection.fetch(
        f"SELECT {names} FROM organizations WHERE organization_id = ANY($1)",
        ids,
    )
    names = ", ".join(columns["subscriptions"].types)
    named = [row for row in journal if row["subscription_id"] is not None]
    subscriptions = await connection.fetch(
        f"SELECT {names} FROM subscriptions"
        " JOIN unnest($1::text[], $2::text[]) AS named (marketplace, subscription_id)"
        " USING (marketplace, subscription_id)",
        [row["marketplace"] for row in named],
        [row["subscription_id"] for row in named],
    )
    return (
        {row["organization_id"]: tuple(row) for row in organizations},
        {(row["marketplace"], row["subscription_id"]): tuple(row) for row in subscriptions},
    )


async def _since(
    connection: "Connection", columns: Columns, before: Before
) -> list[asyncpg.Record]:
    names = ", ".join(columns.types)
    query = f"SELECT {names} FROM {columns.table} WHERE id > $1 ORDER BY id"
    rows: list[asyncpg.Record] = await connection.fetch(query, before.last[columns.table])
    return rows


async def _types(connection: "Connection", table: str) -> dict[str, str]:
    """The written columns of a table, and their types."""
    rows = await connection.fetch(
        "SELECT attname, format_type(atttypid, NULL) AS type FROM pg_attribute"
        " WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped"
        " AND attidentity = '' AND attgenerated = '' ORDER BY attnum",
        table,
    )
    return {row["attname"]: row["type"] for row in rows}
