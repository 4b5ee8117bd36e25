"""Stops the intake of a topic that is mostly unreadable: a circuit breaker for each topic.

A bad deployment upstream is mended upstream: what it sent stays in Kafka until a person has looked.
Each worker counts what it reads itself; a stop is all workers', and outlives them.
"""

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from operator import attrgetter
from time import monotonic

import structlog

from marketplace_worker.operations import metrics
from marketplace_worker.record import Record
from marketplace_worker.settings import Ingest
from marketplace_worker.store import intake
from marketplace_worker.store.database import Connection, DecisionClock, Pool, transaction
from marketplace_worker.store.dead_letters import RefusedPart
from marketplace_worker.store.intake import Flood, IntakeStop

WINDOW_S = 600.0
"""Over how long refusals are counted: long enough for a slow topic, short enough after a repair."""

_STEP_S = 10.0
"""The granularity of the window."""

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class RefusalWindow:
    """How many records of one topic were taken in the last `WINDOW_S`, and how many refused.

    `stopped_at` is when the topic was last stopped: what was taken before does not count.  `now` is
    in seconds, by a clock that only goes on.
    """

    stopped_at: datetime | None = None
    _steps: deque[tuple[int, int, int]] = field(default_factory=deque)

    def add(self, now: float, records: int, refused: int) -> None:
        """Count what was taken, and what was refused of it."""
        step = int(now // _STEP_S)
        if self._steps and self._steps[-1][0] == step:
            _, before, refused_before = self._steps.pop()
            records, refused = records + before, refused + refused_before
        self._steps.append((step, records, refused))

    def counts(self, now: float) -> tuple[int, int]:
        """How many were taken, and refused of them."""
        while self._steps and self._steps[0][0] <= (now - WINDOW_S) // _STEP_S:
            self._steps.popleft()
        return sum(step[1] for step in self._steps), sum(step[2] for step in self._steps)


class IntakeBreaker:
    """Counts refusals by topic, and stops a topic for all workers."""

    def __init__(self, limits: Ingest) -> None:
        self._limits = limits
        self._windows: defaultdict[str, RefusalWindow] = defaultdict(RefusalWindow)

    @property
    def records_at_once(self) -> int:
        """So many refused records in a row do not stop a topic that was just resumed."""
        return self._limits.batch_rows_max

    @property
    def record_bytes_max(self) -> int:
        """The largest value that is read and kept."""
        return self._limits.record_bytes_max

    async def stopped(self, conn: Connection) -> frozenset[str]:
        """The topics that are stopped now, by whichever worker.

        A stop that this worker did not know of, be it over by now, begins its count anew.
        """
        stops = await intake.stops(conn)
        for each in stops:
            self._note_stop(each)
        return frozenset(each.topic for each in stops if each.holds)

    def floods(self, records: Iterable[Record], refused: Sequence[RefusedPart]) -> Sequence[Flood]:
        """The topics that would exceed both limits if these records were applied."""
        if not refused:
            return ()
        read, spoiled = _by_topic(records), _spoiled(refused)
        last = {each.record.topic: each.refusal for each in refused}
        now = monotonic()
        floods = []
        for topic, refusal in last.items():
            taken_before, refused_before = self._windows[topic].counts(now)
            flood = Flood(
                topic, taken_before + read[topic], refused_before + spoiled[topic], refusal
            )
            if (
                flood.refused > self._limits.refused_rows_max
                and flood.refused > self._limits.refused_share_max * flood.records
            ):
                floods.append(flood)
        return floods

    def record_applied(self, records: Iterable[Record], refused: Iterable[RefusedPart]) -> None:
        """Count what was applied, after its commit; `refused` without what was refused before."""
        spoiled, now = _spoiled(refused), monotonic()
        for topic, count in _by_topic(records).items():
            self._windows[topic].add(now, count, spoiled[topic])

    async def stop(self, pool: Pool, clock: DecisionClock, floods: Sequence[Flood]) -> None:
        """Stop topics for all workers, until an operator lets them go on, and say so."""
        async with transaction(pool) as conn:
            stops = await intake.stop(conn, floods, now=await clock(conn))
        stopped = {each.topic: each for each in stops}
        for flood in floods:
            if flood.topic in stopped:
                self._note_stop(stopped[flood.topic])
                log.error(
                    "intake_stopped",
                    topic=flood.topic,
                    refused=flood.refused,
                    records=flood.records,
                    reason=flood.refusal.reason,
                    field=flood.refusal.field,
                )

    def _note_stop(self, stop: IntakeStop) -> None:
        metrics.INTAKE_STOPPED.labels(stop.topic).set(stop.holds)
        if self._windows[stop.topic].stopped_at != stop.stopped_at:
            self._windows[stop.topic] = RefusalWindow(stop.stopped_at)


def _by_topic(records: Iterable[Record]) -> Counter[str]:
    return Counter(map(attrgetter("topic"), records))


def _spoiled(refused: Iterable[RefusedPart]) -> Counter[str]:
    """By topic, how many records have a refused part; a record with two counts once."""
    return Counter(topic for topic, _ in {(r.record.topic, r.record.position) for r in refused})
