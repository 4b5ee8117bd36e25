"""Parses records and applies them within a transaction.

Facts go to the journal and are decided on, activity is counted, and what cannot be read becomes a
dead letter.  Shared by ingest and by redriving.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

import structlog

from marketplace_worker.contract.feeds import activity_feed
from marketplace_worker.contract.inbound import organization_of_key
from marketplace_worker.contract.plain_activity import PlainActivity, read_plain_activity
from marketplace_worker.contract.tracing import trace_of
from marketplace_worker.documents import is_contradicted
from marketplace_worker.errors import Malformed, Unavailable
from marketplace_worker.lifecycle.facts import ApiRequested, Fact, LoggedIn
from marketplace_worker.lifecycle.scope import scope_of
from marketplace_worker.lifecycle.vocabulary import Identity, OrganizationId
from marketplace_worker.record import MESSAGE_BYTES_MAX, Outgoing, Record
from marketplace_worker.runtime.activity_counting import (
    ActivityCounting,
    ParsedPart,
    Part,
    StartedWatching,
)
from marketplace_worker.runtime.log_lines import log_contradictions
from marketplace_worker.runtime.unit_of_work import UnitOfWork
from marketplace_worker.runtime.worker import Worker
from marketplace_worker.store import dead_letters, journal, outbox, possible_use, working_set
from marketplace_worker.store.database import Connection
from marketplace_worker.store.dead_letters import RefusedPart
from marketplace_worker.store.possible_use import UnreadableRecord
from marketplace_worker.translate import translate_in_full

ID_BYTES_MAX = 1_024
"""A longer key is no organization's id."""

REASON_BYTES_MAX = 8_192
"""How much of a reason goes to the topic: it may have the path of a field in it, as it came."""

_IN_THE_TABLE = b"too large for the topic: it is in the table dead_letters"
_LEFT_OUT = b"too large to be kept: it is in Kafka at this position"

OUR_HEADERS = "dead-letter-"
"""How the names begin of what we say of a dead letter; a producer's own do not pass for ours."""

READ_AT_ONCE_BYTES_MAX = 2**18
"""Up to how many bytes of a batch are read without letting the event loop do something else: some
tens of milliseconds at the worst, and ten times what an ordinary batch holds of notifications."""

TIMES_MAX = 5
"""How often a transaction is taken again at once because organizations began to watch their
activity; each time those are known, so a second is hardly ever needed."""

FAILED = "marketplace-worker failed on it"
"""How the reason begins where the record is not at fault, but we are."""

log = structlog.get_logger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ParsedBatch:
    """The parts of some records, in order.

    `in_full`: those that are not plain activity, each with its index in `parts`.
    """

    parts: Sequence[Part]
    in_full: Sequence[tuple[int, ParsedPart]]

    @property
    def refused(self) -> list[RefusedPart]:
        """The parts that could not be parsed."""
        return [RefusedPart(each.record, each.part, refusal) for _, each, refusal in self.refusals]

    @property
    def refusals(self) -> list[tuple[int, ParsedPart, Malformed]]:
        """The same parts, each with its index."""
        return [
            (index, each, each.content)
            for index, each in self.in_full
            if isinstance(each.content, Malformed)
        ]


async def parse_batch(records: Sequence[Record], worker: Worker) -> ParsedBatch:
    """Parse as `read` does, in a thread if values are large: 1 MB may hold ten thousand parts, and
    the event loop must keep running.
    """
    if sum(len(record.value or b"") for record in records) <= READ_AT_ONCE_BYTES_MAX:
        return read(records, worker)
    return await asyncio.to_thread(read, records, worker)


def read(records: Iterable[Record], worker: Worker) -> ParsedBatch:
    """Parse every record into its parts; a value may hold several."""
    parts: list[Part] = []
    in_full: list[tuple[int, ParsedPart]] = []
    for record in records:
        feed = worker.feeds[record.topic]
        if activity := read_plain_activity(record, feed):
            parts.append(activity)
            continue
        for part, each in enumerate(translate_in_full(record, feed, worker.hash_email)):
            parsed = ParsedPart(record, part, each.what, each.trace)
            in_full.append((len(parts), parsed))
            parts.append(parsed)
    return ParsedBatch(parts, in_full)


def failed_record(record: Record, bug: Exception) -> ParsedBatch:
    """A batch that refuses a record because of a bug of ours; the reason names the exception."""
    refused = ParsedPart(record, 0, Malformed(f"{FAILED}: {type(bug).__name__}"))
    return ParsedBatch([refused], [(0, refused)])


@dataclass(slots=True)
class AppliedBatch:
    """The result of applying a batch.

    Args:
        unit: the decisions.
        activity: how many logins and API requests were counted.
        applied: how many facts had which outcome.
        duplicates: how many were applied before.
        refused: the parts that were added to the dead letters.
        contradictions: known identities that came with other content, each with its position.
    """

    unit: UnitOfWork
    activity: int
    applied: Counter[str] = field(default_factory=Counter)
    duplicates: int = 0
    refused: Sequence[RefusedPart] = ()
    contradictions: Sequence[tuple[Identity, str]] = ()

    def report(self) -> None:
        """Log what was refused and decided, and wake the relays.  Call after the commit."""
        for each in self.refused:
            log.warning(
                "record_refused",
                position=each.record.position,
                part=each.part,
                reason=each.refusal.reason,
                field=each.refusal.field,
            )
        log_contradictions(self.contradictions)
        self.unit.report()


async def apply_batch(
    conn: Connection, batch: ParsedBatch, counting: ActivityCounting, worker: Worker
) -> AppliedBatch:
    """Lock what a batch concerns, decide on it in its order, and write down all that came of it.

    Raises:
        StartedWatching: the transaction must be taken again, for activity was counted that an
            organization had begun to watch.
    """
    scope = scope_of(fact for _, fact in _decided_on(batch, counting, counting.watching))
    loaded = await working_set.lock_for(conn, scope, counting.organizations)
    # What was locked may begin to watch its activity within the batch.
    decided_on = _decided_on(batch, counting, loaded.locked)
    known = await journal.known(conn, {fact.identity for _, fact in decided_on})
    unit = await UnitOfWork.begin(conn, loaded, worker)
    taken = AppliedBatch(unit, counting.count, duplicates=counting.duplicates)

    repeated = await _decide(decided_on, known, taken)

    await unit.write(conn, worker.topics)
    taken.contradictions = await _contradictions(conn, repeated)
    await counting.write(conn, loaded.locked)
    refused = [
        RefusedPart(each.record, each.part, refusal, counted=counting.passed(index))
        for index, each, refusal in batch.refusals
    ]
    taken.refused = await _refuse(conn, refused, unit.now, worker)
    unreadable = _unreadable(taken.refused, worker)
    if unreadable:
        await possible_use.add(conn, unreadable)
    return taken


async def retry_while_watched(work: Callable[[], Awaitable[T]]) -> T:
    """Do what takes a batch in a transaction, again for as long as `StartedWatching` is raised.

    Raises:
        Unavailable: each time others had begun to watch.
    """
    for _ in range(TIMES_MAX):
        try:
            return await work()
        except StartedWatching:
            continue
    raise Unavailable("organizations begin to watch their activity faster than it is counted")


def _decided_on(
    batch: ParsedBatch, counting: ActivityCounting, watching: AbstractSet[OrganizationId]
) -> Sequence[tuple[ParsedPart, Fact]]:
    """The facts, and of the activity that is counted now that of these organizations."""
    decided_on: list[tuple[ParsedPart, Fact]] = []
    for index, each in enumerate(batch.parts) if watching else batch.in_full:
        if isinstance(each, PlainActivity):
            if each.organization not in watching:
                continue
            part = ParsedPart(each.record, 0, each.content, trace_of(each.record))
        else:
            part = each
        match part.content:
            case Malformed():
                continue
            case LoggedIn() | ApiRequested() as event:
                if event.organization in watching and not counting.passed(index):
                    decided_on.append((part, event))
            case fact:
                decided_on.append((part, fact))
    return decided_on


async def _decide(
    decided_on: Sequence[tuple[ParsedPart, Fact]], known: set[Identity], taken: AppliedBatch
) -> Sequence[tuple[Record, Fact]]:
    """Decide in the order in which the records came: activity is seen when its turn comes.

    Returns what was taken before, here or in another batch.
    """
    unit = taken.unit
    repeated = []
    for parsed, fact in decided_on:
        if isinstance(fact, LoggedIn | ApiRequested):
            unit.fleet.record_activity(fact)
            if fact.feed not in unit.fleet.organization(fact.organization).watched_feeds:
                continue
        if fact.identity in known:
            taken.duplicates += 1
            repeated.append((parsed.record, fact))
            continue
        known.add(fact.identity)
        decision = await unit.decide(fact, parsed.record.position, parsed.trace)
        taken.applied[decision.outcome.value] += 1
    return repeated


async def _contradictions(
    conn: Connection, repeated: Sequence[tuple[Record, Fact]]
) -> Sequence[tuple[Identity, str]]:
    """Which of these say something else than the journal has of their identity.

    Where a time is the record's own none was told, and it is another one each time.
    """
    if not repeated:
        return ()
    taken = await journal.facts(conn, {fact.identity for _, fact in repeated})
    return [
        (fact.identity, record.position)
        for record, fact in repeated
        if fact.identity in taken
        and is_contradicted(
            taken[fact.identity], fact, with_moments=fact.occurred_at != record.latest_event_time
        )
    ]


def _unreadable(refused: Sequence[RefusedPart], worker: Worker) -> Collection[UnreadableRecord]:
    """The refused records of activity feeds, each once: they may have been use."""
    records: dict[Record, UnreadableRecord] = {}
    for each in refused:
        record, feed = each.record, activity_feed(each.record.topic, worker.feeds)
        if feed is not None:
            key = organization_of_key(record.key)
            records.setdefault(record, UnreadableRecord(record, feed, key)).letters += 1
    return records.values()


async def _refuse(
    conn: Connection, refused: Sequence[RefusedPart], now: datetime, worker: Worker
) -> Sequence[RefusedPart]:
    """Store refused parts and publish them as dead letters; returns those that are new."""
    if not refused:
        return ()
    new = await dead_letters.append(conn, refused, refused_at=now)
    await promise(conn, [(each, 1) for each in new], now, worker)
    return new


async def promise(
    conn: Connection, refused: Iterable[tuple[RefusedPart, int]], now: datetime, worker: Worker
) -> None:
    """Append dead letters to the outbox, each with the number of attempts so far."""
    topic = worker.topics.dead_letters
    letters = [_dead_letter(each, topic, now, attempt) for each, attempt in refused]
    if letters:
        await outbox.append(conn, letters, written_at=now)


def _dead_letter(refused: RefusedPart, topic: str, now: datetime, attempt: int) -> Outgoing:
    """The original bytes, with headers that say where from, why and when (events.md section 1).

    What with our headers is larger than anything that we write stays in the table alone.
    """
    record = refused.record
    ours = {
        "dead-letter-reason": str(refused.refusal),
        "dead-letter-topic": record.topic,
        "dead-letter-partition": str(record.partition),
        "dead-letter-offset": str(record.offset),
        "dead-letter-part": str(refused.part),
        "dead-letter-at": now.isoformat(),
        "dead-letter-attempt": str(attempt),
    }
    headers = tuple((name, _shortened(text)) for name, text in ours.items())
    theirs = tuple(each for each in record.headers if not each[0].startswith(OUR_HEADERS))
    left_out = (("dead-letter-value", _LEFT_OUT),) if record.left_out_bytes is not None else ()
    whole = Outgoing(topic, record.key, record.value, (*theirs, *headers, *left_out))
    if whole.size_bytes <= MESSAGE_BYTES_MAX:
        return whole
    is_id = len(record.key or b"") <= ID_BYTES_MAX
    return Outgoing(
        topic, record.key if is_id else None, b"", (*headers, ("dead-letter-value", _IN_THE_TABLE))
    )


def _shortened(text: str) -> bytes:
    return text.encode()[:REASON_BYTES_MAX].decode(errors="ignore").encode()
