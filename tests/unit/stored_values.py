"""Values of the core with everything in them that is stored, and one of each kind."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

from marketplace_worker.contract.published import PublishedSummary
from marketplace_worker.lifecycle.cancellation import Cancellation, Notice, Pending
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
from marketplace_worker.lifecycle.replay import Readings
from marketplace_worker.lifecycle.safeguards import RequestCount, Safeguards, StepCount, Trip
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.subscription import Link, Subscription
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


READINGS = [
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
]


NOTE = Note(
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
NOTES = tuple(
    replace(NOTE, occurred_at=on(3, number), id=f"n-{number}", change=change)
    for number, change in enumerate(CHANGES, start=1)
)
LINK = Link(on(2, 1), "l-1", ACME, PlanType.PAYG, "account")
SUBSCRIPTION = Subscription(AGREEMENT, NOTES, (LINK,))


SAFEGUARDS = [
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
]

PUBLISHED = PublishedSummary(
    ACME,
    17,
    9,
    State.DEACTIVATED,
    deactivated_for=DeactivationCause.INACTIVITY,
    closed_by="event-9",
    closed_at=on(3, 1),
    closed_sequence=9,
    reopened_sequence=4,
)
