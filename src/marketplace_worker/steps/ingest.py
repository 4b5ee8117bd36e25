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
from marketplace_worker.lifecycle.vocabulary import Identity
from marketplace_worker.record import Outgoing, Record
from marketplace_worker.steps.counting import Counting, WatchedMeanwhile
from marketplace_worker.steps.deciding import Tally, Worker
from marketplace_worker.store import dead_letters, journal, neighbourhood, outbox
from marketplace_worker.store.database import Connection, transaction
from marketplace_worker.store.dead_letters import Refused
from marketplace_worker.store.neighbourhood import Neighbourhood
from marketplace_worker.translate import translate

DEAD_LETTER_BYTES_MAX = 900_000
"""Brokers take 1 MiB where nobody changed it, headers and all."""

ATTEMPTS_MAX = 5
"""How often a batch is taken again at once because organizations began to watch their activity;
each time those are known, so a second is hardly ever needed."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Batch:
    """What a batch of records says, in order, and what of it could not be read."""

    told: list[tuple[Record, Fact]] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)


@dataclass(slots=True)
class _Counts:
    """What became of a batch, for its log line."""

    records: int
    applied: Counter[str] = field(default_factory=Counter)
    duplicates: int = 0


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
                case _:
                    batch.told.append((record, each))
    return batch


async def _ingest(records: Sequence[Record], batch: _Batch, worker: Worker) -> None:
    for _ in range(ATTEMPTS_MAX):
        try:
            return await _take_in(records, batch, worker)
        except WatchedMeanwhile:
            continue
    raise Unavailable("organizations begin to watch their activity faster than it is counted")


async def _take_in(records: Sequence[Record], batch: _Batch, worker: Worker) -> None:
    began = perf_counter()
    counts = _Counts(len(records))
    async with transaction(worker.pool) as conn:
        counting = await Counting.begin(conn, batch.told)
        subjects = neighbourhood.subjects_of(_decided_on(batch, counting))
        near = await neighbourhood.lock(conn, subjects, counting.organizations)
        known = await journal.known(conn, _identities(batch, near))
        tally = await Tally.begin(conn, near, worker)

        _take(batch, counting, known, tally, counts)

        await tally.write(conn, worker.topics)
        await counting.write(conn, near.locked)
        refused = await _refuse(conn, batch, tally, worker)
    for each in refused:
        _log_refusal(each)
    tally.log()
    oldest = min(record.recorded_at for record in records)
    log.info(
        "batch_ingested",
        records=counts.records,
        outcomes=dict(counts.applied),
        duplicates=counts.duplicates,
        activity=counting.count,
        dead_letters=len(refused),
        events=len(tally.events),
        lag_ms=round((tally.now - oldest).total_seconds() * 1000),
        took_ms=round((perf_counter() - began) * 1000, 1),
    )


def _decided_on(batch: _Batch, counting: Counting) -> Iterable[Fact]:
    """The facts, and of the activity what an organization watches."""
    for place, (_, each) in enumerate(batch.told):
        match each:
            case LoggedIn() | ApiRequested():
                if counting.holds(place) and each.organization in counting.watching:
                    yield each
            case _:
                yield each


def _identities(batch: _Batch, near: Neighbourhood) -> set[Identity]:
    """Of all that may be decided on, now that it is known who is locked."""
    return {
        each.identity
        for _, each in batch.told
        if not isinstance(each, LoggedIn | ApiRequested) or each.organization in near.locked
    }


def _take(
    batch: _Batch, counting: Counting, known: set[Identity], tally: Tally, counts: _Counts
) -> None:
    """Decide in the order in which the records came: activity is seen when its turn comes."""
    for place, (record, each) in enumerate(batch.told):
        if isinstance(each, LoggedIn | ApiRequested):
            if not counting.holds(place):
                counts.duplicates += 1
                continue
            tally.fleet.heard(each)
            if not _watched(each, tally):
                continue
        if each.identity in known:
            counts.duplicates += 1
            continue
        known.add(each.identity)
        decision = tally.take(each, record.position)
        counts.applied[decision.outcome.value] += 1


def _watched(heard: Activity, tally: Tally) -> bool:
    return (
        heard.organization in tally.near.locked
        and heard.feed in tally.fleet.organization(heard.organization).watched_feeds
    )


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
