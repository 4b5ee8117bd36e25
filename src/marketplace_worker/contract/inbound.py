"""Translates inbound CloudEvents: each becomes one fact, or is refused with a reason.

Only this module knows which type becomes which fact (events.md section 2).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

from marketplace_worker.contract.cloudevents import (
    TYPE_PREFIX,
    CloudEvent,
    event_type,
    unquoted,
)
from marketplace_worker.contract.emails import EmailHasher
from marketplace_worker.contract.feeds import identity_of
from marketplace_worker.contract.fields import Prose, Text, first_problem
from marketplace_worker.contract.inbound_data import (
    SUPPORT_DATA,
    ApiRequestsData,
    CommitmentLinkedData,
    CreatedData,
    LoggedInData,
    OwnerChangedData,
    SubscriptionLinkedData,
    SupportData,
    TierChangedData,
)
from marketplace_worker.contract.outbound_events import STATE_NAME
from marketplace_worker.errors import Malformed
from marketplace_worker.lifecycle.events import WORKER, EventKind
from marketplace_worker.lifecycle.facts import (
    ApiRequested,
    CommitmentLinked,
    Created,
    Fact,
    LoggedIn,
    OwnerChanged,
    SubscriptionLinked,
    SupportRequested,
    TierChanged,
    Unrecognized,
)
from marketplace_worker.lifecycle.vocabulary import (
    Identity,
    Marketplace,
    OrganizationId,
    SubscriptionKey,
    SupportRequestKind,
)
from marketplace_worker.record import Record

D = TypeVar("D")


RESERVED_SOURCES = frozenset({*Marketplace, "operator", "worker", "deadline"})
"""Sources that no CloudEvent may have: those of notifications, operators and the worker itself."""


def is_reserved(source: str) -> bool:
    """Whether a CloudEvent may not have this source (events.md section 1)."""
    return source.strip().casefold() in RESERVED_SOURCES


def read_fact(event: CloudEvent, record: Record, *, carries: str, hash_email: EmailHasher) -> Fact:
    """The fact of an inbound CloudEvent, on a topic for names that begin with `carries`.

    - An event time later than the record's counts as the record's (lifecycle.md section 11).
    - A valid envelope of a foreign type becomes `Unrecognized`; its time may be missing.
    - A Support request with invalid data or key becomes a fact with a `problem`, so that it is
      refused by an answer and not as a dead letter.
    - What depends on the time of the decision, such as whether an end is in the future, is not
      checked here.

    Raises:
        Malformed: anything else is wrong; names the field.
    """
    envelope = event.envelope
    if is_reserved(envelope.source):
        raise Malformed("is reserved, and no CloudEvent's", field=event.at("source"))
    _refuse_type_of_another_topic(event, carries)
    identity = identity_of(envelope.source, envelope.id, carries=carries)
    occurred_at = min(envelope.time or record.latest_event_time, record.latest_event_time)
    translator = _TRANSLATORS.get(envelope.type)
    request = _REQUESTS.get(envelope.type)
    if translator is None and request is None:
        return Unrecognized(identity, occurred_at, envelope.type)
    if envelope.time is None:
        raise Malformed("is required", field=event.at("time"))
    organization = None if envelope.subject is None else OrganizationId(envelope.subject)
    if organization is None and request is not SupportRequestKind.UNLOCK_EMAIL:
        raise Malformed("is required: the organization's id", field=event.at("subject"))
    if organization == WORKER:
        reason = "is the worker's own name, and no organization's"
        raise Malformed(reason, field=event.at("subject"))
    if request is not None:
        request_fact = SupportRequested(
            identity, occurred_at, organization, request, requested_by="", reason=""
        )
        return _read_request(event, request_fact, record.key, hash_email)
    assert translator is not None
    assert organization is not None
    return translator(event, _EventHeader(identity, occurred_at, organization, hash_email))


def _refuse_type_of_another_topic(event: CloudEvent, carries: str) -> None:
    """Refuse a type of ours that belongs on another topic (events.md section 1).

    Kafka authorizes by topic: a producer of one topic must not be able to send the events of
    another.  An unknown name under the topic's own prefix is accepted.
    """
    type_ = event.envelope.type
    if not type_.startswith(TYPE_PREFIX):
        return
    if not type_.startswith(f"{TYPE_PREFIX}{carries}"):
        reason = f"is a type of ours that this topic does not carry: it carries {carries}*"
        raise Malformed(reason, field=event.at("type"))
    if type_ in _OUTBOUND_TYPES:
        raise Malformed("is a type that only the worker writes", field=event.at("type"))


_OUTBOUND_TYPES = frozenset(event_type(name) for name in (*EventKind, STATE_NAME))


# --- facts of an organization ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _EventHeader:
    """The values of an envelope that every fact has."""

    identity: Identity
    occurred_at: datetime
    organization: OrganizationId
    hash_email: EmailHasher


@dataclass(frozen=True, slots=True)
class _Translator(Generic[D]):
    """How one type is translated: the model of its data, and the fact that it becomes."""

    data: TypeAdapter[D]
    fact: Callable[[_EventHeader, D], Fact]
    empty: object = None
    """The value of absent data."""

    def __call__(self, event: CloudEvent, header: _EventHeader) -> Fact:
        raw = event.read_data()
        try:
            data = self.data.validate_python(self.empty if raw is None else raw)
        except ValidationError as error:
            field, reason = first_problem(error, within=event.at("data"))
            raise Malformed(reason, field=field) from None
        return self.fact(header, data)


def _logged_in(header: _EventHeader, _data: LoggedInData) -> LoggedIn:
    return LoggedIn(header.identity, header.occurred_at, header.organization)


def _api_requested(header: _EventHeader, data: ApiRequestsData) -> ApiRequested:
    return ApiRequested(
        header.identity, header.occurred_at, header.organization, data.requests or 1
    )


def _created(header: _EventHeader, data: CreatedData) -> Created:
    return Created(
        header.identity,
        header.occurred_at,
        header.organization,
        tier=data.tier,
        owner=header.hash_email(data.owner_email),
        billing_cycle_anchor=data.billing_cycle_anchor,
    )


def _tier_changed(header: _EventHeader, data: TierChangedData) -> TierChanged:
    return TierChanged(header.identity, header.occurred_at, header.organization, data.tier)


def _owner_changed(header: _EventHeader, data: OwnerChangedData) -> OwnerChanged:
    owner = header.hash_email(data.owner_email)
    return OwnerChanged(header.identity, header.occurred_at, header.organization, owner)


def _subscription_linked(header: _EventHeader, data: SubscriptionLinkedData) -> SubscriptionLinked:
    return SubscriptionLinked(
        header.identity,
        header.occurred_at,
        header.organization,
        SubscriptionKey(data.marketplace, data.subscription_id),
        billing_account=data.billing_account,
        plan_type=data.plan_type,
    )


def _commitment_linked(header: _EventHeader, data: CommitmentLinkedData) -> CommitmentLinked:
    return CommitmentLinked(
        header.identity,
        header.occurred_at,
        header.organization,
        commitment_id=data.commitment_id,
        starts_at=data.starts_at,
        ends_at=data.ends_at,
    )


_BY_NAME: dict[str, _Translator[Any]] = {
    "identity.user.logged_in": _Translator(TypeAdapter(LoggedInData), _logged_in),
    "usage.api_requests": _Translator(TypeAdapter(ApiRequestsData), _api_requested, empty={}),
    "organization.created": _Translator(TypeAdapter(CreatedData), _created),
    "organization.tier_changed": _Translator(TypeAdapter(TierChangedData), _tier_changed),
    "organization.owner_changed": _Translator(TypeAdapter(OwnerChangedData), _owner_changed),
    "organization.subscription_linked": _Translator(
        TypeAdapter(SubscriptionLinkedData), _subscription_linked
    ),
    "organization.commitment_linked": _Translator(
        TypeAdapter(CommitmentLinkedData), _commitment_linked
    ),
}
_TRANSLATORS = {event_type(name): translator for name, translator in _BY_NAME.items()}


# --- requests of Support --------------------------------------------------------------------------

_REQUESTS = {event_type(f"support.{kind}"): kind for kind in SupportRequestKind}
_REQUEST_DATA: dict[SupportRequestKind, TypeAdapter[SupportData]] = {
    kind: TypeAdapter(model) for kind, model in SUPPORT_DATA.items()
}
_TEXT: TypeAdapter[str] = TypeAdapter(Text)
_PROSE: TypeAdapter[str] = TypeAdapter(Prose)


def _read_request(
    event: CloudEvent,
    request_fact: SupportRequested,
    key: bytes | None,
    hash_email: EmailHasher,
) -> SupportRequested:
    """The request with its data, or with the problem that its data has."""
    raw: object = None
    try:
        raw = event.read_data()
        data = _REQUEST_DATA[request_fact.request].validate_python(raw)
    except Malformed as error:
        problem = f"{error.field} {error.reason}"
    except ValidationError as error:
        problem = " ".join(first_problem(error, within="data"))
    else:
        if request_fact.organization is None or _is_key_of(request_fact.organization, key):
            return data.complete(request_fact, hash_email)
        problem = "key must be the organization's id: requests about one keep their order by it"
    return replace(
        request_fact,
        requested_by=_valid_or_empty(raw, "requested_by", _TEXT),
        reason=_valid_or_empty(raw, "reason", _PROSE),
        problem=f"{problem}.",
    )


def _is_key_of(organization: OrganizationId, key: bytes | None) -> bool:
    """Whether a record's key is an organization's id, as text or as a JSON string
    (lifecycle.md section 7).
    """
    return key == organization.encode() or organization_of_key(key) == organization


def organization_of_key(key: bytes | None) -> OrganizationId | None:
    """The organization id in a record's key, as text or a JSON string; None if it cannot be one."""
    try:
        text = unquoted((key or b"").decode())
        return OrganizationId(_TEXT.validate_python(text))
    except (UnicodeDecodeError, ValidationError):
        return None


def _valid_or_empty(raw: object, field: str, text: TypeAdapter[str]) -> str:
    """One field of data that is invalid elsewhere; "" if this field is invalid too."""
    try:
        return text.validate_python(raw.get(field) if isinstance(raw, dict) else None, strict=True)
    except ValidationError:
        return ""
