"""FastStream's message of a batch, with a commit that cannot block and a nack that cannot fail.

In FastStream 0.7.8, `ack` waits for as long as aiokafka retries the commit; and `nack` rewinds
partition by partition, raises at the first that was revoked, and leaves the rest where they are.

Upstream: no issue found (searched 2026-11-30).  Remove when FastStream bounds the commit and skips
revoked partitions.
"""

import asyncio
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, TopicAuthorizationFailedError
from faststream.kafka.message import KafkaAckableMessage

log = structlog.get_logger(__name__)


class BatchMessage(KafkaAckableMessage):
    """A batch whose commit cannot block forever, and which reports when it is settled."""

    def __init__(
        self,
        *,
        consumer: AIOKafkaConsumer,
        commit_timeout_s: float,
        on_settled: Callable[[], None],
        on_error: Callable[[Exception], None],
        **message: Any,  # noqa: ANN401 - FastStream's own arguments
    ) -> None:
        super().__init__(consumer=consumer, **message)
        self._assignment: Callable[[], AbstractSet[TopicPartition]] = consumer.assignment
        self._commit_timeout_s = commit_timeout_s
        self._on_settled = on_settled
        self._on_error = on_error

    async def ack(self) -> None:
        """Commit it; it is settled then, whether that went well or not."""
        try:
            async with asyncio.timeout(self._commit_timeout_s):
                await super().ack()
        except (
            CommitFailedError,
            IllegalStateError,
            TimeoutError,
            TopicAuthorizationFailedError,  # of one topic: those of the others are committed
        ) as error:
            # The work is committed in the journal: if the batch is delivered again, it is skipped.
            log.warning("commit_failed", reason=type(error).__name__)
        except Exception as error:
            self._on_error(error)
            raise
        finally:
            self._on_settled()

    async def nack(self) -> None:
        """Request redelivery of the partitions that are still ours."""
        ours = self._assignment()
        # Rewinding any other partition fails, and would leave the remaining ones unchanged.
        self.raw_message = tuple(
            raw for raw in self.raw_message if TopicPartition(raw.topic, raw.partition) in ours
        )
        try:
            await super().nack()
        except Exception as error:
            self._on_error(error)
            raise
        finally:
            self._on_settled()
