"""Sending single messages: where they are, and what Kafka refuses."""

from datetime import UTC, datetime, timedelta

import pytest

from marketplace_worker.errors import Misconfigured, Unavailable
from marketplace_worker.record import EPOCH, Record
from marketplace_worker.settings import Settings, Topics
from marketplace_worker.streams.groupless import consuming_alone
from marketplace_worker.streams.sending import sending

pytestmark = pytest.mark.broker

AT = datetime(2026, 11, 22, 12, tzinfo=UTC)


def record(topic: str, at: datetime = AT, value: bytes | None = b"v") -> Record:
    """A message with a key and a header."""
    return Record(topic, 0, 0, at, b"k", value, (("h", b"\xff"),))


async def test_a_message_is_where_it_is_said_to_be(settings: Settings, topics: Topics) -> None:
    """With its key, headers and time; a null value too."""
    messages = [record(topics.logins), record(topics.logins, EPOCH, None)]
    async with sending(settings.kafka, [topics.logins]) as sender:
        assert sender.hosts
        places = [await sender.send(each) for each in messages]
    async with consuming_alone(settings.kafka, [topics.logins], 2**20) as consumer:
        found = [await consumer.getone() for _ in messages]
    assert sorted(map(str, places)) == sorted(each.position for each in found)
    for sent, place in zip(messages, places, strict=True):
        (read,) = (each for each in found if each.position == str(place))
        assert (read.key, read.value, read.headers) == (b"k", sent.value, (("h", b"\xff"),))
        if sent.recorded_at == EPOCH:
            now = datetime.now(UTC)  # noqa: TID251 - it is Kafka's own time that is looked at
            assert abs(read.recorded_at - now) < timedelta(hours=1)
        else:
            assert read.recorded_at == AT


async def test_a_topic_that_does_not_exist_is_reported_before_anything_is_sent(
    settings: Settings,
) -> None:
    """With the command that creates it; it is not created by the way."""
    for _ in range(2):
        with pytest.raises(Misconfigured, match="marketplace-worker topics create"):
            async with sending(settings.kafka, [settings.topics.logins]):
                pass


async def test_an_unreachable_kafka_is_reported(settings: Settings) -> None:
    """With its address."""
    kafka = settings.kafka.model_copy(update={"bootstrap_servers": "127.0.0.1:1"})
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1"):
        async with sending(kafka, [settings.topics.logins]):
            pass


@pytest.mark.apache
async def test_a_message_of_the_future_is_refused(settings: Settings, topics: Topics) -> None:
    """By Kafka itself, which says why."""
    async with sending(settings.kafka, [topics.logins]) as sender:
        now = datetime.now(UTC)  # noqa: TID251 - it is Kafka's clock that refuses
        with pytest.raises(Misconfigured, match="InvalidTimestampError"):
            await sender.send(record(topics.logins, now + timedelta(days=2)))
