"""The fields and values of the log lines of decisions, which dashboards read."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs

from marketplace_worker.contract.examples import example_event
from marketplace_worker.contract.tracing import Trace
from marketplace_worker.lifecycle.decide import Outcome
from marketplace_worker.lifecycle.events import Event, EventKind
from marketplace_worker.lifecycle.facts import (
    ApiRequested,
    CommitmentLinked,
    Created,
    DeadlineCame,
    Fact,
    GuardTripped,
    LoggedIn,
    Notified,
    OwnerChanged,
    SubscriptionLinked,
    SupportRequested,
    TierChanged,
    Unrecognized,
)
from marketplace_worker.lifecycle.guard import BY_CLOCK
from marketplace_worker.lifecycle.linking import NotableLink
from marketplace_worker.lifecycle.notes import Activated, Attention, Note
from marketplace_worker.lifecycle.vocabulary import (
    EmailHash,
    GuardSide,
    Identity,
    Marketplace,
    OrganizationId,
    SubscriptionKey,
    SupportRequestKind,
    Tier,
)
from marketplace_worker.lifecycle.worker_details import (
    GuardReleasedDetails,
    GuardTrippedDetails,
    SilentFeedDetails,
    UnreadableFeedDetails,
)
from marketplace_worker.runtime import log_lines
from marketplace_worker.runtime.log_lines import DecidedFact, log_decided

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
AGREEMENT = SubscriptionKey(Marketplace.AWS, "agmt-1")
ACME, BETA = OrganizationId("acme"), OrganizationId("beta")


REQUEST = SupportRequested(
    Identity("/support", "r-1"),
    AT,
    ACME,
    SupportRequestKind.PLACE_HOLD,
    requested_by="ada",
    reason="a secret",
    ticket="T-1",
)
TRACE = Trace("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")


def lines(*events: Event, fact: Fact = REQUEST) -> list[dict[str, object]]:
    """The log lines of events that a fact caused."""
    return lines_of(DecidedFact(fact, "deadline", Outcome.APPLIED, (ACME,), events))


def lines_of(*decided: DecidedFact) -> list[dict[str, object]]:
    """The log lines of facts and their events."""
    with capture_logs() as logged:
        log_decided(decided)
    return [dict(line) for line in logged]


def base(event: Event) -> dict[str, object]:
    """The fields that the line of every event has."""
    return {
        "type": event.kind,
        "sequence": event.sequence,
        "causation_id": event.causation_id,
        "correlation_id": event.correlation_id,
    }


def of_event(event: Event) -> dict[str, object]:
    """The same, of an event of an organization."""
    return {"log_level": "info", "organization": event.subject, **base(event)}


def example(kind: EventKind, **changes: object) -> Event:
    """An event of a kind."""
    return replace(example_event(kind, sequence=7), **changes)  # type: ignore[arg-type]


def test_a_transition_has_its_states_and_how_late_it_was_decided() -> None:
    """`late_s` is how long after its effect a transition was decided, so never below 0."""
    moved = example(EventKind.SUSPENDED)
    late = timedelta(minutes=2, milliseconds=500)
    moved = replace(moved, decided_at=moved.effective_at + late)
    assert lines(moved) == [
        {
            "event": "organization_moved",
            "log_level": "info",
            "organization": "org-42",
            "type": "organization.suspended",
            "state_before": "control_plane_loss",
            "state": "suspended",
            "reason": "customer",
            "plan_type": "payg",
            "sequence": 7,
            "effective_at": "2026-11-08T09:30:00+00:00",
            "late_s": 120.5,
            "causation_id": "deadline",
            "correlation_id": moved.correlation_id,
            "policy_version": "2026-11-22",
        }
    ]


@pytest.mark.parametrize(
    ("kind", "level"), [(EventKind.CANCELED, "warning"), (EventKind.SUSPENDED, "info")]
)
def test_a_cancellation_without_a_plan_type_is_a_warning(kind: EventKind, level: str) -> None:
    """It has the longest timeline, which nobody chose."""
    moved = example(kind)
    assert moved.standing is not None
    (line,) = lines(replace(moved, standing=replace(moved.standing, plan_type=None)))
    assert (line["log_level"], line["plan_type"]) == (level, None)
    assert ("odd" in line) is (level == "warning")
    (line,) = lines(moved)
    assert (line["log_level"], line["plan_type"]) == ("info", "payg")


BY_LIMIT = GuardTrippedDetails(GuardSide.STEPS, counted=51, limit=50, by=None, reason="too many")
BY_HAND = GuardTrippedDetails(GuardSide.BOTH, counted=None, limit=None, by="olga", reason="odd")


@pytest.mark.parametrize(
    ("details", "fields"),
    [
        (BY_LIMIT, {"guard": "steps", "counted": 51, "limit": 50}),
        (BY_HAND, {"guard": "both", "by_operator": True}),
        (replace(BY_LIMIT, reason=BY_CLOCK), {"guard": "steps", "by_clock": True} | {
            "counted": 51, "limit": 50
        }),
        (replace(BY_HAND, reason=BY_CLOCK), {"guard": "both", "by_operator": True}),
    ],
)  # fmt: skip
def test_a_trip_names_its_side_its_numbers_and_who_did_it(
    details: GuardTrippedDetails, fields: dict[str, object]
) -> None:
    """By a limit, by the clock or by hand; never the operator's name."""
    usual = {
        "event": "guard_tripped",
        "log_level": "error",
        "counted": None,
        "limit": None,
        "which": None,
        "by_operator": False,
        "by_clock": False,
        "added_to": None,
    }
    trip = example(EventKind.GUARD_TRIPPED, details=details)
    assert lines(trip) == [usual | base(trip) | fields]


def test_a_release_names_its_side_and_how_many_are_let_through() -> None:
    """Nothing of who released it, and why."""
    details = GuardReleasedDetails(
        GuardSide.BOTH, 20, 3, counted=51, limit=50, by="olga", reason="looked at"
    )
    release = example(EventKind.GUARD_RELEASED, details=details, causation_id="c-1")
    assert lines(release) == [
        {
            "event": "guard_released",
            "log_level": "info",
            "guard": "both",
            "steps": 20,
            "requests": 3,
            **base(release),
        }
    ]


def test_a_feed_that_is_silent_or_unreadable_is_a_warning_with_its_day() -> None:
    """And with when it was last received, or whose use may be lost."""
    silent, unreadable = (
        example(kind)
        for kind in (EventKind.ACTIVITY_FEED_SILENT, EventKind.ACTIVITY_FEED_UNREADABLE)
    )
    assert isinstance(silent.details, SilentFeedDetails)
    assert isinstance(unreadable.details, UnreadableFeedDetails)
    never = replace(silent, details=replace(silent.details, last_heard_at=None))
    usual = {"log_level": "warning", "feed": "logins", "day": "2026-11-22"}
    assert lines(silent, never, unreadable) == [
        usual
        | base(silent)
        | {"event": "activity_feed_silent", "last_heard_at": "2026-11-18T04:15:00+00:00"},
        usual | base(never) | {"event": "activity_feed_silent", "last_heard_at": None},
        usual | base(unreadable) | {"event": "activity_feed_unreadable", "organization": "org-42"},
    ]


@pytest.mark.parametrize(
    ("kind", "event"),
    [
        (EventKind.REINSTATEMENT_PENDING, "reinstatement_pending"),
        (EventKind.REINSTATEMENT_LAPSED, "reinstatement_lapsed"),
    ],
)
def test_a_waiting_and_a_lapsed_reinstatement_have_different_lines(
    kind: EventKind, event: str
) -> None:
    """With the plan, and what would complete it."""
    an_answer = example(kind)
    assert lines(an_answer) == [
        {
            "event": event,
            "subscription": "aws:agmt-3bsxkpvrrr0fd0f8a9bqx1234",
            "completed_by": "sign_in",
            **of_event(an_answer),
        }
    ]


def test_every_event_has_one_line_with_what_caused_it() -> None:
    """In their order; those without a line of their own are `event_decided`.  Nothing of details,
    which may be about a person."""
    events = [example(kind) for kind in EventKind]
    logged = lines(*events, fact=DeadlineCame(Identity("deadline", "d"), AT, ACME))
    assert [line["type"] for line in logged] == list(EventKind)
    for line, event in zip(logged, events, strict=True):
        assert line.items() >= base(event).items()
        if line["event"] == "event_decided":
            assert line == {"event": "event_decided", **of_event(event)}
    others = {line["event"] for line in logged} - {"event_decided"}
    assert others == {
        "organization_moved",
        "reinstatement_pending",
        "reinstatement_lapsed",
        "guard_tripped",
        "guard_released",
        "activity_feed_silent",
        "activity_feed_unreadable",
    }


def test_the_lines_of_a_traced_message_have_the_id_of_the_trace() -> None:
    """Which a tracing tool finds; the line of the message and those of its events."""
    event = example(EventKind.CANCELED)
    decided = DecidedFact(notified(None), "t/0/1", Outcome.APPLIED, (ACME,), (event,), TRACE)
    assert [line["trace_id"] for line in lines_of(decided)] == [
        "4bf92f3577b34da6a3ce929d0e0e4736"
    ] * 2
    assert all("trace_id" not in line for line in lines_of(replace(decided, trace=None)))


@pytest.mark.parametrize(
    ("kind", "completed", "code"),
    [
        (EventKind.SUPPORT_REQUEST_COMPLETED, True, None),
        (EventKind.SUPPORT_REQUEST_REJECTED, False, "irreversible"),
    ],
)
def test_an_answer_to_support_reports_whether_it_was_done(
    kind: EventKind, completed: bool, code: str | None
) -> None:
    """And the code of a refusal; no name, no reason."""
    answer = example(kind)
    (line,) = lines(answer)
    assert line == {
        "event": "support_request_answered",
        **of_event(answer),
        "request": "place_hold",
        "request_id": "example-12" if completed else "example-9",
        "ticket": "T-1",
        "completed": completed,
        "code": code,
    }


@pytest.mark.parametrize(
    ("moved_from", "contradicts", "events"),
    [
        (BETA, False, ["subscription_moved"]),
        (None, True, ["link_needs_attention"]),
        (BETA, True, ["subscription_moved", "link_needs_attention"]),
        (None, False, []),
    ],
)
def test_a_link_that_needs_attention_is_a_warning(
    moved_from: OrganizationId | None, contradicts: bool, events: list[str]
) -> None:
    """It took a subscription from somebody, or contradicts what was known."""
    link = NotableLink(AGREEMENT, AT, "l-1", ACME, moved_from, contradicts)
    with capture_logs() as logged:
        log_lines.log_links([link])
    assert [line["event"] for line in logged] == events
    for line in logged:
        attention = line.pop("attention", None)
        assert (attention is not None) is (line.pop("event") == "link_needs_attention")
        assert attention in {None, "billing_account_contradicts"}
        assert line == {
            "log_level": "warning",
            "subscription": "aws:agmt-1",
            "organization": "acme",
            "taken_from": moved_from,
            "link": "l-1",
        }


def test_a_crowded_account_is_named_with_the_bound() -> None:
    """In an order of its own, so that two runs can be compared."""
    with capture_logs() as logged:
        log_lines.log_crowded([(Marketplace.GCP, "b"), (Marketplace.AWS, "a")])
    usual = {"event": "billing_account_crowded", "log_level": "warning", "organizations_max": 100}
    assert logged == [
        usual | {"marketplace": "aws", "billing_account": "a"},
        usual | {"marketplace": "gcp", "billing_account": "b"},
    ]


def notified(attention: Attention | None) -> Notified:
    """A notification that a person should look at, or not."""
    note = Note(AT, 1, "n-1", Activated())
    return Notified(Identity("aws", "n-1"), AGREEMENT, note, "License Updated", attention)


NOTIFIED = {
    "kind": "notified",
    "id": "n-1",
    "subscription": "aws:agmt-1",
    "notification": "License Updated",
    "outcome": "applied",
    "position": "aws.notifications/0/7",
}


@pytest.mark.parametrize(
    ("organizations", "named"),
    [
        ((), {}),
        ((ACME,), {"organization": "acme"}),
        ((ACME, BETA), {"organizations": ("acme", "beta")}),
    ],
)
def test_a_notification_names_whom_it_concerned_and_what_it_changed(
    organizations: tuple[OrganizationId, ...], named: dict[str, object]
) -> None:
    """In the marketplace's word and in ours; several organizations may have one billing account."""
    decided = DecidedFact(notified(None), "aws.notifications/0/7", Outcome.APPLIED, organizations)
    assert lines_of(decided) == [
        {"event": "fact_decided", "log_level": "info", "change": "activated", **NOTIFIED, **named}
    ]


def test_a_notification_that_needs_attention_is_a_warning() -> None:
    """Instead of its other line."""
    decided = DecidedFact(
        notified(Attention.UNKNOWN_KIND), "aws.notifications/0/7", Outcome.UNKNOWN_KIND, (ACME,)
    )
    assert lines_of(decided) == [
        {
            "event": "notification_needs_attention",
            "log_level": "warning",
            "attention": "unknown_kind",
            **NOTIFIED,
            "outcome": "unknown_kind",
            "organization": "acme",
        }
    ]


@pytest.mark.parametrize(
    ("fact", "more"),
    [
        (Created(Identity("o", "m-1"), AT, ACME, Tier.FREE, EmailHash("owner-hash")), {}),
        (TierChanged(Identity("o", "m-1"), AT, ACME, Tier.FREE), {}),
        (OwnerChanged(Identity("o", "m-1"), AT, ACME, EmailHash("owner-hash")), {}),
        (CommitmentLinked(Identity("o", "m-1"), AT, ACME, "c-1", AT, AT), {}),
        (
            SubscriptionLinked(Identity("o", "m-1"), AT, ACME, AGREEMENT, "account-9"),
            {"subscription": "aws:agmt-1"},
        ),
    ],
)
def test_a_change_of_an_organization_is_a_line(fact: Fact, more: dict[str, object]) -> None:
    """With the plan of a link; nothing of the owner or the billing account."""
    assert lines_of(DecidedFact(fact, "organizations.changes/0/7", Outcome.KEPT, (ACME,))) == [
        {
            "event": "fact_decided",
            "log_level": "info",
            "kind": fact.kind,
            "id": "m-1",
            "organization": "acme",
            "outcome": "kept",
            "position": "organizations.changes/0/7",
            **more,
        }
    ]


@pytest.mark.parametrize(
    "fact",
    [
        LoggedIn(Identity("l", "m-1"), AT, ACME),
        ApiRequested(Identity("l", "m-1"), AT, ACME),
        DeadlineCame(Identity("deadline", "m-1"), AT, ACME),
        GuardTripped(Identity("operator", "m-1"), AT, "olga", "odd"),
    ],
)
def test_activity_deadlines_and_commands_have_the_lines_of_their_events_only(fact: Fact) -> None:
    """`batch_ingested` counts logins and usage."""
    assert lines_of(DecidedFact(fact, "deadline", Outcome.APPLIED, (ACME,))) == []


@pytest.mark.parametrize(
    ("source", "shown", "level"),
    [("aws", "aws", "info"), ("organization./crm", "/crm", "warning")],
)
def test_a_type_that_is_not_ours_is_a_warning_unless_a_marketplace_sent_it(
    source: str, shown: str, level: str
) -> None:
    """With the source as its sender wrote it."""
    fact = Unrecognized(Identity(source, "u-1"), AT, "ACCOUNT_ACTIVE")
    assert lines_of(DecidedFact(fact, "a.topic/1/42", Outcome.UNKNOWN_KIND)) == [
        {
            "event": "type_unrecognized",
            "log_level": level,
            "type": "ACCOUNT_ACTIVE",
            "source": shown,
            "topic": "a.topic",
            "position": "a.topic/1/42",
        }
    ]


def test_an_identity_that_came_again_with_other_content_is_named() -> None:
    """A sender's ids are not unique."""
    with capture_logs() as logged:
        log_lines.log_contradictions([(Identity("organization./crm", "m-1"), "a.topic/1/42")])
    assert logged == [
        {
            "event": "identity_repeated_with_other_content",
            "log_level": "warning",
            "source": "/crm",
            "id": "m-1",
            "position": "a.topic/1/42",
        }
    ]
