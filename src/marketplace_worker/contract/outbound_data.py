"""The models of everything that we publish, by kind (events.md section 3).

Data about an organization has its standing, followed by the details of the kind; data about the
worker itself has only details.  Writing is strict: every key is always present, no other key is
allowed, no value is coerced, and every time is UTC.  Each message is validated by its model
(`outbound`), so that nothing is published that its schema does not describe.
"""

from datetime import date, datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from marketplace_worker.lifecycle.events import EventKind, Refusal
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.vocabulary import (
    ActivityFeed,
    CompletedBy,
    DeactivationCause,
    GuardSide,
    Initiator,
    Marketplace,
    PlanType,
    RequestLimit,
    StateReason,
    SupportRequestKind,
    Tier,
)


class _InUtc:
    """Accepts datetimes at offset zero only; written with `Z`, microseconds where there are any."""

    @classmethod
    def __get_pydantic_core_schema__(
        cls, _source: type, _handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.datetime_schema(strict=True, tz_constraint=0)


Utc = Annotated[datetime, _InUtc]
Name = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(ge=0)]


class ClosedModel(BaseModel):
    """The base of everything that we write."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


class CapabilitiesData(ClosedModel):
    """What downstream services enforce: manage (control plane), data plane, API keys, log in."""

    manage: bool
    data: bool
    api_keys: bool
    login: bool


class StepData(ClosedModel):
    """A step of a cancellation and its time, as currently scheduled."""

    state: State
    at: Utc


class AnyStandingData(ClosedModel):
    """The state of an organization after the event, or that there is no organization."""

    organization_id: Name
    state: Annotated[
        State | None, Field(description="Null where there is no such organization (any more).")
    ]
    previous_state: State | None
    effective_at: Annotated[Utc, Field(description="When it took effect; it may be decided later.")]
    reason: Annotated[
        StateReason | None,
        Field(description="Why the organization is in its state, until its next transition."),
    ]
    initiator: Initiator | None
    plan_type: Annotated[
        PlanType | None,
        Field(description="Chose the timeline; null is unknown and took the longest."),
    ]
    capabilities: Annotated[
        CapabilitiesData | None, Field(description="Null where there is no such organization.")
    ]
    next_step: Annotated[
        StepData | None, Field(description="Null where no deadline leads on, or none runs.")
    ]
    recoverable: Annotated[bool, Field(description="Whether the organization can come back.")]
    policy_version: Name


Held = Annotated[
    bool,
    Field(
        exclude_if=lambda held: not held,
        description="There, and true, only where a hold stands; `schedule` is then what it would "
        "be if the hold were released now.",
    ),
]


Omitted = Annotated[
    int,
    Field(
        ge=0,
        exclude_if=lambda omitted: omitted == 0,
        description="There only where the lists would make the message too large for Kafka: how "
        "many entries are left out.",
    ),
]


class StandingData(AnyStandingData):
    """The state of an organization after the event."""

    state: State
    capabilities: CapabilitiesData


class CanceledData(StandingData):
    """With every step that is scheduled."""

    schedule: list[StepData]
    held: Held = False


class DeactivatedData(StandingData):
    """With the cause, which decides how much a deactivation removes."""

    cause: DeactivationCause


class NoticeGivenData(StandingData):
    """With the announced step, and the current schedule."""

    upcoming_state: State
    at: Utc
    schedule: list[StepData]
    held: Held = False


class NoticeWithdrawnData(StandingData):
    """With the step that had been announced."""

    upcoming_state: State
    at: Utc


class SubscriptionData(ClosedModel):
    """One marketplace subscription."""

    marketplace: Marketplace
    subscription_id: Name


class SubscriptionsRemovedData(StandingData):
    """With all plans that were attached."""

    subscriptions: list[SubscriptionData]
    commitments: list[Name]
    grants: Annotated[
        list[Name], Field(description="By the ids of the requests of Support that gave them.")
    ]
    omitted: Omitted = 0


class EmailData(StandingData):
    """With the keyed hash of the address; the address itself is never published."""

    email_hash: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class LockViolatedData(EmailData):
    """With the organization whose owner has the locked email."""

    used_by: Annotated[Name, Field(description="An organization's id; never the subject.")]


class ReinstatementData(StandingData):
    """With the subscription that is active again, and what completes the reinstatement."""

    marketplace: Marketplace
    subscription_id: Name
    completed_by: Annotated[
        CompletedBy, Field(description="What it waits for, or waited for until it lapsed.")
    ]


class MeteringData(StandingData):
    """With the subscription, and the last moment at which its usage can be metered."""

    marketplace: Marketplace
    subscription_id: Name
    deadline: Utc


class ErasedData(ClosedModel):
    """The id of the erased organization, and nothing else."""

    organization_id: Name


class AnswerData(ClosedModel):
    """The answer to Support."""

    request_id: Annotated[Name, Field(description="The `id` of the request's own CloudEvent.")]
    request: SupportRequestKind
    code: Refusal | None
    message: Annotated[Name, Field(description="The answer as a sentence.")]
    requested_by: Annotated[
        str, Field(description="As the request says; empty where it does not say it validly.")
    ]


class CompletedData(AnswerData, StandingData):
    """The state of the organization after the request, and the answer."""

    code: Annotated[None, Field(description="Nothing was refused.")]


class RejectedData(AnswerData, AnyStandingData):
    """The state of the organization, and the answer.  The subject is the organization."""

    code: Refusal


class RejectedByWorkerData(AnswerData):
    """The answer alone, for no organization could be found.  The subject is `worker`."""

    code: Refusal


Which = Annotated[
    RequestLimit | None,
    Field(description="Which limit of requested deactivations was reached; null: none of these."),
]
TrippingRequest = Annotated[
    Name | None,
    Field(description="The `id` of the request that would have gone past it; null: no request."),
]


class GuardTrippedData(ClosedModel):
    """Who or what tripped the guard, and what it had counted."""

    guard: Annotated[
        GuardSide,
        Field(
            description="What is withheld from here on: the steps that a deadline takes, the "
            "deactivations that are requested, or both."
        ),
    ]
    counted: Annotated[
        Count | None,
        Field(description="What the last hour held; null where no limit tripped it."),
    ]
    limit: Annotated[
        Count | None,
        Field(description="How many an hour may hold; null where no limit tripped it."),
    ]
    by: Annotated[
        Name | None,
        Field(
            description="The operator; null: a limit, or the clock of decisions, which ran ahead."
        ),
    ]
    reason: Annotated[Name, Field(description="Why; `clock` where that clock ran ahead.")]
    which: Which
    request_id: TrippingRequest
    added_to: Annotated[
        UUID | None,
        Field(
            description="The `id` of the `guard.tripped` event that stood already and still holds; "
            "null: the guard was not tripped."
        ),
    ]


class GuardReleasedData(ClosedModel):
    """Who released the guard, and how far; and what had tripped it, if it was one trip."""

    guard: Annotated[GuardSide, Field(description="What is released.")]
    steps: Annotated[
        Annotated[int, Field(ge=1)] | None,
        Field(description="For how many steps; null: altogether, or not for steps."),
    ]
    requests: Annotated[
        Annotated[int, Field(ge=1)] | None,
        Field(description="For how many requests; null: altogether, or not for requests."),
    ]
    counted: Annotated[Count | None, Field(description="As the trip said.")]
    limit: Annotated[Count | None, Field(description="As the trip said.")]
    by: Annotated[Name, Field(description="The operator.")]
    reason: Name
    which: Which
    request_id: TrippingRequest


class SilentFeedData(ClosedModel):
    """Which feed is silent."""

    feed: ActivityFeed
    day: Annotated[date, Field(description="Said once per feed and UTC day.")]
    last_heard_at: Annotated[
        Utc | None, Field(description="The newest event time of the feed; null: never heard.")
    ]


class UnreadableFeedData(ClosedModel):
    """Which feed had records that could not be read, and whose use they may be."""

    feed: ActivityFeed
    day: Annotated[date, Field(description="Said once per feed, organization and UTC day.")]
    organization_id: Annotated[
        Name | None,
        Field(description="Whose use the records may be, by their key; null: anybody's."),
    ]


class PlanData(ClosedModel):
    """One plan; `name`: the marketplace and the subscription, or `commitment:` or `grant:` and
    its id.
    """

    name: Name
    marketplace: Marketplace | None
    status: Name
    active: bool
    ends_at: Utc | None
    plan_type: PlanType | None


class StateData(StandingData):
    """The whole of an organization.  `effective_at` is when the snapshot was taken."""

    tier: Tier
    created_at: Utc
    canceled_at: Utc | None
    plans: Annotated[
        list[PlanData],
        Field(description="Where not all of them fit, the active ones are kept first."),
    ]
    omitted: Omitted = 0
    last_event_sequence: Annotated[
        int, Field(ge=0, description="The newest event that is included; 0: none yet.")
    ]


OWN_DATA: dict[EventKind, Any] = {
    EventKind.CANCELED: CanceledData,
    EventKind.DEACTIVATED: DeactivatedData,
    EventKind.NOTICE_GIVEN: NoticeGivenData,
    EventKind.NOTICE_WITHDRAWN: NoticeWithdrawnData,
    EventKind.SUBSCRIPTIONS_REMOVED: SubscriptionsRemovedData,
    EventKind.EMAIL_LOCKED: EmailData,
    EventKind.EMAIL_UNLOCKED: EmailData,
    EventKind.EMAIL_LOCK_VIOLATED: LockViolatedData,
    EventKind.REINSTATEMENT_PENDING: ReinstatementData,
    EventKind.REINSTATEMENT_LAPSED: ReinstatementData,
    EventKind.ERASED: ErasedData,
    EventKind.METERING_FINAL_REPORT_DUE: MeteringData,
    EventKind.SUPPORT_REQUEST_COMPLETED: CompletedData,
    EventKind.SUPPORT_REQUEST_REJECTED: RejectedData | RejectedByWorkerData,
    EventKind.GUARD_TRIPPED: GuardTrippedData,
    EventKind.GUARD_RELEASED: GuardReleasedData,
    EventKind.ACTIVITY_FEED_SILENT: SilentFeedData,
    EventKind.ACTIVITY_FEED_UNREADABLE: UnreadableFeedData,
}
"""The data model of each kind; kinds that are not listed have `StandingData`."""
