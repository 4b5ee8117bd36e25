"""Judges whether the worker and what it depends on are in order: what is wrong, and what to do."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from marketplace_worker.explain.operators import moment
from marketplace_worker.explain.wording import length
from marketplace_worker.inspection.fleet_view import Inspector
from marketplace_worker.inspection.overview import Overview, overview
from marketplace_worker.lifecycle.policy import Guard
from marketplace_worker.store import dead_letters, organizations, state_counts, workers
from marketplace_worker.store.database import one_moment
from marketplace_worker.store.dead_letters import COUNTED_MAX
from marketplace_worker.store.floors import Floors
from marketplace_worker.store.state_counts import UNMERGED_MAX
from marketplace_worker.store.workers import Lag, RunningWorker

LATE_AFTER = timedelta(minutes=5)
"""How long a due step or a message for Kafka may wait before something is wrong."""

LAG_MAX = 10_000
"""How many records of a consumer group may wait."""

SILENT_AFTER = timedelta(minutes=1)
"""A worker writes its row every 15 seconds; one that did not for so long has ended, or hangs."""

LOOPS = ("deadlines", "ingest", "relay", "retention")
"""Somebody must run each of them."""

FEED_SILENT_AFTER = timedelta(days=1)
CLOCKS_DIFFER_BY = timedelta(seconds=30)

GUARD_SHARE_MAX = 10
"""The guard's `minimum` should be at most the tenth part of the fleet."""


class Severity(StrEnum):
    """How urgent a finding is."""

    WRONG = "wrong"
    """Something does not work, or is withheld: act."""
    ATTENTION = "attention"
    """It works, but somebody should look."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What is not in order: `subject`, a sentence, the command or step that helps, and the heading
    of docs/runbook.md.
    """

    severity: Severity
    subject: str
    sentence: str
    remedy: str
    runbook: str


@dataclass(frozen=True, slots=True)
class Backlog:
    """How many wait, counted up to `COUNTED_MAX`, and since when the first."""

    number: int
    since: datetime | None

    def __str__(self) -> str:
        """The number; `at least` where more were not counted."""
        return f"at least {self.number}" if self.number >= COUNTED_MAX else str(self.number)


@dataclass(frozen=True, slots=True)
class Status:
    """What was read in one snapshot.  `workers`: those that have not stopped, the oldest first.
    `overdue`: by more than `LATE_AFTER`.  `unmerged`: rows of the numbers by state that wait to be
    merged.  `own_clock`: of the machine that asks, at `fleet.now`.
    """

    fleet: Overview
    workers: Sequence[RunningWorker]
    overdue: Backlog
    dead_letters: Backlog
    unmerged: int
    guard: Guard
    own_clock: datetime

    @property
    def clock_ahead(self) -> timedelta:
        """By how much the database's clock is ahead of ours; negative where it is behind."""
        return self.fleet.now - self.own_clock

    @property
    def running(self) -> Sequence[RunningWorker]:
        """The workers that were seen lately."""
        return [each for each in self.workers if each.silent_for <= SILENT_AFTER]

    @property
    def lag(self) -> Lag:
        """Over all workers that run."""
        sums = defaultdict[str, Counter[str]](Counter)
        for worker in self.running:
            for group, by_topic in worker.lag.items():
                sums[group].update(by_topic)
        return sums


async def read_status(inspector: Inspector, own_clock: datetime, floors: Floors) -> Status:
    """Read everything; no reading grows with the fleet."""
    async with one_moment(inspector.pool) as conn:
        fleet = await overview(conn, inspector, floors)
        late = await organizations.overdue(conn, inspector.now - LATE_AFTER, limit=COUNTED_MAX)
        waiting = await dead_letters.backlog(conn, limit=COUNTED_MAX)
        unmerged = await state_counts.unmerged(conn)
        running = await workers.read(conn)
    rules = inspector.policies.current.guard
    return Status(fleet, running, Backlog(*late), Backlog(*waiting), unmerged, rules, own_clock)


def findings(status: Status) -> Sequence[Finding]:
    """What is not in order, the most urgent first."""
    found = [
        *_guard(status), *_guard_limit(status), *_flow(status.fleet), *_waiting(status),
        *_arriving(status), *_clocks(status), *_workers(status), *_kafka(status),
        *_differences(status.running),
        *_housekeeping(status),
    ]  # fmt: skip
    return sorted(found, key=lambda each: each.severity is not Severity.WRONG)


def _guard(status: Status) -> Iterator[Finding]:
    guard = status.fleet.guard
    release = "marketplace-worker guard status, then guard release"
    if guard.set_back_at is not None:
        yield Finding(
            Severity.WRONG,
            "database",
            f"holds less than was published, found on {moment(guard.set_back_at)}",
            "marketplace-worker recover --from-restore",
            "After a restore, or a failover that lost commits",
        )
    if guard.trip is not None:
        yield Finding(
            Severity.WRONG,
            "guard",
            f"withholds steps since {moment(guard.trip.at)}",
            release,
            "Releasing the guard",
        )
    if guard.requests_trip is not None:
        yield Finding(
            Severity.WRONG,
            "guard",
            f"refuses requested deactivations since {moment(guard.requests_trip.at)}",
            release,
            "Releasing the guard",
        )


def _guard_limit(status: Status) -> Iterator[Finding]:
    fleet = status.fleet.states.population
    if fleet and status.guard.minimum * GUARD_SHARE_MAX > fleet:
        yield Finding(
            Severity.ATTENTION,
            "guard",
            f"allows {status.guard.minimum} destructive steps an hour (guard.minimum), more than a "
            f"tenth of {fleet} organizations",
            "lower guard.minimum in the policy file",
            "Decisions",
        )


def _waiting(status: Status) -> Iterator[Finding]:
    late = status.overdue
    if late.since is not None:
        yield Finding(
            Severity.WRONG,
            "deadlines",
            f"{late} organizations are overdue, the first since {moment(late.since)}",
            "start a worker with the loop deadlines, or look for deadline_failed in its log",
            "Decisions",
        )
    if status.dead_letters.since is not None:
        yield Finding(
            Severity.ATTENTION,
            "dead letters",
            f"{status.dead_letters} are waiting, the first since "
            f"{moment(status.dead_letters.since)}",
            "marketplace-worker dead-letters groups",
            "Unreadable records",
        )


def _flow(fleet: Overview) -> Iterator[Finding]:
    if fleet.outbox_age > LATE_AFTER:
        yield Finding(
            Severity.WRONG,
            "outbox",
            f"a message has waited for Kafka for {length(fleet.outbox_age)}",
            "start a worker with the loop relay, or look for its warnings about Kafka",
            "Kafka",
        )
    if fleet.held:
        yield Finding(
            Severity.WRONG,
            "outbox",
            f"Kafka refused {fleet.held} messages; each blocks its organization",
            "look for the reason in the log of the relay",
            "Refused messages",
        )
    for stop in fleet.stopped:
        yield Finding(
            Severity.WRONG,
            "intake",
            f"{stop.topic} is stopped: too many records were refused",
            "marketplace-worker intake status, then intake resume",
            "Resuming a topic",
        )


def _arriving(status: Status) -> Iterator[Finding]:
    for feed, newest in status.fleet.feeds:
        if newest is not None and status.fleet.now - newest > FEED_SILENT_AFTER:
            yield Finding(
                Severity.ATTENTION,
                "feeds",
                f"the newest record of {feed} is of {moment(newest)}",
                "ask its producer; deactivations for inactivity wait meanwhile",
                "Decisions",
            )


def _clocks(status: Status) -> Iterator[Finding]:
    if abs(status.clock_ahead) > CLOCKS_DIFFER_BY:
        side = "ahead of" if status.clock_ahead > timedelta(0) else "behind"
        yield Finding(
            Severity.ATTENTION,
            "clocks",
            f"the database's clock is {length(abs(status.clock_ahead))} {side} this machine's",
            "compare both with a third, and correct the wrong one",
            "Wrong clocks",
        )


def _workers(status: Status) -> Iterator[Finding]:
    started = {loop for each in status.running for loop in each.identity.loops}
    if missing := [loop for loop in LOOPS if loop not in started]:
        yield Finding(
            Severity.WRONG,
            "workers",
            f"no worker runs: {', '.join(missing)}" if started else "no worker runs",
            "marketplace-worker run",
            "Probes and exit status",
        )
    for each in status.workers:
        if each.silent_for > SILENT_AFTER:
            yield Finding(
                Severity.ATTENTION,
                "workers",
                f"{_name(each)} has not written its row for {length(each.silent_for)}, and has not "
                "said that it stopped",
                "if the process is gone, read the end of its log; the row goes after a day",
                "Probes and exit status",
            )
        elif each.not_ready:
            yield Finding(
                Severity.WRONG,
                "workers",
                f"{_name(each)} is not ready: {'; '.join(each.not_ready)}",
                "see the line in the runbook; a worker that only starts is ready within a minute",
                "Probes and exit status",
            )


def _kafka(status: Status) -> Iterator[Finding]:
    for group, by_topic in status.lag.items():
        records = sum(by_topic.values())
        if records > LAG_MAX:
            yield Finding(
                Severity.ATTENTION,
                "Kafka",
                f"{records} records of the group {group} wait, {lag_in_words(by_topic)}",
                "run status again; if they become no fewer, start another worker",
                "Kafka",
            )
    for sentence in sorted(
        {each for worker in status.running for each in worker.identity.topic_warnings}
    ):
        yield Finding(
            Severity.ATTENTION, "topics", sentence, "change it, and restart the workers", "Kafka"
        )


def lag_in_words(by_topic: Mapping[str, int]) -> str:
    """How many records wait in which topics, most first; empty if none does."""
    waiting = Counter(by_topic).most_common()
    return ", ".join(f"{records} in {topic}" for topic, records in waiting if records)


def _differences(running: Sequence[RunningWorker]) -> Iterator[Finding]:
    versions = sorted({each.identity.version for each in running})
    if len(versions) > 1:
        yield Finding(
            Severity.ATTENTION,
            "workers",
            f"workers of {len(versions)} versions run: {', '.join(versions)}",
            "finish the update",
            "Probes and exit status",
        )
    policies = sorted({each.identity.policy_version for each in running})
    if len(policies) > 1:
        yield Finding(
            Severity.ATTENTION,
            "policy",
            f"workers use {len(policies)} policies: {', '.join(policies)}",
            "give all workers the same policy file, and restart them",
            "Decisions",
        )
    for each in running:
        if abs(each.clock_ahead) > CLOCKS_DIFFER_BY:
            side = "ahead of" if each.clock_ahead > timedelta(0) else "behind"
            yield Finding(
                Severity.ATTENTION,
                "clocks",
                f"the clock of {_name(each)} is {length(abs(each.clock_ahead))} {side} the "
                "database's",
                "compare both with a third, and correct the wrong one",
                "Wrong clocks",
            )


def _housekeeping(status: Status) -> Iterator[Finding]:
    if status.unmerged > 2 * UNMERGED_MAX:
        yield Finding(
            Severity.ATTENTION,
            "numbers by state",
            f"more than {2 * UNMERGED_MAX} rows of state_changes are not merged, so that each "
            "reading of the numbers costs more",
            "start a worker with the loop retention, or look for loop_waiting in its log",
            "Postgres",
        )


def _name(worker: RunningWorker) -> str:
    return f"the worker {str(worker.identity.id)[:8]} on {worker.identity.host}"


def unreachable(reason: str) -> Finding:
    """Where nothing can be read: the database does not answer, refuses the login, or its schema is
    not this version's.
    """
    return Finding(
        Severity.WRONG,
        "database",
        reason,
        "where the sentence names nothing to do, check server and network; workers that run wait, "
        "and continue by themselves",
        "Postgres",
    )
