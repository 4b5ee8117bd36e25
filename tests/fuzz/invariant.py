"""The invariant for any record of any topic (docs/delivery.md).

Every record is accepted or refused; an accepted one can be stored and decided on.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime, timedelta

from msgspec import structs

from marketplace_worker import documents
from marketplace_worker.contract.cloudevents import CLOUDEVENTS_CONTENT_TYPE
from marketplace_worker.contract.emails import email_hasher
from marketplace_worker.contract.feeds import NAME_PREFIXES, Feed
from marketplace_worker.contract.inbound import is_reserved
from marketplace_worker.contract.outbound import encode
from marketplace_worker.contract.plain_activity import read_plain_activity
from marketplace_worker.errors import Malformed
from marketplace_worker.lifecycle.decide import Decision, apply, deadline_of
from marketplace_worker.lifecycle.facts import (
    Created,
    Erased,
    Fact,
    GuardReleased,
    GuardTripped,
    Notified,
    SubscriptionLinked,
)
from marketplace_worker.lifecycle.fleet import Fleet
from marketplace_worker.lifecycle.policy import Policies, Policy
from marketplace_worker.lifecycle.vocabulary import EmailHash, Identity, OrganizationId, Tier
from marketplace_worker.record import Record
from marketplace_worker.translate import translate, translate_in_full

RECORDED_AT = datetime(2026, 11, 22, 19, 0, tzinfo=UTC)
BEFORE = RECORDED_AT - timedelta(days=400)
ACME = OrganizationId("acme")
STRUCTURED = (("content-type", CLOUDEVENTS_CONTENT_TYPE.encode()),)

TEXT_BYTES_MAX = 8_192
INDEXED_BYTES_MAX = 2_600
"""Postgres refuses an index entry of more than 2,704 bytes, for both columns of a key together."""
NUMBER_MAX = 2**63 - 1
ATTEMPTS_MAX = 15
"""How many deadlines of an organization are simulated; a timeline has fewer."""

_HASH = email_hasher(b"a key for the fuzzer")
_POLICIES = Policies(Policy())


def record(
    value: bytes | None,
    headers: Sequence[tuple[str, bytes | None]] = (),
    *,
    recorded_at: datetime = RECORDED_AT,
    received_at: datetime = RECORDED_AT,
    key: bytes | None = None,
) -> Record:
    """A record of any bytes."""
    return Record("topic", 3, 7, recorded_at, key, value, tuple(headers), received_at)


def check(given: Record, feed: Feed) -> Sequence[Fact | Malformed]:
    """Fail if the invariant is broken; return the results of reading the record."""
    translated = translate(given, feed, _HASH)
    assert translated, "neither accepted nor refused"
    if feed in NAME_PREFIXES:
        _check_plain(given, feed)
        _check_plain(structs.replace(given, headers=()), feed)
        _check_plain(structs.replace(given, headers=STRUCTURED), feed)
    for each in translated:
        if isinstance(each, Malformed):
            _check_refusal(each)
        else:
            _check_fact(each, given, feed)
    return translated


def _check_plain(given: Record, feed: Feed) -> None:
    """The fast reader must agree with the full one."""
    activity = read_plain_activity(given, feed)
    if activity is not None:
        assert [activity.content] == [each.what for each in translate_in_full(given, feed, _HASH)]
        assert activity.content.occurred_at.tzinfo is UTC


def _check_refusal(refusal: Malformed) -> None:
    assert refusal.reason
    assert len(str(refusal)) <= 1_000, "a reason is a sentence"
    _check_text(str(refusal))
    assert refusal.field, "names the field, or the value as a whole"


def _check_fact(fact: Fact, given: Record, feed: Feed) -> None:
    assert not isinstance(fact, GuardTripped | GuardReleased | Erased), "reserved for operators"
    assert fact.occurred_at <= given.latest_event_time
    assert fact.identity.id
    source = feed.value if feed not in NAME_PREFIXES else None
    assert source == fact.identity.source or not (source or is_reserved(fact.identity.source))
    _check_indexed(fact.identity.source, fact.identity.id)
    if isinstance(fact, Notified | SubscriptionLinked):
        assert fact.subscription.subscription_id
        _check_indexed(fact.subscription.marketplace, fact.subscription.subscription_id)
    for value in _values(fact):
        _check_value(value)
    written = documents.fact_to_json(fact)
    _check_text(written)
    # Postgres parses its JSON strictly.
    assert "\\u0000" not in written.replace("\\\\", "")
    json.loads(written, parse_constant=_no_constant)
    assert documents.fact_from_json(written) == fact


def _values(value: object) -> Iterator[object]:
    if is_dataclass(value):
        for field in fields(value):
            yield from _values(getattr(value, field.name))
    elif isinstance(value, tuple):
        for each in value:
            yield from _values(each)
    else:
        yield value


def _check_value(value: object) -> None:
    match value:
        case str():
            _check_text(value)
            assert len(value.encode()) <= TEXT_BYTES_MAX
        case datetime():
            assert value.tzinfo is UTC
            assert value != datetime.max.replace(tzinfo=UTC), "asyncpg writes infinity"
        case bool() | None:
            pass
        case int():
            assert abs(value) <= NUMBER_MAX
        case timedelta():
            pass
        case _:
            raise AssertionError(f"not a type of a fact's fields: {type(value)}")


def _check_text(text: str) -> None:
    assert "\0" not in text
    text.encode()  # no lone surrogate


def _check_indexed(*columns: str) -> None:
    assert sum(len(each.encode()) for each in columns) <= INDEXED_BYTES_MAX


def _no_constant(name: str) -> None:
    raise AssertionError(f"{name} is not JSON")


# --- deciding -------------------------------------------------------------------------------------


def simulate_fact(fact: Fact) -> None:
    """Apply the fact to a fleet that knows its subject, and every deadline that follows.

    All states must be storable, and all events publishable.
    """
    fleet, organization = Fleet(), getattr(fact, "organization", None) or ACME
    for before in _beginning(fact, organization):
        _check_decision(apply(before, fleet, _POLICIES, now=BEFORE), fleet)
    decision = apply(fact, fleet, _POLICIES, now=RECORDED_AT)
    now = RECORDED_AT
    for _ in range(ATTEMPTS_MAX):
        _check_decision(decision, fleet)
        due = [result.due_at for result in decision.results if result.due_at is not None]
        if not due or max(due) > RECORDED_AT + timedelta(days=3_653):
            return
        now = max(now, *due)
        deadline = deadline_of(fleet.organization(organization), now)
        decision = apply(deadline, fleet, _POLICIES, now=now)


def _beginning(fact: Fact, organization: OrganizationId) -> Iterable[Fact]:
    yield Created(Identity("law", "1"), BEFORE, organization, Tier.FREE, EmailHash("0" * 64))
    if isinstance(fact, Notified):
        yield SubscriptionLinked(Identity("law", "2"), BEFORE, organization, fact.subscription)


def _check_decision(decision: Decision, fleet: Fleet) -> None:
    for event in decision.events:
        _check_text(encode(event).decode())
    for result in decision.results:
        organization = fleet.organization(result.organization.id)
        written = documents.organization_to_json(organization)
        assert documents.organization_from_json(written) == organization
    if decision.subscription is not None:
        written = documents.subscription_to_json(decision.subscription)
        assert documents.subscription_from_json(written) == decision.subscription
