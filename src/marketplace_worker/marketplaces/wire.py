"""What the three translators share: fields with their paths, times, table rows.

Everything that is wrong with an input is `Malformed`, with the path of the field and never a value
of the input: it may be personal.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import MAXYEAR, MINYEAR, UTC, datetime, timedelta
from typing import Self

from marketplace_worker.envelopes import Part
from marketplace_worker.errors import Malformed
from marketplace_worker.json_reading import parse_json
from marketplace_worker.lifecycle.notes import Attention, Change, Ended
from marketplace_worker.lifecycle.vocabulary import Initiator, PlanEndReason, marketplace_id
from marketplace_worker.record import EPOCH, Record

ENTRIES_MAX = 10_000
"""How many entries a list may have that is read whole."""
TEXT_BYTES_MAX = 1_024
"""The longest text that is read, in bytes of UTF-8: ids are indexed, two of them at once, and
Postgres refuses an index entry of more than 2704 bytes.
"""
NAME_MAX = 200
"""Where the marketplace's own word for a notification is cut, in characters."""
TIME_MAX = 64
"""The longest text that can be a time, in characters."""

_ZERO_UUID = "00000000-0000-0000-0000-000000000000"

# --- objects and their fields ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Node:
    """An object of the input and the path at which it stands; an absent one has no fields.

    A field that is absent, null or `""` counts as absent (Azure 2019 sent every optional field as
    `""`); one of the wrong type is `Malformed`.
    """

    fields: Mapping[str, object]
    path: str = ""

    @classmethod
    def of(cls, part: Part | None) -> Self | None:
        """The node of what an envelope said; None where none did."""
        return None if part is None else cls(part.fields, part.path)

    def value(self, name: str) -> object:
        """A field as it came; None where it is absent, null or empty text."""
        return None if (found := self.fields.get(name)) == "" else found

    def has(self, name: str) -> bool:
        """Whether the field is there."""
        return self.value(name) is not None

    def at(self, name: str) -> str:
        """The path of a field."""
        return f"{self.path}.{name}" if self.path else name

    def text(self, name: str) -> str | None:
        """A text without the blanks around it (AWS sends some); None where nothing is left."""
        found = self.value(name)
        if found is None:
            return None
        if not isinstance(found, str):
            raise Malformed("must be text", field=self.at(name))
        return storable_text(found.strip(), field=self.at(name)) or None

    def required(self, name: str) -> str:
        """A text that must be there."""
        found = self.text(name)
        if found is None:
            raise Malformed("is missing", field=self.at(name))
        return found

    def flag(self, name: str) -> bool | None:
        """A truth value; AWS and some routers send it as text."""
        found = self.value(name)
        if found is None or isinstance(found, bool):
            return found
        match self.text(name):
            case str(text) if text.lower() in {"true", "false"}:
                return text.lower() == "true"
            case _:
                raise Malformed("must be true or false", field=self.at(name))

    def time(self, name: str) -> datetime | None:
        """A moment in UTC; None where it is absent or unreadable (lifecycle.md section 11)."""
        text = self.text(name)
        return None if text is None else parse_time(text)

    def end_time(self, name: str) -> datetime | None:
        """When something ends; None also for the year 9999, by which AWS says "never"."""
        return usable_end(self.time(name))

    def child(self, name: str) -> Self:
        """An object; an absent one has no fields."""
        found = self.value(name)
        if found is None:
            found = {}
        if not isinstance(found, dict):
            raise Malformed("must be an object", field=self.at(name))
        return replace(self, fields=found, path=self.at(name))

    def json_child(self, name: str) -> Self:
        """An object, or one as JSON text; an absent one has no fields."""
        found = self.value(name)
        if not isinstance(found, str):
            return self.child(name)
        read = parse_json(found, field=self.at(name))
        if not isinstance(read, dict):
            raise Malformed("must be an object or its JSON text", field=self.at(name))
        return replace(self, fields=read, path=self.at(name))

    def children(self, name: str) -> "Sequence[Self | Malformed]":
        """The objects of a list, each taken or refused by itself."""
        found = self.value(name)
        if not isinstance(found, list):
            raise Malformed("must be a list", field=self.at(name))
        if len(found) > ENTRIES_MAX:
            raise Malformed(f"holds more than {ENTRIES_MAX} entries", field=self.at(name))
        return [
            replace(self, fields=entry, path=f"{self.at(name)}.{index}")
            if isinstance(entry, dict)
            else Malformed("must be an object", field=f"{self.at(name)}.{index}")
            for index, entry in enumerate(found)
        ]


@dataclass(frozen=True, slots=True)
class CaselessNode(Node):
    """A node whose fields are found in any spelling of upper and lower case (Azure).

    Where two spellings are there, the exact one wins, then the first.
    """

    def value(self, name: str) -> object:
        """A field as it came; None where it is absent, null or empty text."""
        exact = self.fields.get(name)
        if exact is not None and exact != "":
            return exact
        wanted = name.lower()
        spellings = (found for key, found in self.fields.items() if key.lower() == wanted)
        return next((found for found in spellings if found is not None and found != ""), None)


def usable_id(found: str | None) -> str | None:
    """An id that tells one message from another, as it is compared; None where it is absent or the
    zero UUID, which some senders put in the place of a missing one.
    """
    id_ = None if found is None else marketplace_id(found)
    return None if id_ == _ZERO_UUID else id_


@dataclass(frozen=True, slots=True)
class ProtoNode(Node):
    """A node whose fields are found by their protobuf names too (`update_time` for `updateTime`):
    a reader of protobuf's JSON accepts both.
    """

    def value(self, name: str) -> object:
        """A field as it came; None where it is absent, null or empty text."""
        found = self.fields.get(name)
        if found is None or found == "":
            found = self.fields.get(_CAPITAL.sub(_after_underscore, name))
        return None if found == "" else found


_CAPITAL = re.compile("[A-Z]")


def _after_underscore(capital: re.Match[str]) -> str:
    return f"_{capital[0].lower()}"


def storable_text(text: str, *, field: str) -> str:
    """The text, where it can be stored: bounded, no NUL (Postgres has none), no lone surrogate."""
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
    """An ISO 8601 time as UTC; None where it is unreadable.

    Without zone: UTC.  More than 6 fraction digits: cut.  Blanks within are dropped (a Google
    fixture has them).  The year 1 is .NET's word for "no time"; a time that leaves the calendar
    on its way to UTC is its end.
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
    """A moment from a number; `Malformed` where the calendar does not reach it."""
    try:
        return EPOCH + timedelta(seconds=seconds)
    except (OverflowError, ValueError):
        raise Malformed("is a number that no time has", field=field) from None


def usable_end(moment: datetime | None) -> datetime | None:
    """The moment; None for one in the year 9999, which means "never"."""
    return None if moment is None or moment.year == MAXYEAR else moment


def later(moment: datetime, by: timedelta) -> datetime | None:
    """A moment later `by`; None where the calendar ends before."""
    try:
        return moment + by
    except OverflowError:
        return None


def occurred_at(record: Record, told: datetime | None) -> datetime:
    """The event time: as told, but never later than the record's (lifecycle.md section 11)."""
    return record.latest_event_time if told is None else min(told, record.latest_event_time)


# --- rows of the tables ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RankedChange:
    """What a row of a table of marketplaces.md section 1 says; `rank` is its number there."""

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
    """A terminal end, by whom such a reason has."""
    return Ended(reason, _INITIATORS[reason], terminal=True)


def ended_for_now(reason: PlanEndReason) -> Ended:
    """An end that a later notification may undo, by whom such a reason has."""
    return Ended(reason, _INITIATORS[reason], terminal=False)


def bounded_name(notification: str) -> str:
    """The marketplace's own word for a notification, cut to what the journal takes."""
    return notification[:NAME_MAX]
