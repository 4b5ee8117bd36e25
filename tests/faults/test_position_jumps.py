"""The next record was deleted in Kafka, or the group was moved past it: a log line reports it."""

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.records_to_delete import RecordsToDelete

import servers
from acceptance.probed_worker import ask
from acceptance.scenario import at, eventbridge
from faults.kafka_faults import KafkaServer
from faults.worker_cluster import WorkerCluster, settings_of, staging, worker_cluster
from faults.workers import FaultStage, eventually, send
from faults.workload import _message
from faults.workload_sender import until_settled
from marketplace_worker.embedded import process

pytestmark = pytest.mark.faults

UNREAD = 505

KEY = "one partition"


@pytest.fixture
async def stage(
    pytestconfig: pytest.Config, broker: KafkaServer, postgres_dsn: str, tmp_path: Path
) -> AsyncIterator[FaultStage]:
    """A stage on this broker, whose clock stands still."""
    choice = pytestconfig.stash[servers.CHOICE]
    settings = settings_of(choice, tmp_path, kafka=broker.address, dsn=postgres_dsn)
    settings = settings.model_copy(update={"http_port": process.free_port()})
    async with staging(settings, tmp_path) as stage:
        stage.clock_file.move(at(9))
        yield stage


async def test_records_deleted_unread_are_reported_while_running_and_at_the_start(
    stage: FaultStage, broker: KafkaServer, tmp_path: Path
) -> None:
    """`DeleteRecords` does at once what retention does later.  The jump is reported although no
    record follows; the worker stays ready, and ingests later records.
    """
    async with worker_cluster(stage, tmp_path, workers=1) as workers:
        (worker,) = workers.processes
        partition = await _send_many(stage, 5)
        await until_settled(stage)

        worker.send_signal(signal.SIGSTOP)
        await _send_many(stage, UNREAD)
        await _delete_all(broker, stage, partition)
        worker.send_signal(signal.SIGCONT)
        (at_once,) = await _reported(workers)  # some prefetched records were still ingested
        assert at_once == (partition, await _journalled(stage), 5 + UNREAD, "deleted")
        await eventually(lambda: _is_stored(stage, partition, 5 + UNREAD))
        port = stage.settings.http_port or 0
        assert await asyncio.to_thread(ask, port, "/readyz") == (200, "ready\n")
        _, figures = await asyncio.to_thread(ask, port, "/metrics")
        assert _counted(stage, "deleted") in figures

        await _stopped(workers)
    await _send_many(stage, 20)
    await _delete_all(broker, stage, partition)
    async with worker_cluster(stage, _made(tmp_path / "next"), workers=1) as workers:
        jump = (partition, 5 + UNREAD, 25 + UNREAD, "deleted")
        assert await _reported(workers) == [jump]
        await _send_many(stage, 3)
        await until_settled(stage)
        workers.require_alive()
        assert await _reported(workers) == [jump]
    assert await _journalled(stage) == at_once[1] + 3


async def test_a_group_that_was_set_to_the_latest_offset_is_reported(
    stage: FaultStage, broker: KafkaServer, tmp_path: Path
) -> None:
    """`kafka-consumer-groups.sh --reset-offsets --to-latest`.  Control records of transactions,
    which a group skips as well, are no jump.
    """
    async with worker_cluster(stage, tmp_path, workers=1) as workers:
        partition = await _send_many(stage, 5)
        await _in_a_transaction(broker, stage, partition)
        await until_settled(stage)
        await _stopped(workers)
    quiet = _made(tmp_path / "quiet")
    async with worker_cluster(stage, quiet, workers=1) as workers:
        await _send_many(stage, 1)
        await until_settled(stage)
        assert workers.lines("position_jumped") == []
        await _stopped(workers)
    await _send_many(stage, 20)
    end = stage.ends[_topic(stage), partition]
    await _commit(stage, partition, end)
    async with worker_cluster(stage, _made(tmp_path / "next"), workers=1) as workers:
        assert await _reported(workers) == [(partition, end - 20, end, "skipped")]
        workers.require_alive()
    assert await _journalled(stage) == 7


async def test_a_truncated_log_is_reported_and_read_again(
    stage: FaultStage, broker: KafkaServer, tmp_path: Path
) -> None:
    """An out-of-sync replica became the leader: the log ends before the group's offset."""
    async with worker_cluster(stage, tmp_path, workers=1) as workers:
        partition = await _send_many(stage, 5, apart=True)
        await until_settled(stage)
        await broker.kill()
        broker.cut_off(_topic(stage), partition, batches=2)
        await broker.start()
        assert await _reported(workers) == [(partition, 5, 0, "cut_off")]
        stage.ends[_topic(stage), partition] = 3
        await _send_many(stage, 3)
        await until_settled(stage)
        workers.require_alive()
    assert await _journalled(stage) == 8


_sent_count = 0


async def _send_many(stage: FaultStage, count: int, *, apart: bool = False) -> int:
    """Send this many agreements to one partition; returns the partition."""
    global _sent_count  # noqa: PLW0603 - no message is ever the same
    _sent_count += count
    messages = [
        _message(eventbridge(1, "License Updated", {"id": f"agmt-{number}"}), KEY)
        for number in range(_sent_count - count, _sent_count)
    ]
    for begin in range(0, count, 1 if apart else count):
        await send(stage, messages[begin : begin + (1 if apart else count)], at=at(1))
    (partition,) = (part for topic, part in stage.ends if topic == _topic(stage))
    return partition


async def _in_a_transaction(broker: KafkaServer, stage: FaultStage, partition: int) -> None:
    """Write one record in a transaction, which adds a control record."""
    topic, key, value = _message(eventbridge(1, "License Updated", {"id": "agmt-t"}), KEY)
    producer = AIOKafkaProducer(bootstrap_servers=broker.address, transactional_id=stage.prefix)
    await producer.start()
    try:
        async with producer.transaction():
            await producer.send_and_wait(stage.prefix + topic, value, key=key, partition=partition)
    finally:
        await producer.stop()
    stage.ends[_topic(stage), partition] += 2


def _topic(stage: FaultStage) -> str:
    return stage.settings.topics.aws_notifications


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _counted(stage: FaultStage, cause: str) -> str:
    labels = f'cause="{cause}",topic="{_topic(stage)}"'
    return f"marketplace_worker_position_jumps_total{{{labels}}} 1.0"


async def _reported(workers: WorkerCluster) -> list[tuple[int, int, int, str]]:
    """Wait for jumps; returns partition, both offsets and cause of each."""

    async def any_is() -> bool:
        return bool(workers.lines("position_jumped"))

    await eventually(any_is)
    jumps = workers.lines("position_jumped")
    assert {each["level"] for each in jumps} == {"error"}
    return [
        (each["partition"], each["from_offset"], each["to_offset"], each["cause"]) for each in jumps
    ]


async def _stopped(workers: WorkerCluster) -> None:
    """Stop the worker: only the offsets of a group without members can be changed."""
    for process_ in workers.processes:
        process_.send_signal(signal.SIGTERM)
        assert await process_.wait() == 0


async def _journalled(stage: FaultStage) -> int:
    return int(await stage.pool.fetchval("SELECT count(*) FROM journal"))


async def _is_stored(stage: FaultStage, partition: int, offset: int) -> bool:
    """Whether the next start of a worker compares with this offset."""
    query = "SELECT next_offset FROM activity_offsets WHERE topic = $1 AND partition = $2"
    return bool(await stage.pool.fetchval(query, _topic(stage), partition) == offset)


async def _delete_all(broker: KafkaServer, stage: FaultStage, partition: int) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.address)
    await admin.start()
    try:
        place = TopicPartition(_topic(stage), partition)
        await admin.delete_records({place: RecordsToDelete(stage.ends[place])})
    finally:
        await admin.close()


async def _commit(stage: FaultStage, partition: int, offset: int) -> None:
    """Commit an offset for the facts' group, which has no members."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=stage.settings.kafka.bootstrap_servers,
        group_id=stage.settings.kafka.facts_group,
        enable_auto_commit=False,
    )
    await consumer.start()
    try:
        place = TopicPartition(_topic(stage), partition)
        consumer.assign([place])
        await consumer.commit({place: offset})
    finally:
        await consumer.stop()
