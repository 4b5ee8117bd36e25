"""Reading record batches that become too large when decompressed."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import cramjam
import pytest
from aiokafka import TopicPartition
from aiokafka.consumer import fetcher
from aiokafka.record import default_records, legacy_records
from aiokafka.record.util import calc_crc32c
from structlog.testing import capture_logs

from marketplace_worker.record import EPOCH, Record
from marketplace_worker.streams.mends import record_batches

GZIP, SNAPPY, LZ4, ZSTD = 1, 2, 3, 4

PARTITION = TopicPartition("topic", 0)

HEADER_BYTES = 61

MIB = 2**20

BOUND = 4 * MIB


@pytest.fixture(autouse=True)
def bound() -> Iterator[None]:
    """Limit the bytes that are read of each batch."""
    record_batches.install(BOUND)
    yield
    record_batches.install(64 * MIB)


def batch(values: list[bytes], codec: int, *, first: int = 0) -> bytes:
    """A record batch as aiokafka's own producer builds it."""
    builder = default_records.DefaultRecordBatchBuilder(2, codec, 0, -1, -1, -1, 1 << 30)
    for offset, value in enumerate(values):
        builder.append(offset, 1_764_000_000_000 + offset, b"key %d" % offset, value, [])
    raw = bytearray(builder.build())
    raw[:8] = first.to_bytes(8, "big")
    return bytes(raw)


def fetched(raw: bytes, from_offset: int = 0) -> Any:  # noqa: ANN401 - aiokafka has no types
    """A broker's response for one partition."""
    return fetcher.PartitionRecords(
        PARTITION, fetcher.MemoryRecords(raw), None, from_offset, None, None, True,
        fetcher.READ_COMMITTED,
    )  # fmt: skip


def read(*batches: bytes, from_offset: int = 0) -> list[Record]:
    """The records of a response."""
    return list(fetched(b"".join(batches), from_offset))


@pytest.mark.parametrize("codec", [GZIP, SNAPPY, LZ4, ZSTD])
def test_a_batch_within_the_limit_is_read_whole(codec: int) -> None:
    """With every codec."""
    values = [b"x" * MIB] * 3 + [b"y" * (MIB - 1_000)]
    assert [each.value for each in read(batch(values, codec))] == values


@pytest.mark.parametrize("codec", [GZIP, SNAPPY, LZ4, ZSTD])
def test_of_too_large_a_batch_the_beginning_is_read(codec: int) -> None:
    """One record represents the rest, which is not decompressed; the next batch is read."""
    huge = batch([b"whole 0", b"whole 1", b"x" * 8 * MIB, b"behind"], codec)
    with capture_logs() as logs:
        records = read(huge, batch([b"next"], codec, first=4))
    assert [each.offset for each in records] == [0, 1, 2, 4]
    assert [each.value for each in records] == [b"whole 0", b"whole 1", None, b"next"]
    left_out = records[2]
    assert (left_out.left_out_bytes, left_out.omitted_after, left_out.key) == (8 * MIB, 1, None)
    assert left_out.recorded_at == EPOCH + timedelta(milliseconds=1_764_000_000_002)
    (line,) = logs
    assert (line["event"], line["log_level"]) == ("records_left_out", "error")
    assert (line["from_offset"], line["to_offset"], line["bytes"]) == (2, 4, 8 * MIB)


def test_a_single_record_that_is_too_large_keeps_its_key() -> None:
    """The key names the organization that may have been active."""
    (record,) = read(batch([b"x" * 8 * MIB], ZSTD))
    assert (record.key, record.value, record.left_out_bytes) == (b"key 0", None, 8 * MIB)
    assert record.omitted_after == 0


def test_a_batch_that_cannot_be_read_in_part_is_represented_by_one_record() -> None:
    """Snappy without framing is decompressed as a whole or not at all."""
    raw = bytearray(batch([b"whole", b"x" * 8 * MIB], 0))
    raw[HEADER_BYTES:] = bytes(cramjam.snappy.compress_raw(bytes(raw[HEADER_BYTES:])))
    raw[8:12] = (len(raw) - 12).to_bytes(4, "big")
    raw[22] |= SNAPPY
    raw[17:21] = calc_crc32c(bytes(raw[21:])).to_bytes(4, "big")
    (left_out,) = read(bytes(raw))
    assert (left_out.offset, left_out.omitted_after, left_out.key) == (0, 1, None)
    assert left_out.left_out_bytes == BOUND


def test_a_partly_read_batch_is_continued() -> None:
    """After a restart within it, committed records are not delivered again."""
    huge = batch([b"0", b"1", b"x" * 8 * MIB], GZIP)
    assert [each.offset for each in read(huge, from_offset=1)] == [1, 2]


def test_an_old_message_set_that_is_too_large_is_skipped_whole() -> None:
    """Producers before Kafka 0.11 wrote message sets."""
    builder = legacy_records.LegacyRecordBatchBuilder(1, GZIP, 1 << 30)
    for offset in range(2):
        builder.append(offset, timestamp=1, key=b"k", value=b"x" * 8 * MIB)
    (left_out,) = read(bytes(builder.build()))
    assert (left_out.offset, left_out.left_out_bytes, left_out.value) == (0, BOUND, None)


def test_the_bytes_of_one_read_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand records of a megabyte are a gigabyte; the rest is fetched again."""
    monkeypatch.setattr(record_batches, "READ_BYTES_MAX", 1_000)
    whole = batch([b"x" * 400] * 9, ZSTD)
    read_from = [0]
    while records := list(part := fetched(whole, read_from[-1])):
        assert len(records) == 3
        read_from.append(part.next_fetch_offset)
    assert read_from == [0, 3, 6, 9]
