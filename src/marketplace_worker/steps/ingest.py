"""Ingests one batch of records from Kafka in one transaction.

Facts are decided on and journalled, activity is counted, and what cannot be read becomes a dead
letter.
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from operator import attrgetter
from time import perf_counter

import structlog

from marketplace_worker.errors import TookTooLong, Unavailable, machine_refusals_named
from marketplace_worker.record import Record, received
from marketplace_worker.runtime.activity_counting import ActivityCounting
from marketplace_worker.runtime.applying import (
    ParsedBatch,
    apply_batch,
    failed_record,
    parse_batch,
    retry_while_watched,
)
from marketplace_worker.runtime.batch_sizing import BatchSizer
from marketplace_worker.runtime.worker import Worker
from marketplace_worker.store.database import transaction

log = structlog.get_logger(__name__)


async def ingest(
    records: Sequence[Record], worker: Worker, sizer: BatchSizer | None = None
) -> AbstractSet[str]:
    """Ingest a batch; then its offsets may be committed, except those of the returned topics.

    Returns the topics that are stopped (`runtime/intake.py`): all their records must be delivered
    again, even if some were applied.

    A record that fails because of a bug is found by halving the batch, stored in the dead letters
    with the error, and logged at `error`: it stops nothing and is not lost.  The same happens to
    one that repeatedly takes too long in Postgres; `sizer` keeps the state between calls.

    Raises:
        Unavailable: Postgres is away, or this machine refuses memory, a file or a thread; records
            that were not ingested may be passed again.
    """
    async with transaction(worker.pool) as conn:
        stopped = await worker.intake.stopped(conn)
        now = await worker.clock(conn)
    came_too = {record.topic for record in records} & stopped if stopped else stopped
    if came_too:
        records = [record for record in records if record.topic not in stopped]
    taken = received(records, now, worker.intake.record_bytes_max)
    return came_too | await _ingest_parts(taken, worker, sizer or BatchSizer())


async def _ingest_parts(
    records: Sequence[Record], worker: Worker, sizer: BatchSizer
) -> AbstractSet[str]:
    """Apply the batch, in smaller parts if Postgres takes too long."""
    stopped: AbstractSet[str] = frozenset()
    rest = sizer.begin(records)
    while rest:
        part, rest = rest[: sizer.rows], rest[sizer.rows :]
        try:
            stopped |= await _ingest_all(part, worker)
        except TookTooLong as slow:
            if not sizer.record_timeout(part):
                raise
            log.exception("record_failed", position=part[0].position)
            stopped |= await _ingest_or_stop(part, failed_record(part[0], slow), worker)
        rest = [record for record in rest if record.topic not in stopped]
        if rest:
            sizer.record_applied([record for record in part if record.topic not in stopped])
        if rest and sizer.is_spent:
            raise Unavailable("Postgres is slow: the batch is split")
    sizer.end()
    return stopped


async def _ingest_all(records: Sequence[Record], worker: Worker) -> AbstractSet[str]:
    """Apply records of topics that are not stopped; returns topics that were stopped meanwhile."""
    if not records:
        return frozenset()
    try:
        with machine_refusals_named():
            return await _ingest_or_stop(records, await parse_batch(records, worker), worker)
    except Unavailable:
        raise
    except Exception as bug:  # here our own bugs meet the input that shows them
        if len(records) == 1:
            log.exception("record_failed", position=records[0].position)
            # Parked: an operator must look at it, and may redrive it.
            return await _ingest_or_stop(records, failed_record(records[0], bug), worker)
        return await _ingest_split(records, len(records) // 2, worker)


async def _ingest_split(records: Sequence[Record], at: int, worker: Worker) -> AbstractSet[str]:
    """Apply the first `at` records, and then the others of topics that these do not stop."""
    stopped = await _ingest_all(records[:at], worker)
    rest = [record for record in records[at:] if record.topic not in stopped]
    return stopped | await _ingest_all(rest, worker)


async def _ingest_or_stop(
    records: Sequence[Record], batch: ParsedBatch, worker: Worker
) -> AbstractSet[str]:
    """Apply what was parsed, or stop the topics that would flood the dead letters.

    Of a larger batch, `records_at_once` records are tried at a time.
    """
    floods = worker.intake.floods(records, batch.refused)
    if not floods:
        await retry_while_watched(lambda: _ingest_batch(records, batch, worker))
        return frozenset()
    if len(records) > worker.intake.records_at_once:
        return await _ingest_split(records, worker.intake.records_at_once, worker)
    await worker.intake.stop(worker.pool, worker.clock, floods)
    stopped = frozenset(flood.topic for flood in floods)
    return stopped | await _ingest_all([r for r in records if r.topic not in stopped], worker)


async def _ingest_batch(records: Sequence[Record], batch: ParsedBatch, worker: Worker) -> None:
    began = perf_counter()
    async with transaction(worker.pool) as conn:
        counting = await ActivityCounting.begin(conn, batch.parts, worker.feeds)
        taken = await apply_batch(conn, batch, counting, worker)
    worker.intake.record_applied(records, taken.refused)
    taken.report()
    oldest = min(map(attrgetter("recorded_at"), records))
    log.info(
        "batch_ingested",
        records=len(records),
        outcomes=dict(taken.applied),
        duplicates=taken.duplicates,
        activity=taken.activity,
        dead_letters=len(taken.refused),
        events=len(taken.unit.events),
        lag_ms=round((taken.unit.now - oldest).total_seconds() * 1000),
        took_ms=round((perf_counter() - began) * 1000, 1),
    )
