"""A scenario with all of what the worker knows: three marketplaces, every envelope, bad input."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def at(day: float) -> datetime:
    """A moment of the scenario."""
    return BEGAN + timedelta(days=day)


def _time(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def line(day: float, topic: str, value: Any, **more: Any) -> dict[str, Any]:  # noqa: ANN401
    """One line of a scenario."""
    return {"at": _time(at(day)), "topic": topic, "value": value, **more}


def event(
    day: float, name: str, organization: str, data: dict[str, Any], *, happened: float | None = None
) -> dict[str, Any]:
    """A CloudEvent of the product's own services."""
    when = day if happened is None else happened
    topics = {"identity": "identity.logins", "usage": "usage.api-requests"}
    return line(
        day,
        topics.get(name.split(".", maxsplit=1)[0], "organizations.changes"),
        {
            "specversion": "1.0",
            "id": f"{name}-{organization}-{when}-{json.dumps(data, sort_keys=True)}",
            "source": "/tests",
            "type": f"io.marketplace-worker.{name}.v1",
            "subject": organization,
            "time": _time(at(when)),
            "data": data,
        },
        key=organization,
    )


def created(day: float, organization: str, *, happened: float | None = None) -> dict[str, Any]:
    """An organization begins."""
    data = {"tier": "free", "owner_email": f"owner@{organization}.example"}
    return event(day, "organization.created", organization, data, happened=happened)


def linked(
    day: float, organization: str, marketplace: str, subscription: str, plan_type: str | None = None
) -> dict[str, Any]:
    """A subscription is linked."""
    data = {"marketplace": marketplace, "subscription_id": subscription}
    if plan_type is not None:
        data["plan_type"] = plan_type
    return event(day, "organization.subscription_linked", organization, data)


def committed(
    day: float, organization: str, commitment: str, starts: float, ends: float
) -> dict[str, Any]:
    """A commitment is linked."""
    data = {
        "commitment_id": commitment,
        "starts_at": _time(at(starts)),
        "ends_at": _time(at(ends)),
    }
    return event(day, "organization.commitment_linked", organization, data)


def eventbridge(
    day: float, detail_type: str, agreement: dict[str, Any], *, happened: float | None = None
) -> dict[str, Any]:
    """AWS EventBridge."""
    when = day if happened is None else happened
    value = {
        "id": f"{agreement['id']} {detail_type} {when}",
        "detail-type": f"{detail_type} - Proposer",
        "source": "aws.agreement-marketplace",
        "time": _time(at(when)),
        "detail": {"agreement": agreement, "acceptor": {"accountId": "845735284135"}},
    }
    return line(day, "marketplace.aws.notifications", value)


def sns(day: float, action: str, customer: str, *, bare: bool = False) -> dict[str, Any]:
    """AWS SNS, in its envelope or bare."""
    message = {"action": action, "customer-identifier": f" {customer}", "product-code": "prod-1"}
    envelope = {
        "Type": "Notification",
        "MessageId": f"{customer} {action} {day}",
        "Message": json.dumps(message),
        "Timestamp": _time(at(day)),
    }
    return line(day, "marketplace.aws.notifications", message if bare else envelope)


def google(
    day: float, event_type: str, entitlement: str, resource: dict[str, Any] | None = None
) -> dict[str, Any]:
    """A decoded Pub/Sub message, with what a router read at the source or without."""
    value: dict[str, Any] = {
        "eventId": f"{event_type} {day}",
        "eventType": event_type,
        "entitlement": {"id": entitlement, "updateTime": _time(at(day))},
    }
    if resource is not None:
        value = {"notification": value, "resource": resource}
    return line(day, "marketplace.gcp.notifications", value)


def azure(
    day: float, action: str, subscription: str, snapshot: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The SaaS webhook."""
    value = {
        "id": f"{subscription} {action} {day}",
        "subscriptionId": subscription,
        "action": action,
        "timeStamp": _time(at(day)),
        "subscription": snapshot,
    }
    return line(day, "marketplace.azure.notifications", value)


def everything() -> list[dict[str, Any]]:
    """The scenario, in order of `at`."""
    lines = [
        *_down_to_the_end(),
        *_there_and_back(),
        *_plans_that_follow_one_another(),
        *_odd_input(),
    ]
    return sorted(lines, key=lambda each: str(each["at"]))


def _down_to_the_end() -> list[dict[str, Any]]:
    return [
        created(0, "gone"),
        linked(0.1, "gone", "aws", "agmt-gone", "payg"),
        eventbridge(0.2, "License Updated", {"id": "agmt-gone"}),
        eventbridge(10, "Purchase Agreement Ended", {"id": "agmt-gone", "status": "CANCELLED"}),
        eventbridge(10.01, "License Deprovisioned", {"id": "agmt-gone"}),
        # The same, told forty days late.
        created(0, "late"),
        linked(0.1, "late", "aws", "prod-1/late", "payg"),
        sns(0.2, "subscribe-success", "late"),
        {**sns(10, "unsubscribe-success", "late"), "at": _time(at(50))},
    ]


def _there_and_back() -> list[dict[str, Any]]:
    return [
        created(0, "azure"),
        linked(0.1, "azure", "azure", "sub-1"),
        azure(0.2, "Subscribe", "sub-1", snapshot={"term": {"termUnit": "P1M"}}),
        azure(5, "Suspend", "sub-1"),
        azure(16, "Reinstate", "sub-1"),
        azure(60, "Unsubscribe", "sub-1"),
        created(0, "google"),
        linked(0.1, "google", "gcp", "ent-1"),
        google(0.2, "ENTITLEMENT_ACTIVE", "ent-1", {"usageReportingId": "x"}),
        google(3, "ENTITLEMENT_CANCELLED", "ent-1", {"cancellationReason": "billing-disabled"}),
        linked(7.3, "google", "gcp", "ent-2", "commit"),
        created(0, "resubscribes"),
        linked(0.1, "resubscribes", "aws", "prod-1/again", "payg"),
        sns(0.2, "subscribe-success", "again", bare=True),
        sns(4, "unsubscribe-pending", "again"),
        sns(6, "subscribe-success", "again"),
    ]


def _plans_that_follow_one_another() -> list[dict[str, Any]]:
    renewal = {"id": "agmt-r2", "intent": "RENEW", "previousAgreementId": "agmt-r1"}
    return [
        created(0, "renews"),
        linked(0.1, "renews", "aws", "agmt-r1", "commit"),
        eventbridge(20, "Purchase Agreement Created", renewal),
        eventbridge(20.1, "Purchase Agreement Ended", {"id": "agmt-r1", "status": "RENEWED"}),
        created(0, "commits"),
        committed(0.5, "commits", "c-1", 1, 30),
        committed(29, "commits", "c-2", 31, 60),
        created(0, "moves-from"),
        created(0, "moves-to"),
        linked(0.1, "moves-from", "azure", "sub-m", "payg"),
        linked(8, "moves-to", "azure", "sub-m", "payg"),
    ]


def _odd_input() -> list[dict[str, Any]]:
    ended = eventbridge(2, "Purchase Agreement Ended", {"id": "agmt-k", "status": "TERMINATED"})
    return [
        # Everything of an organization before it is created.
        ended,
        linked(2.1, "kept", "aws", "agmt-k", "payg"),
        created(3, "kept", happened=0),
        # Said twice, unreadable, unknown, and of no consequence.
        {**ended, "at": _time(at(2.5))},
        line(1, "marketplace.aws.notifications", "not an object"),
        line(1.1, "marketplace.gcp.notifications", None, key="tombstone"),
        line(1.2, "organizations.changes", {"specversion": "1.0"}),
        azure(1.3, "Transfer", "sub-1"),
        event(1.4, "identity.user.logged_in", "gone", {"user_id": "u-1"}),
        event(1.5, "usage.api_requests", "gone", {"requests": 3}),
    ]
