"""A connection for tests, which kills its own process at a chosen statement.

A step of the worker runs in its own process, on connections of this class.  Every fault point that
it reaches is recorded; at the chosen one the process ends by SIGKILL.
"""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any
from unittest.mock import patch

import asyncpg
import structlog

from marketplace_worker.store.queries import queries

Names = dict[str, str]

_CREATE_POOL = asyncpg.create_pool


@dataclass(frozen=True)
class Point:
    """A fault point just before or after a statement, at its `time`-th execution, from 1."""

    statement: str
    after: bool
    time: int = 1

    def __str__(self) -> str:
        return f"{'after' if self.after else 'before'} {self.statement} ({self.time})"


COPIED = frozenset({"journal.append", "decisions.append", "outbox.append"})
"""What is written with COPY: a table's `append`, which has no statement in its file."""


class _Plan:
    """The point at which this process ends, and the points reached so far."""

    def __init__(self) -> None:
        self.names: Names = {}
        self.end: Point | None = None
        self.reached: list[str] = []

    def name(self, sql: str) -> str:
        """The statement's name, or its first word (`--` for a migration)."""
        return self.names.get(sql) or sql.split(maxsplit=1)[0].rstrip(";")


_plan = _Plan()


async def passing(statement: str, done: Awaitable[Any]) -> Any:  # noqa: ANN401 - whatever it gives
    """Run a statement, with a fault point before and one after it."""
    _plan.reached.append(statement)
    time = _plan.reached.count(statement)
    _end_at(Point(statement, after=False, time=time))
    result = await done
    _end_at(Point(statement, after=True, time=time))
    return result


def _end_at(point: Point) -> None:
    if point == _plan.end:
        os.kill(os.getpid(), signal.SIGKILL)


class FaultyConnection(asyncpg.Connection):
    """A connection with a fault point before and after each statement."""

    async def execute(self, query: str, *args: Any, **more: Any) -> str:  # noqa: ANN401
        done: str = await passing(_plan.name(query), super().execute(query, *args, **more))
        return done

    async def executemany(self, command: str, *args: Any, **more: Any) -> None:  # noqa: ANN401
        await passing(_plan.name(command), super().executemany(command, *args, **more))

    async def fetch(self, query: str, *args: Any, **more: Any) -> Any:  # noqa: ANN401
        return await passing(_plan.name(query), super().fetch(query, *args, **more))

    async def fetchval(self, query: str, *args: Any, **more: Any) -> Any:  # noqa: ANN401
        return await passing(_plan.name(query), super().fetchval(query, *args, **more))

    async def fetchrow(self, query: str, *args: Any, **more: Any) -> Any:  # noqa: ANN401
        return await passing(_plan.name(query), super().fetchrow(query, *args, **more))

    async def copy_records_to_table(self, table_name: str, **more: Any) -> str:  # noqa: ANN401
        copied = super().copy_records_to_table(table_name, **more)
        done: str = await passing(f"{table_name}.append", copied)
        return done


def all_statements() -> Names:
    """The names of all statements of the store (`table.name`), by their text."""
    found: Names = {}
    for file in resources.files("marketplace_worker.store").iterdir():
        if file.name.endswith(".sql"):
            table = file.name.removesuffix(".sql")
            found |= {sql: f"{table}.{name}" for name, sql in queries(table).items()}
    return found


def act(step: Callable[[], Awaitable[None]], end: Point | None, reached: Path) -> None:
    """Run a step in this process, and kill the process at `end`.

    If the process survives, the reached points are written to a file.
    """
    _plan.names, _plan.end, _plan.reached = all_statements(), end, []
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    patch.object(
        asyncpg, "create_pool", partial(_CREATE_POOL, connection_class=FaultyConnection)
    ).start()
    asyncio.run(_call(step))
    reached.write_text("\n".join(_plan.reached))


async def _call(step: Callable[[], Awaitable[None]]) -> None:
    await step()
