"""Records the position at which each partition starts to be read, and a position that Kafka
refused.

aiokafka 0.14 continues at the earliest record when Kafka has deleted or truncated the next one,
without any notice: there is no callback, and `auto_offset_reset="none"` would raise without the
position to continue from.

Upstream: no issue found (searched 2026-11-30).  Remove when aiokafka reports a reset position.
"""

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.consumer import subscription_state

from marketplace_worker.record import StartOffset


def install() -> None:
    """Make all consumers of this process record where they start.  Idempotent."""
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
        """Where it started, once Kafka answered a fetch from there; None before, or if settled."""
        if self._begun is None or self.timestamp is None:
            return None
        return StartOffset(partition.topic, partition.partition, *self._begun)

    def settle(self, beginning: StartOffset) -> None:
        """Forget a start, unless the partition was started again since."""
        if self._begun == (beginning.offset, beginning.refused):
            self._begun = None


def unsettled_beginnings(consumer: AIOKafkaConsumer) -> list[tuple[BeginningState, StartOffset]]:
    """The partitions whose start is not settled yet, each with its start."""
    assignment = consumer._subscription.subscription.assignment  # noqa: SLF001 - there is no public way
    if assignment is None:
        return []
    states = [(state, state.beginning(each)) for each, state in assignment._tp_state.items()]  # noqa: SLF001 - likewise
    return [(state, beginning) for state, beginning in states if beginning is not None]
