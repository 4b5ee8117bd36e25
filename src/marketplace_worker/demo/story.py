"""What happens in the demo: five customers, their notifications, and what must come of them."""

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from marketplace_worker.settings import Topics


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the story.  `what` says it in words."""

    topic: str
    key: str
    value: bytes
    what: str


@dataclass(frozen=True, slots=True)
class Customer:
    """One organization of the story and the lifecycle events that must come, in this order.

    `then`: what is said once one of its events is seen, by the event's name.
    """

    name: str
    what: str
    begins: tuple[Message, ...]
    expected: tuple[str, ...]
    then: Mapping[str, Callable[["Teller"], Message]] = field(default_factory=dict)


WAY_DOWN = (
    "organization.canceled",
    "organization.control_plane_lost",
    "control_plane.access_revoked",
    "organization.notice_given",
    "organization.suspended",
    "api_keys.revoked",
    "data_plane.access_revoked",
)

DEACTIVATION = (
    "organization.notice_given",
    "organization.deactivated",
    "billing.stopped",
    "subscriptions.removed",
    "control_plane.decommissioned",
    "team_memberships.removed",
    "roles.removed",
    "logins.blocked",
    "email.locked",
    "runtimes.detached",
    "resources.deletion_requested",
)


def customers(teller: "Teller") -> tuple[Customer, ...]:
    """The story; it begins at the teller's time."""
    return (_acme(teller), _birch(teller), _cedar(teller), _dune(teller), _elm(teller))


def unreadable(topics: Topics) -> Message:
    """A message that no version of us can read."""
    return Message(topics.aws_notifications, "-", b"{ not JSON", "a message that is not JSON")


def _acme(say: "Teller") -> Customer:
    return Customer(
        "acme",
        "AWS (EventBridge): the customer cancels and never comes back",
        (
            *say.sign_up("acme", "aws", "agmt-acme", "payg"),
            say.eventbridge("License Updated - Manufacturer", {"id": "agmt-acme"}),
            say.eventbridge(
                "Purchase Agreement Ended - Proposer", {"id": "agmt-acme", "status": "CANCELLED"}
            ),
        ),
        (WAY_DOWN[0], "metering.final_report_due", *WAY_DOWN[1:], *DEACTIVATION),
    )


def _birch(say: "Teller") -> Customer:
    return Customer(
        "birch",
        "AWS (SNS): unsubscribes, and subscribes again in time",
        (
            *say.sign_up("birch", "aws", "prod-1/cust-birch", "payg"),
            say.sns("subscribe-success", "cust-birch"),
            say.sns("unsubscribe-success", "cust-birch"),
        ),
        (
            "organization.canceled",
            "metering.final_report_due",
            "organization.control_plane_lost",
            "control_plane.access_revoked",
            "organization.reinstated",
            "control_plane.access_restored",
        ),
        {
            "control_plane.access_revoked": lambda later: later.sns(
                "subscribe-success", "cust-birch"
            )
        },
    )


def _cedar(say: "Teller") -> Customer:
    return Customer(
        "cedar",
        "Google Cloud: billing is switched off; a new entitlement is linked",
        (
            *say.sign_up("cedar", "gcp", "ent-cedar-1", "payg"),
            say.google("ENTITLEMENT_ACTIVE", "ent-cedar-1"),
            say.google("ENTITLEMENT_CANCELLED", "ent-cedar-1", reason="billing-disabled"),
        ),
        ("organization.canceled", "organization.reinstated"),
        {"organization.canceled": lambda later: later.link("cedar", "gcp", "ent-cedar-2", "payg")},
    )


def _dune(say: "Teller") -> Customer:
    return Customer(
        "dune",
        "Azure: payment fails, and is made good after the suspension",
        (
            *say.sign_up("dune", "azure", "sub-dune", "payg"),
            say.azure("Subscribe", "sub-dune"),
            say.azure("Suspend", "sub-dune"),
        ),
        (
            *WAY_DOWN,
            "organization.reinstated",
            "control_plane.access_restored",
            "api_keys.restored",
            "data_plane.access_restored",
        ),
        {"data_plane.access_revoked": lambda later: later.azure("Reinstate", "sub-dune")},
    )


def _elm(say: "Teller") -> Customer:
    renewal = {"id": "agmt-elm-2", "intent": "RENEW", "previousAgreementId": "agmt-elm-1"}
    return Customer(
        "elm",
        "AWS (EventBridge): a renewal, which is not churn",
        (
            *say.sign_up("elm", "aws", "agmt-elm-1", "commit"),
            say.eventbridge("License Updated - Manufacturer", {"id": "agmt-elm-1"}),
            say.eventbridge("Purchase Agreement Created - Proposer", renewal),
            say.eventbridge(
                "Purchase Agreement Ended - Proposer", {"id": "agmt-elm-1", "status": "RENEWED"}
            ),
        ),
        ("metering.final_report_due",),
    )


class Teller:
    """Writes messages in the words of the marketplaces and of the product's own services.

    All of them happen at `now`.
    """

    def __init__(self, topics: Topics, now: datetime) -> None:
        self._topics = topics
        self._time = now.isoformat().replace("+00:00", "Z")

    def sign_up(
        self, organization: str, marketplace: str, subscription: str, plan_type: str
    ) -> tuple[Message, ...]:
        """An organization with a subscription, a login and some use."""
        created = self._cloudevent(
            "organization.created",
            organization,
            {"tier": "plus", "owner_email": f"owner@{organization}.example"},
            topic=self._topics.organization_changes,
        )
        login = self._cloudevent(
            "identity.user.logged_in", organization, {"user_id": "u-1"}, topic=self._topics.logins
        )
        usage = self._cloudevent(
            "usage.api_requests", organization, {"requests": 3}, topic=self._topics.api_requests
        )
        link = self.link(organization, marketplace, subscription, plan_type)
        return (created, login, usage, link)

    def link(
        self, organization: str, marketplace: str, subscription: str, plan_type: str
    ) -> Message:
        """The vendor's sign-up accepts a subscription."""
        data = {
            "marketplace": marketplace,
            "subscription_id": subscription,
            "plan_type": plan_type,
        }
        return self._cloudevent(
            "organization.subscription_linked",
            organization,
            data,
            topic=self._topics.organization_changes,
        )

    def eventbridge(self, detail_type: str, agreement: dict[str, str]) -> Message:
        """AWS, as EventBridge tells it."""
        event = {
            "version": "0",
            "id": f"{agreement['id']}: {detail_type}",
            "detail-type": detail_type,
            "source": "aws.agreement-marketplace",
            "account": "123456789012",
            "time": self._time,
            "region": "us-east-1",
            "detail": {
                "catalog": "AWSMarketplace",
                "agreement": agreement,
                "acceptor": {"accountId": "845735284135"},
            },
        }
        return self._message(self._topics.aws_notifications, agreement["id"], event, detail_type)

    def sns(self, action: str, customer: str) -> Message:
        """AWS, as SNS tells it: the body is JSON text within the envelope."""
        inner = {"action": action, "customer-identifier": customer, "product-code": "prod-1"}
        envelope = {
            "Type": "Notification",
            "MessageId": f"{customer}: {action} {self._time}",
            "TopicArn": "arn:aws:sns:us-east-1:287250355862:aws-mp-subscription-notification-x",
            "Message": json.dumps(inner),
            "Timestamp": self._time,
        }
        return self._message(self._topics.aws_notifications, customer, envelope, action)

    def google(self, event_type: str, entitlement: str, reason: str | None = None) -> Message:
        """Google, as Pub/Sub pushes it; with a reason, as a router read it at the source."""
        notification: dict[str, Any] = {
            "eventId": f"{event_type}-{entitlement}",
            "eventType": event_type,
            "providerId": "demo",
            "entitlement": {"id": entitlement, "updateTime": self._time},
        }
        body = {
            "message": {
                "data": base64.b64encode(json.dumps(notification).encode()).decode(),
                "messageId": f"{event_type}-{entitlement}",
            },
            "subscription": "projects/demo/subscriptions/marketplace",
        }
        read = {"notification": body, "resource": {"cancellationReason": reason}}
        value = body if reason is None else read
        return self._message(self._topics.gcp_notifications, entitlement, value, event_type)

    def azure(self, action: str, subscription: str) -> Message:
        """Azure's webhook call."""
        body = {
            "id": f"{subscription}-{action}",
            "subscriptionId": subscription,
            "action": action,
            "status": "Succeeded",
            "timeStamp": self._time,
            "operationRequestSource": "Azure",
        }
        return self._message(self._topics.azure_notifications, subscription, body, action)

    def _cloudevent(
        self, name: str, organization: str, data: Mapping[str, object], *, topic: str
    ) -> Message:
        event = {
            "specversion": "1.0",
            "id": f"{organization}: {name} {self._time}",
            "source": "/demo",
            "type": f"io.marketplace-worker.{name}.v1",
            "subject": organization,
            "time": self._time,
            "data": data,
        }
        return self._message(topic, organization, event, name)

    def _message(self, topic: str, key: str, value: Mapping[str, object], what: str) -> Message:
        return Message(topic, key, json.dumps(value).encode(), what)
