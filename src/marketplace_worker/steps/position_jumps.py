"""Reports records that were never ingested because the position of a partition jumped over them.

Compares where a partition starts to be read with how far it was read before.
"""

from collections.abc import Awaitable, Callable, Sequence
from enum import StrEnum

import structlog

from marketplace_worker.operations import metrics
from marketplace_worker.record import StartOffset
from marketplace_worker.runtime.worker import Worker
from marketplace_worker.store import activity
from marketplace_worker.store.activity import ReadProgress, TopicPartition
from marketplace_worker.store.database import Connection, transaction

log = structlog.get_logger(__name__)

HoldsRecord = Callable[[StartOffset, int], Awaitable[bool]]
"""Whether Kafka has, or had, a record from an offset on up to a beginning."""


class JumpCause(StrEnum):
    """Why a position jumped."""

    DELETED = "deleted"
    """Kafka deleted the records before they were read: by retention, or by an operator."""

    SKIPPED = "skipped"
    """The group's offset is ahead of the database: it was moved, or the database was set back."""

    CUT_OFF = "cut_off"
    """The partition ends before the last read position: an unclean election, or it was
    recreated.
    """


async def report_jumps(
    begun: Sequence[StartOffset], worker: Worker, holds_record: HoldsRecord
) -> None:
    """Report each jump, then store the position from which its partition is read.

    A worker that ends in between reports it again at its next start, from the offset stored before.

    Raises:
        Unavailable: Postgres or Kafka does not answer; call again with the same arguments.
    """
    async with transaction(worker.pool) as conn:
        read = await activity.progress(conn, {_place(each) for each in begun})
    passed_over = []
    for each in begun:
        until = read[_place(each)].next_offset if _place(each) in read else each.refused
        if until is None:
            continue
        if until < each.offset:
            if each.refused is not None:
                _report(each, until, JumpCause.DELETED)
            elif await holds_record(each, until):
                _report(each, until, JumpCause.SKIPPED)
            passed_over.append(each)
        elif each.refused is not None and each.refused > each.offset:
            _report(each, each.refused, JumpCause.CUT_OFF)
    if passed_over:
        async with transaction(worker.pool) as conn:
            await _read_on_from(conn, passed_over)


async def _read_on_from(conn: Connection, begun: Sequence[StartOffset]) -> None:
    known = await activity.lock_progress(conn, {_place(each) for each in begun})
    moved = {
        _place(each): ReadProgress(each.offset, known[_place(each)].newest_at)
        for each in begun
        if known[_place(each)].next_offset < each.offset
    }
    if moved:
        await activity.save_progress(conn, moved)


def _place(beginning: StartOffset) -> TopicPartition:
    return (beginning.topic, beginning.partition)


def _report(beginning: StartOffset, from_offset: int, cause: JumpCause) -> None:
    metrics.POSITION_JUMPS.labels(beginning.topic, cause).inc()
    log.error(
        "position_jumped",
        topic=beginning.topic,
        partition=beginning.partition,
        from_offset=from_offset,
        to_offset=beginning.offset,
        cause=cause,
    )
