"""Kafka records as bytes with their position: incoming (`Record`) and outgoing (`Outgoing`).

`Record` is the input of every translator, from the broker or a scenario.  They are Structs of
msgspec, not dataclasses: one is built for each message, at a tenth of a frozen dataclass's cost.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from msgspec import Struct
from msgspec.structs import replace

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

CLOCKS_APART_MAX = timedelta(hours=1)
"""How far a producer's clock may be ahead of ours for its timestamps to be trusted.  By default
Kafka 4 refuses more (`message.timestamp.after.max.ms`).
"""

Headers = tuple[tuple[str, bytes | None], ...]
"""Names and values, in order.  A value may be null or binary.  Bytes of a name that are not UTF-8
are kept as Python keeps them in file names (`surrogateescape`)."""


MESSAGE_BYTES_MAX = 900_000
"""The largest message that we write, with key, value and headers.  Brokers and consumers accept 1
MiB by default.  Messages that could be larger are shortened."""

HEADER_LENGTHS_BYTES_MAX = 10
"""The maximum size of the lengths of a header's name and value."""


class Record(Struct, frozen=True):
    """The bytes of a record and its position.

    `recorded_at`: the record's timestamp (UTC), by its producer's clock; `EPOCH` if it has none.
    `received_at`: when we read it, by our clock; None where `recorded_at` is trusted.
    `value`: None for a tombstone, and for a value that is too large to be read: then
    `left_out_bytes` is its size, the value is only in Kafka, and so are the next `omitted_after`
    records of its batch.
    """

    topic: str
    partition: int
    offset: int
    recorded_at: datetime
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    received_at: datetime | None = None
    left_out_bytes: int | None = None
    omitted_after: int = 0

    @property
    def latest_event_time(self) -> datetime:
        """The latest moment at which the record's event can have happened (UTC).

        This is the record's timestamp.  If it has none, or one that is further ahead than
        `CLOCKS_APART_MAX`, it is the time of receipt, so that the event is not newer than all later
        ones.  Smaller differences are kept, to keep the order of neighbouring records.
        """
        if self.received_at is None or self._is_trusted(self.received_at):
            return self.recorded_at
        return self.received_at

    def received(self, at: datetime) -> "Record":
        """The record with its time of receipt (UTC); unchanged if its timestamp is trusted."""
        return self if self._is_trusted(at) else replace(self, received_at=at)

    def bounded(self, value_bytes_max: int) -> "Record":
        """The record without its value if that is larger than `value_bytes_max`."""
        size = len(self.value or b"")
        return replace(self, value=None, left_out_bytes=size) if size > value_bytes_max else self

    def _is_trusted(self, received_at: datetime) -> bool:
        return EPOCH < self.recorded_at <= received_at + CLOCKS_APART_MAX

    @property
    def position(self) -> str:
        """The record's position, as `topic/partition/offset`."""
        return f"{self.topic}/{self.partition}/{self.offset}"

    @property
    def positional_id(self) -> str:
        """The identity of a message without its own id: the record's position and timestamp.

        The timestamp keeps it unique if a topic is created again, with offsets from 0.
        """
        return f"{self.position}@{int(self.recorded_at.timestamp() * 1000)}"


def received(records: Iterable[Record], at: datetime, value_bytes_max: int) -> list[Record]:
    """Records with their time of receipt (UTC), each without a value that is too large.

    Nearly all stay as they are, which is seen here without a call for each.
    """
    trusted_until = at + CLOCKS_APART_MAX
    return [
        each
        if EPOCH < each.recorded_at <= trusted_until and len(each.value or b"") <= value_bytes_max
        else each.received(at).bounded(value_bytes_max)
        for each in records
    ]


class Outgoing(Struct, frozen=True):
    """A message to send.

    Without a key, its partition is chosen at random; without key and value, the value is empty.
    """

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers = ()

    @property
    def size_bytes(self) -> int:
        """An upper bound for its size in Kafka, with key, value and headers, in bytes."""
        return (
            len(self.key or b"")
            + len(self.value or b"")
            + sum(
                len(header_name_text(name).encode()) + len(value or b"") + HEADER_LENGTHS_BYTES_MAX
                for name, value in self.headers
            )
        )


def header_name_text(name: str) -> str:
    """A header's name for output: bytes that are not UTF-8 become a backslash and a number."""
    return name.encode(errors="surrogateescape").decode(errors="backslashreplace")


class StartOffset(Struct, frozen=True):
    """The offset from which a partition is read, after a start or after its position was lost.

    `refused`: the offset at which reading was to continue, if Kafka has no records there: it is
    before the first one or after the last one.
    """

    topic: str
    partition: int
    offset: int
    refused: int | None = None
