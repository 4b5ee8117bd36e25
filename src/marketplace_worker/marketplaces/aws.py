"""Translates AWS Marketplace's EventBridge events and SNS messages.

The only module that knows AWS's names.  The tables are those of marketplaces.md section 1.
"""

import re
from dataclasses import dataclass
from datetime import MAXYEAR, datetime, timedelta

from marketplace_worker.envelopes import Fields, Match, Payload
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
    PlanEndReason,
    PlanType,
    SubscriptionKey,
)
from marketplace_worker.marketplaces import wire
from marketplace_worker.marketplaces.wire import CaselessNode, Node, RankedChange

_SOURCE = "aws.agreement-marketplace"
_LAST_USAGE_WINDOW = timedelta(hours=1)
_ABSENT = (None, "")
_MESSAGE_FIELDS = ("product-code", "ProductCode", "customer-identifier", "CustomerIdentifier")
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


def recognize(fields: Fields) -> Match:
    """Whether an object is an EventBridge event, an SNS message, or an SNS confirmation request."""
    if fields.get("detail-type") not in _ABSENT or fields.get("Type") in _CONFIRMATIONS:
        return Match.SURE
    if fields.get("action") in _ABSENT:
        return Match.NONE
    return Match.SURE if any(name in fields for name in _MESSAGE_FIELDS) else Match.MAYBE


def translate(payload: Payload) -> Notified | Unrecognized:
    """The fact of an object of the AWS topic.  Raises `Malformed`, which names the field."""
    node = Node(payload.fields, payload.path)
    if node.has("detail-type"):
        return _from_event(node, payload)
    if node.has("action"):
        return _from_message(node, payload)
    return _from_confirmation(node, payload)


def _from_confirmation(question: Node, payload: Payload) -> Unrecognized:
    """SNS asks to confirm the subscription of a topic; it concerns no customer."""
    return Unrecognized(
        identity=Identity(
            Marketplace.AWS, wire.usable_id(question.text("MessageId")) or payload.positional_id
        ),
        occurred_at=wire.occurred_at(payload.record, question.time("Timestamp")),
        event_type=question.required("Type"),
    )


# --- EventBridge ----------------------------------------------------------------------------------


def _from_event(event: Node, payload: Payload) -> Notified | Unrecognized:
    identity = Identity(Marketplace.AWS, wire.usable_id(event.text("id")) or payload.positional_id)
    occurred_at = wire.occurred_at(payload.record, event.time("time"))
    # The suffix after " - " is the role of the recipient, not a property of the agreement.
    detail_type = event.required("detail-type")
    kind = detail_type.partition(" - ")[0].strip() or detail_type
    if event.text("source") not in {_SOURCE, None}:
        return Unrecognized(identity, occurred_at, event_type=wire.bounded_name(kind))

    detail = event.json_child("detail")
    agreement = detail.child("agreement")
    subscription = SubscriptionKey(Marketplace.AWS, agreement.required("id"))
    ranked = _event_change(kind, agreement, occurred_at)
    entitlements = _Entitlements.of(Node.of(payload.resource))
    note = Note(
        occurred_at=occurred_at,
        rank=ranked.rank,
        id=identity.id,
        change=ranked.change,
        plan_type=entitlements.plan_type or _plan_type_of(ranked.change, agreement),
        # Cancellation requests have flat ids.
        billing_account=entitlements.billing_account
        or detail.child("acceptor").text("accountId")
        or agreement.text("acceptorId"),
        term_ends_at=agreement.end_time("endTime"),
        auto_renews=agreement.flag("autoRenewalEnabled"),
        licence=_licence(detail),
    )
    return Notified(identity, subscription, note, wire.bounded_name(kind), ranked.attention)


def _licence(detail: Node) -> str | None:
    """The licence that an event names by ARN or id; both end with the same token, `l-…`."""
    named = detail.child("license")
    tokens = re.split("[:/]", named.text("arn") or named.text("id") or "")
    licences = [token for token in tokens if token.startswith("l-")]
    return (licences or tokens)[-1] or None


def _event_change(kind: str, agreement: Node, occurred_at: datetime) -> RankedChange:
    """The EventBridge table of marketplaces.md section 1."""
    match kind:
        case "Purchase Agreement Created":
            return RankedChange(1, Pended(successor_of=_predecessor(agreement)))
        case "Purchase Agreement Amended":
            return RankedChange(2, _amended(agreement))
        case "License Updated":
            return RankedChange(3, Activated())
        case "License Deprovisioned":
            return RankedChange(4, _last_usage(occurred_at))
        case "Purchase Agreement Ended":
            return _ended_change(agreement.text("status") or "")
        case "Agreement Cancellation Request Approved":
            return RankedChange(7, VendorCancellationApproved())
        case "Purchase Agreement Advisory Issued" | "Purchase Agreement Advisory Resolved":
            return RankedChange(8, Unchanged(), Attention.ADVISORY)
        case _ if kind in _KNOWN_WITHOUT_EFFECT:
            return RankedChange(9, Unchanged())
        case _:
            return RankedChange(9, Unchanged(), Attention.UNKNOWN_KIND)


def _ended_change(status: str) -> RankedChange:
    """The end of an agreement by its status; an unknown status needs attention."""
    match status.upper():
        case "CANCELLED":
            return RankedChange(5, wire.ended_for_good(PlanEndReason.CUSTOMER))
        case "TERMINATED":
            return RankedChange(5, wire.ended_for_good(PlanEndReason.NON_PAYMENT))
        case "EXPIRED":
            return RankedChange(5, wire.ended_for_good(PlanEndReason.COMMIT_EXPIRED))
        case "RENEWED" | "REPLACED" | "SUPERSEDED":
            return RankedChange(6, Superseded())
        case _:
            return RankedChange(6, Unchanged(), Attention.UNKNOWN_KIND)


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
            return Ending(agreement.end_time("endTime"), reason=PlanEndReason.COMMIT_EXPIRED)
        case None:
            return Unchanged()


def _last_usage(occurred_at: datetime) -> Ending:
    """An end in an hour: until then the last usage can be metered."""
    return Ending(wire.later(occurred_at, _LAST_USAGE_WINDOW), closes_usage=True)


def _plan_type_of(change: Change, agreement: Node) -> PlanType | None:
    """The plan type by `endTime` of a Created: `payg` without one or in 9999, else `commit`.

    An unreadable `endTime` gives None, so that it cannot select the short timeline.
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


def _from_message(message: Node, payload: Payload) -> Notified:
    sns = CaselessNode.of(payload.sns) or CaselessNode({})
    identity = Identity(
        Marketplace.AWS, wire.usable_id(sns.text("MessageId")) or payload.positional_id
    )
    occurred_at = wire.occurred_at(payload.record, sns.time("Timestamp"))
    action = message.required("action")
    entitlements = _Entitlements.of(Node.of(payload.resource))
    ranked = _message_change(action, entitlements, occurred_at)
    plan_type = entitlements.plan_type
    if action == "entitlement-updated":
        plan_type = PlanType.COMMIT
    note = Note(
        occurred_at=occurred_at,
        rank=ranked.rank,
        id=identity.id,
        change=ranked.change,
        plan_type=plan_type or (PlanType.PAYG if action == "subscribe-success" else None),
        plan_type_settled=plan_type is not None,
        billing_account=entitlements.billing_account,
    )
    subscription = SubscriptionKey(Marketplace.AWS, _subscription_id(message))
    return Notified(identity, subscription, note, wire.bounded_name(action), ranked.attention)


def _message_change(
    action: str, entitlements: "_Entitlements", occurred_at: datetime
) -> RankedChange:
    """The SNS table of marketplaces.md section 1, its rows counted on from EventBridge's."""
    match action:
        case "subscribe-fail":
            return RankedChange(10, wire.ended_for_now(PlanEndReason.NON_PAYMENT))
        case "subscribe-success":
            return RankedChange(11, Activated())
        case "unsubscribe-pending":
            return RankedChange(12, _last_usage(occurred_at))
        case "unsubscribe-success":
            return RankedChange(13, wire.ended_for_now(PlanEndReason.UNKNOWN))
        case "entitlement-updated":
            match entitlements.in_force_at(occurred_at):
                case True:
                    return RankedChange(14, Activated())
                case False:
                    return RankedChange(14, wire.ended_for_now(PlanEndReason.COMMIT_EXPIRED))
                case None:
                    return RankedChange(14, Unchanged(), Attention.ENTITLEMENTS_NOT_READ)
        case _:
            return RankedChange(15, Unchanged(), Attention.UNKNOWN_KIND)


def _subscription_id(message: Node) -> str:
    """`PRODUCT_CODE/CUSTOMER_IDENTIFIER`, also in the spelling of the docs of 2021."""
    product = message.text("ProductCode") or message.required("product-code")
    customer = message.text("CustomerIdentifier") or message.required("customer-identifier")
    return wire.storable_text(f"{product}/{customer}", field=message.at("customer-identifier"))


# --- the resource: GetEntitlements ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Entitlements:
    """The response of GetEntitlements.  `expiries`: None if there is no response, or an error.
    `partly`: it is one page of several.
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
        """`commit` if there is any entitlement: only contracts have them."""
        return PlanType.COMMIT if self.expiries else None

    def in_force_at(self, moment: datetime) -> bool | None:
        """Whether any entitlement has not expired by then; None if not all of them are known."""
        if self.expiries is None or self.partly:
            return None
        return any(expires_at is None or expires_at > moment for expires_at in self.expiries)


def _expiry(entitlement: Node) -> datetime | None:
    """When an entitlement expires, from text or a number of seconds; None: never.

    An unreadable date is refused, because neither answer may be guessed.
    """
    field = entitlement.at("ExpirationDate")
    raw = entitlement.value("ExpirationDate")
    if raw is None:
        return None
    if isinstance(raw, int | float) and not isinstance(raw, bool):
        return wire.seconds_since_epoch(raw, field=field)
    expires_at = entitlement.time("ExpirationDate")
    if expires_at is None:
        raise Malformed("is not a time", field=field)
    return expires_at
