"""The intake_stops table: topics whose intake was stopped.  The SQL is in intake.sql."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from marketplace_worker.errors import Malformed
from marketplace_worker.store.database import Connection
from marketplace_worker.store.queries import queries

SQL = queries("intake")


@dataclass(frozen=True, slots=True)
class Flood:
    """Why a topic is stopped: `refused` of `records` records, and the last refusal."""

    topic: str
    records: int
    refused: int
    refusal: Malformed


@dataclass(frozen=True, slots=True)
class IntakeStop:
    """The last stop of a topic, and whether it is still in force."""

    topic: str
    stopped_at: datetime
    holds: bool


@dataclass(frozen=True, slots=True)
class IntakeStopDetails:
    """The last stop of a topic, with details for an operator.

    `field` is empty if the whole value was invalid; `resumed_…` are None while it is in force.
    """

    topic: str
    stopped_at: datetime
    records: int
    refused: int
    reason: str
    field: str
    resumed_at: datetime | None
    resumed_by: str | None
    resumed_because: str | None


async def stops(conn: Connection) -> Sequence[IntakeStop]:
    """The last stop of every topic that was ever stopped."""
    return [IntakeStop(**row) for row in await conn.fetch(SQL["stops"])]


async def stop(conn: Connection, floods: Sequence[Flood], *, now: datetime) -> Sequence[IntakeStop]:
    """Stop topics; returns the stops of those that were not stopped before."""
    rows = await conn.fetch(
        SQL["stop"],
        [each.topic for each in floods],
        [each.records for each in floods],
        [each.refused for each in floods],
        [each.refusal.reason for each in floods],
        [each.refusal.field for each in floods],
        now,
    )
    return [IntakeStop(**row) for row in rows]


async def resume(conn: Connection, topic: str, *, by: str, because: str, now: datetime) -> bool:
    """Resume the intake of a topic; returns whether it was stopped."""
    return await conn.fetchval(SQL["resume"], topic, by, because, now) is not None


async def history(conn: Connection) -> Sequence[IntakeStopDetails]:
    """The last stop of every topic, those in force first."""
    return [IntakeStopDetails(**row) for row in await conn.fetch(SQL["history"])]
