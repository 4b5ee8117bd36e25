"""Shared by the three translators: access to fields with their paths, times, ranked changes.

Invalid input raises `Malformed` with the path of the field, never with a value, which may be
personal.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import MAXYEAR, MINYEAR, UTC, datetime, timedelta
from functools import cache
from typing import Self

from marketplace_worker.envelopes import Part
from marketplace_worker.errors import Malformed
from marketplace_worker.json_reading import parse_json
from marketplace_worker.lifecycle.notes import Attention, Change, Ended
from marketplace_worker.lifecycle.vocabulary import Initiator, PlanEndReason, marketplace_id
from marketplace_worker.record import EPOCH, Record

ENTRIES_MAX = 10_000
"""The most entries of a list."""
TEXT_BYTES_MAX = 1_024
"""The longest text, in bytes of UTF-8: two ids are indexed together, and Postgres refuses an index
entry of more than 2,704 bytes.
"""
NAME_MAX = 200
"""Longer names of notifications are cut, in characters."""
TIME_MAX = 64
"""The longest text that can be a time, in characters."""

_ZERO_UUID = "00000000-0000-0000-0000-000000000000"

# --- objects and their fields ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Node:
    """An object of the input and its path.  An absent object is a node without fields.

    A field that is null or `""` counts as absent: in 2019 Azure sent every optional field as `""`.
    A field of the wrong type raises `Malformed`.
    """

    fields: Mapping[str, object]
    path: str = ""

    @classmethod
    def of(cls, part: Part | None) -> Self | None:
        """The node of an envelope's attributes; None if there is no such envelope."""
        return None if part is None else cls(part.fields, part.path)

    def value(self, name: str) -> object:
        """A field, unconverted; None if it is absent, null or empty text."""
        return None if (found := self.fields.get(name)) == "" else found

    def has(self, name: str) -> bool:
        """Whether the field is present."""
        return self.value(name) is not None

    def at(self, name: str) -> str:
        """The path of a field."""
        return f"{self.path}.{name}" if self.path else name

    def text(self, name: str) -> str | None:
        """A text without surrounding blanks (AWS sends some); None if nothing is left."""
        found = self.value(name)
        if found is None:
            return None
        if not isinstance(found, str):
            raise Malformed("must be text", field=self.at(name))
        return storable_text(found.strip(), field=self.at(name)) or None

    def required(self, name: str) -> str:
        """A text that is required."""
        found = self.text(name)
        if found is None:
            raise Malformed("is missing", field=self.at(name))
        return found

    def flag(self, name: str) -> bool | None:
        """A boolean; AWS and some routers send it as text."""
        found = self.value(name)
        if found is None or isinstance(found, bool):
            return found
        match self.text(name):
            case str(text) if text.lower() in {"true", "false"}:
                return text.lower() == "true"
            case _:
                raise Malformed("must be true or false", field=self.at(name))

    def time(self, name: str) -> datetime | None:
        """A moment in UTC; None if it is absent or unreadable (lifecycle.md section 11)."""
        text = self.text(name)
        return None if text is None else parse_time(text)

    def end_time(self, name: str) -> datetime | None:
        """When something ends; None also for the year 9999, which means "never" at AWS."""
        return usable_end(self.time(name))

    def child(self, name: str) -> Self:
        """An object; an absent one has no fields."""
        found = self.value(name)
        if found is None:
            found = {}
        if not isinstance(found, dict):
            raise Malformed("must be an object", field=self.at(name))
        return type(self)(found, self.at(name))

    def json_child(self, name: str) -> Self:
        """An object, or one as JSON text; an absent one has no fields."""
        found = self.value(name)
        if not isinstance(found, str):
            return self.child(name)
        read = parse_json(found, field=self.at(name))
        if not isinstance(read, dict):
            raise Malformed("must be an object or its JSON text", field=self.at(name))
        return type(self)(read, self.at(name))

    def children(self, name: str) -> "Sequence[Self | Malformed]":
        """The objects of a list; an invalid entry is a `Malformed` in its place."""
        found = self.value(name)
        if not isinstance(found, list):
            raise Malformed("must be a list", field=self.at(name))
        if len(found) > ENTRIES_MAX:
            raise Malformed(f"holds more than {ENTRIES_MAX} entries", field=self.at(name))
        return [
            type(self)(entry, f"{self.at(name)}.{index}")
            if isinstance(entry, dict)
            else Malformed("must be an object", field=f"{self.at(name)}.{index}")
            for index, entry in enumerate(found)
        ]


@dataclass(frozen=True, slots=True)
class CaselessNode(Node):
    """A node whose field names are matched without regard to case (Azure).

    Of several spellings, the exact one counts, then the first.
    """

    def value(self, name: str) -> object:
        """A field, unconverted; None if it is absent, null or empty text."""
        exact = self.fields.get(name)
        if exact is not None and exact != "":
            return exact
        wanted = name.lower()
        spellings = (found for key, found in self.fields.items() if key.lower() == wanted)
        return next((found for found in spellings if found is not None and found != ""), None)


def usable_id(found: str | None) -> str | None:
    """An id in its normal form; None if it is absent or the zero UUID, which some senders use for
    a missing id.
    """
    id_ = None if found is None else marketplace_id(found)
    return None if id_ == _ZERO_UUID else id_


@dataclass(frozen=True, slots=True)
class ProtoNode(Node):
    """A node whose fields may also have their protobuf names (`update_time` for `updateTime`), as
    parsers of protobuf's JSON accept.
    """

    def value(self, name: str) -> object:
        """A field, unconverted; None if it is absent, null or empty text."""
        found = self.fields.get(name)
        if found is None or found == "":
            found = self.fields.get(_proto_name(name))
        return None if found == "" else found


@cache
def _proto_name(name: str) -> str:
    return re.sub("[A-Z]", lambda capital: f"_{capital[0].lower()}", name)


def storable_text(text: str, *, field: str) -> str:
    """The text itself; raises `Malformed` if it is too long or Postgres cannot store it."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        reason = "holds half a surrogate pair, which cannot be stored"
        raise Malformed(reason, field=field) from None
    if size > TEXT_BYTES_MAX:
        raise Malformed(f"is longer than {TEXT_BYTES_MAX} bytes", field=field)
    if "\0" in text:
        raise Malformed("holds a NUL character, which cannot be stored", field=field)
    return text


# --- times ----------------------------------------------------------------------------------------


def parse_time(text: str) -> datetime | None:
    """An ISO 8601 time in UTC; None if it is unreadable.

    - No zone means UTC.
    - Fraction digits after the sixth are cut; blanks within are dropped (Google sent some).
    - The year 1 means "no time" in .NET: None.
    - A time that would overflow in UTC becomes the latest one.
    """
    if len(text) > TIME_MAX or text[4:5] != "-":
        return None
    clock = "".join(text[10:].split()).upper()
    separator = "" if not clock or clock.startswith("T") else "T"
    if clock.removeprefix("T").startswith("24"):
        return None  # which Python 3.14 reads as the next day, and those before it not at all
    try:
        moment = datetime.fromisoformat(text[:10] + separator + clock)
    except ValueError:
        return None
    if moment.year == MINYEAR:
        return None
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)


def seconds_since_epoch(seconds: float, *, field: str) -> datetime:
    """A moment from seconds since 1970.  Raises `Malformed` if it would overflow."""
    try:
        return EPOCH + timedelta(seconds=seconds)
    except (OverflowError, ValueError):
        raise Malformed("is a number that no time has", field=field) from None


def usable_end(moment: datetime | None) -> datetime | None:
    """The moment; None for the year 9999, which means "never"."""
    return None if moment is None or moment.year == MAXYEAR else moment


def later(moment: datetime, by: timedelta) -> datetime | None:
    """The moment plus a duration; None if that would overflow."""
    try:
        return moment + by
    except OverflowError:
        return None


def occurred_at(record: Record, event_time: datetime | None) -> datetime:
    """The event time, but never later than the record's (lifecycle.md section 11)."""
    latest = record.latest_event_time
    return latest if event_time is None else min(event_time, latest)


# --- rows of the tables ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RankedChange:
    """A row of the tables in marketplaces.md section 1: what a notification changes.

    `rank`: the row's number, which orders notifications of equal time.  `attention`: why a person
    should look at it.
    """

    rank: int
    change: Change
    attention: Attention | None = None


_INITIATORS = {
    PlanEndReason.CUSTOMER: Initiator.CUSTOMER,
    PlanEndReason.VENDOR: Initiator.VENDOR,
    PlanEndReason.NON_PAYMENT: Initiator.MARKETPLACE,
    PlanEndReason.COMMIT_EXPIRED: Initiator.SYSTEM,
    PlanEndReason.UNKNOWN: Initiator.MARKETPLACE,
}


def ended_for_good(reason: PlanEndReason) -> Ended:
    """A terminal end, with the initiator that belongs to the reason."""
    return Ended(reason, _INITIATORS[reason], terminal=True)


def ended_for_now(reason: PlanEndReason) -> Ended:
    """An end that a later notification can undo, with the initiator that belongs to the reason."""
    return Ended(reason, _INITIATORS[reason], terminal=False)


def bounded_name(notification: str) -> str:
    """The marketplace's name of a notification, cut to `NAME_MAX`."""
    return notification[:NAME_MAX]
