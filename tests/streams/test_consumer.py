"""The consumer loses no record, whatever its content and whatever the handler does."""

import asyncio
import time
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from operator import attrgetter
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer, ConsumerRecord, TopicPartition
from faststream import AckPolicy
from structlog.testing import capture_logs

from marketplace_worker.embedded import kafka as embedded_kafka
from marketplace_worker.errors import Unavailable
from marketplace_worker.record import EPOCH, Record
from marketplace_worker.settings import Settings, Topics
from marketplace_worker.streams.consuming import consuming
from marketplace_worker.streams.failure_detection import ConsumerFailed
from marketplace_worker.streams.mends.record_batches import to_record
from marketplace_worker.streams.topics import create_topics
from streams.recording_handler import (
    NO_OVERSIGHT,
    PATIENCE_S,
    RecordingHandler,
    committed,
    consuming_facts,
    ignore,
    write,
)

pytestmark = pytest.mark.broker

ODD = [
    (None, b"{}", []),
    (b"key", None, []),
    (b"key", b"{}", [("nothing", None)]),
    (b"key", b"{}", [("binary", b"\xff\xfe\x00")]),
    (b"\xff", b"\xff\xfe not UTF-8 \x00", [("content-type", b"application/json")]),
    (b"key", b"", [("twice", b"1"), ("twice", b"2")]),
]


async def test_every_subscriber_commits_only_handled_records(
    settings: Settings, topics: Topics
) -> None:
    """The defaults lose records: they commit by a timer, and start at the newest record."""
    async with consuming_facts(settings, RecordingHandler()) as consumers:
        groups = []
        for each in consumers.members:
            (subscriber,) = each.broker.subscribers
            consumer = each.subscriber.consumer
            assert subscriber is each.subscriber
            assert each.subscriber.ack_policy is AckPolicy.NACK_ON_ERROR
            assert consumer is not None
            assert consumer._enable_auto_commit is False
            assert consumer._auto_offset_reset == "earliest"
            assert consumer._isolation_level == "read_committed"
            groups.append(each.subscriber.group_id)
        assert groups == [settings.kafka.facts_group, settings.kafka.activity_group]
        assert consumers.assigned() == {
            "facts-1": {f"{topic}/{part}" for topic in topics.facts for part in (0, 1)},
            "activity-1": {f"{topic}/{part}" for topic in topics.activity for part in (0, 1)},
        }


async def test_odd_records_reach_the_handler_unchanged(
    settings: Settings, topics: Topics, writer: AIOKafkaProducer
) -> None:
    """FastStream's own parser silently drops the whole batch if one header is null."""
    topic = topics.aws_notifications
    for key, value, headers in ODD:
        await writer.send_and_wait(
            topic, value, key=key, headers=headers, partition=0, timestamp_ms=1_764_000_000_123
        )
    seen = RecordingHandler()
    async with consuming_facts(settings, seen):
        await seen.until(lambda: len(seen.records) >= len(ODD))
    assert [(each.key, each.value, list(each.headers)) for each in seen.records] == ODD
    assert seen.positions == [f"{topic}/0/{offset}" for offset in range(len(ODD))]
    assert seen.records[0].recorded_at == datetime(2025, 11, 24, 16, 0, 0, 123_000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("timestamp", "recorded_at"),
    [
        (-1, EPOCH),
        (-(2**63), EPOCH),
        (0, EPOCH),
        (253_402_214_400_000, datetime(9999, 12, 31, tzinfo=UTC)),
        (253_402_300_800_000, datetime(9999, 12, 31, tzinfo=UTC)),
        (2**63 - 1, datetime(9999, 12, 31, tzinfo=UTC)),
    ],
)
def test_a_record_without_a_usable_time_has_the_same_time_at_each_delivery(
    timestamp: int, recorded_at: datetime
) -> None:
    """Old producers write -1, and a producer may write a time beyond the calendar.

    The time is part of the record's identity; the time of receipt would give it a new identity at
    each delivery.
    """
    raw = ConsumerRecord("topic", 0, 7, timestamp, 0, None, b"", None, -1, 0, ())
    assert to_record(TopicPartition("topic", 0), raw).recorded_at == recorded_at


async def test_offsets_are_committed_after_the_handler_and_not_before(
    settings: Settings, topics: Topics, writer: AIOKafkaProducer
) -> None:
    """After a crash in the handler the batch must be delivered again."""
    entered, proceed, seen = asyncio.Event(), asyncio.Event(), RecordingHandler()

    async def handler(records: Sequence[Record]) -> AbstractSet[str]:
        entered.set()
        await proceed.wait()
        return await seen(records)

    await write(writer, topics.aws_notifications, b"1", b"2")
    async with consuming_facts(settings, handler):
        await asyncio.wait_for(entered.wait(), PATIENCE_S)
        assert await committed(settings, topics.aws_notifications) == {0: None, 1: None}
        proceed.set()
        await seen.until(lambda: len(seen.records) == 2)
    assert (await committed(settings, topics.aws_notifications))[0] == 2


async def test_stopping_finishes_the_batch_in_flight(
    settings: Settings, topics: Topics, writer: AIOKafkaProducer
) -> None:
    """It is handled once although the stop came during it; the next member continues after it."""
    entered, seen = asyncio.Event(), RecordingHandler()

    async def slow(records: Sequence[Record]) -> AbstractSet[str]:
        entered.set()
        await asyncio.sleep(0.5)
        return await seen(records)

    await write(writer, topics.aws_notifications, b"1")
    async with consuming_facts(settings, slow):
        await asyncio.wait_for(entered.wait(), PATIENCE_S)
    assert len(seen.records) == 1
    await write(writer, topics.aws_notifications, b"2")
    async with consuming_facts(settings, seen):
        await seen.until(lambda: len(seen.records) >= 2)
    assert [each.value for each in seen.records] == [b"1", b"2"]


async def test_without_the_database_attempts_are_few_and_nothing_is_lost(
    settings: Settings, topics: Topics, writer: AIOKafkaProducer
) -> None:
    """Retry delays grow, also across deliveries; a bare nack would retry 1,000 times per second."""
    away = asyncio.Event()
    attempts: list[Sequence[Record]] = []
    tried_long_enough = asyncio.Event()
    seen = RecordingHandler()
    started = time.monotonic()

    async def handler(records: Sequence[Record]) -> AbstractSet[str]:
        if not away.is_set():
            attempts.append(records)
            # Longer than one delivery: some of these come after a nack.
            if time.monotonic() - started > settings.kafka.rebalance_timeout_ms / 1000:
                tried_long_enough.set()
            raise Unavailable("no database")
        return await seen(records)

    await write(writer, topics.aws_notifications, b"1", b"2")
    await write(writer, topics.azure_notifications, b"3", partition=1)
    with capture_logs() as logs:
        async with consuming_facts(settings, handler):
            await asyncio.wait_for(tried_long_enough.wait(), PATIENCE_S)
            assert len(attempts) <= 25
            away.set()
            await seen.until(lambda: {each.value for each in seen.records} == {b"1", b"2", b"3"})
    waits = [line for line in logs if line["event"] == "ingest_waiting"]
    failures = [line["failures"] for line in waits]
    assert failures == sorted(set(failures)), "the delay was reset by a nack"
    assert waits[0]["pause_ms"] <= 50
    assert min(line["pause_ms"] for line in waits[3:]) >= 200
    assert [line for line in logs if line["log_level"] in ("error", "critical")] == []


async def test_a_batch_that_fails_by_a_bug_is_logged_once_and_retried(
    settings: Settings, topics: Topics, writer: AIOKafkaProducer
) -> None:
    """The offset is not committed, the traceback is logged, and retries pause."""
    seen = RecordingHandler()
    attempts_at: list[float] = []

    async def handler(records: Sequence[Record]) -> AbstractSet[str]:
        attempts_at.append(time.monotonic())
        if len(attempts_at) <= 3:
            raise ZeroDivisionError
        return await seen(records)

    await write(writer, topics.aws_notifications, b"1")
    with capture_logs() as logs:
        async with consuming_facts(settings, handler):
            await seen.until(lambda: len(seen.records) == 1)
    errors = [line for line in logs if line["log_level"] in ("error", "critical")]
    assert [line["event"] for line in errors] == ["batch_failed"] * 3
    assert attempts_at[3] - attempts_at[0] >= (25 + 50 + 100) / 1000
    assert errors[0]["first"] == f"{topics.aws_notifications}/0/0"


async def test_partitions_are_reassigned_only_after_the_batch_in_flight_is_committed(
    settings: Settings, topics: Topics, writer: AIOKafkaProducer
) -> None:
    """The group waits for the slow handler; otherwise a new member would repeat its work."""
    entered, proceed, seen = asyncio.Event(), asyncio.Event(), RecordingHandler()

    async def slow(records: Sequence[Record]) -> AbstractSet[str]:
        entered.set()
        await proceed.wait()
        return await seen(records)

    for topic in topics.facts:
        for partition in (0, 1):
            await write(writer, topic, b"1", partition=partition)
    async with consuming_facts(settings, slow) as first:
        await asyncio.wait_for(entered.wait(), PATIENCE_S)
        joining = asyncio.create_task(_join_and_see(settings, seen, 2 * len(topics.facts)))
        done, _ = await asyncio.wait({joining}, timeout=3)
        assert not done
        assert seen.records == []
        proceed.set()
        await asyncio.wait_for(joining, PATIENCE_S)
        assert first.facts[0].assigned
    assert sorted(seen.positions) == sorted(set(seen.positions))


async def _join_and_see(settings: Settings, seen: RecordingHandler, count: int) -> None:
    """Run a second member until `count` records were handled by all members."""
    async with consuming_facts(settings, seen):
        await seen.until(lambda: len(seen.records) >= count)


async def test_a_second_member_takes_over_without_repeated_work(
    settings: Settings, topics: Topics, writer: AIOKafkaProducer
) -> None:
    """If a rebalance comes while handlers run, the group waits until they have committed."""
    seen, shared = RecordingHandler(), RecordingHandler()

    async def slow(records: Sequence[Record]) -> AbstractSet[str]:
        await asyncio.sleep(0.2)
        await seen(records)
        return await shared(records)

    async def other(records: Sequence[Record]) -> AbstractSet[str]:
        await asyncio.sleep(0.2)
        return await shared(records)

    async def write_steadily() -> None:
        for number in range(60):
            partition = number % 2
            for topic in topics.facts:
                await write(writer, topic, str(number).encode(), partition=partition)
            await asyncio.sleep(0.05)

    few = settings.model_copy(
        update={"ingest": settings.ingest.model_copy(update={"batch_rows_max": 7})}
    )
    async with consuming_facts(few, slow) as first, asyncio.TaskGroup() as group:
        writing = group.create_task(write_steadily())
        await seen.until(lambda: len(seen.batches) >= 2)
        async with consuming_facts(few, other) as second:
            await writing
            await shared.until(lambda: len(shared.records) >= 60 * len(topics.facts))
            each = len(topics.facts)
            await _until(
                lambda: len(first.facts[0].assigned) == len(second.facts[0].assigned) == each
            )
    assert len(shared.records) == len(set(shared.positions)) == 60 * len(topics.facts)
    assert len(seen.records) < len(shared.records)


@pytest.mark.usefixtures("topics")
async def test_members_share_each_topic(settings: Settings) -> None:
    """Otherwise a member could get only partitions of an idle topic."""
    async with (
        consuming_facts(settings, RecordingHandler()) as first,
        consuming_facts(settings, RecordingHandler()) as second,
    ):
        members = (*first.members, *second.members)
        await _until(lambda: all(each.assigned for each in members))
        for member in members:
            topics = [place.rpartition("/")[0] for place in member.assigned]
            assert len(topics) == len(set(topics)), "both partitions of a topic"


async def test_one_member_of_a_worker_reads_while_the_other_waits_for_its_batch(
    settings: Settings, topics: Topics, writer: AIOKafkaProducer
) -> None:
    """Each commits what it handled itself, and nothing of the batch that is still in flight."""
    topic = topics.aws_notifications
    entered, proceed, seen = asyncio.Event(), asyncio.Event(), RecordingHandler()

    async def handler(records: Sequence[Record]) -> AbstractSet[str]:
        if any(record.value == b"slow" for record in records):
            entered.set()
            await proceed.wait()
        return await seen(records)

    async with consuming(
        settings, facts=[handler, handler], activity=[ignore], hooks=NO_OVERSIGHT
    ) as consumers:
        one, other = consumers.facts
        await _until(lambda: {len(one.assigned), len(other.assigned)} == {len(topics.facts)})
        assert not one.assigned & other.assigned
        await write(writer, topic, b"slow", partition=0)
        await asyncio.wait_for(entered.wait(), PATIENCE_S)
        await write(writer, topic, b"1", b"2", partition=1)
        await seen.until(lambda: len(seen.records) == 2)
        await _until_committed(settings, topic, {0: None, 1: 2})
        proceed.set()
        await _until_committed(settings, topic, {0: 1, 1: 2})


async def _until_committed(settings: Settings, topic: str, offsets: dict[int, int | None]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while await committed(settings, topic) != offsets:  # noqa: ASYNC110 - Kafka sets no event
            await asyncio.sleep(0.05)


async def test_a_member_that_stops_during_a_rebalance_leaves_its_group(
    settings: Settings, topics: Topics, writer: AIOKafkaProducer
) -> None:
    """
    A slow member delays the rebalance, and another one stops.  If it did not leave the group, Kafka
    would assign partitions to it, which nobody would read until its session times out.
    """
    kafka = settings.kafka
    patient = {"rebalance_timeout_ms": 20_000, "request_timeout_ms": 30_000}
    if kafka.session_timeout_ms > 2_000:  # Tansu lets a first member wait half of it
        patient["session_timeout_ms"] = 60_000
    settings = settings.model_copy(update={"kafka": kafka.model_copy(update=patient)})
    entered, proceed, seen = asyncio.Event(), asyncio.Event(), RecordingHandler()
    everything = {f"{topic}/{part}" for topic in topics.facts for part in (0, 1)}

    async def slow(_: Sequence[Record]) -> frozenset[str]:
        entered.set()
        await proceed.wait()
        return frozenset()

    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(consuming_facts(settings, slow))
        async with consuming_facts(settings, seen) as second:
            await _until(lambda: first.facts[0].assigned | second.facts[0].assigned == everything)
            for place in first.facts[0].assigned:
                topic, _, part = place.rpartition("/")
                await write(writer, topic, b"1", partition=int(part))
            await asyncio.wait_for(entered.wait(), PATIENCE_S)
            third = consuming_facts(settings, seen)
            joining = asyncio.create_task(stack.enter_async_context(third))
            await _until(lambda: not second.facts[0].assigned)
        assert not joining.done()
        proceed.set()
        joined = await asyncio.wait_for(joining, PATIENCE_S)
        await _until(lambda: first.facts[0].assigned | joined.facts[0].assigned == everything)


async def _until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not true():  # noqa: ASYNC110 - the group sets no event
            await asyncio.sleep(0.01)


async def test_a_member_logs_that_it_waits_for_a_kafka_that_stopped_during_a_rebalance(
    settings: Settings, tmp_path: Path
) -> None:
    """Its loop is blocked until the rebalance ends; that is no reason to restart the worker."""
    async with AsyncExitStack() as stack:
        async with embedded_kafka.broker(tmp_path) as address:
            servers = {"bootstrap_servers": address, "session_timeout_ms": 2_000}
            kafka = settings.kafka.model_copy(update=servers | {"request_timeout_ms": 2_000})
            settings = settings.model_copy(update={"kafka": kafka})
            await create_topics(kafka, settings.topics, partitions=1, replication_factor=1)
            first = await stack.enter_async_context(consuming_facts(settings, RecordingHandler()))
            assert not first.facts[0].waits_for_kafka
            await first.facts[0].release_partitions(first.facts[0].assigned)
            assert not first.facts[0].waits_for_kafka, "the others are waited for, not Kafka"
        await _until(lambda: first.facts[0].waits_for_kafka)
        assert not first.activity[0].waits_for_kafka, "it turns"


@pytest.mark.usefixtures("topics")
async def test_a_dead_consumer_is_reported(settings: Settings) -> None:
    """A worker exits when its consumer has ended: nothing restarts a process that looks alive."""
    async with consuming_facts(settings, RecordingHandler()) as consumers:
        waiting = asyncio.create_task(consumers.wait_failed())
        await asyncio.wait({waiting}, timeout=0.1)
        assert not waiting.done()
        await consumers.activity[0].subscriber.stop()
        with pytest.raises(ConsumerFailed):
            await asyncio.wait_for(waiting, PATIENCE_S)
        with pytest.raises(ConsumerFailed):
            await asyncio.wait_for(consumers.wait_failed(), PATIENCE_S)  # it has ended already


@pytest.mark.usefixtures("topics")
@pytest.mark.parametrize("part", ["_fetcher._fetch_task", "_client._sync_task"])
async def test_a_consumer_that_stops_turning_has_failed(settings: Settings, part: str) -> None:
    """Otherwise it would stay in its group, with partitions that nobody reads."""
    async with consuming_facts(settings, RecordingHandler()) as consumers:
        waiting = asyncio.create_task(consumers.wait_failed())
        attrgetter(part)(consumers.facts[0].subscriber.consumer).cancel()
        with pytest.raises(ConsumerFailed, match="facts-1: the task that"):
            await asyncio.wait_for(waiting, PATIENCE_S)


async def test_a_consumer_whose_batch_fails_repeatedly_is_not_ready(
    settings: Settings, topics: Topics, writer: AIOKafkaProducer
) -> None:
    """Not after one or two failures; it is ready again once the batch is handled."""
    well, reasons = asyncio.Event(), list[str]()

    async def failing(_: Sequence[Record]) -> frozenset[str]:
        reasons.append(consumers.facts[0].not_ready_reason)
        if not well.is_set():
            raise Unavailable("the database is away")
        return frozenset()

    async with consuming_facts(settings, failing) as consumers:
        await write(writer, topics.aws_notifications, b"1")
        async with asyncio.timeout(PATIENCE_S):
            while "times in a row" not in consumers.facts[0].not_ready_reason:  # noqa: ASYNC110 - as a probe does
                await asyncio.sleep(0.01)
            assert consumers.activity[0].not_ready_reason == ""
            well.set()
            while consumers.facts[0].not_ready_reason:  # noqa: ASYNC110 - likewise
                await asyncio.sleep(0.01)
    assert reasons[:4] == ["", "", "", "failed 3 times in a row"]


async def test_the_lag_counts_records_not_ingested_yet(
    settings: Settings, topics: Topics, writer: AIOKafkaProducer
) -> None:
    """Over all partitions; records handled or in progress do not count."""
    began, goes_on, seen = asyncio.Event(), asyncio.Event(), RecordingHandler()

    async def waiting(records: Sequence[Record]) -> AbstractSet[str]:
        if any(record.value == b"wait" for record in records):
            began.set()
            await goes_on.wait()
        return await seen(records)

    async with consuming_facts(settings, waiting) as consumers:

        async def lags(records: int) -> None:
            async with asyncio.timeout(PATIENCE_S):
                while sum(consumers.lag()["facts"].values()) != records:  # noqa: ASYNC110 - as a probe does
                    await asyncio.sleep(0.01)

        assert sum(consumers.lag()["facts"].values()) == 0
        await write(writer, topics.aws_notifications, b"1", b"2", b"3")
        await write(writer, topics.gcp_notifications, b"1", b"2", partition=1)
        await seen.until(lambda: len(seen.records) == 5)
        await lags(0)
        await write(writer, topics.aws_notifications, b"wait")
        await asyncio.wait_for(began.wait(), PATIENCE_S)
        assert sum(consumers.lag()["facts"].values()) == 0
        await write(writer, topics.aws_notifications, b"5", b"6")
        await write(writer, topics.gcp_notifications, b"3", partition=1)
        await lags(3)
        assert sum(consumers.lag()["activity"].values()) == 0
        goes_on.set()
        await seen.until(lambda: len(seen.records) == 9)
        await lags(0)


async def test_a_broker_that_is_away_is_unavailable(settings: Settings) -> None:
    """The caller decides whether to wait; nothing is left running."""
    nowhere = settings.kafka.model_copy(update={"bootstrap_servers": "127.0.0.1:1"})
    with pytest.raises(Unavailable):
        async with consuming_facts(
            settings.model_copy(update={"kafka": nowhere}), RecordingHandler()
        ):
            pass
