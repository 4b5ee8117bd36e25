"""Both consumer groups of a worker: started, watched and stopped together."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any, NoReturn

from marketplace_worker.settings import Settings
from marketplace_worker.streams.consumer import Consumer, ConsumerHooks
from marketplace_worker.streams.mends import partition_state, record_batches
from marketplace_worker.streams.retrying import Handler

ACTIVITY_BATCH_FACTOR = 5
"""How much larger the batches of logins and API usage may be: they are only counted, so most of the
time of a small batch goes into its round trips and its commit."""


class Consumers:
    """Both consumers, joined to their groups."""

    def __init__(self, facts: Consumer, activity: Consumer, failed: asyncio.Future[None]) -> None:
        self.facts = facts
        self.activity = activity
        self._failed = failed

    def assigned(self) -> Mapping[str, frozenset[str]]:
        """By consumer, its partitions, each `topic/partition`."""
        return {each.name: each.assigned for each in self.both}

    @property
    def both(self) -> tuple[Consumer, Consumer]:
        """Both consumers."""
        return (self.facts, self.activity)

    async def wait_failed(self) -> NoReturn:
        """Wait until one of them cannot go on.  Raises `ConsumerFailed`."""
        await asyncio.wait({self._failed})
        self._failed.result()
        raise AssertionError("it has no result but an error")


@asynccontextmanager
async def consuming(
    settings: Settings, *, facts: Handler, activity: Handler, hooks: ConsumerHooks
) -> AsyncIterator[Consumers]:
    """Both consumers, reading; on leaving, they finish their batches and leave their groups.

    Args:
        settings: the settings.
        facts: what is done with batches of the topics that become facts.
        activity: the same for logins and API usage.
        hooks: to whom they tell that they turn, and who knows how long a stop may take.

    Raises:
        Unavailable: Kafka does not answer, or has not all topics.
        Misconfigured: a certificate or key file cannot be used, or Kafka refuses what is set.
    """
    kafka, topics, records_max = settings.kafka, settings.topics, settings.ingest.batch_rows_max
    partition_state.install()
    record_batches.install(settings.ingest.batch_bytes_max)
    failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    member = partial(Consumer, settings=settings, hooks=hooks, failed=failed)
    both = Consumers(
        member("facts", kafka.facts_group, topics.facts, facts, records_max=records_max),
        member(
            "activity",
            kafka.activity_group,
            topics.activity,
            activity,
            records_max=records_max * ACTIVITY_BATCH_FACTOR,
        ),
        failed,
    )
    async with AsyncExitStack() as stack:
        stack.push_async_callback(_all_of, both.facts.stop, both.activity.stop)
        await _all_of(both.facts.start, both.activity.start)
        yield both


async def _all_of(*steps: Callable[[], Any]) -> None:
    """Take the steps at once, each to its end; raises what the first of them raised."""
    outcomes = await asyncio.gather(*(step() for step in steps), return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
