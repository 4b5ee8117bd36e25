"""Translates the calls of Azure's SaaS fulfillment webhook.

The only module that knows Azure's names.  The tables are those of marketplaces.md section 1.
"""

import re
from collections.abc import Iterable
from typing import TypeVar

from marketplace_worker.envelopes import Fields, Match, Payload
from marketplace_worker.lifecycle.facts import Notified, Unrecognized
from marketplace_worker.lifecycle.notes import (
    Activated,
    Attention,
    Note,
    Progress,
    Resumed,
    Suspended,
    Unchanged,
    Unsubscribed,
)
from marketplace_worker.lifecycle.vocabulary import Identity, Marketplace, PlanType, SubscriptionKey
from marketplace_worker.marketplaces import wire
from marketplace_worker.marketplaces.wire import CaselessNode, RankedChange

_T = TypeVar("_T")

_ACTIONS = {
    "subscribe": "Subscribe",
    "renew": "Renew",
    "changeplan": "ChangePlan",
    "changequantity": "ChangeQuantity",
    "suspend": "Suspend",
    "reinstate": "Reinstate",
    "unsubscribe": "Unsubscribe",
}
"""By lower-case name: routers change the case of values too, not only of keys."""
_LANDING_PAGE = "LandingPage"
_FINAL = {
    "succeeded": Progress.SUCCEEDED,
    "success": Progress.SUCCEEDED,
    "failed": Progress.FAILED,
    "conflict": Progress.FAILED,
}
"""The statuses of a finished operation; with any other status it may still fail."""
_TERM_UNIT = re.compile(
    r"P(?=\d)(?:(\d{1,4})Y)?(?:(\d{1,4})M)?(?:(\d{1,4})W)?(?:(\d{1,4})D)?", re.ASCII
)


def recognize(fields: Fields) -> Match:
    """Whether an object is a webhook call, or the SaaS accelerator's landing page event."""
    node = CaselessNode(fields)
    has_action, has_subject = node.has("action"), node.has("subscriptionId")
    if (has_action and has_subject) or _is_of_a_landing_page(node):
        return Match.SURE
    return Match.MAYBE if has_action or has_subject else Match.NONE


def translate(payload: Payload) -> Notified | Unrecognized:
    """The fact of an object of the Azure topic.  Raises `Malformed`, which names the field."""
    node = CaselessNode(payload.fields, payload.path)
    if node.has("action") or not _is_of_a_landing_page(node):
        return _from_webhook(node, payload)
    return Unrecognized(
        identity=Identity(Marketplace.AZURE, payload.positional_id),
        occurred_at=payload.record.latest_event_time,
        event_type=_LANDING_PAGE,
    )


def _is_of_a_landing_page(node: CaselessNode) -> bool:
    """Whether it is the accelerator's event for a customer on the landing page.

    It arrives at the same URL as the webhook's calls and contains no notification; its shape is
    `WebNotificationPayload` in the accelerator's source.
    """
    event_type = node.value("eventType")
    return (
        isinstance(event_type, str)
        and event_type.lower() == _LANDING_PAGE.lower()
        and isinstance(node.value("payloadFromLandingpage"), dict)
        and not node.value("payloadFromWebhook")
    )


# --- the webhook ----------------------------------------------------------------------------------


def _from_webhook(body: CaselessNode, payload: Payload) -> Notified:
    raw_action = body.required("action")
    action = _ACTIONS.get(raw_action.lower(), raw_action)
    subscription = SubscriptionKey(Marketplace.AZURE, body.required("subscriptionId"))
    operation = _operation_id(action, body)
    identity = Identity(
        Marketplace.AZURE, _report_id(operation, subscription, body) or payload.positional_id
    )
    ranked = _ranked_change(action, body)
    progress = _progress(body.text("status"))
    # The resource was read after the change, the webhook's own snapshot is from before it.
    sources = (CaselessNode.of(payload.resource), body.child("subscription"))
    snapshots = [snapshot for snapshot in sources if snapshot is not None]
    terms = [snapshot.child("term") for snapshot in snapshots]
    note = Note(
        occurred_at=wire.occurred_at(payload.record, body.time("timeStamp")),
        rank=ranked.rank,
        id=identity.id,
        change=ranked.change,
        plan_type=_first(_plan_type(term.text("termUnit")) for term in terms),
        term_ends_at=_first(term.end_time("endDate") for term in terms),
        auto_renews=_first(snapshot.flag("autoRenew") for snapshot in snapshots),
        operation=operation,
        progress=progress,
        term_started=_first(_started(term) for term in terms),
        closes_usage=action == "Unsubscribe",
    )
    attention = ranked.attention
    if note.is_destructive and progress is Progress.RUNNING:
        attention = Attention.OPERATION_NOT_FINAL
    return Notified(identity, subscription, note, wire.bounded_name(action), attention)


def _operation_id(action: str, body: CaselessNode) -> str | None:
    """The id of the operation that a webhook call reports; None if it has none."""
    id_ = wire.usable_id(body.text("id"))
    return None if id_ is None else wire.storable_text(f"{id_}:{action}", field=body.at("id"))


def _report_id(
    operation: str | None, subscription: SubscriptionKey, body: CaselessNode
) -> str | None:
    """The id of one report of an operation: `id:action:subscriptionId:status:timeStamp`.

    Azure reports an operation several times with one id, and some senders use one id for several
    operations.
    """
    if operation is None:
        return None
    status, timestamp = body.text("status") or "", body.text("timeStamp") or ""
    report = f"{operation}:{subscription.subscription_id}:{status}:{timestamp}"
    return wire.storable_text(report, field=body.at("id"))


def _progress(status: str | None) -> Progress:
    """The progress of an operation (marketplaces.md section 1); without a status it succeeded."""
    return Progress.SUCCEEDED if status is None else _FINAL.get(status.lower(), Progress.RUNNING)


def _ranked_change(action: str, body: CaselessNode) -> RankedChange:
    """The Azure table of marketplaces.md section 1."""
    match action:
        case "Subscribe" | "Renew":
            return RankedChange(1, Activated())
        case "ChangePlan" | "ChangeQuantity":
            return RankedChange(2, Unchanged())
        case "Suspend":
            return RankedChange(3, Suspended())
        case "Reinstate":
            return RankedChange(4, Resumed(where="suspended"))
        case "Unsubscribe":
            return RankedChange(5, Unsubscribed(by_partner=_by_partner(body)))
        case _:
            return RankedChange(2, Unchanged(), Attention.UNKNOWN_KIND)


def _by_partner(body: CaselessNode) -> bool:
    """Whether the vendor requested it.  Microsoft's emulator spells the field differently."""
    spellings = ("operationRequestSource", "operationRequestedSource")
    return any((body.text(name) or "").lower() == "partner" for name in spellings)


def _plan_type(term_unit: str | None) -> PlanType | None:
    """`payg` for `P1M`, `commit` for a year or more, None for anything between."""
    found = _TERM_UNIT.fullmatch(term_unit or "")
    if found is None:
        return None
    years, months, weeks, days = (int(number or 0) for number in found.groups())
    if 12 * years + months >= 12 or 7 * weeks + days >= 365:
        return PlanType.COMMIT
    return PlanType.PAYG if term_unit == "P1M" else None


def _started(term: CaselessNode) -> bool | None:
    """Whether the term has begun: until then it has no dates.  None if there is no term."""
    if term.time("startDate") or term.time("endDate"):
        return True
    return False if term.has("termUnit") else None


def _first(values: Iterable[_T | None]) -> _T | None:
    """The first value that is not None."""
    return next((each for each in values if each is not None), None)
