"""A batch as FastStream knows it: how it is committed, or given again."""

import asyncio
from collections.abc import Callable
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import CommitFailedError, IllegalStateError
from faststream.kafka.message import KafkaAckableMessage

log = structlog.get_logger(__name__)


class Batch(KafkaAckableMessage):
    """A batch whose commit cannot block for ever, and which tells when it is settled."""

    def __init__(
        self,
        *,
        consumer: AIOKafkaConsumer,
        commit_timeout_s: float,
        on_settled: Callable[[], None],
        **message: Any,  # noqa: ANN401 - FastStream's own arguments
    ) -> None:
        super().__init__(consumer=consumer, **message)
        self._commit_timeout_s = commit_timeout_s
        self._on_settled = on_settled

    async def ack(self) -> None:
        """Commit it; it is settled then, whether that went well or not."""
        try:
            async with asyncio.timeout(self._commit_timeout_s):
                await super().ack()
        except (CommitFailedError, IllegalStateError, TimeoutError) as error:
            # The work is done and the journal knows it: whoever gets the batch again skips it.
            log.warning("commit_failed", reason=type(error).__name__)
        finally:
            self._on_settled()

    async def nack(self) -> None:
        """Have it given again, as far as its partitions are still ours."""
        try:
            await super().nack()
        except IllegalStateError:
            # No longer ours, so there is nothing to rewind.
            log.info("partitions_lost_before_nack")
        finally:
            self._on_settled()
