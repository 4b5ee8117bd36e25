"""Encodes events and snapshots as CloudEvents.

Only this module makes the published bytes; equal values give equal bytes (events.md section 3).
Each message is a dict that its pydantic model validates and msgspec writes, which takes a quarter
of the time of pydantic's own writer.  Its keys are those that the model would write, in the same
order.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

import msgspec
from pydantic import TypeAdapter

from marketplace_worker.contract.cloudevents import CLOUDEVENTS_CONTENT_TYPE, event_type, schema_id
from marketplace_worker.contract.outbound_events import (
    EVENT_MODELS,
    SOURCE,
    STATE_MODEL,
    STATE_NAME,
    STATE_SOURCE,
    PublishedEvent,
)
from marketplace_worker.contract.tracing import Trace
from marketplace_worker.lifecycle.events import (
    WORKER,
    CancellationDetails,
    DeactivationDetails,
    Details,
    EmailDetails,
    Event,
    EventKind,
    LockViolationDetails,
    MeteringDetails,
    NoticeDetails,
    PlanSummary,
    ReinstatementDetails,
    ScheduledStep,
    Snapshot,
    Standing,
    SubscriptionsDetails,
    SupportDetails,
)
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.vocabulary import SubscriptionKey
from marketplace_worker.lifecycle.worker_details import (
    GuardReleasedDetails,
    GuardTrippedDetails,
    SilentFeedDetails,
    UnreadableFeedDetails,
)
from marketplace_worker.record import MESSAGE_BYTES_MAX

__all__ = ["CLOUDEVENTS_CONTENT_TYPE", "encode", "encode_snapshot"]

_EVENTS: dict[EventKind, TypeAdapter[PublishedEvent]] = {
    kind: TypeAdapter(model) for kind, model in EVENT_MODELS.items()
}
_STATE: TypeAdapter[PublishedEvent] = TypeAdapter(STATE_MODEL)
_NAMES = {kind: (event_type(kind), schema_id(kind)) for kind in EventKind}
_REMOVED_LISTS = ("subscriptions", "commitments", "grants")

VALUE_BYTES_MAX = MESSAGE_BYTES_MAX - 10_000
"""The remaining bytes are for the key, an organization's id, and the headers."""

_CAPABILITIES = {state: asdict(state.capabilities) for state in State}


def encode(event: Event, trace: Trace | None = None) -> bytes:
    """The JSON of an event: the value of its record on `organizations.lifecycle`.

    `trace`: the trace of the message that caused it.  The content type is
    `CLOUDEVENTS_CONTENT_TYPE`.  Details of another kind of event, or the standing of another
    organization, are a bug and raise an error.
    """
    kind = event.kind
    data = _data(event)
    concerns = data.get("organization_id", WORKER)
    assert event.subject == concerns, f"{kind} of {event.subject} is about {concerns}"
    cloudevent_type, dataschema = _NAMES[kind]
    return _bounded(
        _EVENTS[kind],
        {
            "specversion": "1.0",
            "id": event.id,
            "source": SOURCE,
            "type": cloudevent_type,
            "subject": event.subject,
            "time": event.decided_at,
            "datacontenttype": "application/json",
            "dataschema": dataschema,
            "sequence": f"{event.sequence:020}",
            "partitionkey": event.subject,
            "causationid": event.causation_id,
            **_traced(trace),
            "correlationid": event.correlation_id,
            "data": data | details_data(event.details),
        },
        _REMOVED_LISTS if isinstance(event.details, SubscriptionsDetails) else (),
    )


def encode_snapshot(snapshot: Snapshot, trace: Trace | None = None) -> bytes:
    """The JSON of a snapshot: the value of its record on `organizations.state`.

    `trace`: the trace of the message that caused it.  Its `sequence` is the revision, which counts
    the snapshots, not the events.
    """
    organization = snapshot.standing.organization
    return _bounded(
        _STATE,
        {
            "specversion": "1.0",
            "id": snapshot.id,
            "source": STATE_SOURCE,
            "type": event_type(STATE_NAME),
            "subject": organization,
            "time": snapshot.taken_at,
            "datacontenttype": "application/json",
            "dataschema": schema_id(STATE_NAME),
            "sequence": f"{snapshot.revision:020}",
            "partitionkey": organization,
            "causationid": snapshot.causation_id,
            **_traced(trace),
            "data": _standing(snapshot.standing, snapshot.taken_at)
            | {
                "tier": snapshot.tier,
                "created_at": snapshot.created_at,
                "canceled_at": snapshot.canceled_at,
                "plans": [_plan(plan) for plan in snapshot.plans],
                "last_event_sequence": snapshot.last_event_sequence,
            },
        },
        ("plans",),
    )


def _bounded(
    adapter: TypeAdapter[PublishedEvent], event: dict[str, Any], lists: Sequence[str]
) -> bytes:
    """The JSON of an event.  If it would be too large for Kafka, entries of these lists of its data
    are omitted, and `omitted` counts them.

    Active entries are kept first, then the first ones.
    """
    whole = _validated_json(adapter, event)
    if len(whole) <= VALUE_BYTES_MAX or not lists:
        return whole
    data = event["data"]
    places = [(name, place) for name in lists for place in range(len(data[name]))]
    places.sort(key=lambda at: not _is_active(data[at[0]][at[1]]))
    room = VALUE_BYTES_MAX - len(whole) + sum(_bytes(data[name]) for name in lists)
    kept: dict[str, list[int]] = {name: [] for name in lists}
    for name, place in places:
        room -= _bytes(data[name][place])
        if room < 0:
            break
        kept[name].append(place)
    shortened: dict[str, Any] = {}
    for name, value in data.items():
        shortened[name] = [value[place] for place in sorted(kept[name])] if name in kept else value
        if name == lists[-1]:
            shortened["omitted"] = len(places) - sum(map(len, kept.values()))
    return _validated_json(adapter, {**event, "data": shortened})


def _validated_json(adapter: TypeAdapter[PublishedEvent], event: dict[str, Any]) -> bytes:
    """The JSON of an event.  Raises `ValidationError` if its model does not allow it."""
    adapter.validate_python(event)
    return _ENCODER.encode(event)


_ENCODER = msgspec.json.Encoder()


def _is_active(entry: object) -> bool:
    return isinstance(entry, dict) and bool(entry.get("active"))


def _bytes(value: object) -> int:
    """Its size as JSON, with the following comma."""
    return len(_ENCODER.encode(value)) + 1


def _traced(trace: Trace | None) -> dict[str, Any]:
    if trace is None:
        return {}
    state = {} if trace.state is None else {"tracestate": trace.state}
    return {"traceparent": trace.parent, **state}


def _data(event: Event) -> dict[str, Any]:
    """The organization's standing; for an erased one only its id."""
    if event.kind is EventKind.ERASED:
        return {"organization_id": event.subject}
    return {} if event.standing is None else _standing(event.standing, event.effective_at)


def _standing(standing: Standing, effective_at: datetime) -> dict[str, Any]:
    return {
        "organization_id": standing.organization,
        "state": standing.state,
        "previous_state": standing.previous_state,
        "effective_at": effective_at,
        "reason": standing.reason,
        "initiator": standing.initiator,
        "plan_type": standing.plan_type,
        "capabilities": None if standing.state is None else _CAPABILITIES[standing.state],
        "next_step": None if standing.next_step is None else _step(standing.next_step),
        "recoverable": standing.recoverable,
        "policy_version": standing.policy_version,
    }


def details_data(details: Details) -> dict[str, Any]:
    """The fields of an event's `data` besides the standing."""
    match details:
        case None:
            return {}
        case CancellationDetails(schedule=schedule, held=held):
            return _schedule(schedule, held=held)
        case DeactivationDetails(cause=cause):
            return {"cause": cause}
        case NoticeDetails(upcoming_state=upcoming_state, at=at, schedule=None):
            return {"upcoming_state": upcoming_state, "at": at}
        case NoticeDetails(upcoming_state=upcoming_state, at=at, schedule=schedule, held=held):
            return {
                "upcoming_state": upcoming_state,
                "at": at,
                **_schedule(schedule or (), held=held),
            }
        case SubscriptionsDetails(subscriptions=keys, commitments=commitments, grants=grants):
            removed = [_subscription(key) for key in keys]
            return {
                "subscriptions": removed,
                "commitments": list(commitments),
                "grants": list(grants),
            }
        case ReinstatementDetails(subscription=key, completed_by=completed_by):
            return {**_subscription(key), "completed_by": completed_by}
        case MeteringDetails(subscription=key, deadline=deadline):
            return {**_subscription(key), "deadline": deadline}
        case UnreadableFeedDetails(feed=feed, day=day, organization=organization):
            return {"feed": feed, "day": day, "organization_id": organization}
        case (
            EmailDetails()
            | LockViolationDetails()
            | SupportDetails()
            | GuardTrippedDetails()
            | GuardReleasedDetails()
            | SilentFeedDetails()
        ):
            return asdict(details)


def _schedule(schedule: Iterable[ScheduledStep], *, held: bool) -> dict[str, Any]:
    steps = [_step(step) for step in schedule]
    return {"schedule": steps, "held": True} if held else {"schedule": steps}


def _step(step: ScheduledStep) -> dict[str, Any]:
    return {"state": step.state, "at": step.at}


def _subscription(key: SubscriptionKey) -> dict[str, Any]:
    return {"marketplace": key.marketplace, "subscription_id": key.subscription_id}


def _plan(plan: PlanSummary) -> dict[str, Any]:
    return {
        "name": plan.name,
        "marketplace": plan.marketplace,
        "status": plan.status,
        "active": plan.active,
        "ends_at": plan.ends_at,
        "plan_type": plan.plan_type,
    }
