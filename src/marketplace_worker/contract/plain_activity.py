"""A fast path for plainly written logins and API usage, by far the most frequent messages.

Returns None for anything unusual, which `inbound` then reads or refuses with a reason.  Both give
the same result (a test over generated events); this path costs less than half.
"""

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType
from pydantic_core import PydanticCustomError

from marketplace_worker import json_reading
from marketplace_worker.contract.cloudevents import (
    CLOUDEVENTS_CONTENT_TYPE,
    TYPE_PREFIX,
    event_type,
)
from marketplace_worker.contract.feeds import identity_of
from marketplace_worker.contract.fields import TEXT_BYTES_MAX, read_time
from marketplace_worker.contract.inbound import is_reserved
from marketplace_worker.contract.inbound_data import REQUESTS_MAX
from marketplace_worker.lifecycle.events import WORKER
from marketplace_worker.lifecycle.facts import ActivityFact, ApiRequested, LoggedIn
from marketplace_worker.lifecycle.vocabulary import Identity, OrganizationId
from marketplace_worker.record import Record

_LOGGED_IN = event_type("identity.user.logged_in")
_API_REQUESTS = event_type("usage.api_requests")

_CHARACTER_BYTES_MAX = 4
_Text = Annotated[str, Meta(min_length=1, max_length=TEXT_BYTES_MAX // _CHARACTER_BYTES_MAX)]

_STRUCTURED = ((), (("content-type", CLOUDEVENTS_CONTENT_TYPE.encode()),))
"""The first header of a record in structured mode: the content type, or no header at all."""

_REQUIRED_STRINGS = 6
"""All attributes except the two about the data."""


class _Data(Struct, frozen=True, gc=False):
    """The data of either type."""

    user_id: _Text | UnsetType = UNSET
    requests: Annotated[int, Meta(ge=1, le=REQUESTS_MAX)] | UnsetType = UNSET


class _Event(Struct, frozen=True, gc=False):
    """A CloudEvent with no other attributes than these."""

    specversion: Literal["1.0"]
    id: _Text
    source: _Text
    type: str
    subject: _Text
    time: str
    data: _Data
    datacontenttype: str | UnsetType = UNSET
    dataschema: str | UnsetType = UNSET


_DECODER = msgspec.json.Decoder(_Event)


def read_plain_activity(record: Record, *, carries: str) -> ActivityFact | None:
    """The login or API usage of a plainly written record; None for anything else.

    `carries`: the prefix of the names that its topic carries.
    """
    value = record.value
    # Without a backslash nothing is escaped: no NUL, no surrogate, and no quote within a string.
    if not value or b"\\" in value or record.headers[:1] not in _STRUCTURED:
        return None
    if json_reading.may_be_deep(value):
        return None
    try:
        event = _DECODER.decode(value)
        at = read_time(event.time)
    except (msgspec.MsgspecError, UnicodeDecodeError, PydanticCustomError):
        return None
    if value.count(b'"') != 2 * _strings(event) or event.subject == WORKER:
        return None
    if is_reserved(event.source) or not event.type.startswith(carries, len(TYPE_PREFIX)):
        return None
    identity = identity_of(event.source, event.id, carries=carries)
    return _fact(event, identity, min(at, record.latest_event_time))


def _strings(event: _Event) -> int:
    """How many strings it has, keys included.  More in its text mean a repeated or unknown key."""
    data = event.data
    about_data = (event.datacontenttype is not UNSET) + (event.dataschema is not UNSET)
    pairs = _REQUIRED_STRINGS + about_data + (data.user_id is not UNSET)
    keys_of_others = 1 + (data.requests is not UNSET)  # `data` is one of them
    return 2 * pairs + keys_of_others


def _fact(event: _Event, identity: Identity, at: datetime) -> ActivityFact | None:
    organization = OrganizationId(event.subject)
    if event.type == _API_REQUESTS:
        requests = 1 if event.data.requests is UNSET else event.data.requests
        return ApiRequested(identity, at, organization, requests)
    if event.type == _LOGGED_IN and event.data.user_id is not UNSET:
        return LoggedIn(identity, at, organization)
    return None
