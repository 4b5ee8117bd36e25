"""Builds the demo's inbound messages, in the marketplaces' and the product's own formats."""

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from marketplace_worker.settings import Topics


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the story.  `what` describes it for the reader."""

    topic: str
    key: str
    value: bytes
    what: str


def unreadable(topics: Topics) -> Message:
    """A message that cannot be read."""
    return Message(topics.aws_notifications, "-", b"{ not JSON", "a message that is not JSON")


class MessageWriter:
    """Builds messages.  Each has the clock's current time as the time at which it occurred."""

    def __init__(self, topics: Topics, clock: Callable[[], datetime]) -> None:
        self._topics = topics
        self._clock = clock

    @property
    def _time(self) -> str:
        return self._clock().isoformat().replace("+00:00", "Z")

    def sign_up(
        self, organization: str, marketplace: str, subscription: str, plan_type: str
    ) -> tuple[Message, ...]:
        """A new organization with a subscription, a login and some API usage."""
        created = self.created(organization, "plus")
        link = self.link(organization, marketplace, subscription, plan_type)
        return (created, *self.everyday(organization), link)

    def created(self, organization: str, tier: str) -> Message:
        """An organization was created."""
        return self._cloudevent(
            "organization.created",
            organization,
            {"tier": tier, "owner_email": f"owner@{organization}.example"},
            topic=self._topics.organization_changes,
        )

    def everyday(self, organization: str) -> tuple[Message, ...]:
        """A login and some API usage."""
        usage = self._cloudevent(
            "usage.api_requests", organization, {"requests": 3}, topic=self._topics.api_requests
        )
        return (self.sign_in(organization), usage)

    def sign_in(self, organization: str) -> Message:
        """A user signs in."""
        return self._cloudevent(
            "identity.user.logged_in", organization, {"user_id": "u-1"}, topic=self._topics.logins
        )

    def link(
        self, organization: str, marketplace: str, subscription: str, plan_type: str
    ) -> Message:
        """The vendor's sign-up links a subscription to an organization."""
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

    def reinstate(self, organization: str) -> Message:
        """A Support request to reinstate an organization."""
        return self._cloudevent(
            "support.reinstate_organization",
            organization,
            {"requested_by": "robin@support.example", "reason": "the invoice is paid"},
            topic=self._topics.support_requests,
        )

    def agreement_active(self, customer: str, agreement: str) -> Message:
        """AWS has provisioned the licence of an agreement."""
        return self._eventbridge("License Updated - Manufacturer", customer, {"id": agreement})

    def agreement_renewed(self, customer: str, agreement: str, *, by: str) -> Message:
        """A new agreement renews an old one."""
        renewal = {"id": by, "intent": "RENEW", "previousAgreementId": agreement}
        return self._eventbridge("Purchase Agreement Created - Proposer", customer, renewal)

    def agreement_ended(self, customer: str, agreement: str, status: str) -> Message:
        """An agreement has ended; `status` is AWS's reason."""
        ended = {"id": agreement, "status": status}
        return self._eventbridge("Purchase Agreement Ended - Proposer", customer, ended)

    def _eventbridge(
        self, detail_type: str, customer: str, agreement: Mapping[str, str]
    ) -> Message:
        """A notification of AWS in EventBridge's format."""
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
                "acceptor": {"accountId": f"account of {customer}"},
            },
        }
        what = f"{detail_type} ({agreement['id']})"
        return self._message(self._topics.aws_notifications, agreement["id"], event, what)

    def sns(self, action: str, customer: str) -> Message:
        """A notification of AWS in SNS's format: the body is JSON text within the envelope."""
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
        """A notification of Google as a Pub/Sub push.

        `reason`: why it ended, as a router that asked Google's API would add it.
        """
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
        """A webhook call of Azure."""
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
