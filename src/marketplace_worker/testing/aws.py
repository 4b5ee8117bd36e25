"""Notifications of AWS Marketplace: EventBridge events and SNS messages.

Their shapes are those of marketplaces.md section 3.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TypedDict, Unpack
from uuid import UUID

from marketplace_worker.settings import Topics
from marketplace_worker.testing.envelopes import envelopes, sns
from marketplace_worker.testing.messages import (
    Message,
    message,
    time_text,
    uuid_for,
    without_none,
)

SELLER = "111122223333"

NO_END = datetime(9999, 1, 1, tzinfo=UTC)
"""AWS's end of an agreement that has none: pay as you go."""


class AwsKind(StrEnum):
    """What AWS notifies of, in AWS's words: detail types of EventBridge, then actions of SNS."""

    AGREEMENT_CREATED = "Purchase Agreement Created"
    AGREEMENT_AMENDED = "Purchase Agreement Amended"
    AGREEMENT_ENDED = "Purchase Agreement Ended"
    LICENSE_UPDATED = "License Updated"
    LICENSE_DEPROVISIONED = "License Deprovisioned"
    CANCELLATION_PENDING_APPROVAL = "Agreement Cancellation Request Pending Approval"
    CANCELLATION_APPROVED = "Agreement Cancellation Request Approved"
    CANCELLATION_REJECTED = "Agreement Cancellation Request Rejected"
    CANCELLATION_CANCELLED = "Agreement Cancellation Request Cancelled"
    CANCELLATION_VALIDATION_FAILED = "Agreement Cancellation Request Validation Failed"
    ADVISORY_ISSUED = "Purchase Agreement Advisory Issued"
    ADVISORY_RESOLVED = "Purchase Agreement Advisory Resolved"
    AGREEMENT_ENDING = "Purchase Agreement Ending"
    RENEWAL_TERMS_FINALIZED = "Purchase Agreement Renewal Terms Finalized"
    RENEWAL_UPCOMING = "Purchase Agreement Renewal Upcoming"
    BILLING_ADJUSTMENT_COMPLETED = "Purchase Agreement Billing Adjustment Completed"
    BILLING_ADJUSTMENT_FAILED = "Purchase Agreement Billing Adjustment Failed"
    SUBSCRIBE_SUCCESS = "subscribe-success"
    SUBSCRIBE_FAIL = "subscribe-fail"
    UNSUBSCRIBE_PENDING = "unsubscribe-pending"
    UNSUBSCRIBE_SUCCESS = "unsubscribe-success"
    ENTITLEMENT_UPDATED = "entitlement-updated"
    SUBSCRIPTION_CONFIRMATION = "SubscriptionConfirmation"
    UNSUBSCRIBE_CONFIRMATION = "UnsubscribeConfirmation"


_OF_SNS = frozenset(
    {
        AwsKind.SUBSCRIBE_SUCCESS,
        AwsKind.SUBSCRIBE_FAIL,
        AwsKind.UNSUBSCRIBE_PENDING,
        AwsKind.UNSUBSCRIBE_SUCCESS,
        AwsKind.ENTITLEMENT_UPDATED,
    }
)
_CONFIRMATIONS = frozenset({AwsKind.SUBSCRIPTION_CONFIRMATION, AwsKind.UNSUBSCRIBE_CONFIRMATION})
_OF_LICENSES = frozenset({AwsKind.LICENSE_UPDATED, AwsKind.LICENSE_DEPROVISIONED})
_TO_MANUFACTURERS = _OF_LICENSES | {AwsKind.ADVISORY_ISSUED, AwsKind.ADVISORY_RESOLVED}


class AwsDetails(TypedDict, total=False):
    """What a notification of AWS says besides, where its kind has it; each is optional.

    - `status`: of an agreement that ended: `CANCELLED` (the default), `TERMINATED`, `EXPIRED`,
      `RENEWED`, `REPLACED`, `SUPERSEDED`.
    - `ends_at`: of an agreement that is created or amended; without it pay as you go.  For
      `entitlement-updated` the expiry of its entitlement, as a router reads it with
      GetEntitlements; without it the router read nothing.
    - `previous`: the agreement that a created one renews.
    - `auto_renews`: of an amended agreement.
    - `account`: the customer's AWS account; by default one for each subscription.
    """

    status: str
    ends_at: datetime | None
    previous: str | None
    auto_renews: bool | None
    account: str | None


def aws_notification(
    kind: AwsKind,
    subscription: str,
    *,
    at: datetime,
    id_: str | None = None,
    envelope: str = "none",
    **details: Unpack[AwsDetails],
) -> Message:
    """A notification of AWS.

    Args:
        kind: an EventBridge event, or a message of SNS, which is always in SNS's envelope.
        subscription: an agreement's id; of SNS's messages `PRODUCT_CODE/CUSTOMER_IDENTIFIER`.
        at: when it happened; AWS writes whole seconds in events, milliseconds in SNS.
        id_: of the notification; by default the same for equal arguments.
        envelope: around it, one of `ENVELOPES`.
        details: see `AwsDetails`.

    Raises:
        ValueError: `subscription` of a message of SNS has no `/`.
    """
    identity = id_ or uuid_for("aws", kind, subscription, at, sorted(details.items()))
    value = _value(kind, subscription, at, identity, details)
    at_text = time_text(at, "milliseconds")
    value = envelopes(uuid_for("envelope", identity), at_text)[envelope](value)
    ends_at = details.get("ends_at")
    if kind is AwsKind.ENTITLEMENT_UPDATED and ends_at is not None:
        resource = _entitlements(subscription, ends_at, _account(subscription, details))
        value = {"notification": value, "resource": resource}
    return message(Topics().aws_notifications, subscription, value, at, f"{kind} {subscription}")


def _value(kind: AwsKind, subscription: str, at: datetime, id_: str, details: AwsDetails) -> object:
    """The notification as AWS sends it."""
    if kind in _CONFIRMATIONS:
        return _confirmation(kind, at, id_)
    if kind in _OF_SNS:
        return sns(_sns_body(kind, subscription), id_=id_, at=time_text(at, "milliseconds"))
    agreement = {"id": subscription, **_agreement(kind, at, details)}
    return _event(kind, agreement, _account(subscription, details), at, id_)


def _account(subscription: str, details: AwsDetails) -> str:
    return details.get("account") or aws_account(subscription)


def aws_account(customer: str) -> str:
    """Twelve digits.  Two customers must not share an account by accident: it may reinstate."""
    return f"{UUID(uuid_for('account', customer)).int % 10**12:012}"


# --- EventBridge ----------------------------------------------------------------------------------


def _event(
    kind: AwsKind, agreement: dict[str, object], account: str, at: datetime, identity: str
) -> dict[str, object]:
    role = "Manufacturer" if kind in _TO_MANUFACTURERS else "Proposer"
    is_request = "Cancellation Request" in kind
    customer = {} if is_request else {"acceptor": {"accountId": account}}
    if is_request:
        agreement = {
            **agreement,
            "acceptorId": account,
            "productId": "prod-1",
            "offerId": "offer-1",
        }
    return {
        "version": "0",
        "id": identity,
        "detail-type": f"{kind} - {role}",
        "source": "aws.agreement-marketplace",
        "account": SELLER,
        "time": time_text(at, "seconds"),
        "region": "us-east-1",
        "resources": [f"arn:aws:aws-marketplace::aws:agreement:{agreement['id']}"],
        "detail": {
            "requestId": uuid_for("request", identity),
            "catalog": "AWSMarketplace",
            "agreement": agreement,
            **customer,
            **({} if is_request else {"proposer": {"accountId": SELLER}}),
            **_beside_the_agreement(kind, str(agreement["id"]), at),
        },
    }


def _agreement(kind: AwsKind, at: datetime, details: AwsDetails) -> Mapping[str, object]:
    """The fields that an agreement has besides its id."""
    began, ends_at = time_text(at, "milliseconds"), details.get("ends_at") or NO_END
    term = {"startTime": began, "endTime": time_text(ends_at)}
    active = {"status": "ACTIVE", "acceptanceTime": began, **term}
    match kind:
        case AwsKind.AGREEMENT_CREATED:
            previous = details.get("previous")
            intent = "NEW" if previous is None else "RENEW"
            return without_none({"intent": intent, "previousAgreementId": previous, **active})
        case AwsKind.AGREEMENT_AMENDED:
            renews = details.get("auto_renews")
            return without_none({"intent": "AMEND", **active, "autoRenewalEnabled": renews})
        case AwsKind.AGREEMENT_ENDED:
            return {"status": details.get("status", "CANCELLED")}
        case AwsKind.AGREEMENT_ENDING:
            ending = {"daysBeforeEndTime": 30, "autoRenewalEnabled": False}
            return {**term, "status": "ACTIVE", **ending}
        case AwsKind.RENEWAL_TERMS_FINALIZED | AwsKind.RENEWAL_UPCOMING:
            return term
        case _:
            return {}


def _beside_the_agreement(kind: AwsKind, agreement: str, at: datetime) -> Mapping[str, object]:
    """What the detail of an event has besides the agreement and its parties."""
    happened = time_text(at, "seconds")
    product = {"id": "prod-k35yywhyj4eqg"}
    match kind:
        case AwsKind.LICENSE_UPDATED | AwsKind.LICENSE_DEPROVISIONED:
            token = uuid_for("license", agreement).replace("-", "")
            return {
                "license": {"arn": f"arn:aws:license-manager::294406891311:license:l-{token}"},
                "product": {**product, "code": "74az0btybm649octamy0sktos"},
            }
        case AwsKind.ADVISORY_ISSUED:
            return {"product": product, "advisory": {"issuedAt": happened}}
        case AwsKind.ADVISORY_RESOLVED:
            return {"product": product, "advisory": {"resolvedAt": happened}}
        case AwsKind.AGREEMENT_ENDING | AwsKind.AGREEMENT_AMENDED:
            return {"product": product, "renewalSummary": {"disabledBy": None}}
        case AwsKind.RENEWAL_TERMS_FINALIZED | AwsKind.RENEWAL_UPCOMING:
            return {"product": product, "renewalSummary": {"tcv": "105000.00", "currency": "USD"}}
        case AwsKind.BILLING_ADJUSTMENT_COMPLETED | AwsKind.BILLING_ADJUSTMENT_FAILED:
            adjustment = {"id": "ba-1", "adjustmentAmount": "-100.00", "currencyCode": "USD"}
            return {"billingAdjustmentRequest": adjustment}
        case _ if "Cancellation Request" in kind:
            return {"agreementCancellationRequest": _cancellation_request(kind, happened)}
        case _:
            return {"offer": {"id": "offer-uovnpk2f6jq7s"}}


def _cancellation_request(kind: AwsKind, happened: str) -> Mapping[str, object]:
    return {
        "id": "acr-1",
        "reasonCode": "INCORRECT_TERMS_ACCEPTED",
        "statusCode": kind.partition("Request ")[2].replace(" ", "_").upper(),
        "createdAt": happened,
        "updatedAt": happened,
    }


# --- SNS ------------------------------------------------------------------------------------------


def _sns_body(kind: AwsKind, subscription: str) -> dict[str, object]:
    product, slash, customer = subscription.partition("/")
    if not (product and slash and customer):
        raise ValueError(f"subscription: must be PRODUCT_CODE/CUSTOMER_IDENTIFIER for {kind}")
    body: dict[str, object] = {
        "action": kind.value,
        "customer-identifier": customer,
        "product-code": product,
    }
    if kind is not AwsKind.ENTITLEMENT_UPDATED:
        body |= {"offer-identifier": "offer-abcexample123", "isFreeTrialTermPresent": "false"}
    return body


def _entitlements(subscription: str, expires_at: datetime, account: str) -> dict[str, object]:
    """What GetEntitlements returns."""
    product, _, customer = subscription.partition("/")
    entitlement = {
        "ProductCode": product,
        "Dimension": "seats",
        "CustomerIdentifier": customer,
        "CustomerAWSAccountId": account,
        "Value": {"IntegerValue": 5},
        "ExpirationDate": time_text(expires_at),
    }
    return {"Entitlements": [entitlement]}


def _confirmation(kind: AwsKind, at: datetime, identity: str) -> dict[str, object]:
    topic = "arn:aws:sns:us-east-1:287250355862:aws-mp-subscription-notification-prod-1"
    expires = time_text(at + timedelta(days=3), "seconds")
    return {
        "Type": kind.value,
        "MessageId": identity,
        "Token": uuid_for("token", identity).replace("-", ""),
        "TopicArn": topic,
        "Message": f"You have chosen to subscribe to the topic {topic}, until {expires}.",
        "SubscribeURL": "https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription",
        "Timestamp": time_text(at, "milliseconds"),
        "SignatureVersion": "1",
        "Signature": "EXAMPLE",
        "SigningCertURL": "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-1.pem",
    }
