"""A consumer of topics without a group, so without commits, rebalances or members to disturb."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import TopicAuthorizationFailedError

from marketplace_worker.errors import Unavailable
from marketplace_worker.settings import Kafka
from marketplace_worker.streams.mends import connections, record_batches
from marketplace_worker.streams.security import METADATA_AGE_MS, client_arguments


@asynccontextmanager
async def consuming_alone(
    kafka: Kafka, topics: Collection[str], batch_bytes_max: int
) -> AsyncIterator[AIOKafkaConsumer]:
    """Connect a consumer that is assigned every partition of the topics; it yields `Record`s.

    A partition without a position is read from its beginning.

    Raises:
        Unavailable: Kafka reports none of a topic's partitions.
        KafkaError: it does not answer, or does not let us read a topic.
    """
    connections.install()
    record_batches.install(batch_bytes_max)
    consumer = AIOKafkaConsumer(
        *topics,
        **client_arguments(kafka),
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        metadata_max_age_ms=METADATA_AGE_MS,
        request_timeout_ms=kafka.request_timeout_ms,
    )
    try:
        async with asyncio.timeout(kafka.request_timeout_ms / 1000):
            await consumer.start()
        # aiokafka skips a topic that Kafka does not report.
        unknown = set(topics) - {tp.topic for tp in consumer.assignment()}
        for topic in unknown & consumer._client.cluster.unauthorized_topics:  # noqa: SLF001 - there is no public way
            raise TopicAuthorizationFailedError(topic)
        if unknown:
            raise Unavailable(f"Kafka returns no metadata of the topic {min(unknown)}")
        yield consumer
    finally:
        await consumer.stop()
