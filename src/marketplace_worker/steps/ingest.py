"""Takes in one batch of records: facts to the journal and the lifecycle, activity to its maxima,
and what cannot be read to the dead letters.  One transaction, whatever the batch holds.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from time import perf_counter

import structlog

from marketplace_worker.errors import Malformed, Unavailable
from marketplace_worker.lifecycle.facts import Activity, ApiRequested, Fact, LoggedIn
from marketplace_worker.lifecycle.vocabulary import Identity, OrganizationId
from marketplace_worker.record import Outgoing, Record
from marketplace_worker.steps.deciding import Tally, Worker
from marketplace_worker.store import activity, dead_letters, journal, neighbourhood, outbox
from marketplace_worker.store.activity import Counted
from marketplace_worker.store.database import Connection, transaction
from marketplace_worker.store.dead_letters import Refused
from marketplace_worker.translate import translate

DEAD_LETTER_BYTES_MAX = 900_000
"""Brokers take 1 MiB where nobody changed it, headers and all."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Batch:
    """What a batch of records says, sorted by what is done with it."""

    facts: list[tuple[Record, Fact]] = field(default_factory=list)
    activity: list[tuple[Record, Activity]] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)


@dataclass(slots=True)
class _Counts:
    """What became of a batch, for its log line."""

    records: int
    applied: Counter[str] = field(default_factory=Counter)
    duplicates: int = 0
    activity: int = 0


async def ingest(records: Sequence[Record], worker: Worker) -> None:
    """Take in a batch; when this returns, its offsets may be committed.

    A record on which we fail ourselves is found by halving the batch, kept in the dead letters with
    what went wrong, and logged at `error`: it stops nothing and is not lost.

    Raises:
        Unavailable: Postgres is away; nothing of the batch was taken, and it may be given again.
    """
    try:
        await _ingest(records, read(records, worker), worker)
    except Unavailable:
        raise
    except Exception as bug:  # noqa: BLE001 - here our own bugs meet the input that shows them
        if len(records) > 1:
            middle = len(records) // 2
            await ingest(records[:middle], worker)
            await ingest(records[middle:], worker)
        else:
            await _park(records[0], bug, worker)


def read(records: Iterable[Record], worker: Worker) -> _Batch:
    """Translate every record; a value that holds several parts is sorted part by part."""
    batch = _Batch()
    for record in records:
        said = translate(record, worker.feeds[record.topic], worker.hash_email)
        for part, each in enumerate(said):
            match each:
                case Malformed():
                    batch.refused.append(Refused(record, part, each))
                case LoggedIn() | ApiRequested():
                    batch.activity.append((record, each))
                case _:
                    batch.facts.append((record, each))
    return batch


async def _ingest(records: Sequence[Record], batch: _Batch, worker: Worker) -> None:
    began = perf_counter()
    counts = _Counts(len(records))
    async with transaction(worker.pool) as conn:
        subjects = neighbourhood.subjects_of([fact for _, fact in batch.facts])
        fleet = await neighbourhood.lock(conn, subjects)
        known = await journal.known(conn, {fact.identity for _, fact in batch.facts})
        tally = Tally(fleet, worker.policy, worker.clock())

        _take(batch, known, tally, counts)

        await tally.write(conn, worker.topics)
        await _count_activity(conn, batch, counts)
        refused = await _refuse(conn, batch, tally, worker)
    for each in refused:
        _log_refusal(each)
    tally.log_transitions()
    oldest = min(record.recorded_at for record in records)
    log.info(
        "batch_ingested",
        records=counts.records,
        outcomes=dict(counts.applied),
        duplicates=counts.duplicates,
        activity=counts.activity,
        dead_letters=len(refused),
        events=len(tally.events),
        lag_ms=round((tally.now - oldest).total_seconds() * 1000),
        took_ms=round((perf_counter() - began) * 1000, 1),
    )


def _take(batch: _Batch, known: set[Identity], tally: Tally, counts: _Counts) -> None:
    for record, fact in batch.facts:
        if fact.identity in known:
            counts.duplicates += 1
            continue
        known.add(fact.identity)
        decision = tally.take(fact, record.position)
        counts.applied[decision.outcome.value] += 1


async def _count_activity(conn: Connection, batch: _Batch, counts: _Counts) -> None:
    """Add the activity of records that were not counted before (docs/architecture.md)."""
    if not batch.activity:
        return
    progress = await activity.lock_progress(
        conn, {(record.topic, record.partition) for record, _ in batch.activity}
    )
    by_organization: dict[OrganizationId, Counted] = {}
    for record, each in batch.activity:
        if progress[record.topic, record.partition].advance(record):
            counts.activity += 1
            _add(by_organization.setdefault(each.organization, Counted(each.organization)), each)
        else:
            counts.duplicates += 1
    await activity.count(conn, by_organization.values())
    await activity.save_progress(conn, progress)


def _add(counted: Counted, heard: Activity) -> None:
    match heard:
        case LoggedIn(occurred_at=at):
            counted.logins += 1
            counted.last_login_at = max(counted.last_login_at or at, at)
        case ApiRequested(occurred_at=at, requests=requests):
            counted.requests += requests
            counted.last_request_at = max(counted.last_request_at or at, at)


async def _refuse(
    conn: Connection, batch: _Batch, tally: Tally, worker: Worker
) -> Sequence[Refused]:
    """Keep and promise what was refused; returns what was not kept before."""
    if not batch.refused:
        return ()
    new = await dead_letters.append(conn, batch.refused, refused_at=tally.now)
    letters = [_dead_letter(each, worker.topics.dead_letters, tally) for each in new]
    await outbox.append(conn, letters, written_at=tally.now)
    return new


def _log_refusal(refused: Refused) -> None:
    log.warning(
        "record_refused",
        position=refused.record.position,
        part=refused.part,
        reason=refused.refusal.reason,
        field=refused.refusal.field,
    )


def _dead_letter(refused: Refused, topic: str, tally: Tally) -> Outgoing:
    """The bytes as they came; our headers say where from, why and when (events.md section 1).

    A value that with our headers might be more than a broker takes stays in the table alone.
    """
    record = refused.record
    fits = len(record.value or b"") <= DEAD_LETTER_BYTES_MAX
    ours = {
        "dead-letter-reason": str(refused.refusal),
        "dead-letter-topic": record.topic,
        "dead-letter-partition": str(record.partition),
        "dead-letter-offset": str(record.offset),
        "dead-letter-part": str(refused.part),
        "dead-letter-at": tally.now.isoformat(),
        "dead-letter-attempt": "1",
    }
    if not fits:
        ours["dead-letter-value"] = "too large for the topic: it is in the table dead_letters"
    headers = tuple((name, text.encode()) for name, text in ours.items())
    return Outgoing(topic, record.key, record.value if fits else b"", (*record.headers, *headers))


async def _park(record: Record, bug: Exception, worker: Worker) -> None:
    """Keep a record that we fail on ourselves; a person must look, and may give it again."""
    log.error("record_failed", position=record.position, exc_info=bug)
    refusal = Malformed(f"marketplace-worker failed on it: {type(bug).__name__}")
    await _ingest([record], _Batch(refused=[Refused(record, 0, refusal)]), worker)
