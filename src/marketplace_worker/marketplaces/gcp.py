"""Google Cloud Marketplace: Partner Procurement messages, from Pub/Sub pushes or decoded.

The only module that knows Google's words; the tables are those of marketplaces.md section 1.
"""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from marketplace_worker.errors import Malformed
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
    PlanType,
    Reason,
    SubscriptionKey,
)
from marketplace_worker.marketplaces import wire
from marketplace_worker.marketplaces.wire import Item, Node, Row
from marketplace_worker.record import Record

_DURATION = r"P(?=\d|T\d)(\d+[YMWD])*(T(\d+[HMS])+)?"
_IS_DURATION = re.compile(_DURATION, re.ASCII)
_ENDS_IN_DURATION = re.compile(rf".*-{_DURATION}", re.ASCII | re.DOTALL)

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
    "user-cancelled": Reason.CUSTOMER,
    "user-aborted": Reason.CUSTOMER,
    "billing-disabled": Reason.NON_PAYMENT,
    "account-closed": Reason.NON_PAYMENT,
    "expired": Reason.COMMIT_EXPIRED,
}
"""`cancellationReason` is "subject to change" by Google: what is not here is `unknown`."""


def translate(record: Record) -> Sequence[Item]:
    """What a record of the Google topic says.

    Raises:
        Malformed: the value cannot be read.
    """

    def translated(letter: _Letter, position: str) -> Notified | Unrecognized:
        event_type = letter.node.required("eventType")
        if event_type.startswith("ACCOUNT_"):
            return _from_account(letter, record, position)
        return _from_entitlement(letter, record, position)

    return wire.translate_each([_opened(_Letter(wire.read(record)))], record, translated)


# --- envelopes (marketplaces.md sections 1 and 4d) ------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Letter:
    """A message, and what was said of it around it: by a router, and by Pub/Sub."""

    node: Node
    resource: Node | None = None
    published_at: datetime | None = None


def _opened(letter: _Letter) -> _Letter:
    """The message in a letter, whatever lies around it; each shape by what only it has."""
    for _ in range(wire.ENVELOPES_MAX):
        node = letter.node
        if node.has("eventType"):
            return letter
        if node.has("data"):
            published_at = node.time("publishTime") or node.time("publish_time")
            letter = replace(letter, node=_decoded(node), published_at=published_at)
        elif node.has("message"):
            letter = replace(letter, node=node.child("message"))
        elif node.has("notification"):
            resource = node.child("resource") if node.has("resource") else letter.resource
            letter = replace(letter, node=node.opened("notification"), resource=resource)
        else:
            raise Malformed("no known shape of a Google Marketplace message", field=node.path)
    raise Malformed("too many envelopes in one another", field=letter.node.path)


def _decoded(message: Node) -> Node:
    """What Pub/Sub carries in `data`, as base64."""
    data, field = message.value("data"), message.at("data")
    if not isinstance(data, str):
        raise Malformed("must be text", field=field)
    try:
        body = base64.b64decode(data, validate=True)
    except ValueError:
        raise Malformed("is not base64", field=field) from None
    return Node(wire.parse_object(body, field=field), path=field)


# --- messages -------------------------------------------------------------------------------------


def _from_account(letter: _Letter, record: Record, position: str) -> Unrecognized:
    """An account's event: it has no entitlement and changes nothing, but is counted."""
    account = letter.node.child("account")
    return Unrecognized(
        identity=_identity(letter.node, account.text("id"), position),
        occurred_at=wire.occurred_at(record, account.time("updateTime") or letter.published_at),
        event_type=wire.named(letter.node.required("eventType")),
    )


def _from_entitlement(letter: _Letter, record: Record, position: str) -> Notified:
    event_type = letter.node.required("eventType")
    entitlement = letter.node.child("entitlement")
    subject = entitlement.required("id")
    identity = _identity(letter.node, subject, position)
    told = entitlement.time("updateTime") or letter.published_at
    occurred_at = wire.occurred_at(record, told)
    row = _row(event_type, letter.resource or Node({}), occurred_at)
    note = Note(
        occurred_at=occurred_at,
        rank=row.rank,
        id=identity.id,
        change=row.change,
        plan_type=_plan_type(entitlement, letter.resource),
        billing_account=_billing_account(letter.resource),
    )
    subscription = SubscriptionKey(Marketplace.GCP, subject)
    return Notified(identity, subscription, note, wire.named(event_type), row.attention)


def _identity(message: Node, subject: str | None, position: str) -> Identity:
    """`eventType:eventId:subject`: one operation publishes several messages with one eventId."""
    event_id = wire.real_id(message.text("eventId"))
    if event_id is None or subject is None:
        return Identity(Marketplace.GCP, position)
    id_ = f"{message.required('eventType')}:{event_id}:{subject}"
    return Identity(Marketplace.GCP, wire.keepable(id_, field=message.at("eventId")))


def _row(event_type: str, resource: Node, occurred_at: datetime) -> Row:
    """The Google table of marketplaces.md section 1."""
    match event_type:
        case "ENTITLEMENT_CREATION_REQUESTED" | "ENTITLEMENT_OFFER_ACCEPTED":
            return Row(1, Pended())
        case _ if event_type in _IN_FORCE:
            return Row(2, Activated())
        case "ENTITLEMENT_PENDING_CANCELLATION" | "ENTITLEMENT_CANCELLING":
            return Row(3, Ending(_ends_at(resource, occurred_at)))
        case "ENTITLEMENT_CANCELLED":
            return Row(4, _cancelled(resource))
        case "ENTITLEMENT_DELETED":
            return Row(5, wire.ended_for_good(Reason.UNKNOWN))
        case "ENTITLEMENT_OFFER_ENDED" | "ENTITLEMENT_PLAN_CHANGE_REQUESTED":
            return Row(6, Unchanged())
        case _:
            return Row(6, Unchanged(), Attention.UNKNOWN_KIND)


def _ends_at(resource: Node, occurred_at: datetime) -> datetime | None:
    """The later of the resource's ends; None where it has none yet to come.

    `offerEndTime` lies in the past where a private offer ended and the entitlement went on: then it
    tells nothing of the end that was announced now.
    """
    ends = [resource.time("subscriptionEndTime"), resource.time("offerEndTime")]
    ends_at = wire.real_end(max((end for end in ends if end is not None), default=None))
    return None if ends_at is None or ends_at < occurred_at else ends_at


def _cancelled(resource: Node) -> Change:
    reason = (resource.text("cancellationReason") or "").lower()
    if reason == "migrated":
        return Superseded()
    return wire.ended_for_good(_REASONS.get(reason, Reason.UNKNOWN))


def _plan_type(entitlement: Node, resource: Node | None) -> PlanType | None:
    """`commit` where a duration is told, `payg` where a resource tells none, else unknown."""
    told = [
        _is_duration(entitlement.text("newOfferDuration")),
        _ends_in_duration(entitlement.text("newPlan")),
    ]
    if resource is not None:
        told += [
            _is_duration(resource.text("offerDuration")),
            _ends_in_duration(resource.text("plan")),
        ]
    if any(told):
        return PlanType.COMMIT
    return None if resource is None else PlanType.PAYG


def _is_duration(text: str | None) -> bool:
    return text is not None and _IS_DURATION.fullmatch(text) is not None


def _ends_in_duration(plan: str | None) -> bool:
    return plan is not None and _ENDS_IN_DURATION.fullmatch(plan) is not None


def _billing_account(resource: Node | None) -> str | None:
    """The procurement account's id: the last part of `providers/P/accounts/ID`."""
    account = None if resource is None else resource.text("account")
    return None if account is None else account.rpartition("/")[2] or None
