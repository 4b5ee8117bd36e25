"""The models of everything that we publish, by kind (events.md section 3).

What concerns an organization tells where it stands, and then what its kind needs; what concerns the
worker itself tells only the latter.  A writer is strict: every key is always there, none other is,
nothing is coerced, and every time is UTC.  Building a model validates it, so that nothing leaves
that its schema does not describe.
"""

from datetime import date, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, create_model
from pydantic_core import CoreSchema, core_schema

from marketplace_worker.contract.cloudevents import event_type, schema_id
from marketplace_worker.lifecycle.events import (
    CompletedBy,
    DeactivationCause,
    EventKind,
    Refusal,
    StateReason,
)
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.vocabulary import (
    ActivityFeed,
    Initiator,
    Marketplace,
    PlanType,
    SupportRequestKind,
    Tier,
)

SOURCE = "/marketplace-worker"
STATE_SOURCE = "/marketplace-worker/state"
"""Of snapshots: their `sequence` counts them, and an event's counts events."""

STATE_NAME = "organization.state"


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


class Written(BaseModel):
    """What all that we write has in common."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


class CapabilitiesData(Written):
    """What downstream services enforce: manage (control plane), data plane, API keys, log in."""

    manage: bool
    data: bool
    api_keys: bool
    login: bool


class StepData(Written):
    """A step of a cancellation and when it comes, as things stand."""

    state: State
    at: Utc


class StandingData(Written):
    """Where an organization stands once the event has happened."""

    organization_id: Name
    state: State
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
    capabilities: CapabilitiesData
    next_step: Annotated[
        StepData | None, Field(description="Null where no deadline leads on, or none runs.")
    ]
    recoverable: Annotated[bool, Field(description="Whether the organization can come back.")]
    policy_version: Name


class CanceledData(StandingData):
    """With every step that is to come."""

    schedule: list[StepData]


class DeactivatedData(StandingData):
    """With what decides how much a deactivation takes."""

    cause: DeactivationCause


class NoticeGivenData(StandingData):
    """With the step that is announced, and the schedule as it now stands."""

    upcoming_state: State
    at: Utc
    schedule: list[StepData]


class NoticeWithdrawnData(StandingData):
    """With the step that had been announced."""

    upcoming_state: State
    at: Utc


class SubscriptionData(Written):
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


class EmailData(StandingData):
    """With the keyed hash of the address; the address itself is nowhere."""

    email_hash: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class LockViolatedData(EmailData):
    """With the organization that the locked email is now the owner's of."""

    used_by: Annotated[Name, Field(description="An organization's id; never the subject.")]


class ReinstatementData(StandingData):
    """With the subscription that is active again, and what completes the reinstatement."""

    marketplace: Marketplace
    subscription_id: Name
    completed_by: Annotated[
        CompletedBy, Field(description="What it waits for, or waited for until it lapsed.")
    ]


class MeteringData(StandingData):
    """With the subscription, and the last moment at which its usage may be metered."""

    marketplace: Marketplace
    subscription_id: Name
    deadline: Utc


class AnswerData(Written):
    """What Support is answered."""

    request_id: Annotated[Name, Field(description="The `id` of the request's own CloudEvent.")]
    request: SupportRequestKind
    code: Refusal | None
    message: Annotated[Name, Field(description="The answer as a sentence.")]
    requested_by: Annotated[
        str, Field(description="As the request says; empty where it does not say it validly.")
    ]


class CompletedData(AnswerData, StandingData):
    """Where the organization stands after the request, and the answer."""

    code: Annotated[None, Field(description="Nothing was refused.")]


class RejectedData(AnswerData, StandingData):
    """Where the organization stands, and the answer.  The subject is the organization."""

    code: Refusal


class RejectedByWorkerData(AnswerData):
    """The answer alone, for no organization could be found.  The subject is `worker`."""

    code: Refusal


class GuardTrippedData(Written):
    """Who or what tripped the guard, and what it had counted."""

    steps: Annotated[Count, Field(description="Harmful steps taken within the last hour.")]
    limit: Annotated[
        Count | None, Field(description="How many may be; null where an operator tripped it.")
    ]
    by: Annotated[Name | None, Field(description="The operator; null: the limit.")]
    reason: Name


class GuardReleasedData(Written):
    """Who released the guard, and how far."""

    steps: Annotated[
        Annotated[int, Field(ge=1)] | None,
        Field(description="How many harmful steps it lets through; null: it is released."),
    ]
    by: Annotated[Name, Field(description="The operator.")]
    reason: Name


class SilentFeedData(Written):
    """Which feed is silent."""

    feed: ActivityFeed
    day: Annotated[date, Field(description="Said once per feed and UTC day.")]
    last_heard_at: Annotated[
        Utc | None, Field(description="The newest event time of the feed; null: never heard.")
    ]


class PlanData(Written):
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
    plans: list[PlanData]
    last_event_sequence: Annotated[
        int, Field(ge=0, description="The newest event that is included; 0: none yet.")
    ]


class PublishedEvent(Written):
    """The envelope of everything that we publish."""

    specversion: Literal["1.0"]
    id: UUID
    source: str
    type: Name
    subject: Annotated[Name, Field(description="The organization's id.")]
    time: Annotated[Utc, Field(description="When it was decided.")]
    datacontenttype: Literal["application/json"]
    dataschema: Name
    sequence: Annotated[
        str,
        Field(pattern="^[0-9]{20}$", description="Rises by one per subject, from 1."),
    ]
    partitionkey: Annotated[Name, Field(description="The organization's id.")]
    causationid: Annotated[
        Name, Field(description="The id of the inbound message that caused it, or `deadline`.")
    ]


class PublishedLifecycleEvent(PublishedEvent):
    """The envelope of an event on `organizations.lifecycle`."""

    source: Literal["/marketplace-worker"]
    correlationid: Annotated[
        Name, Field(description="Shared by all events of one cancellation or one request.")
    ]


class PublishedSnapshot(PublishedEvent):
    """The envelope of a snapshot on `organizations.state`; it is part of no story."""

    source: Literal["/marketplace-worker/state"]
    sequence: Annotated[
        str, Field(pattern="^[0-9]{20}$", description="Counts the organization's snapshots.")
    ]


class PublishedAnswer(PublishedLifecycleEvent):
    """The envelope of an answer that may concern no organization."""

    subject: Annotated[
        Name,
        Field(
            description="The organization's id, or `worker` where no organization could be found."
        ),
    ]
    partitionkey: Annotated[Name, Field(description="The subject.")]


class PublishedWorkerEvent(PublishedLifecycleEvent):
    """The envelope of an event of the worker itself."""

    subject: Annotated[Literal["worker"], Field(description="The worker itself.")]
    partitionkey: Annotated[Literal["worker"], Field(description="The worker itself.")]


_OWN_DATA: dict[EventKind, Any] = {
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
    EventKind.METERING_FINAL_REPORT_DUE: MeteringData,
    EventKind.SUPPORT_REQUEST_COMPLETED: CompletedData,
    EventKind.SUPPORT_REQUEST_REJECTED: RejectedData | RejectedByWorkerData,
    EventKind.GUARD_TRIPPED: GuardTrippedData,
    EventKind.GUARD_RELEASED: GuardReleasedData,
    EventKind.ACTIVITY_FEED_SILENT: SilentFeedData,
}
_OWN_ENVELOPES: dict[EventKind, type[PublishedEvent]] = {
    EventKind.SUPPORT_REQUEST_REJECTED: PublishedAnswer,
    EventKind.GUARD_TRIPPED: PublishedWorkerEvent,
    EventKind.GUARD_RELEASED: PublishedWorkerEvent,
    EventKind.ACTIVITY_FEED_SILENT: PublishedWorkerEvent,
}


def _only(value: str) -> Any:  # noqa: ANN401 - a type that is made at run time
    return Literal[value]


def _model(
    name: str,
    envelope: type[PublishedEvent],
    data: Any,  # noqa: ANN401 - a model, or a union of such
) -> type[PublishedEvent]:
    title = "".join(word.capitalize() for word in name.replace(".", "_").split("_"))
    model: type[PublishedEvent] = create_model(
        title,
        __base__=envelope,
        type=(_only(event_type(name)), ...),
        dataschema=(_only(schema_id(name)), ...),
        data=(data, ...),
    )
    return model


EVENT_MODELS: dict[EventKind, type[PublishedEvent]] = {
    kind: _model(
        kind,
        _OWN_ENVELOPES.get(kind, PublishedLifecycleEvent),
        _OWN_DATA.get(kind, StandingData),
    )
    for kind in EventKind
}
"""The whole CloudEvent of every kind of event."""

STATE_MODEL = _model(STATE_NAME, PublishedSnapshot, StateData)
"""The whole CloudEvent of a snapshot."""
