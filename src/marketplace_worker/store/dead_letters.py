"""The dead_letters table: records that could not be read, and their status.

The SQL is in dead_letters.sql.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from hashlib import sha256

import asyncpg

from marketplace_worker.errors import Malformed
from marketplace_worker.record import Record
from marketplace_worker.store.database import Connection
from marketplace_worker.store.outbox import headers_from_json, headers_to_json
from marketplace_worker.store.queries import queries

SQL = queries("dead_letters")

COUNTED_MAX = 10_000
"""Up to how many waiting rows are counted; more are shown as so many."""

BIGINT_MAX = 2**63 - 1

_NUMBER = re.compile(r"(?<![^.\[])[0-9]+(?![^.\]])")


class LetterStatus(StrEnum):
    """The status of a dead letter."""

    WAITING = "waiting"
    REDRIVEN = "redriven"
    DISCARDED = "discarded"


class DiscardMeaning(StrEnum):
    """Whether a discarded dead letter of an activity feed still counts as possible use: yes, or no
    because an operator declared that it is no use (lifecycle.md section 11).
    """

    POSSIBLE_USE = "possible_use"
    NO_USE = "no_use"


@dataclass(frozen=True, slots=True)
class RefusedPart:
    """A refused part of a record.  `part`: its place, from 0, in a value that holds several.

    `counted`: the partition had been read past the record before, so its activity is counted.
    """

    record: Record
    part: int
    refusal: Malformed
    counted: bool = False


@dataclass(frozen=True, slots=True)
class OperatorAction:
    """An operator's name, reason and time for an action on dead letters."""

    by: str
    because: str


@dataclass(frozen=True, slots=True)
class LetterSummary:
    """A dead letter without its bytes.

    `attempts`: how often it was processed.  `counted`: as in `RefusedPart`.  `no_use`: an operator
    said that it does not count as use.  `acted_by`, `acted_because`, `acted_at`: an operator's last
    action, if any.  `value_bytes` is None for a tombstone.
    """

    id: int
    position: str
    part: int
    recorded_at: datetime
    refused_at: datetime
    field: str
    reason: str
    group: str
    status: LetterStatus
    attempts: int
    counted: bool
    no_use: bool
    acted_by: str | None
    acted_because: str | None
    acted_at: datetime | None
    value_bytes: int | None


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A dead letter with the record as received; `received_at` is when it was first refused."""

    summary: LetterSummary
    record: Record


@dataclass(frozen=True, slots=True)
class LetterGroup:
    """Waiting dead letters with the same reason; `field` has `*` for the index of a record.

    `letters`: how many there are; `retried`: how many of them were redriven and refused again.
    """

    id: str
    topic: str
    field: str
    reason: str
    letters: int
    retried: int
    first_at: datetime
    last_at: datetime


def group_of(topic: str, refusal: Malformed) -> str:
    """A short id for all dead letters with the same topic, field and reason, the same everywhere.

    The index of a record within a value, which is part of the field's path, is left out.
    """
    text = f"{topic}\x1f{_numberless(refusal.field)}\x1f{refusal.reason}"
    return sha256(text.encode()).hexdigest()[:8]


def _numberless(field: str) -> str:
    """`Records.*.body` for `Records.1.body`."""
    return _NUMBER.sub("*", field)


async def append(
    conn: Connection, refused: Sequence[RefusedPart], *, refused_at: datetime
) -> Sequence[RefusedPart]:
    """Store refused parts; returns those that were not stored before."""
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
        [group_of(each.record.topic, each.refusal) for each in refused],
        [each.counted for each in refused],
        [record.key for record in records],
        [record.value for record in records],
        [headers_to_json(record.headers) for record in records],
        refused_at,
        [record.left_out_bytes for record in records],
    )
    new = {tuple(row) for row in rows}
    return [each for each in refused if _place(each) in new]


def _place(refused: RefusedPart) -> tuple[str, int, int, datetime, int]:
    record = refused.record
    return (record.topic, record.partition, record.offset, record.recorded_at, refused.part)


# --- queries --------------------------------------------------------------------------------------


async def backlog(conn: Connection, *, limit: int) -> tuple[int, datetime | None]:
    """How many dead letters wait, counted up to `limit`, and when the first was refused."""
    row = await conn.fetchrow(SQL["backlog"], limit)
    assert row is not None
    return row["letters"], row["since"]


async def waiting(conn: Connection, group: str | None = None) -> Sequence[int]:
    """The ids of the waiting dead letters, optionally of one group, in the order of refusal."""
    if group is None:
        rows = await conn.fetch(SQL["waiting"])
    else:
        rows = await conn.fetch(SQL["waiting_of_group"], group)
    return [row["id"] for row in rows]


async def knows_group(conn: Connection, group: str) -> bool:
    """Whether any dead letter belongs to the group, waiting or not."""
    return bool(await conn.fetchval(SQL["knows_group"], group))


async def groups(conn: Connection) -> Sequence[LetterGroup]:
    """The groups of waiting dead letters; the largest first."""
    return [
        LetterGroup(
            row["group_id"],
            row["topic"],
            _numberless(row["field"]),
            row["reason"],
            row["letters"],
            row["retried"],
            row["first_at"],
            row["last_at"],
        )
        for row in await conn.fetch(SQL["groups"])
    ]


async def page(
    conn: Connection,
    status: LetterStatus,
    *,
    group: str | None,
    before: int = BIGINT_MAX,
    limit: int,
) -> Sequence[LetterSummary]:
    """The newest dead letters with a status, optionally of one group, with ids below `before`."""
    if group is None:
        rows = await conn.fetch(SQL["page"], status.value, before, limit)
    else:
        rows = await conn.fetch(SQL["page_of_group"], status.value, before, limit, group)
    return [_summary(row) for row in rows]


async def summaries(conn: Connection, ids: Collection[int]) -> Sequence[LetterSummary]:
    """The existing ones among `ids`, without their bytes, in the order of refusal."""
    return [_summary(row) for row in await conn.fetch(SQL["summaries"], list(ids))]


async def read(conn: Connection, ids: Collection[int]) -> Sequence[DeadLetter]:
    """The existing ones among `ids`, in the order of refusal."""
    return [_letter(row) for row in await conn.fetch(SQL["read"], list(ids))]


# --- operators' actions ---------------------------------------------------------------------------


async def lock(
    conn: Connection, ids: Collection[int], statuses: Collection[LetterStatus]
) -> Sequence[DeadLetter]:
    """Lock the ones among `ids` that have one of the statuses; in the order of refusal.

    No other transaction changes them until this one ends.  Call it before taking any other lock.
    """
    rows = await conn.fetch(SQL["lock"], list(ids), [each.value for each in statuses])
    return [_letter(row) for row in rows]


async def redriven(
    conn: Connection, ids: Collection[int], action: OperatorAction, *, at: datetime
) -> None:
    """Mark dead letters as redriven: they are applied in this transaction."""
    await conn.execute(SQL["redriven"], list(ids), action.by, action.because, at)


async def refused_again(
    conn: Connection,
    refused: Sequence[tuple[int, RefusedPart]],
    action: OperatorAction,
    *,
    at: datetime,
) -> None:
    """Mark dead letters as refused again: they stay waiting, with the new reason."""
    await conn.execute(
        SQL["refused_again"],
        [id_ for id_, _ in refused],
        [each.refusal.reason for _, each in refused],
        [each.refusal.field for _, each in refused],
        [group_of(each.record.topic, each.refusal) for _, each in refused],
        action.by,
        action.because,
        at,
    )


async def lock_ids(
    conn: Connection, ids: Collection[int], statuses: Collection[LetterStatus]
) -> Sequence[int]:
    """Like `lock`, but without reading the bytes; returns the ids."""
    rows = await conn.fetch(SQL["lock_ids"], list(ids), [each.value for each in statuses])
    return [row["id"] for row in rows]


async def discard(
    conn: Connection,
    ids: Collection[int],
    meaning: DiscardMeaning,
    action: OperatorAction,
    *,
    at: datetime,
) -> None:
    """Mark dead letters as discarded; the caller has locked them."""
    no_use = meaning is DiscardMeaning.NO_USE
    await conn.execute(SQL["discard"], list(ids), no_use, action.by, action.because, at)


def _letter(row: asyncpg.Record) -> DeadLetter:
    record = Record(
        topic=row["topic"],
        partition=row["partition"],
        offset=row["offset"],
        recorded_at=row["recorded_at"],
        key=row["key"],
        value=row["value"],
        headers=headers_from_json(row["headers"]),
        received_at=row["refused_at"],
        left_out_bytes=row["left_out_bytes"],
    )
    return DeadLetter(_summary(row), record)


async def delete_old(conn: Connection, *, before: datetime, limit: int) -> int:
    """Delete the oldest dead letters refused before a moment, at most `limit`; returns how many."""
    return int(await conn.fetchval(SQL["delete_old"], before, limit))


def _summary(row: asyncpg.Record) -> LetterSummary:
    return LetterSummary(
        id=row["id"],
        position=f"{row['topic']}/{row['partition']}/{row['offset']}",
        part=row["part"],
        recorded_at=row["recorded_at"],
        refused_at=row["refused_at"],
        field=row["field"],
        reason=row["reason"],
        group=row["group_id"],
        status=LetterStatus(row["status"]),
        attempts=row["attempts"],
        counted=row["counted"],
        no_use=row["no_use"],
        acted_by=row["acted_by"],
        acted_because=row["acted_because"],
        acted_at=row["acted_at"],
        value_bytes=row["value_bytes"],
    )
