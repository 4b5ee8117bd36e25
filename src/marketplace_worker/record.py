"""A Kafka record, as it came and as it is to go out: bytes and where they stand.

`Record` is the input of every translator, from the broker or a scenario.
"""

from dataclasses import dataclass
from datetime import datetime

Headers = tuple[tuple[str, bytes | None], ...]
"""In their order; a value may be null or binary."""


@dataclass(frozen=True, slots=True)
class Record:
    """The bytes of a record and where they stood.

    `recorded_at` is the record's own timestamp (UTC); `value` is None for a tombstone.
    """

    topic: str
    partition: int
    offset: int
    recorded_at: datetime
    key: bytes | None
    value: bytes | None
    headers: Headers = ()

    @property
    def position(self) -> str:
        """`topic/partition/offset`: where an operator finds it."""
        return f"{self.topic}/{self.partition}/{self.offset}"

    @property
    def own_id(self) -> str:
        """The identity of an input that brings none: its position and its time.

        The time makes it another one's where a topic was made anew and counts from 0 again.
        """
        return f"{self.position}@{int(self.recorded_at.timestamp() * 1000)}"


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to send.

    Without a key, its partition is chosen at random; without key and value, the value is empty.
    """

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
