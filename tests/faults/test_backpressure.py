"""A million messages wait: the worker ingests them at its own pace, and its memory stays flat."""

import asyncio
import json
import time
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition

from acceptance.scenario import login, requested
from faults.conftest import PARTITIONS, Figures
from faults.worker_cluster import chance_of_this_run
from faults.worker_group import STOP_S
from faults.workers import FaultStage, eventually, lines, send, worker
from faults.workload import Message, workload

pytestmark = pytest.mark.faults

WAITING = 1_000_000
TAKEN_IN = 100_000
"""This many are ingested before memory is measured, so that every buffer was filled and emptied."""

MEMORY_BYTES_MAX = 300 * 2**20
BATCH_BYTES = 2**19
USED = 2_000
"""This many organizations sign in and use the API all the time."""


async def test_a_million_messages_wait_and_memory_stays_flat(
    stage: FaultStage, tmp_path: Path, figures: Figures
) -> None:
    """The number of records fetched but not yet ingested is bounded, however many wait.  Half-way
    the worker is stopped; then exactly the committed records must be counted.
    """
    news = workload(chance_of_this_run(), 500).waves[0]
    stage.clock_file.move(news.at)
    await send(stage, news.messages, at=news.at)
    uses = [_use(number) for number in range(USED)]
    flood = [uses[number % USED] for number in range(WAITING - len(news.messages))]
    await _flood(stage, flood, news.at)
    assert stage.sent == WAITING

    log = tmp_path / "worker.log"
    began = time.monotonic()
    async with worker(stage, log) as process:
        peaks = []
        for share in (TAKEN_IN // 4, TAKEN_IN):
            await eventually(partial(_are_counted, stage, share), pause_s=0.1)
            peaks.append(_peak_bytes(process.pid))
        took_s = time.monotonic() - began
        process.terminate()
        assert await asyncio.wait_for(process.wait(), timeout=STOP_S) == 0
    assert lines(log, "batch_failed", "record_failed", "loop_failed") == []
    quarter, peak = (round(each / 2**20) for each in peaks)
    figures.append(
        f"{WAITING:,} messages waited: {TAKEN_IN:,} were taken in after {took_s:.0f} s; "
        f"the worker's peak memory was {peak} MiB ({quarter} MiB after a quarter)"
    )

    assert peaks[1] < MEMORY_BYTES_MAX
    assert await _counted(stage) == await _committed(stage)


async def _counted(stage: FaultStage) -> int:
    """The numbers of logins and of usage events counted; each event is three requests."""
    return int(await stage.pool.fetchval("SELECT sum(logins + requests / 3) FROM activity") or 0)


async def _are_counted(stage: FaultStage, wanted: int) -> bool:
    return await _counted(stage) >= wanted


async def _committed(stage: FaultStage) -> int:
    """The number of records that the activity group has committed."""
    group = stage.groups[stage.settings.kafka.activity_group]
    places = [TopicPartition(*place) for place in stage.ends]
    theirs = [place for place in places if place.topic in stage.settings.topics.activity]
    return sum([await group.committed(place) or 0 for place in theirs])


def _use(number: int) -> Message:
    name = f"used-{number:05}"
    line = (login if number % 2 else requested)(0.5, name)
    return line["topic"], name.encode(), json.dumps(line["value"]).encode()


async def _flood(stage: FaultStage, messages: Sequence[Message], at: datetime) -> None:
    """Send messages in whole batches: far faster than one by one."""
    stamp, prefix = round(at.timestamp() * 1000), stage.prefix
    waiting: dict[tuple[str, int], list[Message]] = defaultdict(list)
    for number, message in enumerate(messages):
        waiting[prefix + message[0], number // 2 % PARTITIONS].append(message)
    producer = AIOKafkaProducer(
        bootstrap_servers=stage.settings.kafka.bootstrap_servers,
        max_batch_size=BATCH_BYTES,
    )
    await producer.start()
    try:
        for (topic, partition), theirs in waiting.items():
            batch = producer.create_batch()
            for _, key, value in theirs:
                if batch.append(key=key, value=value, timestamp=stamp) is None:
                    await (await producer.send_batch(batch, topic, partition=partition))
                    batch = producer.create_batch()
                    batch.append(key=key, value=value, timestamp=stamp)
            await (await producer.send_batch(batch, topic, partition=partition))
            stage.ends[topic, partition] = stage.ends.get((topic, partition), 0) + len(theirs)
    finally:
        await producer.stop()


def _peak_bytes(pid: int) -> int:
    """The peak memory of a process (Linux)."""
    status = Path(f"/proc/{pid}/status").read_text()
    kilobytes = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
    return int(kilobytes) * 1024
