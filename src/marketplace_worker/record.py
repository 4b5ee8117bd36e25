"""Kafka records as bytes with their position: incoming (`Record`) and outgoing (`Outgoing`).

`Record` is the input of every translator, from the broker or a scenario.  They are Structs of
msgspec, not dataclasses: one is built for each message, at a tenth of a frozen dataclass's cost.
"""

from datetime import UTC, datetime, timedelta

from msgspec import Struct
from msgspec.structs import replace

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

CLOCKS_APART_MAX = timedelta(hours=1)
"""How far a producer's clock may be ahead of ours for its timestamps to be trusted.  Kafka 4
refuses more by default (`message.timestamp.after.max.ms`)."""

Headers = tuple[tuple[str, bytes | None], ...]
"""Names and values, in order.  A value may be null or binary.  Bytes of a name that are not UTF-8
are kept as Python keeps them in file names (`surrogateescape`)."""


MESSAGE_BYTES_MAX = 900_000
"""The largest message that we write, with key, value and headers.  Brokers and consumers accept 1
MiB by default.  Messages that could be larger are shortened."""

HEADER_LENGTHS_BYTES_MAX = 10
"""The most bytes that the lengths of a header's name and value take."""


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
        """The latest moment at which what it tells can have happened (UTC).

        That is its own time; but what brings none, or one further ahead than clocks are apart,
        happened by the time it was received: else it would be newer than all that follows.  What
        is ahead by less keeps its order among its neighbours.
        """
        if self.received_at is None or self._is_trusted(self.received_at):
            return self.recorded_at
        return self.received_at

    def received(self, at: datetime) -> "Record":
        """The same record, taken in at that moment (UTC); itself where its own time is believed."""
        return self if self._is_trusted(at) else replace(self, received_at=at)

    def bounded(self, value_bytes_max: int) -> "Record":
        """The same record, without a value that is larger."""
        size = len(self.value or b"")
        return replace(self, value=None, left_out_bytes=size) if size > value_bytes_max else self

    def _is_trusted(self, received_at: datetime) -> bool:
        return EPOCH < self.recorded_at <= received_at + CLOCKS_APART_MAX

    @property
    def position(self) -> str:
        """`topic/partition/offset`: where an operator finds it."""
        return f"{self.topic}/{self.partition}/{self.offset}"

    @property
    def positional_id(self) -> str:
        """The identity of an input that brings none: its position and its time.

        The time makes it another one's where a topic was made anew and counts from 0 again.
        """
        return f"{self.position}@{int(self.recorded_at.timestamp() * 1000)}"


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
        """How many bytes it takes in Kafka: key, value and headers, or some more."""
        return (
            len(self.key or b"")
            + len(self.value or b"")
            + sum(
                len(header_name_text(name).encode()) + len(value or b"") + HEADER_LENGTHS_BYTES_MAX
                for name, value in self.headers
            )
        )


def header_name_text(name: str) -> str:
    """A header's name as it goes out: bytes that are not UTF-8 as a backslash and their number."""
    return name.encode(errors="surrogateescape").decode(errors="backslashreplace")


class StartOffset(Struct, frozen=True):
    """Where a partition began to be read, at a start or because it could not be read on.

    `refused` is where it was to be read on, if Kafka has nothing there: before its first record, or
    past its last.
    """

    topic: str
    partition: int
    offset: int
    refused: int | None = None
