"""Translates Google Cloud Marketplace's Partner Procurement messages.

The only module that knows Google's names.  The tables are those of marketplaces.md section 1.
"""

import re
from datetime import datetime

from marketplace_worker.envelopes import Fields, Match, Payload
from marketplace_worker.lifecycle.facts import Notified, Unrecognized
from marketplace_worker.lifecycle.notes import (
    Activated,
    Attention,
    Change,
    Ending,
    Note,
    Pended,
    Superseded,
    Unchanged,
)
from marketplace_worker.lifecycle.vocabulary import (
    Identity,
    Marketplace,
    PlanEndReason,
    PlanType,
    SubscriptionKey,
)
from marketplace_worker.marketplaces import wire
from marketplace_worker.marketplaces.wire import Node, ProtoNode, RankedChange

_DURATION = r"P(?=\d|T\d)(\d+[YMWD])*(T(\d+[HMS])+)?"
_IS_DURATION = re.compile(_DURATION, re.ASCII)
_ENDS_IN_DURATION = re.compile(rf".*-{_DURATION}", re.ASCII | re.DOTALL)

_SUBJECTS = ("entitlement", "account")
_IN_FORCE = frozenset(
    {
        "ENTITLEMENT_ACTIVE",
        "ENTITLEMENT_RENEWED",
        "ENTITLEMENT_PLAN_CHANGED",
        "ENTITLEMENT_PLAN_CHANGE_CANCELLED",
        "ENTITLEMENT_CANCELLATION_REVERTED",
    }
)
_REASONS = {
    "user-cancelled": PlanEndReason.CUSTOMER,
    "user-aborted": PlanEndReason.CUSTOMER,
    "billing-disabled": PlanEndReason.NON_PAYMENT,
    "account-closed": PlanEndReason.NON_PAYMENT,
    "expired": PlanEndReason.COMMIT_EXPIRED,
}
"""`cancellationReason` is "subject to change" by Google: what is not here is `unknown`."""


def recognize(fields: Fields) -> Match:
    """Whether an object is a message of Google's, not another object with an `eventType`."""
    event_type = ProtoNode(fields).value("eventType")
    if event_type is None:
        return Match.NONE
    if any(isinstance(fields.get(name), dict) for name in _SUBJECTS):
        return Match.SURE
    is_named = isinstance(event_type, str) and event_type.startswith(("ENTITLEMENT_", "ACCOUNT_"))
    return Match.MAYBE if is_named else Match.NONE


def translate(payload: Payload) -> Notified | Unrecognized:
    """The fact of an object of the Google topic.  Raises `Malformed`, which names the field."""
    message = ProtoNode(payload.fields, payload.path)
    pubsub = ProtoNode.of(payload.pubsub)
    published_at = None if pubsub is None else pubsub.time("publishTime")
    if message.required("eventType").startswith("ACCOUNT_"):
        return _from_account(message, payload, published_at)
    return _from_entitlement(message, payload, published_at)


# --- messages -------------------------------------------------------------------------------------


def _from_account(
    message: ProtoNode, payload: Payload, published_at: datetime | None
) -> Unrecognized:
    """An event of an account: it has no entitlement and changes nothing."""
    account = message.child("account")
    updated_at = account.time("updateTime") or published_at
    return Unrecognized(
        identity=_identity(message, account.text("id"), payload),
        occurred_at=wire.occurred_at(payload.record, updated_at),
        event_type=wire.bounded_name(message.required("eventType")),
    )


def _from_entitlement(
    message: ProtoNode, payload: Payload, published_at: datetime | None
) -> Notified:
    event_type = message.required("eventType")
    entitlement = message.child("entitlement")
    subscription = SubscriptionKey(Marketplace.GCP, entitlement.required("id"))
    identity = _identity(message, subscription.subscription_id, payload)
    updated_at = entitlement.time("updateTime") or published_at
    occurred_at = wire.occurred_at(payload.record, updated_at)
    resource = ProtoNode.of(payload.resource)
    ranked = _ranked_change(event_type, resource or Node({}), occurred_at)
    note = Note(
        occurred_at=occurred_at,
        rank=ranked.rank,
        id=identity.id,
        change=ranked.change,
        plan_type=_plan_type(entitlement, resource),
        billing_account=_billing_account(resource),
        closes_usage=event_type == "ENTITLEMENT_CANCELLED",
    )
    return Notified(identity, subscription, note, wire.bounded_name(event_type), ranked.attention)


def _identity(message: Node, subject: str | None, payload: Payload) -> Identity:
    """`eventType:eventId:subject`: the messages of one operation share their eventId."""
    event_id = wire.usable_id(message.text("eventId"))
    if event_id is None or subject is None:
        return Identity(Marketplace.GCP, payload.positional_id)
    id_ = f"{message.required('eventType')}:{event_id}:{subject}"
    return Identity(Marketplace.GCP, wire.storable_text(id_, field=message.at("eventId")))


def _ranked_change(event_type: str, resource: Node, occurred_at: datetime) -> RankedChange:
    """The Google table of marketplaces.md section 1."""
    match event_type:
        case "ENTITLEMENT_CREATION_REQUESTED" | "ENTITLEMENT_OFFER_ACCEPTED":
            return RankedChange(1, Pended())
        case _ if event_type in _IN_FORCE:
            return RankedChange(2, Activated())
        case "ENTITLEMENT_PENDING_CANCELLATION" | "ENTITLEMENT_CANCELLING":
            return RankedChange(3, Ending(_ends_at(resource, occurred_at)))
        case "ENTITLEMENT_CANCELLED":
            return RankedChange(4, _cancelled(resource))
        case "ENTITLEMENT_DELETED":
            return RankedChange(5, wire.ended_for_good(PlanEndReason.UNKNOWN))
        case "ENTITLEMENT_OFFER_ENDED" | "ENTITLEMENT_PLAN_CHANGE_REQUESTED":
            return RankedChange(6, Unchanged())
        case _:
            return RankedChange(6, Unchanged(), Attention.UNKNOWN_KIND)


def _ends_at(resource: Node, occurred_at: datetime) -> datetime | None:
    """The later of the resource's two ends; None if it is in the past or missing.

    `offerEndTime` is in the past if a private offer ended and the entitlement continued: then it is
    not the end that is announced here.
    """
    ends = [resource.time("subscriptionEndTime"), resource.time("offerEndTime")]
    ends_at = wire.usable_end(max((end for end in ends if end is not None), default=None))
    return None if ends_at is None or ends_at < occurred_at else ends_at


def _cancelled(resource: Node) -> Change:
    """The end by Google's reason.  Its values are "subject to change": any other is unknown."""
    raw = resource.value("cancellationReason")
    reason = raw.strip().lower() if isinstance(raw, str) else ""
    if reason == "migrated":
        return Superseded()
    return wire.ended_for_good(_REASONS.get(reason, PlanEndReason.UNKNOWN))


def _plan_type(entitlement: Node, resource: Node | None) -> PlanType | None:
    """`commit` if there is any duration, `payg` if the resource has none, else unknown."""
    durations = [
        _is_duration(entitlement.text("newOfferDuration")),
        _ends_in_duration(entitlement.text("newPlan")),
    ]
    if resource is not None:
        durations += [
            _is_duration(resource.text("offerDuration")),
            _ends_in_duration(resource.text("plan")),
        ]
    if any(durations):
        return PlanType.COMMIT
    return PlanType.PAYG if resource is not None and _is_entitlement(resource) else None


def _is_entitlement(resource: Node) -> bool:
    """Whether it is an entitlement, and not the response of a failed call."""
    return bool(resource.fields) and not resource.has("error")


def _is_duration(text: str | None) -> bool:
    return text is not None and _IS_DURATION.fullmatch(text) is not None


def _ends_in_duration(plan: str | None) -> bool:
    return plan is not None and _ENDS_IN_DURATION.fullmatch(plan) is not None


def _billing_account(resource: Node | None) -> str | None:
    """The procurement account's id: the last part of `providers/P/accounts/ID`."""
    account = None if resource is None else resource.text("account")
    return None if account is None else account.rpartition("/")[2] or None
