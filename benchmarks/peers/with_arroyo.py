"""arroyo (sentry-arroyo): `Reduce` collects a batch, `RunTask` writes it, `CommitOffsets` commits.

As in its documentation: offsets are committed after the work, once a second.
"""

from collections.abc import Mapping

import psycopg
from arroyo.backends.kafka import KafkaConsumer, KafkaPayload
from arroyo.backends.kafka.configuration import build_kafka_consumer_configuration
from arroyo.commit import ONCE_PER_SECOND
from arroyo.processing import StreamProcessor
from arroyo.processing.strategies import (
    CommitOffsets,
    ProcessingStrategy,
    ProcessingStrategyFactory,
    Reduce,
    RunTask,
)
from arroyo.types import BaseValue, Commit, Message, Partition, Topic

from benchmarks.peers.counting import ADD, SESSION_TIMEOUT_MS, Job, Totals, add_event, arrays, main

BATCH_MAX = 10_000
BATCH_S_MAX = 1.0


def accumulate(totals: Totals, message: BaseValue) -> Totals:
    """Add a message to the batch."""
    add_event(totals, message.payload.value)
    return totals


class Counting(ProcessingStrategyFactory):
    """Builds the steps."""

    def __init__(self, dsn: str) -> None:
        self._connection = psycopg.connect(dsn, autocommit=True)

    def create_with_partitions(
        self,
        commit: Commit,
        partitions: Mapping[Partition, int],  # noqa: ARG002 - arroyo passes it
    ) -> ProcessingStrategy[KafkaPayload]:
        """The steps, for the partitions that were assigned."""
        write = RunTask(self._write, CommitOffsets(commit))
        return Reduce(BATCH_MAX, BATCH_S_MAX, accumulate, dict, write)

    def _write(self, message: Message) -> Totals:
        totals: Totals = message.payload
        self._connection.execute(ADD, arrays(totals))
        return totals


def count(job: Job) -> None:
    """Run the processor."""
    consumer = KafkaConsumer(
        build_kafka_consumer_configuration(
            default_config={},
            bootstrap_servers=[job.kafka],
            auto_offset_reset="earliest",
            group_id=job.group,
            override_params={"session.timeout.ms": SESSION_TIMEOUT_MS},
        )
    )
    StreamProcessor(consumer, Topic(job.topic), Counting(job.dsn), ONCE_PER_SECOND).run()


if __name__ == "__main__":
    main(count)
