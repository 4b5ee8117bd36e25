"""AWS Marketplace: EventBridge events and SNS messages, in every envelope they are carried in.

The only module that knows AWS's words; the tables are those of marketplaces.md section 1.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import MAXYEAR, datetime, timedelta

from marketplace_worker.errors import Malformed
from marketplace_worker.lifecycle.facts import Notified, Unrecognized
from marketplace_worker.lifecycle.notes import (
    Activated,
    Attention,
    Change,
    Ending,
    Note,
    Pended,
    Resumed,
    Superseded,
    Unchanged,
    VendorCancellationApproved,
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

_SOURCE = "aws.agreement-marketplace"
_LAST_USAGE_WINDOW = timedelta(hours=1)
_CONFIRMATIONS = ("SubscriptionConfirmation", "UnsubscribeConfirmation")
_KNOWN_WITHOUT_EFFECT = frozenset(
    {
        "Purchase Agreement Ending",
        "Purchase Agreement Renewal Terms Finalized",
        "Purchase Agreement Renewal Upcoming",
        "Purchase Agreement Billing Adjustment Completed",
        "Purchase Agreement Billing Adjustment Failed",
        "Agreement Cancellation Request Pending Approval",
        "Agreement Cancellation Request Rejected",
        "Agreement Cancellation Request Cancelled",
        "Agreement Cancellation Request Validation Failed",
    }
)


def translate(record: Record) -> Sequence[Item]:
    """What a record of the AWS topic says, one item per notification in it.

    Raises:
        Malformed: nothing in the value can be read.
    """

    def translated(letter: _Letter, position: str) -> Notified | Unrecognized:
        if letter.node.has("detail-type"):
            return _from_event(letter, record, position)
        if letter.node.has("action"):
            return _from_message(letter, record, position)
        return _from_confirmation(letter, record, position)

    return wire.translate_each(_opened(_Letter(wire.read(record))), record, translated)


# --- envelopes (marketplaces.md sections 1 and 3c) ------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Letter:
    """A notification, and what was said of it around it: by a router, and by the SNS envelope."""

    node: Node
    resource: Node | None = None
    message_id: str | None = None
    sent_at: datetime | None = None
    depth: int = 0

    def holding(self, node: Node) -> "_Letter":
        """What lies in this envelope."""
        if self.depth == wire.ENVELOPES_MAX:
            raise Malformed("too many envelopes in one another", field=node.path)
        return replace(self, node=node, depth=self.depth + 1)


def _opened(letter: _Letter) -> Iterator[_Letter | Malformed]:
    """The notifications in a letter, whatever lies around them; each shape by what only it has."""
    node = letter.node
    if node.has("detail-type") or node.has("action") or node.value("Type") in _CONFIRMATIONS:
        yield letter
    elif node.has("Message"):
        inner = letter.holding(node.opened("Message"))
        sent_at = node.time("Timestamp")
        yield from _opened(replace(inner, message_id=node.text("MessageId"), sent_at=sent_at))
    elif node.has("Sns"):
        yield from _opened(letter.holding(node.child("Sns")))
    elif node.has("Records"):
        yield from _opened_records(letter)
    elif body := next((name for name in ("body", "Body") if node.has(name)), None):
        yield from _opened(letter.holding(node.opened(body)))
    elif node.has("notification"):
        inner = letter.holding(node.opened("notification"))
        resource = node.child("resource") if node.has("resource") else letter.resource
        yield from _opened(replace(inner, resource=resource))
    else:
        raise Malformed("no known shape of an AWS Marketplace notification", field=node.path)


def _opened_records(letter: _Letter) -> Iterator[_Letter | Malformed]:
    """The notifications in a Lambda function's `Records`, of SNS or of SQS."""
    records = letter.node.children("Records")
    at = letter.node.at("Records")
    if not records:
        raise Malformed("holds no record", field=at)
    if letter.resource is not None and len(records) > 1:
        raise Malformed("holds several records, beside one resource", field=at)
    for each in records:
        if isinstance(each, Malformed):
            yield each
            continue
        inner = replace(letter.holding(each), message_id=None, sent_at=None)
        try:
            # All of it at once: a record is refused as a whole.
            yield from wire.at_most_records_max(_opened(inner), field=each.path)
        except Malformed as refused:
            yield refused


def _from_confirmation(letter: _Letter, record: Record, position: str) -> Unrecognized:
    """SNS asks to confirm a topic's subscription: about no subscription of ours."""
    return Unrecognized(
        identity=Identity(Marketplace.AWS, wire.real_id(letter.node.text("MessageId")) or position),
        occurred_at=wire.occurred_at(record, letter.node.time("Timestamp")),
        event_type=letter.node.required("Type"),
    )


# --- EventBridge ----------------------------------------------------------------------------------


def _from_event(letter: _Letter, record: Record, position: str) -> Notified | Unrecognized:
    event = letter.node
    identity = Identity(Marketplace.AWS, wire.real_id(event.text("id")) or position)
    occurred_at = wire.occurred_at(record, event.time("time"))
    # The role after " - " tells whose copy it is, and nothing of the agreement.
    detail_type = event.required("detail-type")
    kind = detail_type.partition(" - ")[0].strip() or detail_type
    if event.text("source") not in {_SOURCE, None}:
        return Unrecognized(identity, occurred_at, event_type=wire.named(kind))

    detail = event.child("detail")
    agreement = detail.child("agreement")
    subscription = SubscriptionKey(Marketplace.AWS, agreement.required("id"))
    row = _event_row(kind, agreement, occurred_at)
    entitlements = _Entitlements.of(letter.resource)
    note = Note(
        occurred_at=occurred_at,
        rank=row.rank,
        id=identity.id,
        change=row.change,
        plan_type=entitlements.plan_type or _plan_type_of(row.change, agreement),
        # Cancellation requests have flat ids.
        billing_account=entitlements.billing_account
        or detail.child("acceptor").text("accountId")
        or agreement.text("acceptorId"),
        term_ends_at=agreement.end_time("endTime"),
        auto_renews=agreement.flag("autoRenewalEnabled"),
    )
    return Notified(identity, subscription, note, wire.named(kind), row.attention)


def _event_row(kind: str, agreement: Node, occurred_at: datetime) -> Row:
    """The EventBridge table of marketplaces.md section 1."""
    match kind:
        case "Purchase Agreement Created":
            return Row(1, Pended(successor_of=_predecessor(agreement)))
        case "Purchase Agreement Amended":
            return Row(2, _amended(agreement))
        case "License Updated":
            return Row(3, Activated())
        case "License Deprovisioned":
            return Row(4, _last_usage(occurred_at))
        case "Purchase Agreement Ended":
            return _ended_row(agreement.text("status") or "")
        case "Agreement Cancellation Request Approved":
            return Row(7, VendorCancellationApproved())
        case "Purchase Agreement Advisory Issued" | "Purchase Agreement Advisory Resolved":
            return Row(8, Unchanged(), Attention.ADVISORY)
        case _ if kind in _KNOWN_WITHOUT_EFFECT:
            return Row(9, Unchanged())
        case _:
            return Row(9, Unchanged(), Attention.UNKNOWN_KIND)


def _ended_row(status: str) -> Row:
    """An agreement's end, by its status; one that is not in the table deserves a look."""
    match status.upper():
        case "CANCELLED":
            return Row(5, wire.ended_for_good(Reason.CUSTOMER))
        case "TERMINATED":
            return Row(5, wire.ended_for_good(Reason.NON_PAYMENT))
        case "EXPIRED":
            return Row(5, wire.ended_for_good(Reason.COMMIT_EXPIRED))
        case "RENEWED" | "REPLACED" | "SUPERSEDED":
            return Row(6, Superseded())
        case _:
            return Row(6, Unchanged(), Attention.UNKNOWN_KIND)


def _predecessor(agreement: Node) -> SubscriptionKey | None:
    previous = agreement.text("previousAgreementId")
    if previous is None or previous == agreement.required("id"):
        return None
    return SubscriptionKey(Marketplace.AWS, previous)


def _amended(agreement: Node) -> Change:
    match agreement.flag("autoRenewalEnabled"):
        case True:
            return Resumed(where="ending")
        case False:
            return Ending(agreement.end_time("endTime"), reason=Reason.COMMIT_EXPIRED)
        case None:
            return Unchanged()


def _last_usage(occurred_at: datetime) -> Ending:
    """The end that leaves an hour for the last usage."""
    return Ending(wire.later(occurred_at, _LAST_USAGE_WINDOW), closes_usage=True)


def _plan_type_of(change: Change, agreement: Node) -> PlanType | None:
    """What `endTime` of a Created tells: in 9999 or none `payg`, else `commit`.

    One that is there but cannot be read tells nothing: the short timeline must not come of it.
    """
    if not isinstance(change, Pended):
        return None
    if not agreement.has("endTime"):
        return PlanType.PAYG
    ends_at = agreement.time("endTime")
    if ends_at is None:
        return None
    return PlanType.PAYG if ends_at.year == MAXYEAR else PlanType.COMMIT


# --- SNS ------------------------------------------------------------------------------------------


def _from_message(letter: _Letter, record: Record, position: str) -> Notified:
    message = letter.node
    identity = Identity(Marketplace.AWS, wire.real_id(letter.message_id) or position)
    occurred_at = wire.occurred_at(record, letter.sent_at)
    action = message.required("action")
    entitlements = _Entitlements.of(letter.resource)
    row = _message_row(action, entitlements, occurred_at)
    plan_type = entitlements.plan_type
    if action == "entitlement-updated":
        plan_type = PlanType.COMMIT
    note = Note(
        occurred_at=occurred_at,
        rank=row.rank,
        id=identity.id,
        change=row.change,
        plan_type=plan_type or (PlanType.PAYG if action == "subscribe-success" else None),
        plan_type_settled=plan_type is not None,
        billing_account=entitlements.billing_account,
    )
    subscription = SubscriptionKey(Marketplace.AWS, _subscription_id(message))
    return Notified(identity, subscription, note, wire.named(action), row.attention)


def _message_row(action: str, entitlements: "_Entitlements", occurred_at: datetime) -> Row:
    """The SNS table of marketplaces.md section 1, its rows counted on from EventBridge's."""
    match action:
        case "subscribe-fail":
            return Row(10, wire.ended_for_now(Reason.NON_PAYMENT))
        case "subscribe-success":
            return Row(11, Activated())
        case "unsubscribe-pending":
            return Row(12, _last_usage(occurred_at))
        case "unsubscribe-success":
            return Row(13, wire.ended_for_now(Reason.UNKNOWN))
        case "entitlement-updated":
            match entitlements.in_force_at(occurred_at):
                case True:
                    return Row(14, Activated())
                case False:
                    return Row(14, wire.ended_for_now(Reason.COMMIT_EXPIRED))
                case None:
                    return Row(14, Unchanged(), Attention.ENTITLEMENTS_NOT_READ)
        case _:
            return Row(15, Unchanged(), Attention.UNKNOWN_KIND)


def _subscription_id(message: Node) -> str:
    """`PRODUCT_CODE/CUSTOMER_IDENTIFIER`, also in the spelling of the docs of 2021."""
    product = message.text("ProductCode") or message.required("product-code")
    customer = message.text("CustomerIdentifier") or message.required("customer-identifier")
    return wire.keepable(f"{product}/{customer}", field=message.at("customer-identifier"))


# --- the resource: GetEntitlements ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Entitlements:
    """What GetEntitlements answered.  `expiries` is None where it was not read (or is an error's
    answer); `partly`: more were to be had than were read.
    """

    expiries: tuple[datetime | None, ...] | None = None
    billing_account: str | None = None
    partly: bool = False

    @classmethod
    def of(cls, resource: Node | None) -> "_Entitlements":
        if resource is None or not resource.has("Entitlements"):
            return cls()
        entries = resource.children("Entitlements")
        for entry in entries:
            if isinstance(entry, Malformed):
                raise entry
        nodes = [entry for entry in entries if isinstance(entry, Node)]
        accounts = {entry.text("CustomerAWSAccountId") for entry in nodes} - {None}
        return cls(
            expiries=tuple(_expiry(entry) for entry in nodes),
            billing_account=accounts.pop() if len(accounts) == 1 else None,
            partly=resource.has("NextToken"),
        )

    @property
    def plan_type(self) -> PlanType | None:
        """An entitlement is a contract's."""
        return PlanType.COMMIT if self.expiries else None

    def in_force_at(self, moment: datetime) -> bool | None:
        """Whether any has not expired by then; None where that was not read."""
        if self.expiries is None:
            return None
        if any(expires_at is None or expires_at > moment for expires_at in self.expiries):
            return True
        return None if self.partly else False


def _expiry(entitlement: Node) -> datetime | None:
    """When an entitlement expires, told as text or in seconds; None: never.

    An unreadable one is refused: neither answer may be guessed.
    """
    field = entitlement.at("ExpirationDate")
    told = entitlement.value("ExpirationDate")
    if told is None:
        return None
    if isinstance(told, int | float) and not isinstance(told, bool):
        return wire.seconds_since_epoch(told, field=field)
    expires_at = entitlement.time("ExpirationDate")
    if expires_at is None:
        raise Malformed("is not a time", field=field)
    return expires_at
