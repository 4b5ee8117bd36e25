"""The document of what a decision read besides the registers.  Fields with their default are left
out.

Most facts read nothing, and there is one of these documents for each fact.
"""

from datetime import datetime

import msgspec
from msgspec import UNSET, UnsetType, field

from marketplace_worker.documents.shapes import (
    Document,
    Shape,
    decode,
    encode,
    stores,
    to_core,
    to_stored,
)
from marketplace_worker.lifecycle import unreadable
from marketplace_worker.lifecycle.guard import GuardAnswers
from marketplace_worker.lifecycle.inactivity import LastSeen
from marketplace_worker.lifecycle.replay import Readings
from marketplace_worker.lifecycle.verdicts import RequestVerdict
from marketplace_worker.lifecycle.vocabulary import ActivityFeed, Marketplace, OrganizationId


@stores(LastSeen)
class StoredLastSeen(Shape, omit_defaults=True):
    """When an organization was last in use."""

    login_at: datetime | None = None
    request_at: datetime | None = None
    logins: tuple[datetime, ...] = ()


@stores(unreadable.UnreadableFeed)
class StoredUnreadableFeed(Shape):
    """A feed that had records which could not be read."""

    feed: ActivityFeed
    organization: str | None


@stores(GuardAnswers)
class StoredGuardAnswers(Shape, omit_defaults=True):
    """What the decision read of the whole fleet."""

    permitted: bool | None = None
    silent: tuple[ActivityFeed, ...] | None = None
    requested: RequestVerdict | None = None
    unreadable: tuple[StoredUnreadableFeed, ...] | None = None


class StoredReadings(Document, omit_defaults=True):
    """The document."""

    seen: dict[str, StoredLastSeen] = field(default_factory=dict)
    answers: StoredGuardAnswers | UnsetType = UNSET
    crowded: tuple[tuple[Marketplace, str], ...] = ()
    answered: bool = False


_DECODER = msgspec.json.Decoder(StoredReadings)


def readings_to_json(readings: Readings) -> str:
    """The document of what a decision read."""
    if readings == _NO_READINGS:
        return _NO_READINGS_TEXT
    return encode(
        StoredReadings(
            seen={id_: to_stored(seen, StoredLastSeen) for id_, seen in readings.seen.items()},
            answers=(
                UNSET
                if readings.answers == _NO_READINGS.answers
                else to_stored(readings.answers, StoredGuardAnswers)
            ),
            crowded=readings.crowded,
            answered=readings.answered,
        )
    )


def readings_from_json(text: str) -> Readings:
    """Parse readings.  Raises `ValueError`, which names the field."""
    if text == _NO_READINGS_TEXT:
        return Readings()
    stored = decode(text, _DECODER)
    return Readings(
        seen={OrganizationId(id_): to_core(seen, LastSeen) for id_, seen in stored.seen.items()},
        answers=(
            GuardAnswers() if stored.answers is UNSET else to_core(stored.answers, GuardAnswers)
        ),
        crowded=stored.crowded,
        answered=stored.answered,
    )


_NO_READINGS = Readings()
_NO_READINGS_TEXT = encode(StoredReadings())
