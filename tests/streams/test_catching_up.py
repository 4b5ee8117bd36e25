"""A busy consumer reads up to the newest record, and loses none of its fetched records."""

import asyncio
from collections.abc import Sequence
from collections.abc import Set as AbstractSet

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaConnectionError
from structlog.testing import capture_logs

from marketplace_worker.record import Record
from marketplace_worker.settings import Settings, Topics
from marketplace_worker.streams import catching_up
from marketplace_worker.streams.consuming import Consumers
from streams.recording_handler import (
    PATIENCE_S,
    RecordingHandler,
    committed,
    consuming_facts,
    write,
)

pytestmark = pytest.mark.broker


class Held(RecordingHandler):
    """A handler that holds each batch until the test releases it."""

    def __init__(self) -> None:
        super().__init__()
        self.go = asyncio.Semaphore(0)

    async def __call__(self, records: Sequence[Record]) -> AbstractSet[str]:
        await super().__call__(records)
        await self.go.acquire()
        return frozenset()


async def _fetched_ahead(
    consumers: Consumers, held: Held, writer: AIOKafkaProducer, topic: str
) -> AIOKafkaConsumer:
    """While a first batch is held, wait until one more record is fetched."""
    consumer = consumers.facts[0].subscriber.consumer
    assert consumer is not None
    await write(writer, topic, b"first")
    await held.until(lambda: len(held.batches) == 1)
    await write(writer, topic, b"fetched ahead")
    async with asyncio.timeout(PATIENCE_S):
        while TopicPartition(topic, 0) not in consumer._fetcher._records:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return consumer


async def test_a_busy_consumer_reads_up_to_the_newest_record(
    settings: Settings, topics: Topics, writer: AIOKafkaProducer
) -> None:
    """Otherwise records after the prefetched ones would wait for the next batch."""
    topic, held = topics.aws_notifications, Held()
    async with consuming_facts(settings, held) as consumers:
        await _fetched_ahead(consumers, held, writer, topic)
        await write(writer, topic, b"newest")
        held.go.release()
        await held.until(lambda: len(held.batches) == 2)
        assert [each.value for each in held.batches[1]] == [b"fetched ahead", b"newest"]
        held.go.release()
    assert (await committed(settings, topic))[0] == 3


@pytest.mark.parametrize("error", [KafkaConnectionError("gone"), ValueError("a bug")])
async def test_fetched_records_are_not_lost_if_newer_ones_cannot_be_read(
    settings: Settings,
    topics: Topics,
    writer: AIOKafkaProducer,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    """The consumer's position is after the fetched records: they would not be delivered again."""
    topic, held = topics.aws_notifications, Held()
    async with consuming_facts(settings, held) as consumers:
        consumer = await _fetched_ahead(consumers, held, writer, topic)
        read, refused = consumer.getmany, 0

        async def refuses_once(**how: int) -> object:
            nonlocal refused
            if how["timeout_ms"] == 0 and not refused:
                refused += 1
                raise error
            return await read(**how)

        monkeypatch.setattr(consumer, "getmany", refuses_once)
        held.go.release()
        await held.until(lambda: len(held.batches) == 2)
        assert (refused, [each.value for each in held.batches[1]]) == (1, [b"fetched ahead"])
        held.go.release()


async def test_partitions_are_released_without_waiting_for_newer_records(
    settings: Settings,
    topics: Topics,
    writer: AIOKafkaProducer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """During a rebalance aiokafka's read waits for the new assignment, whatever its timeout; and
    the assignment waits until fetched records are handled.  The long search for newer records here
    makes one coincide with a rebalance.
    """
    monkeypatch.setattr(catching_up, "FETCH_WAIT_S", 2 * PATIENCE_S)
    topic, held, second = topics.aws_notifications, Held(), RecordingHandler()
    with capture_logs() as logs:
        async with consuming_facts(settings, held) as consumers:
            await _fetched_ahead(consumers, held, writer, topic)
            held.go.release()
            held.go.release()
            async with consuming_facts(settings, second):
                await held.until(lambda: len(held.batches) == 2)
                assert [each.value for each in held.batches[1]] == [b"fetched ahead"]
    assert "hand_over_timed_out" not in {line["event"] for line in logs}
    assert second.records == [], "handled and committed before the partition was revoked"
