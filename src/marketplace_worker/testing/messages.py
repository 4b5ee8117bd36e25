"""A message for one of the inbound topics, as bytes, and what all builders of messages share."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from marketplace_worker.record import Record


@dataclass(frozen=True, slots=True)
class Message:
    """One message.  Equal arguments build equal messages, so a second one is a redelivery.

    Args:
        topic: by its default name (docs/settings.md).
        key: of the Kafka record; of messages about an organization its id.
        value: JSON in UTF-8.
        at: when it happened (UTC).
        what: its kind, and whom it concerns, for a reader.
    """

    topic: str
    key: str
    value: bytes
    at: datetime
    what: str

    def record(self, received_at: datetime | None = None) -> Record:
        """The message as a Kafka record, received when it happened, or at another time."""
        return Record(
            self.topic, 0, 0, received_at or self.at, key=self.key.encode(), value=self.value
        )

    def line(self) -> dict[str, Any]:
        """The message as a line of a scenario, for `simulate` and `send FILE`, before `json`."""
        return scenario_line(self.record())


def scenario_line(record: Record) -> dict[str, Any]:
    """A record as a line of a scenario; a value that is not JSON as text."""
    value: Any = None if record.value is None else record.value.decode(errors="backslashreplace")
    with suppress(ValueError):
        value = json.loads(record.value or b"null")
    line = {
        "at": time_text(record.recorded_at),
        "topic": record.topic,
        "key": None if record.key is None else record.key.decode(errors="backslashreplace"),
        "value": value,
    }
    headers = {name: (held or b"").decode(errors="replace") for name, held in record.headers}
    return {**line, "headers": headers} if headers else line


def message(topic: str, key: str, value: object, at: datetime, what: str) -> Message:
    """A message whose value is JSON."""
    return Message(topic, key, json.dumps(value).encode(), at.astimezone(UTC), what)


def uuid_for(*parts: object) -> str:
    """A UUID, the same for the same parts: what a marketplace would choose at random."""
    return str(uuid5(NAMESPACE_URL, "\n".join(map(str, parts))))


def time_text(moment: datetime, timespec: str = "auto") -> str:
    """RFC 3339 in UTC, as the marketplaces write it: with a `Z`."""
    return moment.astimezone(UTC).isoformat(timespec=timespec).replace("+00:00", "Z")


def without_none(fields: Mapping[str, object]) -> dict[str, object]:
    """The fields that have a value."""
    return {name: value for name, value in fields.items() if value is not None}
