"""Reading inbound CloudEvents: every type, every refusal (events.md section 2)."""

import json
from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cloudevent_records import (
    EXAMPLES,
    HASH,
    RECORDED_AT,
    Headers,
    an_event,
    binary,
    read_record,
    record,
    refusal,
    structured,
    with_data,
)
from msgspec import structs

from marketplace_worker.contract.fields import FAR_FUTURE
from marketplace_worker.contract.inbound_data import INBOUND_DATA
from marketplace_worker.contract.policy_file import DURATION_MAX
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
    HoldKind,
    Identity,
    Marketplace,
    OrganizationId,
    PlanType,
    SubscriptionKey,
    SupportRequestKind,
    Tier,
)
from marketplace_worker.record import Record

AT = datetime(2026, 11, 22, 18, 15, 15, 376_000, tzinfo=UTC)
ORGANIZATION = OrganizationId("org-42")


def day(year: int, month: int, of_month: int) -> datetime:
    """Midnight, UTC."""
    return datetime(year, month, of_month, tzinfo=UTC)


def identity(name: str) -> Identity:
    """The identity of a type's example."""
    return Identity(EXAMPLES[name]["source"], EXAMPLES[name]["id"])


def request(kind: SupportRequestKind, **asked: Any) -> SupportRequested:  # noqa: ANN401 - any field
    """The fact that the example of a request becomes."""
    blank = SupportRequested(
        identity=identity(f"support.{kind}"),
        occurred_at=AT,
        organization=ORGANIZATION,
        request=kind,
        requested_by="ada",
        reason="Asked for by phone.",
        ticket="T-7",
    )
    return replace(blank, **asked)


FACTS: dict[str, Fact] = {
    "identity.user.logged_in": LoggedIn(identity("identity.user.logged_in"), AT, ORGANIZATION),
    "usage.api_requests": ApiRequested(identity("usage.api_requests"), AT, ORGANIZATION, 120),
    "organization.created": Created(
        identity("organization.created"),
        AT,
        ORGANIZATION,
        tier=Tier.FREE,
        owner=HASH("owner@customer.example"),
        billing_cycle_anchor=day(2026, 11, 1),
    ),
    "organization.tier_changed": TierChanged(
        identity("organization.tier_changed"), AT, ORGANIZATION, Tier.PLUS
    ),
    "organization.owner_changed": OwnerChanged(
        identity("organization.owner_changed"),
        AT,
        ORGANIZATION,
        HASH("new-owner@customer.example"),
    ),
    "organization.subscription_linked": SubscriptionLinked(
        identity("organization.subscription_linked"),
        AT,
        ORGANIZATION,
        SubscriptionKey(Marketplace.AWS, "agmt-3bsxkpvrrr0fd0f8a9bqx1234"),
        billing_account="123456789012",
        plan_type=PlanType.PAYG,
    ),
    "organization.commitment_linked": CommitmentLinked(
        identity("organization.commitment_linked"),
        AT,
        ORGANIZATION,
        commitment_id="commitment-9",
        starts_at=day(2026, 11, 1),
        ends_at=day(2027, 11, 1),
    ),
    "support.deactivate_organization": request(SupportRequestKind.DEACTIVATE_ORGANIZATION),
    "support.reactivate_organization": request(SupportRequestKind.REACTIVATE_ORGANIZATION),
    "support.reinstate_organization": request(
        SupportRequestKind.REINSTATE_ORGANIZATION, grant_until=day(2026, 12, 24)
    ),
    "support.unlock_email": request(
        SupportRequestKind.UNLOCK_EMAIL, organization=None, email=HASH("owner@customer.example")
    ),
    "support.place_hold": request(
        SupportRequestKind.PLACE_HOLD, hold=HoldKind.LEGAL, expires_at=day(2027, 1, 31)
    ),
    "support.release_hold": request(SupportRequestKind.RELEASE_HOLD, hold=HoldKind.LEGAL),
    "support.extend_grace": request(SupportRequestKind.EXTEND_GRACE, days=14),
}


# --- accepted -------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [structured, binary])
@pytest.mark.parametrize("name", INBOUND_DATA)
def test_every_type_becomes_its_fact_in_both_modes(
    name: str, mode: Callable[[dict[str, Any]], Record]
) -> None:
    """The table of events.md section 2, in the mode of the producer's choice."""
    assert read_record(mode(EXAMPLES[name])) == FACTS[name]


def test_a_json_object_with_specversion_is_read_without_any_header() -> None:
    """Producers forget the content type; the value is recognized by its content."""
    event = EXAMPLES["identity.user.logged_in"]
    assert read_record(record(json.dumps(event).encode())) == FACTS["identity.user.logged_in"]


def test_the_content_type_is_read_whatever_its_case_and_parameters() -> None:
    """Media types are case-insensitive (RFC 9110), and libraries differ in their parameters."""
    value = json.dumps(EXAMPLES["identity.user.logged_in"]).encode()
    header = ("Content-Type", b"Application/CloudEvents+JSON; charset=UTF-8")
    assert isinstance(read_record(record(value, header)), LoggedIn)


def test_the_content_type_of_a_whole_event_wins_over_ce_headers() -> None:
    """The Kafka binding determines the mode by the content type."""
    given = structured(EXAMPLES["identity.user.logged_in"])
    given = structs.replace(given, headers=(*given.headers, ("ce_id", b"another")))
    assert read_record(given) == FACTS["identity.user.logged_in"]


@pytest.mark.parametrize("mode", [structured, binary])
def test_api_requests_without_data_count_as_one(
    mode: Callable[[dict[str, Any]], Record],
) -> None:
    """The simplest producer sends one event per request."""
    fact = read_record(mode(an_event("usage.api_requests", data=None)))
    assert isinstance(fact, ApiRequested)
    assert fact.requests == 1


@pytest.mark.parametrize("data", [{}, {"requests": None}])
def test_api_requests_without_a_number_count_as_one(data: dict[str, Any]) -> None:
    """The default of the number is one."""
    fact = read_record(structured(an_event("usage.api_requests", data=data)))
    assert isinstance(fact, ApiRequested)
    assert fact.requests == 1


def test_api_requests_with_an_empty_value_count_as_one() -> None:
    """Some clients send an empty value for "no data"."""
    given = structs.replace(binary(EXAMPLES["usage.api_requests"]), value=b"")
    fact = read_record(given)
    assert isinstance(fact, ApiRequested)
    assert fact.requests == 1


def test_optional_fields_may_be_left_out_or_null() -> None:
    """Many serializers write null for an absent field."""
    name = "organization.subscription_linked"
    left_out = read_record(
        structured(an_event(name, data={"marketplace": "aws", "subscription_id": "agmt-1"}))
    )
    null = read_record(
        structured(with_data(name, subscription_id="agmt-1", billing_account=None, plan_type=None))
    )
    assert left_out == null
    assert isinstance(null, SubscriptionLinked)
    assert (null.billing_account, null.plan_type) == (None, None)


@pytest.mark.parametrize(
    ("name", "needed"),
    [
        ("support.deactivate_organization", {}),
        ("support.reactivate_organization", {}),
        ("support.reinstate_organization", {}),
        ("support.unlock_email", {"email": "owner@customer.example"}),
        ("support.place_hold", {"kind": "commercial"}),
        ("support.release_hold", {"kind": "commercial"}),
        ("support.extend_grace", {"days": 1}),
    ],
)
@pytest.mark.parametrize(
    "optional", [{}, {"ticket": None, "grant_until": None, "expires_at": None}]
)
def test_a_request_needs_no_more_fields_than_the_table_lists(
    name: str, needed: dict[str, Any], optional: dict[str, Any]
) -> None:
    """events.md section 2: fields with a question mark may be left out or null."""
    data_given = {"requested_by": "ada", "reason": "Asked for by phone."}
    fact = read_record(structured(an_event(name, data=data_given | optional | needed)))
    assert isinstance(fact, SupportRequested)
    assert fact.problem is None
    assert fact.request == name.removeprefix("support.")
    for optional_name in ("ticket", "grant_until", "expires_at", "email"):
        assert (getattr(fact, optional_name) is None) == (optional_name not in needed)
    assert (fact.hold, fact.days) == (needed.get("kind"), needed.get("days"))


@pytest.mark.parametrize(
    ("asked", "read"), [(36_500, 36_500), (36_501, 36_501), (10**9, 36_501), (10**4000, 36_501)]
)
def test_a_huge_extension_is_read_as_longer_than_any_policy_allows(asked: int, read: int) -> None:
    """The request is valid, and refused as too long; no date is computed from the value."""
    fact = read_record(structured(with_data("support.extend_grace", days=asked)))
    assert isinstance(fact, SupportRequested)
    assert (fact.days, fact.problem) == (read, None)
    assert timedelta(days=36_501) > DURATION_MAX


def test_unknown_fields_and_attributes_are_ignored() -> None:
    """Producers may add fields before we know them."""
    event = with_data("organization.tier_changed", invented={"deep": [1]})
    event |= {"traceparent": "00-ab", "another": 5}
    assert read_record(structured(event)) == FACTS["organization.tier_changed"]


def test_data_in_base64_is_read_as_the_json_format_defines() -> None:
    """Some libraries encode every payload of bytes like this."""
    event = an_event("organization.tier_changed", data=None)
    event["data_base64"] = b64encode(b'{"tier": "plus"}').decode()
    assert read_record(structured(event)) == FACTS["organization.tier_changed"]


def test_other_binary_headers_are_ignored() -> None:
    """Tracing and tools of brokers add such headers."""
    given = binary(EXAMPLES["identity.user.logged_in"])
    noise: Headers = (("trace", b"\xff\xfe"), ("empty", None), ("content-type", b"\xff"))
    assert (
        read_record(structs.replace(given, headers=(*noise, *given.headers)))
        == (FACTS["identity.user.logged_in"])
    )


@pytest.mark.parametrize("mode", [structured, binary])
def test_another_type_with_a_complete_envelope_is_unrecognized(
    mode: Callable[[dict[str, Any]], Record],
) -> None:
    """It is journalled and counted, not a dead letter: the producer may be newer than we are."""
    kind = "io.marketplace-worker.organization.created.v2"
    event = an_event("organization.created", type=kind, subject=None, data=None)
    assert read_record(mode(event)) == Unrecognized(identity("organization.created"), AT, kind)


def test_another_type_without_time_has_the_records_time() -> None:
    """Only the types of our table require a time (lifecycle.md section 11)."""
    event = an_event("organization.created", type="com.example.other", time=None)
    fact = read_record(structured(event))
    assert isinstance(fact, Unrecognized)
    assert fact.occurred_at == RECORDED_AT


def test_an_unlock_of_an_email_keeps_its_subject_where_it_has_one() -> None:
    """The type needs no subject, but one that is present is kept."""
    fact = read_record(structured(an_event("support.unlock_email", subject="org-42")))
    assert isinstance(fact, SupportRequested)
    assert fact.organization == ORGANIZATION


# --- times ----------------------------------------------------------------------------------------


def occurred_at(time: str) -> datetime:
    """The time of an event, as it is read."""
    fact = read_record(structured(an_event(time=time)))
    assert isinstance(fact, TierChanged)
    return fact.occurred_at


@pytest.mark.parametrize(
    ("time", "moment"),
    [
        ("2026-11-22T18:15:15Z", datetime(2026, 11, 22, 18, 15, 15, tzinfo=UTC)),
        ("2026-11-22t18:15:15z", datetime(2026, 11, 22, 18, 15, 15, tzinfo=UTC)),
        ("2026-11-22T19:15:15.5+01:00", datetime(2026, 11, 22, 18, 15, 15, 500_000, tzinfo=UTC)),
        ("2026-11-22T18:15:15.1234569Z", datetime(2026, 11, 22, 18, 15, 15, 123_456, tzinfo=UTC)),
    ],
)
def test_times_are_read_as_utc(time: str, moment: datetime) -> None:
    """All times inside are UTC; digits beyond the microsecond are cut off."""
    assert occurred_at(time) == moment
    assert occurred_at(time).utcoffset() == timedelta(0)


def test_a_time_ahead_of_the_record_is_replaced_by_the_records_time() -> None:
    """Otherwise one fast clock would make all later messages stale (lifecycle.md section 11)."""
    assert occurred_at("2026-11-22T19:00:00.000001Z") == RECORDED_AT


@pytest.mark.parametrize(
    "time",
    [
        "2026-11-22T18:15:15",
        "2026-11-22  18:15:15Z",
        "2026-11-22\t18:15:15Z",
        "2026-11-22 18:15:15",
        "2026-11-22 18:15:15+00",
        "2026-11-22T18:15:15+0:00",
        "2026-11-22T18:15:15GMT",
        "2026-11-22T18:15:15 Z",
        "2026-11-22",
        "20261122T181515Z",
        "2026-02-30T18:15:15Z",
        "2026-11-22T18:15:60Z",
        "2026-11-22T18:15:15+24:00",
        "2026-11-22T18:15:15+01:00:30",
        "1969-12-31T23:59:59Z",
        "0001-01-01T00:00:00+23:59",
        "\uff12\uff10\uff12\uff16-11-22T18:15:15Z",
        "now",
        "",
    ],
)
def test_an_invalid_time_is_refused(time: str) -> None:
    """Guessing a zone or a date could remove a customer's access."""
    assert refusal(structured(an_event(time=time))).field == "time"


@pytest.mark.parametrize("far", ["9999-12-31T23:59:59Z", "9999-12-31T23:59:59-12:00"])
def test_a_time_meant_as_forever_is_capped(far: str) -> None:
    """Refusing it would remove the plan from an organization; keeping it would overflow in date
    arithmetic.
    """
    fact = read_record(structured(with_data("organization.commitment_linked", ends_at=far)))
    assert isinstance(fact, CommitmentLinked)
    assert fact.ends_at == FAR_FUTURE
