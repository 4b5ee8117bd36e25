"""The whole CloudEvents of everything that we publish: the envelopes around `outbound_data`."""

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field, create_model
from pydantic.json_schema import SkipJsonSchema

from marketplace_worker.contract.cloudevents import event_type, message_title, schema_id
from marketplace_worker.contract.outbound_data import (
    OWN_DATA,
    ClosedModel,
    Name,
    StandingData,
    StateData,
    Utc,
)
from marketplace_worker.lifecycle.events import EventKind

SOURCE = "/marketplace-worker"
STATE_SOURCE = "/marketplace-worker/state"
"""The source of snapshots: their `sequence` counts snapshots, and an event's counts events."""

STATE_NAME = "organization.state"


TraceAttribute = Annotated[
    Name | SkipJsonSchema[None],
    Field(
        exclude_if=lambda reason: reason is None,
        description="As the message that caused it had it (W3C Trace Context); else not there.",
        json_schema_extra=lambda schema: schema.pop("default", None),
    ),
]


class PublishedEvent(ClosedModel):
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
    traceparent: TraceAttribute = None
    tracestate: TraceAttribute = None


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


_OWN_ENVELOPES: dict[EventKind, type[PublishedEvent]] = {
    EventKind.SUPPORT_REQUEST_REJECTED: PublishedAnswer,
    EventKind.GUARD_TRIPPED: PublishedWorkerEvent,
    EventKind.GUARD_RELEASED: PublishedWorkerEvent,
    EventKind.ACTIVITY_FEED_SILENT: PublishedWorkerEvent,
    EventKind.ACTIVITY_FEED_UNREADABLE: PublishedWorkerEvent,
}


def _constant_type(value: str) -> Any:  # noqa: ANN401 - a type that is made at run time
    return Literal[value]


def _model(
    name: str,
    envelope: type[PublishedEvent],
    data: Any,  # noqa: ANN401 - a model, or a union of such
) -> type[PublishedEvent]:
    model: type[PublishedEvent] = create_model(
        message_title(name),
        __base__=envelope,
        type=(_constant_type(event_type(name)), ...),
        dataschema=(_constant_type(schema_id(name)), ...),
        data=(data, ...),
    )
    return model


EVENT_MODELS: dict[EventKind, type[PublishedEvent]] = {
    kind: _model(
        kind,
        _OWN_ENVELOPES.get(kind, PublishedLifecycleEvent),
        OWN_DATA.get(kind, StandingData),
    )
    for kind in EventKind
}
"""The whole CloudEvent of every kind of event."""

STATE_MODEL = _model(STATE_NAME, PublishedSnapshot, StateData)
"""The whole CloudEvent of a snapshot."""
