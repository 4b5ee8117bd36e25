"""Refused inbound CloudEvents: the refusal names the field and never quotes the input (events.md
2).
"""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from cloudevent_records import (
    EXAMPLES,
    an_event,
    binary,
    read_record,
    record,
    refusal,
    structured,
    with_data,
    without,
)
from msgspec import structs

from marketplace_worker.lifecycle.facts import SupportRequested, TierChanged
from marketplace_worker.record import Record


@pytest.mark.parametrize("mode", [structured, binary])
@pytest.mark.parametrize("field", ["specversion", "id", "source", "type", "time", "subject"])
def test_a_missing_required_attribute_is_refused(
    field: str, mode: Callable[[dict[str, Any]], Record]
) -> None:
    """Without it the event has no identity, no time, or no subject."""
    assert refusal(mode(an_event(**{field: None}))).field == field


@pytest.mark.parametrize("mode", [structured, binary])
@pytest.mark.parametrize("bad", ["", "a\0b", "x" * 1025, "ä" * 513])
@pytest.mark.parametrize("field", ["id", "source", "type", "subject"])
def test_text_that_postgres_cannot_store_is_refused(
    field: str, bad: str, mode: Callable[[dict[str, Any]], Record]
) -> None:
    """Postgres stores no NUL, and the size of an index entry is limited."""
    assert refusal(mode(an_event(**{field: bad}))).field == field


@pytest.mark.parametrize("field", ["id", "source", "type", "subject"])
@pytest.mark.parametrize("bad", [5, 1.5, True, [], {}, ["x"], "\ud800"])
def test_attributes_of_another_type_and_lone_surrogates_are_refused(
    field: str, bad: object
) -> None:
    """Values are not coerced, and Postgres cannot store lone surrogates."""
    assert refusal(structured(an_event(**{field: bad}))).field == field


def test_text_of_the_maximum_length_is_read() -> None:
    """The limit is in bytes and inclusive."""
    fact = read_record(structured(an_event(id="x" * 1024, subject="ä" * 512)))
    assert isinstance(fact, TierChanged)
    assert (fact.identity.id, fact.organization) == ("x" * 1024, "ä" * 512)


@pytest.mark.parametrize("specversion", ["0.3", "1.0.2", "1", 1.0, ""])
def test_another_version_of_cloudevents_is_refused(specversion: object) -> None:
    """Its attributes might have another meaning."""
    assert refusal(structured(an_event(specversion=specversion))).field == "specversion"


@pytest.mark.parametrize(
    ("event", "field"),
    [
        (an_event("organization.tier_changed", data=None), "data"),
        (an_event("organization.tier_changed", data=[]), "data"),
        (an_event("organization.tier_changed", data="plus"), "data"),
        (without("organization.tier_changed", "tier"), "data.tier"),
        (with_data("organization.tier_changed", tier="gold"), "data.tier"),
        (with_data("organization.tier_changed", tier=["plus"]), "data.tier"),
        (without("organization.created", "tier"), "data.tier"),
        (without("organization.created", "owner_email"), "data.owner_email"),
        (with_data("organization.created", owner_email="  "), "data.owner_email"),
        (with_data("organization.created", owner_email="\ud800@x"), "data.owner_email"),
        (with_data("organization.created", billing_cycle_anchor="2026-11-01"),
         "data.billing_cycle_anchor"),
        (with_data("organization.created", billing_cycle_anchor=1793491200),
         "data.billing_cycle_anchor"),
        (with_data("organization.owner_changed", owner_email=5), "data.owner_email"),
        (with_data("identity.user.logged_in", user_id=5), "data.user_id"),
        (with_data("identity.user.logged_in", user_id=""), "data.user_id"),
        (with_data("usage.api_requests", requests=0), "data.requests"),
        (with_data("usage.api_requests", requests="3"), "data.requests"),
        (with_data("usage.api_requests", requests=True), "data.requests"),
        (with_data("usage.api_requests", requests=1.5), "data.requests"),
        (with_data("usage.api_requests", requests=10**12 + 1), "data.requests"),
        (with_data("usage.api_requests", requests=10**4000), "data.requests"),
        (with_data("organization.subscription_linked", marketplace="oracle"), "data.marketplace"),
        (with_data("organization.subscription_linked", subscription_id="a\0"),
         "data.subscription_id"),
        (with_data("organization.subscription_linked", billing_account=7), "data.billing_account"),
        (with_data("organization.subscription_linked", plan_type="free"), "data.plan_type"),
        (without("organization.commitment_linked", "ends_at"), "data.ends_at"),
        (with_data("organization.commitment_linked", ends_at="2026-11-01T00:00:00Z"),
         "data.ends_at"),
        (with_data("organization.commitment_linked", starts_at="soon"), "data.starts_at"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("mode", [structured, binary])
def test_invalid_data_is_refused_by_its_field(
    event: dict[str, Any], field: str, mode: Callable[[dict[str, Any]], Record]
) -> None:
    """The producer's owner must see which field it is."""
    assert refusal(mode(event)).field == field


def test_a_refusal_is_a_sentence_about_the_field() -> None:
    """In terms of the format, not of our libraries."""
    assert str(refusal(structured(an_event(data=[])))) == "data: must be a JSON object"
    assert str(refusal(structured(an_event(id=None)))) == "id: is required"
    assert str(refusal(structured(an_event(id=5)))) == "id: must be a valid string"
    assert str(refusal(record(b""))) == "value: is empty"
    assert str(refusal(structured(with_data("organization.tier_changed", tier="gold")))) == (
        "data.tier: must be 'free', 'plus' or 'enterprise'"
    )


VALUE = json.dumps(EXAMPLES["organization.tier_changed"])


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"\xff\xfe{}",
        VALUE.encode("utf-16"),
        b"{",
        b"[]",
        b"5",
        b"null",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        VALUE.replace("{", '{"n": NaN, ', 1).encode(),
        VALUE.replace("{", '{"n": -Infinity, ', 1).encode(),
        VALUE.replace("{", '{"n": ' + "9" * 5000 + ", ", 1).encode(),
        VALUE.replace("{", '{"id": "another", ', 1).encode(),
        VALUE.replace('"tier"', '"tier": "free", "tier"').encode(),
    ],
)
def test_a_value_that_is_not_a_strict_json_object_is_refused(value: bytes | None) -> None:
    """JSON parsers differ in what they make of such values."""
    assert refusal(record(value)).field == "value"
    assert refusal(record(value, ("content-type", b"application/cloudevents+json"))).field == (
        "value"
    )


@pytest.mark.parametrize("value", [b"\xff", b"{", b'{"tier": "plus", "tier": "free"}', b"NaN"])
def test_data_in_binary_mode_that_is_no_json_is_refused(value: bytes) -> None:
    """In binary mode the value is the data."""
    given = structs.replace(binary(EXAMPLES["organization.tier_changed"]), value=value)
    assert refusal(given).field == "data"


@pytest.mark.parametrize(
    ("header", "field"),
    [
        (("ce_subject", None), "ce_subject"),
        (("ce_subject", b"\xff"), "ce_subject"),
        (("ce_id", b"a second one"), "ce_id"),
        (("ce_trace", None), "headers"),
        (("ce_trace", b"\xff"), "headers"),
    ],
)
def test_a_ce_header_that_cannot_be_read_is_refused(
    header: tuple[str, bytes | None], field: str
) -> None:
    """A broken attribute is not the same as an absent one."""
    given = binary(an_event(subject=None))
    assert refusal(structs.replace(given, headers=(*given.headers, header))).field == field


@pytest.mark.parametrize(
    "other",
    [
        *[b"application/cloudevents+avro", b"application/cloudevents-batch+avro"],
        *[b"application/avro", b"application/cloudevents+xml", b"application/x-protobuf; a=b"],
    ],
)
def test_a_format_of_whole_events_other_than_json_is_refused(other: bytes) -> None:
    """Its bytes would be misread as JSON."""
    for header in ("content-type", "Content-Type"):
        assert refusal(record(VALUE.encode(), (header, other))).field == "content-type"


@pytest.mark.parametrize("encoded", ["?", "e30=x", 5, "ä"])
def test_invalid_data_base64_is_refused(encoded: object) -> None:
    """A lenient decoder would yield other bytes than were encoded."""
    event = an_event(data=None, data_base64=encoded)
    assert refusal(structured(event)).field == "data_base64"


def test_data_beside_data_base64_is_refused() -> None:
    """The JSON format allows only one of them, and the two could differ."""
    assert refusal(structured(an_event(data_base64="e30="))).field == "data_base64"


def test_a_refusal_never_quotes_the_input() -> None:
    """Reasons go to logs and headers; the input may be personal data."""
    secret = "grace.hopper"
    for event in (
        an_event(time=secret),
        an_event(specversion=secret),
        an_event(type=f"{secret}\0"),
        with_data("organization.tier_changed", tier=secret),
        with_data("organization.created", owner_email=f"{secret}\0"),
        an_event(data=secret),
        an_event(data=None, data_base64=f"?{secret}"),
    ):
        assert secret not in str(refusal(structured(event)))
    assert secret not in str(refusal(record(f'{{"{secret}": 1, "{secret}": 2}}'.encode())))
    assert secret not in str(refusal(record(b"{}", (f"ce_{secret}", None))))


# --- requests of Support --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "problem"),
    [
        (without("support.extend_grace", "days"), "data.days is required."),
        (with_data("support.extend_grace", days="3"), "data.days must be a valid integer."),
        (with_data("support.extend_grace", days=0),
         "data.days must be greater than or equal to 1."),
        (with_data("support.place_hold", kind="personal"),
         "data.kind must be 'legal' or 'commercial'."),
        (with_data("support.place_hold", expires_at="never"),
         "data.expires_at must be an RFC 3339 time with its zone, such as 2026-11-22T18:15:15Z."),
        (with_data("support.unlock_email", email=" "), "data.email must not be blank."),
        (with_data("support.reinstate_organization", grant_until="2026-13-01T00:00:00Z"),
         "data.grant_until must be a time that the calendar has."),
    ],
)  # fmt: skip
@pytest.mark.parametrize("mode", [structured, binary])
def test_a_request_with_invalid_data_is_answered_with_its_problem(
    event: dict[str, Any], problem: str, mode: Callable[[dict[str, Any]], Record]
) -> None:
    """Support gets an answer, with the requester and the reason that it sent."""
    fact = read_record(mode(event))
    assert isinstance(fact, SupportRequested)
    assert fact.problem == problem
    assert (fact.requested_by, fact.reason) == ("ada", "Asked for by phone.")
    assert (fact.days, fact.hold, fact.email, fact.grant_until, fact.expires_at) == (None,) * 5


@pytest.mark.parametrize("data", [None, [], "x", {"requested_by": "a\0", "reason": "\ud800"}])
def test_an_invalid_request_keeps_only_data_that_can_be_stored(data: object) -> None:
    """Otherwise recording the refusal would fail in the database."""
    fact = read_record(structured(an_event("support.extend_grace", data=data)))
    assert isinstance(fact, SupportRequested)
    assert fact.problem is not None
    assert (fact.requested_by, fact.reason) == ("", "")


def test_a_binary_request_whose_data_is_not_json_is_answered_with_its_problem() -> None:
    """Its envelope is in the headers, so the answer has an address."""
    fact = read_record(structs.replace(binary(EXAMPLES["support.extend_grace"]), value=b"{"))
    assert isinstance(fact, SupportRequested)
    assert fact.problem == "data is not JSON (at character 1)."


@pytest.mark.parametrize("field", ["id", "time", "subject"])
def test_a_request_with_an_unreadable_envelope_is_refused(field: str) -> None:
    """Without a readable envelope there is nobody to answer."""
    event = an_event("support.extend_grace", **{field: None})
    assert refusal(structured(event)).field == field


def test_a_grant_that_ends_in_the_past_is_read() -> None:
    """The decision judges whether it is too late, not the reader."""
    event = with_data("support.reinstate_organization", grant_until="2020-01-01T00:00:00Z")
    fact = read_record(structured(event))
    assert isinstance(fact, SupportRequested)
    assert (fact.grant_until, fact.problem) == (datetime(2020, 1, 1, tzinfo=UTC), None)


def test_the_workers_own_subject_is_refused_as_an_organization() -> None:
    """The worker's own events have their own sequence (lifecycle.md section 9)."""
    assert refusal(structured(an_event(subject="worker"))).field == "subject"
