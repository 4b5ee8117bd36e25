"""Encoding events and snapshots (events.md section 3)."""

import json
import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from marketplace_worker.contract.examples import (
    example_answer_of_the_worker,
    example_snapshot,
    example_standing,
    outbound_examples,
)
from marketplace_worker.contract.outbound import (
    CLOUDEVENTS_CONTENT_TYPE,
    VALUE_BYTES_MAX,
    encode,
    encode_snapshot,
)
from marketplace_worker.contract.outbound_events import EVENT_MODELS, STATE_MODEL
from marketplace_worker.contract.tracing import Trace
from marketplace_worker.lifecycle.events import (
    WORKER,
    CancellationDetails,
    EmailDetails,
    Event,
    EventKind,
    NoticeDetails,
    Refusal,
    SubscriptionsDetails,
    SupportDetails,
    event_id,
)
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.vocabulary import (
    ActivityFeed,
    EmailHash,
    GuardSide,
    Marketplace,
    OrganizationId,
    SubscriptionKey,
)
from marketplace_worker.lifecycle.worker_details import (
    GuardReleasedDetails,
    GuardTrippedDetails,
    SilentFeedDetails,
    UnreadableFeedDetails,
)

EVENTS = outbound_examples()
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
AGREEMENT = {"marketplace": "aws", "subscription_id": "agmt-3bsxkpvrrr0fd0f8a9bqx1234"}
STANDING_KEYS = [
    "organization_id",
    "state",
    "previous_state",
    "effective_at",
    "reason",
    "initiator",
    "plan_type",
    "capabilities",
    "next_step",
    "recoverable",
    "policy_version",
]
ANSWER_KEYS = ["request_id", "request", "code", "message", "requested_by"]
OWN_KEYS = {
    EventKind.CANCELED: ["schedule"],
    EventKind.DEACTIVATED: ["cause"],
    EventKind.NOTICE_GIVEN: ["upcoming_state", "at", "schedule"],
    EventKind.NOTICE_WITHDRAWN: ["upcoming_state", "at"],
    EventKind.REINSTATEMENT_PENDING: ["marketplace", "subscription_id", "completed_by"],
    EventKind.REINSTATEMENT_LAPSED: ["marketplace", "subscription_id", "completed_by"],
    EventKind.SUBSCRIPTIONS_REMOVED: ["subscriptions", "commitments", "grants"],
    EventKind.EMAIL_LOCKED: ["email_hash"],
    EventKind.EMAIL_UNLOCKED: ["email_hash"],
    EventKind.EMAIL_LOCK_VIOLATED: ["email_hash", "used_by"],
    EventKind.METERING_FINAL_REPORT_DUE: ["marketplace", "subscription_id", "deadline"],
    EventKind.SUPPORT_REQUEST_COMPLETED: ANSWER_KEYS,
    EventKind.SUPPORT_REQUEST_REJECTED: ANSWER_KEYS,
}
KEYS_OF_THE_WORKER = {
    EventKind.GUARD_TRIPPED: [
        "guard",
        "counted",
        "limit",
        "by",
        "reason",
        "which",
        "request_id",
        "added_to",
    ],
    EventKind.GUARD_RELEASED: [
        "guard",
        "steps",
        "requests",
        "counted",
        "limit",
        "by",
        "reason",
        "which",
        "request_id",
    ],
    EventKind.ACTIVITY_FEED_SILENT: ["feed", "day", "last_heard_at"],
    EventKind.ACTIVITY_FEED_UNREADABLE: ["feed", "day", "organization_id"],
}
"""Kinds that belong to no single organization, and so include no state."""
OWN_KEYS_ALONE = {EventKind.ERASED: ["organization_id"], **KEYS_OF_THE_WORKER}
"""Kinds that announce that an organization no longer exists, and so include no state."""


def written(event: Event) -> dict[str, Any]:
    """An event as its consumer parses it."""
    document: dict[str, Any] = json.loads(encode(event))
    return document


@pytest.mark.parametrize("kind", EventKind)
def test_the_envelope_follows_the_contract(kind: EventKind) -> None:
    """Consumers order, deduplicate and route by these attributes."""
    event = EVENTS[kind]
    subject = OrganizationId("worker" if kind in KEYS_OF_THE_WORKER else "org-42")
    document = written(event)
    data = document.pop("data")
    assert document == {
        "specversion": "1.0",
        "id": str(event_id(subject, event.sequence, kind)),
        "source": "/marketplace-worker",
        "type": f"io.marketplace-worker.{kind}.v1",
        "subject": subject,
        "time": event.decided_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "datacontenttype": "application/json",
        "dataschema": f"urn:marketplace-worker:schema:{kind}:v1",
        "sequence": str(event.sequence).rjust(20, "0"),
        "partitionkey": subject,
        "causationid": event.causation_id,
        "correlationid": event.correlation_id,
    }
    of_an_organization = STANDING_KEYS + OWN_KEYS.get(kind, [])
    assert list(data) == OWN_KEYS_ALONE.get(kind, of_an_organization)


def test_attribute_names_are_valid_in_cloudevents() -> None:
    """Lower-case letters and digits only; Kafka headers of other bindings depend on it."""
    for kind in EventKind:
        assert all(re.fullmatch("[a-z0-9]{1,20}", name) for name in written(EVENTS[kind]))


def test_the_data_contains_the_organizations_state() -> None:
    """So that a consumer can act on one event alone."""
    data = written(EVENTS[EventKind.SUSPENDED])["data"]
    assert data == {
        "organization_id": "org-42",
        "state": "suspended",
        "previous_state": "control_plane_loss",
        "effective_at": "2026-11-08T09:30:00Z",
        "reason": "customer",
        "initiator": "customer",
        "plan_type": "payg",
        "capabilities": {"manage": False, "data": False, "api_keys": False, "login": True},
        "next_step": {"state": "deactivated", "at": "2026-12-08T09:30:00Z"},
        "recoverable": True,
        "policy_version": "2026-11-22",
    }


def test_absent_values_are_null_and_not_left_out() -> None:
    """Consumers rely on every key being present."""
    event = EVENTS[EventKind.REINSTATED]
    assert event.standing is not None
    bare = replace(
        event.standing,
        previous_state=None,
        reason=None,
        initiator=None,
        plan_type=None,
        next_step=None,
    )
    data = written(replace(event, standing=bare))["data"]
    assert list(data) == STANDING_KEYS
    assert [key for key, value in data.items() if value is None] == [
        "previous_state",
        "reason",
        "initiator",
        "plan_type",
        "next_step",
    ]


@pytest.mark.parametrize(
    ("kind", "own"),
    [
        (EventKind.DEACTIVATED, {"cause": "marketplace_cancellation"}),
        (
            EventKind.NOTICE_GIVEN,
            {
                "upcoming_state": "suspended",
                "at": "2026-11-08T09:30:00Z",
                "schedule": [
                    {"state": "suspended", "at": "2026-11-08T09:30:00Z"},
                    {"state": "deactivated", "at": "2026-12-08T09:30:00Z"},
                ],
            },
        ),
        (
            EventKind.NOTICE_WITHDRAWN,
            {"upcoming_state": "deactivated", "at": "2026-12-08T09:30:00Z"},
        ),
        (
            EventKind.SUBSCRIPTIONS_REMOVED,
            {
                "subscriptions": [AGREEMENT],
                "commitments": ["commitment-9"],
                "grants": ["example-10"],
            },
        ),
        (EventKind.EMAIL_LOCKED, {"email_hash": "5f" * 32}),
        (EventKind.EMAIL_UNLOCKED, {"email_hash": "5f" * 32}),
        (EventKind.EMAIL_LOCK_VIOLATED, {"email_hash": "5f" * 32, "used_by": "org-77"}),
        (
            EventKind.REINSTATEMENT_PENDING,
            {**AGREEMENT, "completed_by": "sign_in"},
        ),
        (
            EventKind.SUPPORT_REQUEST_COMPLETED,
            {
                "request_id": "example-12",
                "request": "place_hold",
                "code": None,
                "message": "A legal hold stands.",
                "requested_by": "ada",
            },
        ),
        (
            EventKind.SUPPORT_REQUEST_REJECTED,
            {
                "request_id": "example-9",
                "request": "reactivate_organization",
                "code": "irreversible",
                "message": "What a cancellation at the marketplace ended cannot come back.",
                "requested_by": "ada",
            },
        ),
        (
            EventKind.GUARD_TRIPPED,
            {
                "guard": "steps",
                "counted": 50,
                "limit": 50,
                "by": None,
                "reason": "the limit of harmful steps within an hour is reached",
                "which": None,
                "request_id": None,
                "added_to": None,
            },
        ),
        (
            EventKind.GUARD_RELEASED,
            {
                "guard": "steps",
                "steps": 20,
                "requests": None,
                "counted": 50,
                "limit": 50,
                "by": "grace",
                "reason": "These have really canceled.",
                "which": None,
                "request_id": None,
            },
        ),
        (
            EventKind.ACTIVITY_FEED_SILENT,
            {"feed": "logins", "day": "2026-11-22", "last_heard_at": "2026-11-18T04:15:00Z"},
        ),
        (
            EventKind.ACTIVITY_FEED_UNREADABLE,
            {"feed": "logins", "day": "2026-11-22", "organization_id": "org-42"},
        ),
        (
            EventKind.METERING_FINAL_REPORT_DUE,
            {**AGREEMENT, "deadline": "2026-11-01T10:30:00Z"},
        ),
    ],
)
def test_the_details_of_a_kind_are_flat_in_the_data(kind: EventKind, own: dict[str, Any]) -> None:
    """events.md section 3, *And what its kind needs*."""
    data = written(EVENTS[kind])["data"]
    standing = [] if kind in KEYS_OF_THE_WORKER else STANDING_KEYS
    assert {key: data[key] for key in data if key not in standing} == own


def test_an_unlock_of_an_unknown_email_is_answered_without_an_organization() -> None:
    """The requester waits for an answer, but there is no organization to describe."""
    document = written(example_answer_of_the_worker())
    assert (document["subject"], document["partitionkey"]) == ("worker", "worker")
    assert document["data"] == {
        "request_id": "example-11",
        "request": "unlock_email",
        "code": "email_not_locked",
        "message": "No organization has this email locked.",
        "requested_by": "ada",
    }


def test_unknown_details_are_null_and_not_left_out() -> None:
    """A guard that was tripped by hand has no limit, one that was released entirely no number, and
    a feed may never have been active, or may hide the use of every organization.
    """
    both = GuardSide.BOTH
    by_hand = GuardTrippedDetails(both, None, None, by="grace", reason="Not today.")
    altogether = GuardReleasedDetails(both, None, None, None, None, "grace", "All is well.")
    of_anybody = UnreadableFeedDetails(ActivityFeed.LOGINS, date(2026, 11, 22), None)
    never = SilentFeedDetails(ActivityFeed.API_REQUESTS, date(2026, 11, 22), None)
    for kind, details, missing in (
        (EventKind.GUARD_TRIPPED, by_hand, ["counted", "limit", "which", "request_id", "added_to"]),
        (
            EventKind.GUARD_RELEASED,
            altogether,
            ["steps", "requests", "counted", "limit", "which", "request_id"],
        ),
        (EventKind.ACTIVITY_FEED_SILENT, never, ["last_heard_at"]),
        (EventKind.ACTIVITY_FEED_UNREADABLE, of_anybody, ["organization_id"]),
    ):
        data = written(replace(EVENTS[kind], details=details))["data"]
        assert list(data) == KEYS_OF_THE_WORKER[kind]
        assert [key for key, value in data.items() if value is None] == missing


def test_held_is_true_only_for_a_schedule_under_a_hold() -> None:
    """`held` stands beside `schedule` (lifecycle.md section 11)."""
    for kind in (EventKind.CANCELED, EventKind.NOTICE_GIVEN):
        details = EVENTS[kind].details
        assert isinstance(details, CancellationDetails | NoticeDetails)
        free = written(EVENTS[kind])["data"]
        held = written(replace(EVENTS[kind], details=replace(details, held=True)))["data"]
        assert held == {**free, "held": True}
        assert "held" not in free


def test_a_refusal_contains_nothing_of_an_organization_that_does_not_exist() -> None:
    """Neither its state nor the allowed states (lifecycle.md section 11)."""
    event = EVENTS[EventKind.SUPPORT_REQUEST_REJECTED]
    assert event.standing is not None
    nobody = replace(event.standing, state=None, previous_state=None, reason=None, initiator=None)
    data = written(replace(event, standing=nobody))["data"]
    assert list(data) == STANDING_KEYS + ANSWER_KEYS
    assert (data["state"], data["capabilities"]) == (None, None)


def test_an_answer_to_a_request_without_a_requester_can_be_written() -> None:
    """The missing requester may be the reason for the refusal."""
    event = EVENTS[EventKind.SUPPORT_REQUEST_REJECTED]
    assert isinstance(event.details, SupportDetails)
    nobody = replace(event.details, code=Refusal.INVALID_REQUEST, requested_by="")
    assert written(replace(event, details=nobody))["data"]["requested_by"] == ""


def test_times_have_microseconds_only_where_there_are_any() -> None:
    """Each moment has one spelling, so that equal events are equal bytes."""
    event = EVENTS[EventKind.CANCELED]
    whole = datetime(2026, 11, 22, 18, 15, 15, tzinfo=UTC)
    assert written(replace(event, decided_at=whole))["time"] == "2026-11-22T18:15:15Z"
    assert written(replace(event, decided_at=whole.replace(microsecond=70)))["time"] == (
        "2026-11-22T18:15:15.000070Z"
    )


def test_the_same_event_has_the_same_bytes_and_another_sequence_another_id() -> None:
    """Invariant 6. The expected id is fixed, because it must never change between releases."""
    event = EVENTS[EventKind.CANCELED]
    assert encode(event) == encode(replace(event))
    later = written(replace(event, sequence=2))
    assert UUID(later["id"]) != UUID(written(event)["id"])
    assert written(event)["id"] == "55f03960-b366-56f0-9b0e-49654b343cb8"


@pytest.mark.parametrize(
    "broken",
    [
        replace(EVENTS[EventKind.CANCELED], details=None),
        replace(EVENTS[EventKind.SUSPENDED], details=EmailDetails(EmailHash("5f" * 32))),
        replace(EVENTS[EventKind.EMAIL_LOCKED], details=CancellationDetails(())),
        replace(EVENTS[EventKind.EMAIL_LOCKED], details=EmailDetails(EmailHash("a@b.example"))),
        replace(EVENTS[EventKind.NOTICE_GIVEN], details=EVENTS[EventKind.NOTICE_WITHDRAWN].details),
        replace(EVENTS[EventKind.SUSPENDED], decided_at=datetime(2026, 11, 22)),  # noqa: DTZ001
        replace(
            EVENTS[EventKind.SUSPENDED],
            effective_at=datetime(2026, 11, 22, tzinfo=timezone(timedelta(hours=1))),
        ),
        replace(EVENTS[EventKind.SUSPENDED], causation_id=""),
        replace(EVENTS[EventKind.SUSPENDED], subject=WORKER, standing=None),
        replace(
            EVENTS[EventKind.SUPPORT_REQUEST_COMPLETED],
            details=EVENTS[EventKind.SUPPORT_REQUEST_REJECTED].details,
        ),
        replace(
            EVENTS[EventKind.SUPPORT_REQUEST_REJECTED],
            details=EVENTS[EventKind.SUPPORT_REQUEST_COMPLETED].details,
        ),
        replace(
            example_answer_of_the_worker(),
            kind=EventKind.SUPPORT_REQUEST_COMPLETED,
            details=EVENTS[EventKind.SUPPORT_REQUEST_COMPLETED].details,
        ),
        replace(
            EVENTS[EventKind.GUARD_TRIPPED],
            subject=OrganizationId("org-42"),
            standing=EVENTS[EventKind.SUSPENDED].standing,
        ),
        replace(EVENTS[EventKind.SUSPENDED], sequence=10**20),
        replace(
            EVENTS[EventKind.SUSPENDED],
            standing=replace(example_standing(State.SUSPENDED), state=None),
        ),
    ],
)
def test_an_event_that_violates_its_schema_is_not_encoded(broken: Event) -> None:
    """A bug of ours must not reach consumers."""
    with pytest.raises(ValidationError):
        encode(broken)


def as_its_model_writes(value: bytes, model: type[BaseModel]) -> bytes:
    """The same message, read and written by its model."""
    return model.model_validate_json(value).model_dump_json().encode()


TRACES = [None, Trace(PARENT), Trace(PARENT, "a=1")]


@pytest.mark.parametrize("trace", TRACES)
@pytest.mark.parametrize("kind", EventKind)
def test_an_event_has_the_bytes_that_its_model_writes(kind: EventKind, trace: Trace | None) -> None:
    """Its model only validates it; keys, their order and what is left out are the model's."""
    variants = [EVENTS[kind]]
    if isinstance(details := EVENTS[kind].details, CancellationDetails | NoticeDetails):
        variants.append(replace(EVENTS[kind], details=replace(details, held=True)))
    for event in variants:
        value = encode(event, trace)
        assert value == as_its_model_writes(value, EVENT_MODELS[kind])


@given(st.text(min_size=1), st.datetimes(timezones=st.just(UTC)), st.uuids())
def test_texts_times_and_uuids_have_the_bytes_that_the_model_writes(
    text: str, moment: datetime, id_: UUID
) -> None:
    """Escapes, fractions of a second, and letters of hexadecimal numbers."""
    event = replace(EVENTS[EventKind.GUARD_TRIPPED], causation_id=text, decided_at=moment)
    assert isinstance(event.details, GuardTrippedDetails)
    value = encode(replace(event, details=replace(event.details, by=text, added_to=id_)))
    assert value == as_its_model_writes(value, EVENT_MODELS[event.kind])


@pytest.mark.parametrize("trace", TRACES)
@pytest.mark.parametrize("plans", [0, 1, 20_000])
def test_a_snapshot_has_the_bytes_that_its_model_writes(plans: int, trace: Trace | None) -> None:
    """Also one that omits plans."""
    snapshot = example_snapshot()
    value = encode_snapshot(replace(snapshot, plans=snapshot.plans * plans), trace)
    assert value == as_its_model_writes(value, STATE_MODEL)


@pytest.mark.parametrize(
    "broken",
    [
        replace(EVENTS[EventKind.SUSPENDED], subject=OrganizationId("org-43")),
        replace(EVENTS[EventKind.SUSPENDED], subject=WORKER),
        replace(EVENTS[EventKind.GUARD_TRIPPED], subject=OrganizationId("org-42")),
    ],
)
def test_an_event_with_the_state_of_another_subject_is_not_encoded(broken: Event) -> None:
    """Consumers of one organization would receive the state of another."""
    with pytest.raises(AssertionError):
        encode(broken)


def test_a_snapshot_contains_the_whole_organization() -> None:
    """Consumers that join late have no other source."""
    document = json.loads(encode_snapshot(example_snapshot()))
    data = document.pop("data")
    assert document == {
        "specversion": "1.0",
        "id": str(example_snapshot().id),
        "source": "/marketplace-worker/state",
        "type": "io.marketplace-worker.organization.state.v1",
        "subject": "org-42",
        "time": "2026-11-01T09:30:00.250000Z",
        "datacontenttype": "application/json",
        "dataschema": "urn:marketplace-worker:schema:organization.state:v1",
        "sequence": "00000000000000000003",
        "partitionkey": "org-42",
        "causationid": "dd4f6ae8-9e3f-4a5c-8b1e-3f6f8f0f9a01",
    }
    assert list(data) == [
        *STANDING_KEYS,
        "tier",
        "created_at",
        "canceled_at",
        "plans",
        "last_event_sequence",
    ]
    assert data["state"] == State.CANCELED
    assert data["last_event_sequence"] == 2
    assert data["plans"] == [
        {
            "name": "aws:agmt-3bsxkpvrrr0fd0f8a9bqx1234",
            "marketplace": "aws",
            "status": "ended",
            "active": False,
            "ends_at": "2026-11-01T09:30:00Z",
            "plan_type": "payg",
        }
    ]


def test_the_content_type_is_that_of_structured_mode() -> None:
    """Consumers recognize the mode by the content type."""
    assert CLOUDEVENTS_CONTENT_TYPE == "application/cloudevents+json"


def test_a_snapshot_with_too_many_plans_omits_some_and_counts_them() -> None:
    """Active plans are kept, in order. Kafka would refuse the full message every time."""
    (plan, *_) = example_snapshot().plans
    plans = [
        replace(plan, name=f"aws:{n:05}" + "é" * 400, active=n % 50 == 0) for n in range(3_000)
    ]
    snapshot = replace(example_snapshot(), plans=tuple(plans))
    value = encode_snapshot(snapshot)
    assert VALUE_BYTES_MAX - 2_000 < len(value) <= VALUE_BYTES_MAX + 100
    data = json.loads(value)["data"]
    names = [each["name"] for each in data["plans"]]
    assert names == sorted(names)
    assert len(names) + data["omitted"] == 3_000
    assert sum(each["active"] for each in data["plans"]) == 60


def test_an_event_with_too_many_removed_plans_omits_some() -> None:
    """The first of each list are kept."""
    key = SubscriptionKey(Marketplace.AWS, "agmt-" + "\x01" * 1_000)
    event = EVENTS[EventKind.SUBSCRIPTIONS_REMOVED]
    details = SubscriptionsDetails((key,) * 500, ("c-1",), ())
    value = encode(replace(event, details=details))
    data = json.loads(value)["data"]
    assert len(value) <= VALUE_BYTES_MAX + 100
    assert data["omitted"] == 501 - len(data["subscriptions"])
    assert data["commitments"] == []
    assert value == as_its_model_writes(value, EVENT_MODELS[event.kind])
