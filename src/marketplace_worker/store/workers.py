"""The workers table: the workers that run, and how each is.  The SQL is in workers.sql."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from marketplace_worker.store.database import Connection
from marketplace_worker.store.queries import queries

SQL = queries("workers")

Lag = Mapping[str, Mapping[str, int]]
"""By consumer group and topic, how many records wait."""


@dataclass(frozen=True, slots=True)
class WorkerIdentity:
    """What does not change while a worker runs.  `topic_warnings`: a sentence for each setting of a
    topic by which messages may be lost, as found at the start.
    """

    id: UUID
    host: str
    version: str
    loops: Sequence[str]
    policy_version: str
    topic_warnings: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class RunningWorker:
    """A worker as it last recorded itself, `silent_for` ago.

    `not_ready`: a sentence for each reason why it is not ready.  `lag`: in its partitions,
    and in those that nobody reads.  `clock_ahead`: of its machine, compared with the database's;
    negative: behind.  `started_at` (UTC): by the database's clock.
    """

    identity: WorkerIdentity
    not_ready: Sequence[str]
    lag: Lag
    clock_ahead: timedelta
    started_at: datetime
    silent_for: timedelta


async def record(
    conn: Connection,
    identity: WorkerIdentity,
    *,
    not_ready: Sequence[str],
    lag: Lag,
    own_clock: datetime,
) -> None:
    """Write the row of a worker, or update it.  `own_clock`: the time of its machine (UTC)."""
    await conn.execute(
        SQL["record"],
        identity.id,
        identity.host,
        identity.version,
        identity.loops,
        identity.policy_version,
        identity.topic_warnings,
        not_ready,
        json.dumps(lag),
        own_clock,
    )


async def delete(conn: Connection, id_: UUID) -> None:
    """Delete the row of a worker that stops."""
    await conn.execute(SQL["delete"], id_)


async def read(conn: Connection) -> Sequence[RunningWorker]:
    """Every worker that has not stopped, the oldest first; some may have ended without a word."""
    return [
        RunningWorker(
            WorkerIdentity(
                row["id"],
                row["host"],
                row["version"],
                row["loops"],
                row["policy_version"],
                row["topic_warnings"],
            ),
            row["not_ready"],
            json.loads(row["lag"]),
            row["clock_ahead"],
            row["started_at"],
            row["silent_for"],
        )
        for row in await conn.fetch(SQL["read"])
    ]
