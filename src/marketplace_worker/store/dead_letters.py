"""The dead_letters table: what could not be read.  The SQL is in dead_letters.sql."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from marketplace_worker.errors import Malformed
from marketplace_worker.record import Record
from marketplace_worker.store.database import Connection
from marketplace_worker.store.outbox import headers_to_json
from marketplace_worker.store.queries import queries

SQL = queries("dead_letters")


@dataclass(frozen=True, slots=True)
class Refused:
    """One part of a record, refused.  `part` counts from 0 where a value holds several."""

    record: Record
    part: int
    refusal: Malformed


async def append(
    conn: Connection, refused: Sequence[Refused], *, refused_at: datetime
) -> Sequence[Refused]:
    """Keep what was refused; returns those that were not kept before."""
    records = [each.record for each in refused]
    rows = await conn.fetch(
        SQL["append"],
        [record.topic for record in records],
        [record.partition for record in records],
        [record.offset for record in records],
        [each.part for each in refused],
        [record.recorded_at for record in records],
        [each.refusal.reason for each in refused],
        [each.refusal.field for each in refused],
        [record.key for record in records],
        [record.value for record in records],
        [headers_to_json(record.headers) for record in records],
        refused_at,
    )
    new = {tuple(row) for row in rows}
    return [each for each in refused if _place(each) in new]


def _place(refused: Refused) -> tuple[str, int, int, datetime, int]:
    record = refused.record
    return (record.topic, record.partition, record.offset, record.recorded_at, refused.part)
