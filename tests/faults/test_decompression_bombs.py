"""A record that is small in Kafka and huge when decompressed becomes a dead letter."""

from pathlib import Path

import cramjam
import pytest
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy
from aiokafka.record.util import calc_crc32c, encode_varint

from acceptance.scenario import at, eventbridge
from faults.worker_cluster import worker_cluster
from faults.workers import FaultStage, eventually, send
from faults.workload import _message
from faults.workload_sender import until_settled
from streams import raw_batches

pytestmark = pytest.mark.faults

BOMB_BYTES = 600 * 2**20

MEMORY_KIB_MAX = 512 * 1024
"""For a whole worker; without a limit it used 8.7 GB."""

HEADER_BYTES = 61
ZSTD = 4


def bomb(size: int) -> bytes:
    """A record batch of one record of zeros, compressed piece by piece."""
    number = bytearray()
    encode_varint(size, number.append)
    record = b"\0\0\0\x06key" + bytes(number)
    length = bytearray()
    encode_varint(len(record) + size + 1, length.append)
    piece = 2**20
    zeros = bytes(cramjam.zstd.compress(bytes(piece)))
    parts = [bytes(cramjam.zstd.compress(bytes(length) + record)), *([zeros] * (size // piece))]
    packed = b"".join([*parts, bytes(cramjam.zstd.compress(b"\0"))])
    builder = _DefaultRecordBatchBuilderPy(2, 0, 0, -1, -1, -1, 1 << 20)
    builder.append(0, 1_764_000_000_000, b"key", b"", [])
    raw = bytearray(builder.build())[:HEADER_BYTES] + packed
    raw[8:12] = (len(raw) - 12).to_bytes(4, "big")
    raw[22] |= ZSTD
    raw[17:21] = calc_crc32c(bytes(raw[21:])).to_bytes(4, "big")
    return bytes(raw)


async def test_a_bomb_becomes_a_dead_letter_and_uses_little_memory(
    stage: FaultStage, tmp_path: Path
) -> None:
    """Other records, also of its partition, are ingested, and the group moves past it."""
    stage.clock_file.move(at(9))
    topic = stage.settings.topics.aws_notifications
    await _send_sign_up(stage, 1)
    (partition,) = (part for name, part in stage.ends if name == topic)
    await raw_batches.send(stage.producer, topic, partition, bomb(BOMB_BYTES))
    stage.ends[topic, partition] += 1
    await _send_sign_up(stage, 2)
    async with worker_cluster(stage, tmp_path, workers=1) as workers:
        (worker,) = workers.processes
        await eventually(stage.all_committed)
        await until_settled(stage)
        workers.require_alive()
        assert _memory_kib(worker.pid) < MEMORY_KIB_MAX
    (letter,) = await stage.pool.fetch('SELECT "offset", key, value, reason FROM dead_letters')
    assert (letter["offset"], letter["key"], letter["value"]) == (1, b"key", None)
    assert letter["reason"].startswith("is larger than ingest.record_bytes_max")
    assert await stage.pool.fetchval("SELECT count(*) FROM journal") == 2


async def _send_sign_up(stage: FaultStage, number: int) -> None:
    line = eventbridge(1, "License Updated", {"id": f"agmt-{number}"})
    await send(stage, [_message(line, "one partition")], at=at(1))


def _memory_kib(pid: int) -> int:
    """The peak memory of a process, in KiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1])
