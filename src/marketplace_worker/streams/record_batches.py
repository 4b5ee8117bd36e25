"""Reads the record batches that a broker sends, those too on which aiokafka gives up.

Where aiokafka 0.14 cannot read a batch, `getmany` raises, and what it had taken from other
partitions for the same call is lost: their positions have moved, so the next commit passes over
records that nobody saw.  Here nothing is raised.  Header names that are not UTF-8 are kept (other
clients read them too), and a batch that cannot be read at all is an `Unreadable` in its place.

This module replaces two names in aiokafka's fetcher, for the whole process (`connections` replaces
one more; nothing else does).
A test reads such batches from a broker, and another says when the version is no longer the one
that this was written for.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from aiokafka import ConsumerRecord
from aiokafka.consumer import fetcher
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import _MemoryRecordsPy


@dataclass
class Unreadable(ConsumerRecord):  # type: ignore[misc]  # aiokafka has no types
    """Stands at the offset from which on a partition cannot be read; its position stays there."""

    reason: str = ""


def install() -> None:
    """Make all consumers of this process read so.  Twice is harmless."""
    fetcher.MemoryRecords = _Batches
    fetcher.PartitionRecords = _Records


class _Batches(_MemoryRecordsPy):  # type: ignore[misc]  # aiokafka has no types
    """What was fetched of one partition; keeps the bytes of the batch that it gave last."""

    current: memoryview | None = None

    def next_batch(self) -> Any:  # noqa: ANN401 - aiokafka has no types
        self.current = self._next_slice
        return super().next_batch()


class _Records(fetcher.PartitionRecords):  # type: ignore[misc]  # aiokafka has no types
    """The records of what was fetched of one partition; never raises."""

    next_fetch_offset: int

    def _unpack_records(self) -> Iterator[ConsumerRecord]:
        while True:
            try:
                yield from super()._unpack_records()
            except Exception as error:  # noqa: BLE001 - of any library that decompresses or parses
                try:
                    yield from self._rest_of_the_batch(error)
                except Exception as final:  # noqa: BLE001 - likewise
                    yield self._unreadable(final)
                    return
            else:
                return

    def _rest_of_the_batch(self, error: Exception) -> Iterator[ConsumerRecord]:
        """From the record on that has a header name which is not UTF-8; raises all other errors."""
        # Without its C extension aiokafka says the same with one error around the other.
        if not isinstance(error.__cause__ or error, UnicodeDecodeError):
            raise error
        batch = _TolerantBatch(self._records.current)
        for record in batch:
            if record.offset >= self.next_fetch_offset:
                self.next_fetch_offset = record.offset + 1
                yield self._consumer_record(self._tp, record)
        self.next_fetch_offset = batch.next_offset

    def _unreadable(self, error: Exception) -> Unreadable:
        return Unreadable(
            topic=self._tp.topic,
            partition=self._tp.partition,
            offset=self.next_fetch_offset,
            timestamp=-1,
            timestamp_type=0,
            key=None,
            value=None,
            checksum=None,
            serialized_key_size=-1,
            serialized_value_size=-1,
            headers=(),
            reason=f"{type(error).__name__}: {error}",
        )


class _TolerantBatch(_DefaultRecordBatchPy):  # type: ignore[misc]  # aiokafka has no types
    """A batch whose header names may be any bytes; slow, so it is only for those that have them."""

    _buffer: bytearray

    def _maybe_uncompress(self) -> None:
        super()._maybe_uncompress()
        self._buffer = _AnyNames(self._buffer)


class _AnyNames(bytearray):
    """Bytes whose slices decode to text from which they can be told (`surrogateescape`)."""

    def __getitem__(self, place: Any) -> Any:  # noqa: ANN401 - an index or a slice
        found = super().__getitem__(place)
        return found if isinstance(found, int) else _AnyNames(found)

    def decode(self, encoding: str = "utf-8", errors: str = "surrogateescape") -> str:
        return super().decode(encoding, errors)
