"""Azure: the SaaS fulfillment webhook, as it comes or as a router forwards it.

The only module that knows Azure's words; the tables are those of marketplaces.md section 1.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TypeVar

from marketplace_worker.errors import Malformed
from marketplace_worker.lifecycle.facts import Notified
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
from marketplace_worker.marketplaces.wire import CaselessNode, Item, Row
from marketplace_worker.record import Record

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
"""Routers change the case of more than the keys."""
_FINAL = {
    "succeeded": Progress.SUCCEEDED,
    "success": Progress.SUCCEEDED,
    "failed": Progress.FAILED,
    "conflict": Progress.FAILED,
}
"""The statuses of an operation that is over; with any other it may still fail."""
_TERM_UNIT = re.compile(
    r"P(?=\d)(?:(\d{1,4})Y)?(?:(\d{1,4})M)?(?:(\d{1,4})W)?(?:(\d{1,4})D)?", re.ASCII
)


def translate(record: Record) -> Sequence[Item]:
    """What a record of the Azure topic says.

    Raises:
        Malformed: the value cannot be read.
    """
    whole = _Letter(CaselessNode(wire.read(record).fields))

    def translated(letter: _Letter, position: str) -> Notified:
        return _notified(letter, record, position)

    return wire.translate_each([_opened(whole)], record, translated)


# --- envelopes (marketplaces.md section 1) --------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Letter:
    """A webhook's body, and the Get Subscription that a router read beside it."""

    node: CaselessNode
    resource: CaselessNode | None = None
    depth: int = 0

    def holding(self, node: CaselessNode) -> "_Letter":
        """What lies in this envelope."""
        if self.depth == wire.ENVELOPES_MAX:
            raise Malformed("too many envelopes in one another", field=node.path)
        return replace(self, node=node, depth=self.depth + 1)


def _opened(letter: _Letter) -> _Letter:
    """The body in a letter: the object that has an `action`, of those that say whose it is."""
    found = list(_with_action(letter))
    if not found:
        raise Malformed("is missing", field=letter.node.at("action"))
    of_a_subscription = [each for each in found if each.node.has("subscriptionId")]
    if len(of_a_subscription) > 1:
        raise Malformed("several notifications in one value")
    return (of_a_subscription or found)[0]


def _with_action(letter: _Letter) -> Iterator[_Letter]:
    """The outermost objects that have an `action`, within a wrapper or what a router forwards."""
    node = letter.node
    if node.has("action"):
        yield letter
    elif node.has("notification"):
        inner = letter.holding(node.opened("notification"))
        resource = node.child("resource") if node.has("resource") else letter.resource
        yield from _with_action(replace(inner, resource=resource))
    else:
        for held in _held(node):
            yield from _with_action(letter.holding(held))


def _held(node: CaselessNode) -> Iterator[CaselessNode]:
    """The objects that an object holds, or holds as JSON text; what is neither is passed over.

    Their path is `*`: the name is the router's, and not ours to repeat.
    """
    for name, found in node.fields.items():
        if isinstance(found, str) and found.lstrip().startswith("{"):
            with suppress(Malformed):
                yield replace(node, fields=node.opened(name).fields, path=node.at("*"))
        elif isinstance(found, dict):
            yield replace(node, fields=found, path=node.at("*"))


# --- the webhook ----------------------------------------------------------------------------------


def _notified(letter: _Letter, record: Record, position: str) -> Notified:
    body = letter.node
    told_action = body.required("action")
    action = _ACTIONS.get(told_action.lower(), told_action)
    subscription = SubscriptionKey(Marketplace.AZURE, body.required("subscriptionId"))
    operation = _operation(action, body)
    identity = Identity(Marketplace.AZURE, _report(operation, subscription, body) or position)
    row = _row(action, body)
    progress = _progress(body.text("status"))
    # The resource was read now, the snapshot is from before the change.
    told = (letter.resource, body.child("subscription"))
    snapshots = [snapshot for snapshot in told if snapshot is not None]
    terms = [snapshot.child("term") for snapshot in snapshots]
    note = Note(
        occurred_at=wire.occurred_at(record, body.time("timeStamp")),
        rank=row.rank,
        id=identity.id,
        change=row.change,
        plan_type=_first(_plan_type(term.text("termUnit")) for term in terms),
        term_ends_at=_first(term.end_time("endDate") for term in terms),
        auto_renews=_first(snapshot.flag("autoRenew") for snapshot in snapshots),
        operation=operation,
        progress=progress,
    )
    attention = row.attention
    if note.takes_away and progress is Progress.RUNNING:
        attention = Attention.OPERATION_NOT_FINAL
    return Notified(identity, subscription, note, wire.named(action), attention)


def _operation(action: str, body: CaselessNode) -> str | None:
    """Which operation of its subscription a webhook reports; None where it has no id."""
    id_ = wire.real_id(body.text("id"))
    return None if id_ is None else wire.keepable(f"{id_}:{action}", field=body.at("id"))


def _report(operation: str | None, subscription: SubscriptionKey, body: CaselessNode) -> str | None:
    """The identity of one report of an operation: `id:action:subscriptionId:status:timeStamp`.

    Azure reports an operation several times under one id, and some senders give the same id to
    different operations.
    """
    if operation is None:
        return None
    status, timestamp = body.text("status") or "", body.text("timeStamp") or ""
    report = f"{operation}:{subscription.subscription_id}:{status}:{timestamp}"
    return wire.keepable(report, field=body.at("id"))


def _progress(status: str | None) -> Progress:
    """How far the operation is (marketplaces.md section 1); no status means that it succeeded."""
    return Progress.SUCCEEDED if status is None else _FINAL.get(status.lower(), Progress.RUNNING)


def _row(action: str, body: CaselessNode) -> Row:
    """The Azure table of marketplaces.md section 1."""
    match action:
        case "Subscribe" | "Renew":
            return Row(1, Activated())
        case "ChangePlan" | "ChangeQuantity":
            return Row(2, Unchanged())
        case "Suspend":
            return Row(3, Suspended())
        case "Reinstate":
            return Row(4, Resumed(where="suspended"))
        case "Unsubscribe":
            return Row(5, Unsubscribed(by_partner=_by_partner(body)))
        case _:
            return Row(2, Unchanged(), Attention.UNKNOWN_KIND)


def _by_partner(body: CaselessNode) -> bool:
    """Whether it echoes the vendor's own call; Microsoft's emulator has its own spelling."""
    spellings = ("operationRequestSource", "operationRequestedSource")
    return any((body.text(name) or "").lower() == "partner" for name in spellings)


def _plan_type(term_unit: str | None) -> PlanType | None:
    """`P1M` is `payg`, a year or more `commit`; what lies between is neither."""
    found = _TERM_UNIT.fullmatch(term_unit or "")
    if found is None:
        return None
    years, months, weeks, days = (int(number or 0) for number in found.groups())
    if 12 * years + months >= 12 or 7 * weeks + days >= 365:
        return PlanType.COMMIT
    return PlanType.PAYG if term_unit == "P1M" else None


def _first(told: Iterable[_T | None]) -> _T | None:
    """The first that is told."""
    return next((each for each in told if each is not None), None)
