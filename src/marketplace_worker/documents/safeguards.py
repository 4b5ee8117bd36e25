"""The document of the fleet's safeguards: one for all organizations."""

from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from marketplace_worker.documents.shapes import (
    Document,
    Shape,
    decode,
    encode,
    mend_duration,
    stores,
    to_core,
    to_stored,
)
from marketplace_worker.lifecycle import safeguards
from marketplace_worker.lifecycle.vocabulary import ActivityFeed, RequestLimit


@stores(safeguards.StepCount)
class StoredStepCount(Shape):
    """The steps taken at one moment."""

    at: datetime
    steps: int


@stores(safeguards.RequestCount)
class StoredRequestCount(Shape):
    """Requested deactivations that were done at one moment."""

    at: datetime
    by: str
    requests: int


@stores(safeguards.Trip)
class StoredTrip(Shape):
    """A trip of one side of the guard."""

    at: datetime
    by: str | None
    reason: str
    allowance: int = 0
    counted: int | None = None
    limit: int | None = None
    which: RequestLimit | None = None
    request_id: str | None = None
    event: UUID | None = None


@stores(safeguards.Safeguards)
class StoredSafeguards(Document):
    """The document."""

    recent: tuple[StoredStepCount, ...] = ()
    trip: StoredTrip | None = None
    silences: tuple[tuple[ActivityFeed, date], ...] = ()
    sequence: int = 0
    control_plane: tuple[StoredStepCount, ...] = ()
    requested: tuple[StoredRequestCount, ...] = ()
    requests_trip: StoredTrip | None = None
    unreadable: tuple[tuple[ActivityFeed, date], ...] = ()
    clock_ahead: timedelta = timedelta(0)
    clock_jumped_at: datetime | None = None
    set_back_at: datetime | None = None
    epoch: int = 0
    epoch_open: bool = False


_DECODER = msgspec.json.Decoder(StoredSafeguards)


def safeguards_to_json(value: safeguards.Safeguards) -> str:
    """The document of the safeguards."""
    return encode(to_stored(value, StoredSafeguards))


def safeguards_from_json(text: str) -> safeguards.Safeguards:
    """The safeguards from their document.  Raises `ValueError`, which names the field."""
    return to_core(decode(text, _DECODER, _mend), safeguards.Safeguards)


def _mend(document: dict[str, Any]) -> None:
    mend_duration(document, "clock_ahead")
