"""Reading back published records: all or the newest, once, and without a consumer group."""

import pytest
from aiokafka import AIOKafkaProducer

from marketplace_worker.errors import Unavailable
from marketplace_worker.settings import Settings, Topics
from marketplace_worker.streams.reading_back import read_back

pytestmark = pytest.mark.broker


async def values(settings: Settings, newest: int | None = None) -> list[bytes]:
    """The values read back from the two topics."""
    read = read_back(settings, newest)
    return [record.value or b"" async for records in read for record in records]


async def test_everything_is_read_back_in_order_and_once(
    settings: Settings, topics: Topics, writer: AIOKafkaProducer
) -> None:
    """From all partitions of all topics; more records than one fetch returns."""
    want: list[bytes] = []
    for topic in (topics.lifecycle, topics.state):
        for partition in range(2):
            for number in range(1_200):
                value = f"{topic} {partition} {number}".encode()
                want.append(value)
                await writer.send(topic, value, key=value, partition=partition)
    await writer.flush()

    found = await values(settings)

    assert sorted(found) == sorted(want)
    for start in {value.rsplit(b" ", 1)[0] for value in want}:
        numbers = [int(value.split()[-1]) for value in found if value.startswith(start + b" ")]
        assert numbers == sorted(numbers)


async def test_the_newest_of_each_partition_are_read_back(
    settings: Settings, topics: Topics, writer: AIOKafkaProducer
) -> None:
    """A restored database lacks the newest records."""
    for partition in range(2):
        for number in range(50):
            value = f"{partition} {number}".encode()
            await writer.send_and_wait(topics.state, value, key=value, partition=partition)

    found = await values(settings, newest=3)

    assert sorted(found) == [b"0 47", b"0 48", b"0 49", b"1 47", b"1 48", b"1 49"]


@pytest.mark.usefixtures("topics")
async def test_empty_topics_are_read_at_once(settings: Settings) -> None:
    """As for a newly installed worker."""
    assert await values(settings) == []


async def test_an_unreachable_kafka_is_reported(settings: Settings) -> None:
    """It raises `Unavailable`, so that the caller waits."""
    kafka = settings.kafka.model_copy(
        update={"bootstrap_servers": "127.0.0.1:1", "request_timeout_ms": 1_000}
    )
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1"):
        await values(settings.model_copy(update={"kafka": kafka}))
