"""The state of a consumer group's member: whether it reaches Kafka, and how far behind it is.

Read from aiokafka's own state, without a request, because `getmany` hides every outage.

Only this module reads aiokafka's consumer's private state, as there is no public API (it is pinned
to 0.14).
"""
# ruff: noqa: SLF001 - as said above

import time
from collections import Counter

from aiokafka import AIOKafkaConsumer


def reaches_coordinator(consumer: AIOKafkaConsumer) -> bool:
    """Whether it knows its group's coordinator, and has not lost it."""
    coordinator = consumer._coordinator  # None until it has started
    return coordinator is not None and coordinator.coordinator_id is not None


def lag(consumer: AIOKafkaConsumer) -> Counter[str]:
    """By topic, the number of records of its partitions not yet received, by Kafka's latest
    answer.
    """
    assignment = consumer._subscription.subscription.assignment
    waiting = Counter[str]()
    for each in consumer.assignment():
        state = assignment.state_value(each)
        if state.highwater is not None and state.has_valid_position:
            waiting[each.topic] += max(0, state.highwater - state.position)
    return waiting


def ended(consumer: AIOKafkaConsumer) -> str:
    """The background tasks of fetching and of metadata that have ended, in words; empty if both
    run.

    Neither is restarted, and `getmany` returns nothing then.
    """
    tasks = {
        "the task that fetches": consumer._fetcher._fetch_task,
        "the task that knows the brokers": consumer._client._sync_task,
    }
    return " and ".join(name for name, task in tasks.items() if task.done())


class FetchSilence:
    """How long Kafka has answered no fetch; it answers even if there are no new records."""

    def __init__(self) -> None:
        self._newest = 0
        self._since = time.monotonic()

    def silent_s(self, consumer: AIOKafkaConsumer, *, busy: bool) -> float:
        """Seconds, seen from one call to the next; 0 where a `busy` consumer fetches nothing."""
        fetched = consumer.assignment() - consumer.paused()
        newest = max((consumer.last_poll_timestamp(each) or 0 for each in fetched), default=0)
        now = time.monotonic()
        if busy or not fetched or newest != self._newest:
            self._newest, self._since = newest, now
        return now - self._since
