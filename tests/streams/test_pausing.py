"""Only the partitions of records that cannot be processed are paused."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from structlog.testing import capture_logs

from marketplace_worker.record import Record
from marketplace_worker.settings import Settings, Topics
from marketplace_worker.streams import pausing
from streams import raw_batches
from streams.recording_handler import PATIENCE_S, RecordingHandler, committed, consuming_facts

pytestmark = pytest.mark.broker


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the time after which held-back partitions are tried again."""
    monkeypatch.setattr(pausing, "PAUSE_S", 0.2)


class Stopping(RecordingHandler):
    """A handler that processes no records of some topics."""

    def __init__(self, *topics: str) -> None:
        super().__init__()
        self.stopped = set(topics)
        self.held_back: list[Record] = []

    async def __call__(self, records: Sequence[Record]) -> AbstractSet[str]:
        self.held_back += [each for each in records if each.topic in self.stopped]
        await super().__call__([each for each in records if each.topic not in self.stopped])
        return {each.topic for each in records} & self.stopped


async def write(writer: AIOKafkaProducer, topic: str, partition: int, *values: bytes) -> None:
    """Write values to one partition, in order."""
    for value in values:
        await writer.send_and_wait(topic, value, partition=partition)


async def test_a_paused_topic_waits_and_the_others_continue(
    settings: Settings, topics: Topics, writer: AIOKafkaProducer
) -> None:
    """Its offset is not committed; later its records are delivered in order and once."""
    stopped, other = topics.aws_notifications, topics.azure_notifications
    handler = Stopping(stopped)
    await write(writer, stopped, 0, b"0", b"1")
    await write(writer, stopped, 1, b"2")
    async with consuming_facts(settings, handler):
        for number in range(20):
            await write(writer, other, number % 2, b"other")
            await handler.until(lambda number=number: len(handler.records) == number + 1)  # type: ignore[misc]
        await write(writer, stopped, 0, b"3")
        await handler.until(lambda: len(handler.held_back) >= 12)
        assert {each.topic for each in handler.records} == {other}
        assert await committed(settings, stopped) in (
            {0: a, 1: b} for a in (0, None) for b in (0, None)
        )
        assert await committed(settings, other) == {0: 10, 1: 10}

        handler.stopped.clear()
        await handler.until(lambda: len(handler.records) >= 24)
    rest = [(each.partition, each.value) for each in handler.records if each.topic == stopped]
    assert [value for part, value in rest if part == 0] == [b"0", b"1", b"3"]
    assert [value for part, value in rest if part == 1] == [b"2"]
    assert await committed(settings, stopped) == {0: 3, 1: 1}


async def test_a_paused_partition_is_not_read_for_a_while(
    settings: Settings, topics: Topics, writer: AIOKafkaProducer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its records are fetched once, however often other records are."""
    monkeypatch.setattr(pausing, "PAUSE_S", PATIENCE_S)
    stopped, other = topics.aws_notifications, topics.azure_notifications
    handler = Stopping(stopped)
    await write(writer, stopped, 0, b"0", b"1")
    async with consuming_facts(settings, handler):
        await handler.until(lambda: len(handler.held_back) == 2)
        for number in range(20):
            await write(writer, other, number % 2, b"other")
            await handler.until(lambda number=number: len(handler.records) == number + 1)  # type: ignore[misc]
    assert [each.value for each in handler.held_back] == [b"0", b"1"]


async def test_the_next_owner_of_a_paused_partition_reads_all_its_records(
    settings: Settings, topics: Topics, writer: AIOKafkaProducer
) -> None:
    """Neither a rebalance nor a restart, which both forget paused partitions, loses records."""
    topic = topics.aws_notifications
    await write(writer, topic, 0, b"0", b"1")
    handler = Stopping(topic)
    async with consuming_facts(settings, handler):
        await handler.until(lambda: len(handler.held_back) >= 2)
    async with consuming_facts(settings, handler):
        await handler.until(lambda: len(handler.held_back) >= 4)
        async with consuming_facts(settings, handler):
            before = len(handler.held_back)
            await handler.until(lambda: len(handler.held_back) >= before + 4)
            handler.stopped.clear()
            await handler.until(lambda: len(handler.records) >= 2)
    assert [each.value for each in handler.records] == [b"0", b"1"]


@pytest.mark.parametrize("codec", [raw_batches.PLAIN, raw_batches.GZIP])
async def test_a_header_whose_name_is_not_utf_8_reaches_the_handler(
    settings: Settings, topics: Topics, writer: AIOKafkaProducer, codec: int
) -> None:
    """Aiokafka alone would raise forever, and lose fetched records of other partitions."""
    topic = topics.aws_notifications
    values = [(b"before", b"name"), (b"odd", b"na\xffme"), (b"after", b"gr\xc3\xbc\xc3\x9fe")]
    await write(writer, topic, 1, b"elsewhere")
    await raw_batches.send(writer, topic, 0, raw_batches.batch(values * 20, codec))
    await raw_batches.send(writer, topic, 0, raw_batches.batch(values, codec))
    await write(writer, topic, 0, b"the next")
    seen = RecordingHandler()
    with capture_logs() as logs:
        async with consuming_facts(settings, seen):
            await seen.until(lambda: len(seen.records) >= 65)
    here = [each for each in seen.records if each.partition == 0]
    assert [each.value for each in here] == [value for value, _ in values * 21] + [b"the next"]
    assert [each.offset for each in here] == list(range(64))
    assert [each.headers[0][0] for each in here[:3]] == ["name", "na\udcffme", "grüße"]
    assert {each.value for each in seen.records if each.partition == 1} == {b"elsewhere"}
    assert await committed(settings, topic) == {0: 64, 1: 1}
    assert [line for line in logs if line["log_level"] in ("error", "critical")] == []


async def test_unreadable_records_pause_only_their_partition(
    settings: Settings,
    topics: Topics,
    writer: AIOKafkaProducer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Earlier records are processed; the position is reported, and the unreadable records are not
    skipped.

    Apache Kafka refuses such a batch, so there it only arises by damage in transit or on disk.
    """
    monkeypatch.setattr(pausing, "PAUSE_S", PATIENCE_S)
    topic = topics.aws_notifications
    await write(writer, topic, 0, b"before")
    await write(writer, topic, 1, *(b"elsewhere",) * 5)
    spoiled = raw_batches.damaged(raw_batches.batch([(b"spoiled", None)]))
    try:
        await raw_batches.send(writer, topic, 0, spoiled)
    except KafkaError:
        return
    seen = RecordingHandler()
    with capture_logs() as logs:
        async with consuming_facts(settings, seen):
            await seen.until(lambda: len(seen.records) >= 6)
            for number in range(10):
                await write(writer, topic, 1, b"more")
                await seen.until(lambda number=number: len(seen.records) >= 7 + number)  # type: ignore[misc]
    assert seen.positions == [*dict.fromkeys(seen.positions)]
    assert await committed(settings, topic) == {0: 1, 1: 15}
    (logged_line,) = [line for line in logs if line["log_level"] == "error"]
    assert (logged_line["event"], logged_line["position"]) == ("records_unreadable", f"{topic}/0/1")
    assert "Invalid CRC" in logged_line["reason"]
