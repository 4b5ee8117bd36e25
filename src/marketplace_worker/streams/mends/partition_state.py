"""Keeps where each partition begins to be read, and which position Kafka refused before that.

aiokafka 0.14 continues at the earliest record when Kafka has deleted or truncated what was to be
read next.  It tells nobody: there is no callback, and `auto_offset_reset="none"` would raise
without saying where to continue.

Upstream: no issue found (searched 2026-11-30).  Remove when aiokafka reports a reset position.
"""

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.consumer import subscription_state

from marketplace_worker.record import StartOffset


def install() -> None:
    """Make all consumers of this process remember where they began.  Twice is harmless."""
    subscription_state.TopicPartitionState = BeginningState


class BeginningState(subscription_state.TopicPartitionState):  # type: ignore[misc]  # aiokafka has no types
    """aiokafka's state of an assigned partition; also keeps where it began to be read."""

    _begun: tuple[int, int | None] | None = None
    _refused: int | None = None
    timestamp: int | None

    def await_reset(self, strategy: int) -> None:
        """Kafka refused the position: keep it."""
        self._refused = self._position
        super().await_reset(strategy)

    def reset_to(self, position: int) -> None:
        """The partition is read from `position` on: keep both positions."""
        super().reset_to(position)
        self._begun, self._refused = (position, self._refused), None
        self.timestamp = None  # set by the first answer to a fetch from there

    def beginning(self, partition: TopicPartition) -> StartOffset | None:
        """Where it began, once Kafka answered a fetch from there; None before, or if settled."""
        if self._begun is None or self.timestamp is None:
            return None
        return StartOffset(partition.topic, partition.partition, *self._begun)

    def settle(self, beginning: StartOffset) -> None:
        """Forget a beginning, unless the partition began anew since."""
        if self._begun == (beginning.offset, beginning.refused):
            self._begun = None


def unsettled_beginnings(consumer: AIOKafkaConsumer) -> list[tuple[BeginningState, StartOffset]]:
    """The partitions of which nobody has settled where they began, each with its beginning."""
    assignment = consumer._subscription.subscription.assignment  # noqa: SLF001 - there is no public way
    if assignment is None:
        return []
    states = [(state, state.beginning(each)) for each, state in assignment._tp_state.items()]  # noqa: SLF001 - likewise
    return [(state, beginning) for state, beginning in states if beginning is not None]
