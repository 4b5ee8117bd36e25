"""What we keep as JSON is read back as it was, also where it is older than one of the fields."""

import json
from dataclasses import fields, replace
from datetime import UTC, date, datetime, timedelta
from typing import get_args
from uuid import UUID

import pytest
from hypothesis import given
from policies import POLICIES

from marketplace_worker.contract.documents import (
    events_to_json,
    fact_from_json,
    fact_to_json,
    organization_from_json,
    organization_to_json,
    policy_from_json,
    policy_to_json,
    readings_from_json,
    readings_to_json,
    safeguards_from_json,
    safeguards_to_json,
    subscription_from_json,
    subscription_to_json,
)
from marketplace_worker.contract.examples import example_answer_of_the_worker, outbound_examples
from marketplace_worker.contract.outbound import encode
from marketplace_worker.lifecycle.cancellation import Cancellation, Notice, Pending, PendingInterval
from marketplace_worker.lifecycle.events import Event, EventKind
from marketplace_worker.lifecycle.facts import (
    ApiRequested,
    ClockCorrected,
    ClockMoved,
    ClosureJudged,
    CommitmentLinked,
    Created,
    DeadlineCame,
    EpochBegan,
    EpochCompleted,
    Erased,
    Fact,
    GuardReleased,
    GuardTripped,
    LoggedIn,
    Notified,
    OwnerChanged,
    PublishedBefore,
    SubscriptionLinked,
    SupportRequested,
    TierChanged,
    Unrecognized,
)
from marketplace_worker.lifecycle.guard import GuardAnswers
from marketplace_worker.lifecycle.inactivity import LastSeen
from marketplace_worker.lifecycle.notes import (
    Activated,
    Attention,
    Change,
    Ended,
    Ending,
    Note,
    Pended,
    Progress,
    Resumed,
    Superseded,
    Suspended,
    Unchanged,
    Unsubscribed,
    VendorCancellationApproved,
)
from marketplace_worker.lifecycle.organization import (
    Commitment,
    Creation,
    Grant,
    Hold,
    LatestWins,
    Organization,
    Proof,
    Recovery,
    Reported,
)
from marketplace_worker.lifecycle.policy import Policy
from marketplace_worker.lifecycle.replay import Readings
from marketplace_worker.lifecycle.safeguards import RequestCount, Safeguards, StepCount, Trip
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.subscription import FOREVER, Link, Subscription
from marketplace_worker.lifecycle.unreadable import UnreadableFeed
from marketplace_worker.lifecycle.verdicts import RequestVerdict
from marketplace_worker.lifecycle.vocabulary import (
    ActivityFeed,
    CompletedBy,
    DeactivationCause,
    EmailHash,
    GuardSide,
    HoldKind,
    Identity,
    Initiator,
    Marketplace,
    OrganizationId,
    PlanEndReason,
    PlanType,
    RequestLimit,
    StateReason,
    SubscriptionKey,
    SupportRequestKind,
    Tier,
)

ACME = OrganizationId("org-42")
WHO = Identity("/support", "request-1")
EMAIL = EmailHash("5f" * 32)
AGREEMENT = SubscriptionKey(Marketplace.AWS, "agmt-1")


def on(month: int, day: int) -> datetime:
    """Half past nine of a day of 2026, and a microsecond."""
    return datetime(2026, month, day, 9, 30, 0, 1, tzinfo=UTC)


# --- organizations --------------------------------------------------------------------------------

CREATED = Organization(
    ACME,
    creation=Creation(on(1, 1), "created-1", on(1, 2)),
    tier=LatestWins(on(1, 1), "created-1", Tier.FREE),
    owner=LatestWins(on(2, 1), "owner-2", EMAIL),
)
SUSPENDED = replace(
    CREATED,
    commitments=(Commitment("c-9", on(1, 2), on(11, 1), on(1, 1), on(1, 3), "linked-3"),),
    grants=(Grant("request-1", on(3, 1), on(4, 1)),),
    proofs=(Proof(AGREEMENT, on(5, 1), CompletedBy.SIGN_IN),),
    holds=(Hold(HoldKind.LEGAL, on(11, 9), None), Hold(HoldKind.COMMERCIAL, on(11, 9), on(12, 1))),
    state=State.SUSPENDED,
    previous_state=State.CONTROL_PLANE_LOSS,
    entered_at=on(11, 8),
    dwells_from=on(11, 9),
    reason=StateReason.CUSTOMER,
    initiator=Initiator.CUSTOMER,
    plan_type=PlanType.COMMIT,
    cancellation=Cancellation(
        on(11, 1),
        "a story",
        "2026-11-22",
        timedelta(days=14),
        (PendingInterval(AGREEMENT, on(11, 2), FOREVER),),
    ),
    pending=Pending(AGREEMENT, CompletedBy.SIGN_IN, on(5, 1)),
    notice=Notice(State.DEACTIVATED, on(12, 8), on(12, 1)),
    withheld_at=on(12, 8),
    published_closed=DeactivationCause.INACTIVITY,
    reported=(Reported(AGREEMENT, closed_at=(on(11, 1),)),),
    sequence=7,
    revision=5,
)
QUIET = replace(
    CREATED,
    notice=Notice(State.DEACTIVATED, on(3, 1), on(2, 22), "a story of its own"),
    postponed_until=on(3, 2),
    unreadable=((ActivityFeed.LOGINS, date(2026, 3, 1)),),
    recoveries=(Recovery(on(1, 10), on(1, 20)), Recovery(on(1, 25), on(1, 27))),
    reason=StateReason.REACTIVATED,
)
DEACTIVATED = replace(
    CREATED,
    state=State.DEACTIVATED,
    previous_state=State.ACTIVE,
    deactivation_cause=DeactivationCause.SUPPORT_REQUEST,
    locked_email=EMAIL,
)
ERASED = replace(
    DEACTIVATED, owner=None, locked_email=None, erased_at=on(12, 1), decided_at=on(12, 1)
)
ORGANIZATIONS = [Organization(ACME), CREATED, SUSPENDED, QUIET, DEACTIVATED, ERASED]


@pytest.mark.parametrize("organization", ORGANIZATIONS)
def test_an_organization_is_read_as_it_was_written(organization: Organization) -> None:
    """Its state is nowhere else."""
    assert organization_from_json(organization_to_json(organization)) == organization


def test_every_field_of_an_organization_is_among_those_that_are_read_back() -> None:
    """Else the test above would not see that one is lost."""
    blank = Organization(ACME)
    for field in fields(Organization):
        if field.name != "id":
            values = [getattr(each, field.name) for each in ORGANIZATIONS]
            assert any(value != getattr(blank, field.name) for value in values), field.name


def test_an_organization_that_was_on_its_way_down_before_the_new_fields_is_read() -> None:
    """Its document, to the letter, has no grants, holds or extension, and its notice no story."""
    document = """
        {"id":"org-42",
         "creation":{"occurred_at":"2026-01-01T09:30:00Z","id":"created-1",
                     "billing_cycle_anchor":"2026-01-01T09:30:00Z"},
         "tier":{"occurred_at":"2026-01-01T09:30:00Z","id":"created-1","value":"plus"},
         "owner":{"occurred_at":"2026-02-01T09:30:00Z","id":"owner-2",
                  "value":"5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f"},
         "commitments":[{"commitment_id":"commitment-9","starts_at":"2026-01-02T09:30:00Z",
                         "ends_at":"2026-11-01T09:30:00Z","linked_at":"2026-01-01T09:30:00Z",
                         "told_at":"2026-01-03T09:30:00Z","id":"linked-3"}],
         "state":"suspended","previous_state":"control_plane_loss",
         "entered_at":"2026-11-08T09:30:00Z","reason":"customer","initiator":"customer",
         "plan_type":"commit",
         "cancellation":{"canceled_at":"2026-11-01T09:30:00Z",
                         "correlation_id":"0b4f8a52-6d3e-5d0c-9d54-4f0f6a6c1f77",
                         "policy_version":"default"},
         "notice":{"step":"deactivated","names":"2026-12-08T09:30:00Z",
                   "given_at":"2026-12-01T09:30:00Z"},
         "deactivation_cause":null,
         "reported":[{"subscription":{"marketplace":"aws","subscription_id":"agmt-1"},"ends":1}],
         "sequence":7,"revision":5}
    """
    read = organization_from_json(document)
    canceled_at = on(11, 1).replace(microsecond=0)
    assert read.cancellation == Cancellation(
        canceled_at, "0b4f8a52-6d3e-5d0c-9d54-4f0f6a6c1f77", "default", extension=timedelta(0)
    )
    named, given_at = on(12, 8).replace(microsecond=0), on(12, 1).replace(microsecond=0)
    assert read.notice == Notice(State.DEACTIVATED, named, given_at, correlation_id=None)
    assert read.reported == (Reported(AGREEMENT, 1),)
    assert read.commitments[0].commitment_id == "commitment-9"
    assert (read.grants, read.proofs, read.holds) == ((), (), ())
    assert (read.pending, read.withheld_at, read.dwells_from) == (None, None, None)
    assert organization_from_json(organization_to_json(read)) == read


def test_organizations_that_ended_or_were_only_heard_of_before_the_new_fields_are_read() -> None:
    """The first states and the last one."""
    ended = """
        {"id":"org-43",
         "creation":{"occurred_at":"2026-01-01T09:30:00Z","id":"created-1",
                     "billing_cycle_anchor":"2026-01-01T09:30:00Z"},
         "tier":{"occurred_at":"2026-01-01T09:30:00Z","id":"created-1","value":"free"},
         "owner":{"occurred_at":"2026-02-01T09:30:00Z","id":"owner-2",
                  "value":"5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f"},
         "commitments":[],"state":"deactivated","previous_state":"suspended",
         "entered_at":"2026-12-08T09:30:00Z","reason":"unknown","initiator":"system",
         "plan_type":null,
         "cancellation":{"canceled_at":"2026-11-01T09:30:00Z","correlation_id":"x",
                         "policy_version":"default"},
         "notice":null,"deactivation_cause":"marketplace_cancellation","reported":[],
         "sequence":19,"revision":8}
    """
    heard_of = """
        {"id":"org-44","creation":null,"tier":null,"owner":null,"commitments":[],"state":"active",
         "previous_state":null,"entered_at":null,"reason":null,"initiator":null,"plan_type":null,
         "cancellation":null,"notice":null,"deactivation_cause":null,"reported":[],"sequence":0,
         "revision":0}
    """
    read = organization_from_json(ended)
    assert (read.state, read.recoverable, read.recovery) == (State.DEACTIVATED, False, None)
    assert organization_from_json(heard_of) == Organization(OrganizationId("org-44"))


# --- registers and facts --------------------------------------------------------------------------

CHANGES: list[Change] = [
    Pended(successor_of=AGREEMENT),
    Pended(),
    Activated(),
    Resumed(where="ending"),
    Ending(on(6, 1), PlanEndReason.COMMIT_EXPIRED, closes_usage=True),
    Suspended(),
    Ended(PlanEndReason.VENDOR, Initiator.VENDOR, terminal=True),
    Unsubscribed(by_partner=True),
    Superseded(),
    VendorCancellationApproved(),
    Unchanged(),
]
FACTS: list[Fact] = [
    *(
        Notified(WHO, AGREEMENT, Note(on(3, 1), 2, "n-1", change, PlanType.PAYG), "word")
        for change in CHANGES
    ),
    Notified(WHO, AGREEMENT, Note(on(3, 1), 2, "n-1", Unchanged()), "?", Attention.UNKNOWN_KIND),
    Unrecognized(WHO, on(3, 1), "com.example.other"),
    Created(WHO, on(3, 1), ACME, Tier.PLUS, EMAIL, on(3, 2)),
    TierChanged(WHO, on(3, 1), ACME, Tier.ENTERPRISE),
    OwnerChanged(WHO, on(3, 1), ACME, EMAIL),
    SubscriptionLinked(WHO, on(3, 1), ACME, AGREEMENT, "account", PlanType.COMMIT),
    CommitmentLinked(WHO, on(3, 1), ACME, "c-1", on(3, 1), on(4, 1)),
    SupportRequested(
        WHO,
        on(3, 1),
        None,
        SupportRequestKind.PLACE_HOLD,
        requested_by="ada",
        reason="",
        ticket="T-7",
        grant_until=on(4, 1),
        email=EMAIL,
        hold=HoldKind.LEGAL,
        expires_at=on(5, 1),
        days=36_501,
        problem="data.kind is required.",
    ),
    DeadlineCame(WHO, on(3, 1), ACME),
    GuardTripped(WHO, on(3, 1), "grace", "Not today."),
    GuardReleased(WHO, on(3, 1), "grace", "All is well.", steps=20),
    GuardReleased(WHO, on(3, 1), "grace", "All is well.", requests=5, guard=GuardSide.REQUESTS),
    ClockCorrected(WHO, on(3, 1), ACME, on(3, 2), timedelta(days=1), "grace", "It was wrong."),
    ClockCorrected(WHO, on(3, 1), None, on(3, 2), timedelta(days=1), "grace", "It was wrong."),
    ClockMoved(WHO, on(3, 1), timedelta(days=365, microseconds=1)),
    Erased(WHO, on(3, 1), ACME, "grace", "She asked for it."),
    EpochBegan(WHO, on(3, 1), "grace", "Restored.", sequence=7),
    EpochCompleted(WHO, on(3, 1), "grace", "Restored."),
    PublishedBefore(WHO, on(3, 1), ACME, 17, 9),
    PublishedBefore(WHO, on(3, 1), ACME, 17, 9, DeactivationCause.INACTIVITY),
    ClosureJudged(WHO, on(3, 1), ACME, stands=True, by="grace", reason="It is gone."),
    LoggedIn(WHO, on(3, 1), ACME),
    ApiRequested(WHO, on(3, 1), ACME, requests=10**12),
]


@pytest.mark.parametrize("fact", FACTS)
def test_a_fact_is_read_as_it_was_written(fact: Fact) -> None:
    """The journal can be folded again (invariant 8)."""
    assert fact_from_json(fact_to_json(fact)) == fact


@pytest.mark.parametrize(
    "readings",
    [
        Readings(),
        Readings({ACME: LastSeen(on(1, 1), None), OrganizationId("b"): LastSeen(None, on(1, 2))}),
        Readings({ACME: LastSeen(on(1, 9), None, (on(1, 2), on(1, 3)))}),
        Readings(answers=GuardAnswers(permitted=False)),
        Readings(answers=GuardAnswers(permitted=True, silent=())),
        Readings(answers=GuardAnswers(silent=tuple(ActivityFeed))),
        *(Readings(answers=GuardAnswers(requested=verdict)) for verdict in RequestVerdict),
        Readings(
            answers=GuardAnswers(
                unreadable=(
                    UnreadableFeed(ActivityFeed.LOGINS, ACME),
                    UnreadableFeed(ActivityFeed.API_REQUESTS, None),
                )
            )
        ),
    ],
)
def test_what_a_decision_was_told_is_read_as_it_was_written(readings: Readings) -> None:
    """Not to have been asked is another answer than no feed, and than no."""
    assert readings_from_json(readings_to_json(readings)) == readings


def test_every_kind_of_fact_and_of_change_is_among_those_that_are_read_back() -> None:
    """A new one without an example would slip through."""
    assert {type(fact) for fact in FACTS} == set(get_args(Fact))
    assert {type(change) for change in CHANGES} == set(get_args(Change))


def test_a_subscription_is_read_as_it_was_written() -> None:
    """Every kind of notification among its notes, and a link with all that it can tell."""
    told = Note(
        on(3, 1),
        1,
        "n",
        Unchanged(),
        plan_type_settled=True,
        billing_account="account",
        term_ends_at=on(9, 9),
        auto_renews=False,
        operation="op:Suspend",
        progress=Progress.FAILED,
        licence="l-1",
        term_started=False,
        closes_usage=True,
    )
    notes = tuple(
        replace(told, occurred_at=on(3, number), id=f"n-{number}", change=change)
        for number, change in enumerate(CHANGES, start=1)
    )
    link = Link(on(2, 1), "l-1", ACME, PlanType.PAYG, "account")
    subscription = Subscription(AGREEMENT, notes, (link,))
    assert subscription_from_json(subscription_to_json(subscription)) == subscription


def test_a_note_that_was_stored_before_the_new_fields_is_read() -> None:
    """As an operation of its own that succeeded, without a licence, and without a final report."""
    note = Note(on(3, 1), 5, "n-1", Unsubscribed(by_partner=False))
    subscription = Subscription(AGREEMENT, (note,))
    document = json.loads(subscription_to_json(subscription))
    for name in ("operation", "progress", "licence", "term_started", "closes_usage"):
        del document["notes"][0][name]
    assert subscription_from_json(json.dumps(document)) == subscription


# --- policies and safeguards ----------------------------------------------------------------------


@given(POLICIES)
def test_a_policy_is_read_as_it_was_written(policy: Policy) -> None:
    """An organization is pinned to it, to the microsecond, for as long as it lasts."""
    assert policy_from_json(policy_to_json(policy)) == policy


def test_the_built_in_policy_can_be_kept_too() -> None:
    """Organizations are pinned to it where no file is given."""
    assert policy_from_json(policy_to_json(Policy())) == Policy()


@pytest.mark.parametrize(
    "safeguards",
    [
        Safeguards(),
        Safeguards(
            recent=(StepCount(on(3, 1), 3), StepCount(on(3, 1) + timedelta(minutes=5), 1)),
            trip=Trip(on(3, 1), None, "the limit", allowance=7),
            silences=(
                (ActivityFeed.API_REQUESTS, date(2026, 3, 1)),
                (ActivityFeed.LOGINS, date(2026, 2, 28)),
            ),
            sequence=12,
        ),
        Safeguards(trip=Trip(on(3, 1), "grace", "Not today.")),
        Safeguards(set_back_at=on(3, 1), epoch=2, epoch_open=True),
        Safeguards(
            control_plane=(StepCount(on(3, 1), 3),),
            requested=(RequestCount(on(3, 1), "a digest", 10),),
            requests_trip=Trip(
                on(3, 1),
                None,
                "the limit",
                counted=10,
                limit=10,
                which=RequestLimit.PER_PERSON,
                request_id="r-11",
                event=UUID(int=7),
            ),
        ),
    ],
)
def test_the_safeguards_are_read_as_they_were_written(safeguards: Safeguards) -> None:
    """The guard stays tripped over a restart (lifecycle.md section 8)."""
    assert safeguards_from_json(safeguards_to_json(safeguards)) == safeguards


def test_a_trip_and_a_release_of_before_requests_had_a_guard_are_read() -> None:
    """What 0.1 wrote: its release let so many steps through, and named no side."""
    old = '{"trip":{"at":"2026-03-01T09:30:00.000001Z","by":null,"reason":"x","allowance":2}}'
    assert safeguards_from_json(old) == Safeguards(trip=Trip(on(3, 1), None, "x", 2))
    released = fact_from_json(
        '{"identity":{"source":"operator","id":"1"},"occurred_at":"2026-03-01T09:30:00.000001Z",'
        '"by":"grace","reason":"x","steps":5,"kind":"guard_released"}'
    )
    assert released == GuardReleased(Identity("operator", "1"), on(3, 1), "grace", "x", 5)


def test_safeguards_that_were_never_written_are_those_of_a_new_fleet() -> None:
    """What a migration begins with."""
    assert safeguards_from_json("{}") == Safeguards()


# --- the history ----------------------------------------------------------------------------------


def test_an_event_in_the_history_tells_what_came_out_when_and_why() -> None:
    """As short as it can be: where the organization stood follows from the events before."""
    event = outbound_examples()[EventKind.DEACTIVATED]
    assert json.loads(events_to_json([event])) == [
        {
            "subject": "org-42",
            "sequence": event.sequence,
            "kind": "organization.deactivated",
            "id": str(event.id),
            "effective_at": "2026-12-08T09:30:00Z",
            "decided_at": "2026-12-08T09:30:00.250000Z",
            "causation_id": "deadline",
            "correlation_id": "0b4f8a52-6d3e-5d0c-9d54-4f0f6a6c1f77",
            "policy_version": "2026-11-22",
            "details": {"cause": "marketplace_cancellation"},
        }
    ]


@pytest.mark.parametrize(
    "event",
    [*outbound_examples().values(), example_answer_of_the_worker()],
    ids=lambda event: f"{event.kind} of {event.subject}",
)
def test_the_details_in_the_history_are_those_that_were_published(event: Event) -> None:
    """Word for word, whichever kind."""
    published = json.loads(encode(event))["data"]
    (kept,) = json.loads(events_to_json([event]))
    assert kept["details"].items() <= published.items()
    assert (kept["policy_version"] is None) == (event.standing is None)


def test_the_history_keeps_the_order_in_which_things_were_said() -> None:
    """And nothing said is an empty list, not nothing."""
    events = list(outbound_examples().values())
    assert [each["kind"] for each in json.loads(events_to_json(events))] == list(EventKind)
    assert events_to_json([]) == "[]"
