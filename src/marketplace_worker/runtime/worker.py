"""What every step works with: pool, policies, clocks, topics, and state kept between batches."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from marketplace_worker.contract.emails import EmailHasher, email_hasher
from marketplace_worker.contract.feeds import Feed
from marketplace_worker.contract.topics import feeds
from marketplace_worker.lifecycle.policy import Policy
from marketplace_worker.runtime.cancellation_alarm import CancellationAlarm
from marketplace_worker.runtime.intake import IntakeBreaker
from marketplace_worker.runtime.local_clock import LocalClock
from marketplace_worker.runtime.queue_cursor import QueueCursor
from marketplace_worker.settings import Settings
from marketplace_worker.store.database import DecisionClock, Pool
from marketplace_worker.store.policies import PolicyBook


@dataclass(frozen=True, slots=True)
class OutboundTopics:
    """The names of the topics that we write."""

    lifecycle: str
    state: str
    dead_letters: str


@dataclass(frozen=True, slots=True)
class Worker:
    """What every step works with.

    Args:
        clock: the moment of a decision, read once per transaction.
        local_clock: the clock of this machine.
        feeds: what each inbound topic carries.
        intake: stops inbound topics that are mostly unreadable.
        relay_wakeups: set after a commit with outgoing messages; one per relay in this process.
        deadlines: how far this worker has processed what is due.
    """

    pool: Pool
    policies: PolicyBook
    clock: DecisionClock
    hash_email: EmailHasher
    feeds: Mapping[str, Feed]
    topics: OutboundTopics
    intake: IntakeBreaker
    local_clock: LocalClock
    relay_wakeups: list[asyncio.Event] = field(default_factory=list)
    alarm: CancellationAlarm = field(default_factory=CancellationAlarm)
    deadlines: QueueCursor = field(default_factory=QueueCursor)


def worker_of(
    settings: Settings,
    policy: Policy,
    pool: Pool,
    clock: DecisionClock,
    local_clock: Callable[[], datetime],
) -> Worker:
    """Build the dependencies of the steps; also for commands that run a single step."""
    topics = settings.topics
    return Worker(
        pool=pool,
        policies=PolicyBook(policy),
        clock=clock,
        hash_email=email_hasher(settings.email_key.get_secret_value().encode()),
        feeds=feeds(topics),
        topics=OutboundTopics(topics.lifecycle, topics.state, topics.dead_letters),
        intake=IntakeBreaker(settings.ingest),
        local_clock=LocalClock(local_clock),
    )
