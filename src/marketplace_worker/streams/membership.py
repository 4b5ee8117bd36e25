"""The state of a consumer group's member: whether it reaches Kafka, and how far behind it is.

Read from aiokafka's own state, without a request, because `getmany` hides every outage.

Only this module looks inside aiokafka's consumer, as there is no public way (it is pinned to 0.14).
"""
# ruff: noqa: SLF001 - as said above

import time

from aiokafka import AIOKafkaConsumer


def reaches_coordinator(consumer: AIOKafkaConsumer) -> bool:
    """Whether it knows which broker leads its group, and has not lost it."""
    coordinator = consumer._coordinator  # None until it has started
    return coordinator is not None and coordinator.coordinator_id is not None


def lag(consumer: AIOKafkaConsumer) -> int:
    """How many records of its partitions it was not given yet, as Kafka last told."""
    assignment = consumer._subscription.subscription.assignment
    states = [assignment.state_value(each) for each in consumer.assignment()]
    return sum(
        max(0, state.highwater - state.position)
        for state in states
        if state.highwater is not None and state.has_valid_position
    )


def ended(consumer: AIOKafkaConsumer) -> str:
    """What ended of that which fetches and keeps the brokers known, in words; empty if all goes on.

    Neither is started again, and getmany only ever finds nothing then.
    """
    tasks = {
        "the task that fetches": consumer._fetcher._fetch_task,
        "the task that knows the brokers": consumer._client._sync_task,
    }
    return " and ".join(name for name, task in tasks.items() if task.done())


class FetchSilence:
    """For how long Kafka has answered no fetch; it answers also where there is nothing new."""

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
