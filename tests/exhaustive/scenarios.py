"""Random scenario files for `simulate`, made from a seed without any name of the source.

A scenario consists of JSON lines of the public contract (docs/events.md section 4), so that two
versions of the source read the same bytes whatever their names are.
"""

import base64
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
PAYLOADS = Path(__file__).parents[1] / "payloads"

CHANGES, SUPPORT = "organizations.changes", "support.requests"
LOGINS, API_REQUESTS = "identity.logins", "usage.api-requests"
STEPS_H = [0, 0, 0, 1, 6, 24, 24, 24, 48, 72, 96, 120, 168, 168, 240, 336, 480, 720]
LATE_H = [0, 0, 0, 0, 0, -1, -24, -72, -240, 1, 24]
POLICY = """version = "{version}"
[timeline.payg]
control_plane_loss = "P{loss}D"
suspended = "P{suspended}D"
deactivated = "P{deactivated}D"
[minimum_dwell]
canceled = "P{dwell}D"
[notice]
suspended = "P{notice}D"
[inactivity]
no_login_for = "P{silence}D"
[reinstatement]
sign_in_required = {sign_in}
azure = "{azure}"
[guard]
minimum = {minimum}
fraction = {fraction}
control_plane_fraction = {fraction}
requested_per_hour = {requested}
requested_per_person = {requested}
"""

Line = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Scenario:
    """The files and the arguments of one run of `simulate`; `policy` is None for the
    built-in one.
    """

    lines: bytes
    policy: str | None
    until: str | None


def scenario(seed: int) -> Scenario:
    """The scenario of a seed: at most 5 organizations, 9 subscriptions and 90 messages."""
    return _Writer(random.Random(seed)).scenario()


def text_of(moment: datetime) -> str:
    """A moment in RFC 3339 format."""
    return moment.isoformat().replace("+00:00", "Z")


@dataclass(slots=True)
class _Writer:
    """Writes one scenario; `now` is the time at which the next message is received."""

    draw: random.Random
    now: datetime = BEGAN
    organizations: list[str] = field(default_factory=list)
    subscriptions: list[tuple[str, str]] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)

    def scenario(self) -> Scenario:
        draw = self.draw
        self.organizations = [f"org-{number}" for number in range(draw.randint(1, 5))]
        self.subscriptions = draw.sample(
            [
                *(("aws", f"agmt-{number}") for number in range(3)),
                *(("aws", f"prod-1/cust-{number}") for number in range(2)),
                *(("gcp", f"ent-{number}") for number in range(3)),
                *(("azure", f"sub-{number}") for number in range(3)),
            ],
            draw.randint(1, 9),
        )
        for organization in self.organizations:
            self._created(organization)
        for subscription in self.subscriptions:
            if draw.random() < 0.8:
                self._linked(draw.choice(self.organizations), subscription)
        for write in draw.choices(*self._verbs(), k=draw.randint(10, 75)):
            self.now += timedelta(hours=draw.choice(STEPS_H) * draw.choice([0, 0.5, 1]))
            write()
        text = b"".join(json.dumps(line).encode() + b"\n" for line in self.lines)
        ends_at = self.now + timedelta(days=draw.choice([0, 3, 30, 120]))
        return Scenario(
            text,
            self._policy() if draw.random() < 0.6 else None,
            text_of(ends_at) if draw.random() < 0.3 else None,
        )

    def _verbs(self) -> tuple[list[Callable[[], None]], list[int]]:
        """The possible lines and their relative frequencies; some scenarios are one-sided."""
        verbs: dict[Callable[[], None], int] = {
            self._notification: 40,
            self._link: 8,
            self._commitment: 6,
            self._tier_or_owner: 5,
            self._login: 12,
            self._requests: 8,
            self._daily_use: 4,
            self._request_of_support: 16,
            self._unreadable: 4,
            self._payload: 3,
            self._repetition: 4,
            self._recreation: 2,
        }
        favourite = self.draw.choice([None, None, *verbs])
        weights = [weight * (5 if verb == favourite else 1) for verb, weight in verbs.items()]
        return list(verbs), weights

    def _policy(self) -> str:
        draw = self.draw
        loss = draw.randint(1, 5)
        suspended = loss + draw.randint(1, 14)
        return POLICY.format(
            version=f"drawn-{draw.randint(1, 9)}",
            loss=loss,
            suspended=suspended,
            deactivated=suspended + draw.randint(60, 90),
            dwell=draw.randint(1, 3),
            notice=draw.randint(1, 7),
            silence=draw.choice([7, 30, 90]),
            sign_in=draw.choice(["true", "false"]),
            azure=draw.choice(["support", "automatic"]),
            minimum=draw.choice([0, 1, 2, 50]),
            fraction=draw.choice([0.0, 0.01, 0.5]),
            requested=draw.choice([0, 1, 2, 50]),
        )

    # --- lines ---

    def _add(self, topic: str, value: Any, **more: Any) -> None:  # noqa: ANN401
        self.lines.append({"at": text_of(self.now), "topic": topic, "value": value, **more})

    def _happened(self) -> str:
        """The event time by the sender's clock: mostly now, sometimes earlier, rarely later."""
        return text_of(self.now + timedelta(hours=self.draw.choice(LATE_H)))

    def _soon(self) -> str:
        return text_of(self.now + timedelta(days=self.draw.choice([-1, 0, 1, 5, 10, 30])))

    def _id(self) -> str:
        return f"m-{len(self.lines)}"

    def _event(self, topic: str, name: str, subject: str | None, data: dict[str, Any]) -> None:
        """A CloudEvent, perhaps in an envelope, perhaps with a trace."""
        value: Any = {
            "specversion": "1.0",
            "id": self._id(),
            "source": "/scenarios",
            "type": f"io.marketplace-worker.{name}.v1",
            "subject": subject,
            "time": self._happened(),
            "data": data,
        }
        more: dict[str, Any] = {} if subject is None else {"key": subject}
        if self.draw.random() < 0.15:
            trace = f"00-{self.draw.getrandbits(128):032x}-{self.draw.getrandbits(64):016x}-01"
            carrier = self.draw.choice([value, more.setdefault("headers", {})])
            carrier["traceparent"] = trace
        self._add(topic, self._wrapped(value), **more)

    def _wrapped(self, value: Any) -> Any:  # noqa: ANN401
        """Mostly unchanged, sometimes as connectors and push subscriptions send it."""
        draw = self.draw
        text = json.dumps(value)
        envelopes: list[Any] = [
            text,
            {"schema": {"type": "struct"}, "payload": value},
            {
                "message": {
                    "data": base64.b64encode(text.encode()).decode(),
                    "messageId": self._id(),
                    "publishTime": text_of(self.now),
                }
            },
            [value],
        ]
        return draw.choice(envelopes) if draw.random() < 0.1 else value

    # --- messages of the product's services ---

    def _created(self, organization: str, *, owner: str | None = None) -> None:
        data = {
            "tier": self.draw.choice(["free", "free", "plus"]),
            "owner_email": owner or f"owner@{organization}.example",
            "billing_cycle_anchor": self._soon() if self.draw.random() < 0.2 else None,
        }
        self._event(CHANGES, "organization.created", organization, data)

    def _recreation(self) -> None:
        """A second creation with somebody's email, which may be locked."""
        owner = f"Owner@{self.draw.choice(self.organizations)}.example"
        self._created(f"new-{self.draw.randint(0, 2)}", owner=owner)

    def _tier_or_owner(self) -> None:
        organization = self.draw.choice(self.organizations)
        owner = f"owner@{self.draw.choice(self.organizations)}.example"
        name, data = self.draw.choice(
            [
                *[("tier_changed", {"tier": tier}) for tier in ("free", "plus")],
                ("owner_changed", {"owner_email": owner}),
            ]
        )
        self._event(CHANGES, f"organization.{name}", organization, data)

    def _link(self) -> None:
        self._linked(self.draw.choice(self.organizations), self.draw.choice(self.subscriptions))

    def _linked(self, organization: str, subscription: tuple[str, str]) -> None:
        draw = self.draw
        data = {
            "marketplace": subscription[0],
            "subscription_id": subscription[1],
            "plan_type": draw.choice(["payg", "payg", "commit", None]),
            "billing_account": self._account() if subscription[0] != "azure" else None,
        }
        self._event(CHANGES, "organization.subscription_linked", organization, data)

    def _account(self) -> str | None:
        return self.draw.choice([None, "100000000001", "100000000001", "100000000002"])

    def _commitment(self) -> None:
        starts = self.now + timedelta(days=self.draw.choice([-10, 0, 0, 5, 30]))
        data = {
            "commitment_id": f"c-{self.draw.randint(1, 4)}",
            "starts_at": text_of(starts),
            "ends_at": text_of(starts + timedelta(days=self.draw.choice([-1, 5, 20, 60]))),
        }
        organization = self.draw.choice(self.organizations)
        self._event(CHANGES, "organization.commitment_linked", organization, data)

    def _login(self) -> None:
        user = {"user_id": "u-1"}
        self._event(LOGINS, "identity.user.logged_in", self.draw.choice(self.organizations), user)

    def _requests(self) -> None:
        organization = self.draw.choice(self.organizations)
        data = self.draw.choice([{}, {"requests": 3}, {"requests": 0}])
        self._event(API_REQUESTS, "usage.api_requests", organization, data)

    def _daily_use(self) -> None:
        """Use of other organizations, so that the feeds count as running; one feed may be
        silent.
        """
        feeds = self.draw.choice([(LOGINS,), (API_REQUESTS,), (LOGINS, API_REQUESTS)])
        for _ in range(self.draw.randint(5, 45)):
            self.now += timedelta(days=1)
            if LOGINS in feeds:
                self._event(LOGINS, "identity.user.logged_in", "others", {"user_id": "u-2"})
            if API_REQUESTS in feeds:
                self._event(API_REQUESTS, "usage.api_requests", "others", {"requests": 1})

    def _request_of_support(self) -> None:
        draw = self.draw
        organization = draw.choice([*self.organizations * 3, "nobody"])
        emails = [f"owner@{each}.example" for each in self.organizations]
        requests: list[tuple[str, Line]] = [
            ("deactivate_organization", {}),
            ("reactivate_organization", {}),
            ("reinstate_organization", {}),
            ("reinstate_organization", {"grant_until": self._soon()}),
            ("unlock_email", {"email": draw.choice(emails)}),
            ("place_hold", {"kind": "legal"}),
            ("place_hold", {"kind": "commercial", "expires_at": self._soon()}),
            ("release_hold", {"kind": draw.choice(["legal", "commercial"])}),
            ("extend_grace", {"days": draw.choice([1, 10, 50, 0])}),
        ]
        name, data = draw.choice(requests)
        asked = {"requested_by": draw.choice(["ann", "ben"]), "reason": "asked for", **data}
        if draw.random() < 0.2:
            asked["ticket"] = "T-1"
        if draw.random() < 0.05:
            del asked["reason"]
        self._event(SUPPORT, f"support.{name}", organization, asked)

    # --- messages of marketplaces ---

    def _notification(self) -> None:
        marketplace, subject = self.draw.choice(self.subscriptions)
        aws = self._sns if "/" in subject else self._eventbridge
        value = {"aws": aws, "gcp": self._google, "azure": self._azure}[marketplace](subject)
        self._add(f"marketplace.{marketplace}.notifications", self._wrapped(value))

    def _eventbridge(self, subject: str) -> Line:
        draw = self.draw
        events: list[tuple[str, Line]] = [
            ("Purchase Agreement Created", {"endTime": self._soon()}),
            ("Purchase Agreement Created", {"previousAgreementId": "agmt-0"}),
            ("Purchase Agreement Amended", {"autoRenewalEnabled": draw.random() < 0.5}),
            ("Purchase Agreement Ending", {}),
            ("License Updated", {}),
            ("License Updated", {}),
            ("License Deprovisioned", {}),
            ("Agreement Cancellation Request Approved", {}),
            *(
                ("Purchase Agreement Ended", {"status": status})
                for status in ("CANCELLED", "TERMINATED", "EXPIRED", "RENEWED", "REPLACED")
            ),
        ]
        kind, details = draw.choice(events)
        detail: Line = {"agreement": {"id": subject, **details}}
        if (account := self._account()) is not None:
            detail["acceptor"] = {"accountId": account}
        if draw.random() < 0.3:
            detail["license"] = {"arn": f"arn:aws:license-manager::1:license:l-{draw.choice('12')}"}
        sender = draw.choice(["Proposer", "Proposer", "Manufacturer"])
        return {
            "id": self._id(),
            "detail-type": f"{kind} - {sender}",
            "source": "aws.agreement-marketplace",
            "time": self._happened(),
            "detail": detail,
        }

    def _sns(self, subject: str) -> Line:
        product, _, customer = subject.partition("/")
        actions = "subscribe-success subscribe-fail unsubscribe-pending unsubscribe-success"
        message = {
            "action": self.draw.choice(actions.split()),
            "product-code": product,
            "customer-identifier": customer,
        }
        envelope = {
            "Type": "Notification",
            "MessageId": self._id(),
            "Timestamp": self._happened(),
            "Message": json.dumps(message),
        }
        if self.draw.random() < 0.7:
            return envelope
        entitlement = {"ExpirationDate": self._soon(), "CustomerAWSAccountId": self._account()}
        return {"notification": envelope, "resource": {"Entitlements": [entitlement]}}

    def _google(self, subject: str) -> Line:
        draw = self.draw
        kinds = """ACTIVE ACTIVE RENEWED CANCELLED CANCELLED DELETED OFFER_ACCEPTED OFFER_ENDED
            CANCELLATION_REVERTED PENDING_CANCELLATION CANCELLING PLAN_CHANGED UNHEARD_OF"""
        message = {
            "eventId": self._id(),
            "eventType": f"ENTITLEMENT_{draw.choice(kinds.split())}",
            "entitlement": {"id": subject, "updateTime": self._happened()},
        }
        if draw.random() < 0.4:
            return message
        account = self._account()
        reasons = [None, "user-cancelled", "billing-disabled", "expired", "migrated"]
        resource = {
            "subscriptionEndTime": draw.choice([None, self._soon()]),
            "cancellationReason": draw.choice(reasons),
            "offerDuration": draw.choice([None, "P1Y"]),
            "account": account and f"providers/p/accounts/{account}",
        }
        return {"notification": message, "resource": resource}

    def _azure(self, subject: str) -> Line:
        draw = self.draw
        actions = "Subscribe Renew Suspend Suspend Reinstate Unsubscribe Unsubscribe ChangePlan"
        term = {"termUnit": draw.choice(["P1M", "P1Y"]), "endDate": self._soon()}
        return {
            "id": draw.choice([self._id(), self._id(), "op-1"]),
            "action": draw.choice(actions.split()),
            "subscriptionId": draw.choice([subject, subject, subject.upper()]),
            "timeStamp": self._happened(),
            "status": draw.choice(["Success", "Succeeded", "InProgress", "Failed"]),
            "operationRequestSource": draw.choice(["Azure", "Azure", "Partner"]),
            "subscription": draw.choice([None, {"term": term, "autoRenew": draw.random() < 0.5}]),
        }

    # --- odd messages ---

    def _unreadable(self) -> None:
        """Invalid input of every topic; on a feed of activity it counts as possible use."""
        marketplaces = [f"marketplace.{name}.notifications" for name in ("aws", "gcp", "azure")]
        topic = self.draw.choice([LOGINS, API_REQUESTS, CHANGES, SUPPORT, *marketplaces])
        value: Any = self.draw.choice([None, "no object", {"a": 1}, [], {"specversion": "1.0"}])
        self._add(topic, value, key=self.draw.choice([None, "", *self.organizations]))

    def _payload(self) -> None:
        """A recorded notification of tests/payloads."""
        file = self.draw.choice(sorted(PAYLOADS.glob("*/*.json")))
        value = json.loads(file.read_text())
        self._add(f"marketplace.{file.parent.name}.notifications", value)

    def _repetition(self) -> None:
        """An earlier message again."""
        self.lines.append({**self.draw.choice(self.lines), "at": text_of(self.now)})
