"""Redelivery of a batch after some of its partitions were reassigned."""

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from msgspec.structs import replace

from marketplace_worker.settings import Settings, Topics
from marketplace_worker.streams.mends import record_batches
from marketplace_worker.streams.mends.batch_message import BatchMessage
from streams.recording_handler import write

pytestmark = pytest.mark.broker


async def test_records_of_kept_partitions_are_delivered_again_when_others_are_lost(
    settings: Settings, topics: Topics, writer: AIOKafkaProducer
) -> None:
    """Otherwise the next commit would skip records that were not processed."""
    topic, settled = topics.aws_notifications, []
    ours = TopicPartition(topic, 0)
    await write(writer, topic, b"1", b"2")
    record_batches.install(settings.ingest.batch_bytes_max)
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.kafka.bootstrap_servers)
    await consumer.start()
    try:
        consumer.assign([ours])
        consumer.seek(ours, 0)
        [mine] = (await consumer.getmany(timeout_ms=10_000, max_records=1)).values()
        lost = replace(mine[0], partition=1)
        batch = BatchMessage(
            consumer=consumer,
            commit_timeout_s=1,
            on_settled=lambda: settled.append("settled"),
            on_error=lambda error: settled.append(repr(error)),
            raw_message=(lost, *mine),
            body=b"",
        )
        assert await consumer.position(ours) == 1
        await batch.nack()
        assert (await consumer.position(ours), settled) == (0, ["settled"])
    finally:
        await consumer.stop()
