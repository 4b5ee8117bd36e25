"""A worker's members of both consumer groups: started, watched and stopped together."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn

from marketplace_worker.settings import Settings
from marketplace_worker.streams.consumer import Consumer, ConsumerHooks
from marketplace_worker.streams.mends import partition_state, record_batches
from marketplace_worker.streams.retrying import Handler

ACTIVITY_BATCH_FACTOR = 5
"""How much larger the batches of logins and API usage may be: they are only counted, so most of the
time of a small batch goes into its round trips and its commit."""

MEMBERS = 2
"""How many members of each group a worker has.  While Postgres applies the batch of one, the other
reads and decides.  Kafka gives each its own partitions, so nothing within one is reordered."""


@dataclass(frozen=True, slots=True)
class Consumers:
    """The members, joined to their groups."""

    facts: Sequence[Consumer]
    activity: Sequence[Consumer]
    failed: asyncio.Future[None]

    def assigned(self) -> Mapping[str, frozenset[str]]:
        """By member, its partitions, each `topic/partition`."""
        return {each.name: each.assigned for each in self.members}

    def lag(self) -> Mapping[str, Mapping[str, int]]:
        """By group and topic, how many records of our partitions, and of those that no member of
        the group reads, were not handled yet.
        """
        return {"facts": _lag(self.facts), "activity": _lag(self.activity)}

    @property
    def members(self) -> Sequence[Consumer]:
        """The members of both groups."""
        return (*self.facts, *self.activity)

    async def wait_failed(self) -> NoReturn:
        """Wait until one of them cannot go on.  Raises `ConsumerFailed`."""
        await asyncio.wait({self.failed})
        self.failed.result()
        raise AssertionError("it has no result but an error")


def _lag(members: Sequence[Consumer]) -> Mapping[str, int]:
    waiting = Counter[str]()
    for each in members:
        waiting |= each.survey.unread_records  # the larger: each member asks for the same
    for each in members:
        waiting.update(each.lag)
    return waiting


@asynccontextmanager
async def consuming(
    settings: Settings,
    *,
    facts: Sequence[Handler],
    activity: Sequence[Handler],
    hooks: ConsumerHooks,
) -> AsyncIterator[Consumers]:
    """Members of both groups, reading; on leaving, they finish their batches and leave.

    Args:
        settings: the settings.
        facts: for each member, what is done with batches of the topics that become facts.
        activity: the same for logins and API usage.
        hooks: what the members call.

    Raises:
        Unavailable: Kafka does not answer, or has not all topics.
        Misconfigured: a certificate or key file cannot be used, or Kafka refuses what is set.
    """
    kafka, topics, records_max = settings.kafka, settings.topics, settings.ingest.batch_rows_max
    partition_state.install()
    record_batches.install(settings.ingest.batch_bytes_max)
    failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    members = partial(_members, settings=settings, hooks=hooks, failed=failed)
    activity_max = records_max * ACTIVITY_BATCH_FACTOR
    consumers = Consumers(
        members("facts", kafka.facts_group, topics.facts, facts, records_max),
        members("activity", kafka.activity_group, topics.activity, activity, activity_max),
        failed,
    )
    async with AsyncExitStack() as stack:
        stack.push_async_callback(_all_of, *(each.stop for each in consumers.members))
        await _all_of(*(each.start for each in consumers.members))
        yield consumers


def _members(
    name: str,
    group: str,
    topics: Sequence[str],
    handlers: Sequence[Handler],
    records_max: int,
    *,
    settings: Settings,
    hooks: ConsumerHooks,
    failed: asyncio.Future[None],
) -> Sequence[Consumer]:
    return [
        Consumer(
            f"{name}-{number}",
            group,
            topics,
            handler,
            records_max,
            settings=settings,
            hooks=hooks,
            failed=failed,
        )
        for number, handler in enumerate(handlers, start=1)
    ]


async def _all_of(*steps: Callable[[], Any]) -> None:
    """Take the steps at once, each to its end; raises what the first of them raised."""
    outcomes = await asyncio.gather(*(step() for step in steps), return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
