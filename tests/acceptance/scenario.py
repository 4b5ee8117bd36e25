"""A scenario with everything that the worker handles: three marketplaces, every envelope, invalid
input, every Support request, silence, and use.
"""

import json
from datetime import UTC, datetime, timedelta
from hashlib import sha256
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


def _digest(data: dict[str, Any]) -> str:
    """Of the data, which may have an email address in it: the log has the ids of messages."""
    return sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:8]


def event(
    day: float, name: str, organization: str, data: dict[str, Any], *, happened: float | None = None
) -> dict[str, Any]:
    """A CloudEvent of the product's own services."""
    when = day if happened is None else happened
    topics = {
        "identity": "identity.logins",
        "usage": "usage.api-requests",
        "support": "support.requests",
    }
    return line(
        day,
        topics.get(name.split(".", maxsplit=1)[0], "organizations.changes"),
        {
            "specversion": "1.0",
            "id": f"{name}-{organization}-{when}-{_digest(data)}",
            "source": "/tests",
            "type": f"io.marketplace-worker.{name}.v1",
            "subject": organization,
            "time": _time(at(when)),
            "data": data,
        },
        key=organization,
    )


def created(
    day: float,
    organization: str,
    *,
    happened: float | None = None,
    tier: str = "free",
    owner: str | None = None,
) -> dict[str, Any]:
    """An organization is created."""
    data = {"tier": tier, "owner_email": owner or f"owner@{organization}.example"}
    return event(day, "organization.created", organization, data, happened=happened)


def leaves_the_free_tier(day: float, organization: str) -> dict[str, Any]:
    """It changes to Plus, so that inactivity does not matter."""
    return event(day, "organization.tier_changed", organization, {"tier": "plus"})


def login(day: float, organization: str) -> dict[str, Any]:
    """A user signs in."""
    return event(day, "identity.user.logged_in", organization, {"user_id": "u-1"})


def requested(day: float, organization: str) -> dict[str, Any]:
    """The API is used."""
    return event(day, "usage.api_requests", organization, {"requests": 3})


def support(day: float, request: str, organization: str, **data: Any) -> dict[str, Any]:  # noqa: ANN401
    """A Support request."""
    asked = {"requested_by": "jo@vendor.example", "reason": "the customer asked", **data}
    return event(day, f"support.{request}", organization, asked)


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
    day: float,
    detail_type: str,
    agreement: dict[str, Any],
    *,
    happened: float | None = None,
    account: str = "845735284135",
) -> dict[str, Any]:
    """AWS EventBridge."""
    when = day if happened is None else happened
    value = {
        "id": f"{agreement['id']} {detail_type} {when}",
        "detail-type": f"{detail_type} - Proposer",
        "source": "aws.agreement-marketplace",
        "time": _time(at(when)),
        "detail": {"agreement": agreement, "acceptor": {"accountId": account}},
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
    """A decoded Pub/Sub message, with or without the resource that a router fetched."""
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


def lines_in_any_order() -> list[dict[str, Any]]:
    """Messages that may arrive in any order (invariant 7), in order of `at`."""
    return _in_order(
        [
            *_until_deactivated(),
            *_canceled_and_reinstated(),
            *_known_by_its_account(),
            *_plans_that_follow_one_another(),
            *_odd_input(),
        ]
    )


def lines_in_order() -> list[dict[str, Any]]:
    """All of those, and messages that depend on the moment: Support requests, silence and use."""
    return _in_order([*lines_in_any_order(), *_support_requests(), *_emails(), *_silence_and_use()])


def _in_order(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(lines, key=lambda each: str(each["at"]))


def _until_deactivated() -> list[dict[str, Any]]:
    return [
        created(0, "gone"),
        linked(0.1, "gone", "aws", "agmt-gone", "payg"),
        eventbridge(0.2, "License Updated", {"id": "agmt-gone"}),
        eventbridge(10, "Purchase Agreement Ended", {"id": "agmt-gone", "status": "CANCELLED"}),
        eventbridge(10.01, "License Deprovisioned", {"id": "agmt-gone"}),
        # The same, reported forty days late.
        created(0, "late"),
        linked(0.1, "late", "aws", "prod-1/late", "payg"),
        sns(0.2, "subscribe-success", "late"),
        {**sns(10, "unsubscribe-success", "late"), "at": _time(at(50))},
    ]


def _canceled_and_reinstated() -> list[dict[str, Any]]:
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


def _known_by_its_account() -> list[dict[str, Any]]:
    """Nobody links the second agreement: the account matches.  A sign-in completes it, or it ends
    before anybody signs in.
    """
    account, another = "100000000001", "100000000002"
    ended = {"id": "agmt-b1", "status": "CANCELLED"}
    return [
        created(0, "lapses"),
        linked(0.1, "lapses", "aws", "agmt-l1", "payg"),
        *(
            eventbridge(day, name, {"id": agreement}, account=another)
            for day, name, agreement in (
                (0.2, "License Updated", "agmt-l1"),
                (10, "License Deprovisioned", "agmt-l1"),
                (13, "License Updated", "agmt-l2"),
                (20, "License Deprovisioned", "agmt-l2"),
            )
        ),
        created(0, "matched"),
        linked(0.1, "matched", "aws", "agmt-b1", "payg"),
        eventbridge(0.2, "License Updated", {"id": "agmt-b1"}, account=account),
        eventbridge(10, "Purchase Agreement Ended", ended, account=account),
        eventbridge(18, "License Updated", {"id": "agmt-b2"}, account=account),
        login(17.9, "matched"),
        login(18.5, "matched"),
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
        # Repeated, unreadable, unknown, and without effect.
        {**ended, "at": _time(at(2.5))},
        line(1, "marketplace.aws.notifications", "not an object"),
        line(1.1, "marketplace.gcp.notifications", None, key="tombstone"),
        line(1.2, "organizations.changes", {"specversion": "1.0"}),
        azure(1.3, "Transfer", "sub-1"),
        login(1.4, "gone"),
        requested(1.5, "gone"),
    ]


def _support_requests() -> list[dict[str, Any]]:
    """Every request, granted; and one refusal with each code that a story over days can reach."""
    return [
        # Azure waits for Support, which asks once too early and once too late.
        support(15.5, "reinstate_organization", "azure"),
        support(17, "reinstate_organization", "azure"),
        support(17.1, "reinstate_organization", "azure"),
        # Held: the notice is withdrawn; released long after the deadline, nothing fires at once.
        created(0, "held"),
        committed(0.5, "held", "c-h", 1, 5),
        support(17, "place_hold", "held", kind="commercial", expires_at=_time(at(30))),
        support(18, "place_hold", "held", kind="legal"),
        support(40, "release_hold", "held", kind="legal"),
        support(40.1, "release_hold", "held", kind="legal"),
        # Extended, then granted a plan that ends.
        created(0, "extended"),
        committed(0.5, "extended", "c-e", 1, 5),
        support(9, "extend_grace", "extended", days=10),
        support(9.1, "extend_grace", "extended", days=81),
        support(26, "reinstate_organization", "extended"),
        support(26.1, "reinstate_organization", "extended", grant_until=_time(at(40))),
        # Deactivated and reactivated.
        created(0, "stopped", tier="plus"),
        support(10, "deactivate_organization", "stopped", ticket="T-1"),
        support(10.1, "deactivate_organization", "stopped"),
        support(12, "reactivate_organization", "stopped"),
        support(12.1, "reactivate_organization", "stopped"),
        leaves_the_free_tier(13, "stopped"),
        # Deactivated for good, unknown, and ambiguous.
        support(59, "reactivate_organization", "gone"),
        support(2, "deactivate_organization", "nobody"),
        support(2.1, "extend_grace", "extended", days=-1),
    ]


def _emails() -> list[dict[str, Any]]:
    """A locked email is used for another organization, unlocked, and used again."""
    shared = "Shared@Owner.example"
    return [
        created(0, "locks", tier="plus", owner=shared),
        support(3, "deactivate_organization", "locks"),
        created(4, "violates", tier="plus", owner=f" {shared.lower()}"),
        support(5, "reactivate_organization", "locks"),
        support(6, "unlock_email", "locks", email=shared),
        created(7, "follows", tier="plus", owner=shared),
        support(8, "unlock_email", "locks", email=shared),
    ]


def _silence_and_use() -> list[dict[str, Any]]:
    """Notices of inactivity that use withdraws, one that is carried out, and feeds that fall
    silent.
    """
    others = [
        each for day in range(0, 33, 2) for each in (login(day, "others"), requested(day, "others"))
    ]
    return [
        *others,
        created(0, "idle"),
        created(0, "signs-in"),
        login(25, "signs-in"),
        leaves_the_free_tier(50, "signs-in"),
        created(0, "is-used"),
        requested(26, "is-used"),
        leaves_the_free_tier(51, "is-used"),
        # No feed reports anything when it is due: it is checked again every day.
        created(20, "unheard"),
        leaves_the_free_tier(53.5, "unheard"),
    ]
