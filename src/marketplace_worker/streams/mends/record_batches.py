"""Reads record batches that aiokafka 0.14 cannot read.

If aiokafka cannot read a batch, `getmany` raises, and loses the records that it had taken from
other partitions in the same call: their positions have moved, so the next commit skips records that
nobody received.  These classes replace two names in aiokafka's fetcher and never raise:

- Header names that are not UTF-8 are kept, as other clients do.
- A batch that cannot be read at all becomes an `UnreadableBatch` in its place.
- Of a batch that is too large when decompressed, the beginning is read, and a record without a
  value represents the rest.

Records are built as `Record` at once: an instance of aiokafka's own type would cost as much again.

Upstream: no issue found for aiokafka (searched 2026-11-30); FastStream's issues 2214 and 2458 are
about header values in its own parser, which we do not use.  Remove when `getmany` returns what it
has, and names the partition and offset that it cannot read.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import structlog
from aiokafka import TopicPartition
from aiokafka.consumer import fetcher
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.legacy_records import _LegacyRecordBatchPy
from aiokafka.record.memory_records import _MemoryRecordsPy

from marketplace_worker.record import EPOCH, Record
from marketplace_worker.streams.mends import decompression
from marketplace_worker.streams.mends.decompression import TooLarge

READ_BYTES_MAX = 16 * 2**20
"""How much of one partition is returned at once, decompressed; the rest is fetched again."""

_MAGIC_AT = 16
_MAGIC_OF_RECORD_BATCHES = 2
"""Before it, there were message sets."""

_VARINT_BYTES_MAX = 10

_MORE_BYTES = 0x80
"""The bit of a byte of a number that others follow."""

_MILLISECOND = timedelta(milliseconds=1)
"""Multiplying it costs a third of `timedelta(milliseconds=...)`."""

_END_OF_CALENDAR = datetime(9999, 12, 31, tzinfo=UTC)

log = structlog.get_logger(__name__)


class UnreadableBatch(Record, frozen=True):
    """Represents the offset from which a partition cannot be read; its position stays there."""

    reason: str = ""


def install(batch_bytes_max: int) -> None:
    """Make all consumers of this process read with these classes.  Idempotent.

    `batch_bytes_max`: how much of one record batch is read, decompressed.
    """
    decompression.install(batch_bytes_max)
    fetcher.MemoryRecords = _Batches
    fetcher.PartitionRecords = _Records


def to_record(partition: TopicPartition, raw: Any) -> Record:  # noqa: ANN401 - aiokafka has no types
    """Convert a record unchanged; a time outside the calendar is moved to its end.

    Nothing here depends on when it was received, so that it is the same record at each delivery.
    """
    return Record(
        partition.topic,
        partition.partition,
        raw.offset,
        moment(raw.timestamp),
        raw.key,
        raw.value,
        tuple(raw.headers),
    )


def moment(timestamp_ms: int) -> datetime:
    """A record's time (UTC): `EPOCH` if it has none, the calendar's end if it is beyond that."""
    try:
        return EPOCH + timestamp_ms * _MILLISECOND if timestamp_ms > 0 else EPOCH
    except OverflowError:
        return _END_OF_CALENDAR


class _Batches(_MemoryRecordsPy):  # type: ignore[misc]  # aiokafka has no types
    """The fetched data of one partition; keeps the bytes of the batch that it returned last."""

    current: memoryview | None = None

    def next_batch(self) -> Any:  # noqa: ANN401 - aiokafka has no types
        self.current = self._next_slice
        return super().next_batch()


class _Records(fetcher.PartitionRecords):  # type: ignore[misc]  # aiokafka has no types
    """The records of what was fetched of one partition; never raises."""

    next_fetch_offset: int

    _consumer_record = staticmethod(to_record)

    def _unpack_records(self) -> Iterator[Record]:
        read_bytes = 0
        for record in self._tolerantly():
            yield record
            read_bytes += len(record.key or b"") + len(record.value or b"")
            if record.headers:
                read_bytes += sum(len(name) + len(value or b"") for name, value in record.headers)
            if read_bytes >= READ_BYTES_MAX:
                return

    def _tolerantly(self) -> Iterator[Record]:
        while True:
            try:
                yield from super()._unpack_records()
            except Exception as error:  # noqa: BLE001 - of any library that decompresses or parses
                try:
                    if isinstance(error, TooLarge):
                        yield from self._beginning_of_the_batch(error.beginning)
                    else:
                        yield from self._rest_of_the_batch(error)
                except Exception as final:  # noqa: BLE001 - likewise
                    yield self._unreadable(final)
                    return
            else:
                return

    def _rest_of_the_batch(self, error: Exception) -> Iterator[Record]:
        """Start at the record with a header name that is not UTF-8; raises all other errors."""
        # Without its C extension aiokafka raises the same error with another one around it.
        if not isinstance(error.__cause__ or error, UnicodeDecodeError):
            raise error
        batch = _TolerantBatch(self._records.current)
        yield from self._unread(batch)
        self.next_fetch_offset = batch.next_offset

    def _beginning_of_the_batch(self, beginning: bytes) -> Iterator[Record]:
        """The decompressed part, and a representative of the rest."""
        raw = self._records.current
        if raw[_MAGIC_AT] < _MAGIC_OF_RECORD_BATCHES:
            old = _LegacyRecordBatchPy(raw, raw[_MAGIC_AT])
            left_out, self.next_fetch_offset = self._left_out(old.next_offset), old.next_offset
        else:
            batch = _BeginningOfBatch(raw, beginning)
            yield from self._unread(batch)
            head = batch.head_of_next()
            left_out = self._left_out(batch.next_offset, batch.max_timestamp, head)
            self.next_fetch_offset = batch.next_offset
        log.error(
            "records_left_out",
            topic=left_out.topic,
            partition=left_out.partition,
            from_offset=left_out.offset,
            to_offset=self.next_fetch_offset,
            bytes=left_out.left_out_bytes,
        )
        yield left_out

    def _unread(self, batch: _DefaultRecordBatchPy) -> Iterator[Record]:
        for record in batch:
            if record.offset >= self.next_fetch_offset:
                self.next_fetch_offset = record.offset + 1
                yield self._consumer_record(self._tp, record)

    def _left_out(self, end: int, timestamp: int = -1, head: "_Head | None" = None) -> Record:
        """Represents the records left out before the offset `end`.

        It has a key if it is the only record that is left out.  Without a `head`,
        `left_out_bytes` is how much of the batch was decompressed in vain.
        """
        offset = self.next_fetch_offset if head is None else head.offset
        alone = offset + 1 == end
        return Record(
            topic=self._tp.topic,
            partition=self._tp.partition,
            offset=offset,
            recorded_at=moment(timestamp if head is None else head.timestamp),
            key=head.key if head is not None and alone else None,
            value=None,
            left_out_bytes=decompression.bytes_max() if head is None else head.value_bytes,
            omitted_after=end - offset - 1,
        )

    def _unreadable(self, error: Exception) -> UnreadableBatch:
        return UnreadableBatch(
            topic=self._tp.topic,
            partition=self._tp.partition,
            offset=self.next_fetch_offset,
            recorded_at=EPOCH,
            key=None,
            value=None,
            reason=f"{type(error).__name__}: {error}",
        )


class _TolerantBatch(_DefaultRecordBatchPy):  # type: ignore[misc]  # aiokafka has no types
    """A batch whose header names may be any bytes; slow, so it is only for those that have them."""

    _buffer: bytearray

    def _maybe_uncompress(self) -> None:
        super()._maybe_uncompress()
        self._buffer = _AnyNames(self._buffer)


class _Head(NamedTuple):
    """The first fields of a record."""

    offset: int
    timestamp: int
    key: bytes | None
    value_bytes: int


class _BeginningOfBatch(_TolerantBatch):
    """A batch of which only the beginning was decompressed."""

    def __init__(self, raw: memoryview, beginning: bytes) -> None:
        super().__init__(raw)
        self._buffer = _AnyNames(beginning)
        self._pos = 0
        self._decompressed = True

    def __next__(self) -> Any:  # noqa: ANN401 - aiokafka has no types
        """The next record that is there whole."""
        try:
            length, at = _varint(self._buffer, self._pos)
        except IndexError:
            raise StopIteration from None
        if at + length > len(self._buffer):
            raise StopIteration
        return self._read_msg()

    def head_of_next(self) -> _Head | None:
        """The head of the first record that was not read; None if not even that is available."""
        try:
            at = self._pos
            _length, at = _varint(self._buffer, at)
            _attributes, at = _varint(self._buffer, at)
            milliseconds, at = _varint(self._buffer, at)
            place, at = _varint(self._buffer, at)
            key_bytes, at = _varint(self._buffer, at)
            key_end = at + max(key_bytes, 0)
            key = None if key_bytes < 0 else bytes(self._buffer[at:key_end])
            value_bytes, _ = _varint(self._buffer, key_end)
        except IndexError:
            return None
        appended = self.timestamp_type == self.LOG_APPEND_TIME
        timestamp = self.max_timestamp if appended else self.first_timestamp + milliseconds
        return _Head(self.base_offset + place, timestamp, key, max(value_bytes, 0))


def _varint(buffer: bytearray, at: int) -> tuple[int, int]:
    """A number as the protocol has it, and where it ends; aiokafka's own reads past the end.

    Raises:
        IndexError: it is cut off.
    """
    number = 0
    for shift in range(0, 7 * _VARINT_BYTES_MAX, 7):
        byte = buffer[at]
        at, number = at + 1, number | (byte & 0x7F) << shift
        if byte < _MORE_BYTES:
            return (number >> 1) ^ -(number & 1), at
    raise IndexError("a number without an end")


class _AnyNames(bytearray):
    """Bytes whose slices decode to text that can be encoded again (`surrogateescape`)."""

    def __getitem__(self, place: Any) -> Any:  # noqa: ANN401 - an index or a slice
        found = super().__getitem__(place)
        return found if isinstance(found, int) else _AnyNames(found)

    def decode(self, encoding: str = "utf-8", errors: str = "surrogateescape") -> str:
        return super().decode(encoding, errors)
