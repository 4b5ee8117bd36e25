"""Lists the waiting dead letters, grouped or one by one, and previews a redrive of them."""

from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from marketplace_worker.contract.emails import EmailHasher
from marketplace_worker.contract.feeds import Feed
from marketplace_worker.errors import Malformed, Unavailable, machine_refusals_named
from marketplace_worker.inspection.fleet_view import Inspector
from marketplace_worker.lifecycle.facts import (
    ApiRequested,
    ClockMoved,
    EpochBegan,
    EpochCompleted,
    Fact,
    GuardReleased,
    GuardTripped,
    LoggedIn,
    Notified,
    SupportRequested,
    Unrecognized,
)
from marketplace_worker.lifecycle.vocabulary import Identity
from marketplace_worker.store import dead_letters, journal
from marketplace_worker.store.database import one_moment, transaction
from marketplace_worker.store.dead_letters import (
    DeadLetter,
    LetterGroup,
    LetterStatus,
    LetterSummary,
)
from marketplace_worker.translate import translate

PAGE = 20
"""The number of dead letters held in memory with their bytes; each may have a megabyte."""


class RedriveOutcome(StrEnum):
    """The result that a redrive would have for a dead letter.

    Accept it; refuse it again, because it still cannot be read; fail on it again; or skip it,
    because its topic is not in the settings.
    """

    TAKE = "take"
    REFUSE = "refuse"
    FAIL = "fail"
    LEAVE = "leave"


@dataclass(frozen=True, slots=True)
class RedrivePreview:
    """The result that a redrive of one dead letter would have.

    `facts`: descriptions of the facts in its record, each with whether it is known already.
    """

    summary: LetterSummary
    would: RedriveOutcome
    refusal: Malformed | None = None
    facts: Sequence[tuple[str, bool]] = ()


@dataclass(frozen=True, slots=True)
class RecordReader:
    """How to read records; the same as in the workers if built from their settings."""

    feeds: Mapping[str, Feed]
    hash_email: EmailHasher


async def groups(inspector: Inspector) -> Sequence[LetterGroup]:
    """The waiting dead letters, grouped by topic, field and reason; the largest group first."""
    async with transaction(inspector.pool) as conn:
        return await dead_letters.groups(conn)


async def page(
    inspector: Inspector, status: LetterStatus, *, group: str | None, before: int | None, limit: int
) -> Sequence[LetterSummary]:
    """The newest dead letters with a status, optionally of one group, with ids below `before`."""
    async with transaction(inspector.pool) as conn:
        return await dead_letters.page(
            conn, status, group=group, before=before or dead_letters.BIGINT_MAX, limit=limit
        )


async def waiting(inspector: Inspector, group: str | None) -> Sequence[int] | None:
    """The ids of the waiting dead letters, or of one group's; None if the group is unknown."""
    async with one_moment(inspector.pool) as conn:
        ids = await dead_letters.waiting(conn, group)
        if ids or group is None or await dead_letters.knows_group(conn, group):
            return ids
        return None


async def one(inspector: Inspector, id_: int) -> DeadLetter | None:
    """One dead letter with its record and status; None if it does not exist."""
    async with transaction(inspector.pool) as conn:
        return next(iter(await dead_letters.read(conn, [id_])), None)


async def summaries(inspector: Inspector, ids: Collection[int]) -> Mapping[int, LetterSummary]:
    """The existing ones among `ids`."""
    async with transaction(inspector.pool) as conn:
        return {each.id: each for each in await dead_letters.summaries(conn, ids)}


async def preview_redrive(
    inspector: Inspector, ids: Sequence[int], reader: RecordReader
) -> AsyncIterator[RedrivePreview]:
    """Preview a redrive of these dead letters, in the order of refusal.  Writes nothing.

    Only the identities of their facts stay in memory for all of them.
    """
    known: set[Identity] = set()
    in_order = sorted(ids)
    for begin in range(0, len(in_order), PAGE):
        async with one_moment(inspector.pool) as conn:
            letters = await dead_letters.read(conn, in_order[begin : begin + PAGE])
            read = [(each, _read(each, reader)) for each in letters]
            asked = {fact.identity for _, what in read for fact in _facts(what)}
            known |= await journal.known(conn, asked)
        for letter, what in read:
            yield _preview(letter, what, known)


ReadResult = Sequence[Fact | Malformed] | Exception | None
"""The facts or refusals of a record; the error if reading it fails; None for an unknown topic."""


def _read(letter: DeadLetter, reader: RecordReader) -> ReadResult:
    feed = reader.feeds.get(letter.record.topic)
    if feed is None:
        return None
    try:
        with machine_refusals_named():
            return translate(letter.record, feed, reader.hash_email)
    except Unavailable:
        raise
    except Exception as bug:  # noqa: BLE001 - a failure on one must not hide the others
        return bug


def _facts(read: ReadResult) -> Iterator[Fact]:
    if isinstance(read, Sequence):
        yield from (each for each in read if not isinstance(each, Malformed))


def _preview(letter: DeadLetter, read: ReadResult, known: set[Identity]) -> RedrivePreview:
    """`known`: the identities known so far; those of this dead letter's facts are added."""
    if read is None:
        return RedrivePreview(letter.summary, RedriveOutcome.LEAVE)
    if isinstance(read, Exception):
        return RedrivePreview(letter.summary, RedriveOutcome.FAIL, Malformed(type(read).__name__))
    own = read[letter.summary.part] if letter.summary.part < len(read) else None
    refusal = own if isinstance(own, Malformed) else None
    facts = [
        (_named(each), _counted_or_known(each, letter.summary, known)) for each in _facts(read)
    ]
    return RedrivePreview(
        letter.summary, RedriveOutcome.REFUSE if refusal else RedriveOutcome.TAKE, refusal, facts
    )


def _counted_or_known(fact: Fact, summary: LetterSummary, known: set[Identity]) -> bool:
    """Whether a fact was processed before.  Activity has no identity; its record is marked
    instead.
    """
    if isinstance(fact, LoggedIn | ApiRequested):
        return summary.counted
    before = fact.identity in known
    known.add(fact.identity)
    return before


def _named(fact: Fact) -> str:
    """A fact's kind and subject, without personal data."""
    match fact:
        case Notified(notification=notification, subscription=key):
            return f"{notification} {key}"
        case SupportRequested(request=request, organization=organization):
            return f"support.{request} {organization or ''}".rstrip()
        case Unrecognized(event_type=event_type):
            return event_type
        case GuardTripped() | GuardReleased() | ClockMoved() | EpochBegan() | EpochCompleted():
            return fact.kind
        case _:
            return f"{fact.kind} {fact.organization}"
