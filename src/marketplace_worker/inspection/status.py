"""Judges whether the worker and what it depends on are in order: what is wrong, and what to do."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from marketplace_worker.explain.operators import moment
from marketplace_worker.explain.wording import length
from marketplace_worker.inspection.fleet_view import Inspector
from marketplace_worker.inspection.overview import Overview, overview
from marketplace_worker.lifecycle.policy import Guard
from marketplace_worker.store import dead_letters, organizations
from marketplace_worker.store.database import one_moment
from marketplace_worker.store.floors import Floors

COUNTED_MAX = 10_000
"""Up to how many rows are counted; more are shown as so many."""

LATE_AFTER = timedelta(minutes=5)
"""How long a due step or a message for Kafka may wait before something is wrong."""

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
    """What was read at one moment.  `overdue`: by more than `LATE_AFTER`.  `own_clock`: of the
    machine that asks, at `fleet.now`.
    """

    fleet: Overview
    overdue: Backlog
    dead_letters: Backlog
    guard: Guard
    own_clock: datetime

    @property
    def clock_ahead(self) -> timedelta:
        """By how much the database's clock is ahead of ours; negative where it is behind."""
        return self.fleet.now - self.own_clock


async def read_status(inspector: Inspector, own_clock: datetime, floors: Floors) -> Status:
    """Read everything; no reading grows with the fleet."""
    fleet = await overview(inspector, floors)
    async with one_moment(inspector.pool) as conn:
        late = await organizations.overdue(conn, inspector.now - LATE_AFTER, limit=COUNTED_MAX)
        waiting = await dead_letters.backlog(conn, limit=COUNTED_MAX)
    rules = inspector.policies.current.guard
    return Status(fleet, Backlog(*late), Backlog(*waiting), rules, own_clock)


def findings(status: Status) -> Sequence[Finding]:
    """What is not in order, the most urgent first."""
    found = [
        *_guard(status), *_guard_limit(status), *_flow(status.fleet), *_waiting(status),
        *_arriving(status), *_clocks(status),
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
