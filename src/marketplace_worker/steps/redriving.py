"""Redrives dead letters, and discards those that are not needed.

A redrive applies the stored record as ingest does, in one transaction with the new status of its
dead letter.  The record is not published again: it keeps its identity and position, and parts of it
that were applied before are duplicates.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from itertools import islice

import structlog
from tenacity import (
    AsyncRetrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_random_exponential,
)

from marketplace_worker.errors import Malformed, Unavailable, machine_refusals_named
from marketplace_worker.record import Record
from marketplace_worker.runtime.activity_counting import ActivityCounting
from marketplace_worker.runtime.applying import (
    AppliedBatch,
    apply_batch,
    failed_record,
    parse_batch,
    promise,
    retry_while_watched,
)
from marketplace_worker.runtime.worker import Worker
from marketplace_worker.store import dead_letters, possible_use
from marketplace_worker.store.database import Connection, transaction
from marketplace_worker.store.dead_letters import (
    DeadLetter,
    DiscardMeaning,
    LetterStatus,
    OperatorAction,
    RefusedPart,
)

LETTERS_MAX = 20
"""How many are redriven in one transaction; each may have a megabyte."""

DISCARDED_MAX = 1_000
"""How many are discarded in one transaction; they are not read."""

TIMES_MAX = 5
"""How often a transaction is tried: a conflict of locks, or a restart of Postgres, should not end a
command that runs for an hour.
"""

log = structlog.get_logger(__name__)


class RedriveResult(StrEnum):
    """The result of redriving a dead letter: ingested; refused again, because it is still
    unreadable; failed again because of a bug; or skipped, because its topic is not in the settings.
    """

    REDRIVEN = "redriven"
    REFUSED = "refused"
    FAILED = "failed"
    LEFT = "left"


@dataclass(frozen=True, slots=True)
class Result:
    """The result for one dead letter; `refusal` is why it was refused again, or failed."""

    id: int
    position: str
    became: RedriveResult
    refusal: Malformed | None = None


def _unreported(_: Result) -> None:
    """For callers that need only the counts of a redrive."""


@dataclass(slots=True)
class Redrive:
    """A redrive, and its results so far.

    `statuses`: the statuses of dead letters to process.  `report` is called with each result, in
    order of refusal.  The results are not kept: there may be a hundred thousand. `became` counts
    them.  `applied`, `duplicates` and `activity` are as for a batch of ingest.
    """

    worker: Worker
    action: OperatorAction
    statuses: Collection[LetterStatus] = (LetterStatus.WAITING,)
    report: Callable[[Result], None] = _unreported
    became: Counter[RedriveResult] = field(default_factory=Counter)
    applied: Counter[str] = field(default_factory=Counter)
    duplicates: int = 0
    activity: int = 0

    async def redrive(self, ids: Collection[int], *, rate: int) -> None:
        """Process these, in the order of refusal, at most `rate` a second.

        After an interruption it may be started again: nothing is redriven twice, and two concurrent
        redrives share the work.  One log line reports the results, also after an interruption.

        Raises:
            Unavailable: Postgres is away; results reported before are committed.
        """
        clock = asyncio.get_running_loop().time
        began, todo = clock(), iter(sorted(ids))
        try:
            while batch := list(islice(todo, min(LETTERS_MAX, rate))):
                await asyncio.sleep(began + self.became.total() / rate - clock())
                await self._redrive_halving(batch)
        finally:
            log.info(
                "dead_letters_redriven",
                asked=len(ids),
                **{each.value: self.became[each] for each in RedriveResult},
                outcomes=dict(self.applied),
                duplicates=self.duplicates,
                activity=self.activity,
            )

    async def _redrive_halving(self, ids: Sequence[int]) -> None:
        """Apply; find a record that a bug of ours fails on by halving, as ingest does."""
        try:
            await _retrying(lambda: retry_while_watched(lambda: self._redrive_batch(ids)))
        except Unavailable:
            raise
        except Exception as bug:  # noqa: BLE001 - here our own bugs meet the input that shows them
            if len(ids) == 1:
                error = bug
                await _retrying(lambda: self._fail(ids[0], error))
                return
            middle = len(ids) // 2
            await self._redrive_halving(ids[:middle])
            await self._redrive_halving(ids[middle:])

    async def _redrive_batch(self, ids: Sequence[int]) -> None:
        async with transaction(self.worker.pool) as conn:
            letters = await dead_letters.lock(conn, ids, self.statuses)
            ours = [each for each in letters if each.record.topic in self.worker.feeds]
            batch = await parse_batch(_records(ours), self.worker)
            counted = {each.record for each in ours if each.summary.counted}
            counting = await ActivityCounting.of_dead_letters(conn, batch.parts, counted)
            taken = await apply_batch(conn, batch, counting, self.worker)
            again = _matched(ours, batch.refused)
            await self._settle(conn, ours, again, taken.unit.now)
        taken.report()
        known = {each.summary.id for each in ours}
        for each in letters:
            if each.summary.id in again:
                self._add_result(each, RedriveResult.REFUSED, again[each.summary.id].refusal)
            else:
                self._add_result(
                    each, RedriveResult.REDRIVEN if each.summary.id in known else RedriveResult.LEFT
                )
        self._add(taken)

    async def _settle(
        self,
        conn: Connection,
        letters: Sequence[DeadLetter],
        again: Mapping[int, RefusedPart],
        now: datetime,
    ) -> None:
        """Store their new status; a new attempt is published to the topic of dead letters."""
        done = [each.summary.id for each in letters if each.summary.id not in again]
        attempts = {each.summary.id: each.summary.attempts + 1 for each in letters}
        if done:
            await possible_use.forget(conn, done)
            await dead_letters.redriven(conn, done, self.action, at=now)
        if again:
            await dead_letters.refused_again(conn, list(again.items()), self.action, at=now)
            tried = [(refused, attempts[id_]) for id_, refused in again.items()]
            await promise(conn, tried, now, self.worker)

    async def _fail(self, id_: int, bug: Exception) -> None:
        """Keep a dead letter that a bug of ours failed on, with the reason."""
        async with transaction(self.worker.pool) as conn:
            letters = await dead_letters.lock(conn, [id_], self.statuses)
            again = {
                each.summary.id: replace(refused, part=each.summary.part)
                for each in letters
                for refused in failed_record(each.record, bug).refused
            }
            await self._settle(conn, letters, again, await self.worker.clock(conn))
        for each in letters:
            log.error("record_failed", position=each.summary.position, exc_info=bug)
            self._add_result(each, RedriveResult.FAILED, again[id_].refusal)

    def _add_result(
        self, letter: DeadLetter, became: RedriveResult, refusal: Malformed | None = None
    ) -> None:
        self.became[became] += 1
        # The traceback of a refusal holds all that was read of the record.
        bare = None if refusal is None else refusal.with_traceback(None)
        self.report(Result(letter.summary.id, letter.summary.position, became, bare))

    def _add(self, taken: AppliedBatch) -> None:
        self.applied += taken.applied
        self.duplicates += taken.duplicates
        self.activity += taken.activity


async def discard(
    ids: Collection[int],
    action: OperatorAction,
    worker: Worker,
    meaning: DiscardMeaning = DiscardMeaning.POSSIBLE_USE,
) -> int:
    """Discard dead letters, so that they no longer wait.  Returns how many of `ids` were changed.

    Only waiting ones are changed; with `DiscardMeaning.NO_USE` also those that were discarded
    before.  Otherwise a discarded letter still counts as possible use (lifecycle.md section 11).

    Raises:
        Unavailable: Postgres is away; letters discarded before stay discarded.
    """
    no_use = meaning is DiscardMeaning.NO_USE
    statuses = (LetterStatus.WAITING, LetterStatus.DISCARDED) if no_use else (LetterStatus.WAITING,)
    discarded, todo = 0, iter(sorted(ids))
    try:
        while batch := list(islice(todo, DISCARDED_MAX)):
            async with transaction(worker.pool) as conn:
                now = await worker.clock(conn)
                locked = await dead_letters.lock_ids(conn, batch, statuses)
                if no_use:
                    await possible_use.forget(conn, locked)
                await dead_letters.discard(conn, locked, meaning, action, at=now)
            discarded += len(locked)
    finally:
        log.info("dead_letters_discarded", asked=len(ids), discarded=discarded, meaning=meaning)
    return discarded


async def _retrying(work: Callable[[], Awaitable[None]]) -> None:
    """Run one transaction; retry if Postgres or this machine is unavailable."""
    async for attempt in AsyncRetrying(
        retry=retry_if_exception_type(Unavailable),
        stop=stop_after_attempt(TIMES_MAX),
        wait=wait_random_exponential(max=2),
        reraise=True,
    ):
        with attempt, machine_refusals_named():
            await work()


RecordKey = tuple[str, int, int, datetime]


def _record_key(record: Record) -> RecordKey:
    return record.topic, record.partition, record.offset, record.recorded_at


def _records(letters: Iterable[DeadLetter]) -> list[Record]:
    """Each record once, however many of its parts are dead letters."""
    records: dict[RecordKey, Record] = {}
    for each in letters:
        records.setdefault(_record_key(each.record), each.record)
    return list(records.values())


def _matched(
    letters: Iterable[DeadLetter], refused: Iterable[RefusedPart]
) -> dict[int, RefusedPart]:
    """Which of these were refused again, by id."""
    still = {(_record_key(each.record), each.part): each for each in refused}
    return {
        each.summary.id: still[place]
        for each in letters
        if (place := (_record_key(each.record), each.summary.part)) in still
    }
