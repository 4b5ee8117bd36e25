"""A fast path for plainly written logins and API usage, by far the most frequent messages.

Returns None for anything unusual, which `inbound` then reads or refuses with a reason.  Both
produce the same result (a test compares them on generated events); this path takes a sixth of the
time.
"""

from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.json import Decoder

from marketplace_worker import json_reading
from marketplace_worker.contract.cloudevents import CLOUDEVENTS_CONTENT_TYPE, event_type
from marketplace_worker.contract.feeds import NAME_PREFIXES, Feed, identity_of
from marketplace_worker.contract.fields import FAR_FUTURE, TEXT_BYTES_MAX, YEAR_MIN
from marketplace_worker.contract.inbound import is_reserved
from marketplace_worker.contract.inbound_data import REQUESTS_MAX
from marketplace_worker.lifecycle.events import WORKER
from marketplace_worker.lifecycle.facts import ActivityFact, ApiRequested, LoggedIn
from marketplace_worker.lifecycle.vocabulary import OrganizationId
from marketplace_worker.record import Headers, Record

_CHARACTER_BYTES_MAX = 4
_Text = Annotated[str, Meta(min_length=1, max_length=TEXT_BYTES_MAX // _CHARACTER_BYTES_MAX)]

_STRUCTURED = ("content-type", CLOUDEVENTS_CONTENT_TYPE.encode())
"""The first header of a record in structured mode, if it has any."""

_TIME_CHARACTERS_MAX = len("2026-11-22T18:15:15.123456Z")
"""A longer time may have more digits than microseconds, which msgspec rounds and `read_time` cuts.
"""


class _Usage(Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """The data of API usage."""

    requests: Annotated[int, Meta(ge=1, le=REQUESTS_MAX)] | UnsetType = UNSET


class _Login(Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """The data of a login."""

    user_id: _Text


class _Event(Struct, frozen=True, gc=False, forbid_unknown_fields=True, tag_field="type"):
    """A CloudEvent with no other attributes than these, and its type."""

    specversion: Literal["1.0"]
    id: _Text
    source: _Text
    subject: _Text
    time: str
    datacontenttype: str | UnsetType = UNSET
    dataschema: str | UnsetType = UNSET


class _ApiRequests(_Event, frozen=True, kw_only=True, tag=event_type("usage.api_requests")):
    data: _Usage


class _LoggedIn(_Event, frozen=True, kw_only=True, tag=event_type("identity.user.logged_in")):
    data: _Login


_API_REQUESTS = Decoder(_ApiRequests)
_LOGINS = Decoder(_LoggedIn)

_QUOTES = 2 * (2 * len(("specversion", "id", "source", "type", "subject", "time")) + len(("data",)))
"""The quotes of the required strings and keys; `data` has no string as its value."""

_QUOTES_OF_PAIR = 4
_QUOTES_OF_KEY = 2


class PlainActivity(Struct, frozen=True):
    """One plainly written login or API usage.

    `requests`: None for a login.  `occurred_at`: never later than the record.
    """

    record: Record
    organization: OrganizationId
    occurred_at: datetime
    requests: int | None
    source: str
    id: str

    @property
    def content(self) -> ActivityFact:
        """The same as a fact."""
        feed = Feed.LOGINS if self.requests is None else Feed.API_REQUESTS
        identity = identity_of(self.source, self.id, carries=NAME_PREFIXES[feed])
        if self.requests is None:
            return LoggedIn(identity, self.occurred_at, self.organization)
        return ApiRequested(identity, self.occurred_at, self.organization, self.requests)


def read_plain_activity(record: Record, feed: Feed) -> PlainActivity | None:
    """The login or API usage of a plainly written record of a feed; None for anything else."""
    if feed is Feed.API_REQUESTS:
        return _read(record, _API_REQUESTS)
    if feed is Feed.LOGINS:
        return _read(record, _LOGINS)
    return None


def _read(
    record: Record, decoder: Decoder[_ApiRequests] | Decoder[_LoggedIn]
) -> PlainActivity | None:
    value, latest = record.value, record.latest_event_time
    # Without a backslash nothing is escaped: no NUL, no surrogate, and no quote within a string.
    if not value or b"\\" in value or not _is_plain(record.headers):
        return None
    if json_reading.may_be_deep(value):  # msgspec fails on it if it is the type
        return None
    try:
        event = decoder.decode(value)
        at = msgspec.convert(event.time, datetime)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    # A repeated key adds quotes.
    if value.count(b'"') != _quotes(event) or not _is_plain_time(event.time, at):
        return None
    if event.subject == WORKER or is_reserved(event.source):
        return None
    return PlainActivity(
        record,
        OrganizationId(event.subject),
        min(latest, at),
        _requests(event),
        event.source,
        event.id,
    )


def _is_plain(headers: Headers) -> bool:
    """Whether the event is in the value itself, and every name can be read."""
    if not headers:
        return True
    return headers[0] == _STRUCTURED and all(name.isascii() for name, _ in headers)


def _is_plain_time(text: str, at: datetime) -> bool:
    if len(text) > _TIME_CHARACTERS_MAX or at.tzinfo is not UTC:
        return False
    return YEAR_MIN <= at.year < FAR_FUTURE.year


def _quotes(event: _ApiRequests | _LoggedIn) -> int:
    """The number of quotes around strings and keys."""
    about_data = (event.datacontenttype is not UNSET) + (event.dataschema is not UNSET)
    quotes = _QUOTES + about_data * _QUOTES_OF_PAIR
    if isinstance(event, _LoggedIn):
        return quotes + _QUOTES_OF_PAIR
    return quotes + (event.data.requests is not UNSET) * _QUOTES_OF_KEY


def _requests(event: _ApiRequests | _LoggedIn) -> int | None:
    if isinstance(event, _LoggedIn):
        return None
    return 1 if event.data.requests is UNSET else event.data.requests
