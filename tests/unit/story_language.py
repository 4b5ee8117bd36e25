"""Translates a story's lines into the messages that the worker would receive.

    acme created [TIER] [owner=EMAIL] [anchor=DAY]     acme tier plus        acme owner new@x.org
    acme links aws:a-1 [payg|commit] [account=B]       acme commits c-1 from=3 to=30
    acme logs in                                       acme requests 5
    aws:a-1 License Updated [account=B]                aws:p/c subscribe-success
    gcp:e-1 ENTITLEMENT_ACTIVE [account=B]             azure:s-1 Suspend
    support: acme deactivate | reactivate | reinstate [grant=DAY] | extend 10
    support: acme hold legal [until=DAY] | release legal        support: unlock acme@x.org
    unreadable logins [key=acme]                       unreadable api_requests
    operator: trips | releases [[10] steps|requests] | loads VERSION
    feeds: daily 0..40 [logins]

A word `@5` means that it happened on day 5; `id=r-1` gives the message this id (Azure: that of its
operation; `status=Failed` is the operation's progress), and `line=3` that of line 3; `as=pat` names
the requester, `without=reason` leaves out a field of a request.  `org-1..200` stands for each of
200 names.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from marketplace_worker.contract.feeds import Feed
from marketplace_worker.lifecycle.facts import GuardReleased, GuardTripped
from marketplace_worker.lifecycle.vocabulary import GuardSide, Identity
from marketplace_worker.record import Record

DAY_0 = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)

CHANGES, SUPPORT = "organizations.changes", "support.requests"
LOGINS, API_REQUESTS = "identity.logins", "usage.api-requests"
FEEDS = {
    "marketplace.aws.notifications": Feed.AWS,
    "marketplace.gcp.notifications": Feed.GCP,
    "marketplace.azure.notifications": Feed.AZURE,
    LOGINS: Feed.LOGINS,
    API_REQUESTS: Feed.API_REQUESTS,
    CHANGES: Feed.ORGANIZATION_CHANGES,
    SUPPORT: Feed.SUPPORT_REQUESTS,
}

UNREADABLE = b'"what nobody can read"'

_MOMENT = re.compile(r"(-?\d+)(?:([+-])(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?)?")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")


def moment(day: str, start: datetime = DAY_0) -> datetime:
    """The moment that a story writes as `40`, `40+1h`, `40+1h30m` or `40-1s`."""
    found = _MOMENT.fullmatch(day)
    assert found is not None, f"no moment of a story: {day}"
    days, hours, minutes, seconds = (int(found[part] or 0) for part in (1, 3, 4, 5))
    rest = timedelta(hours=hours, minutes=minutes, seconds=seconds)
    return start + days * DAY + (-rest if found[2] == "-" else rest)


def day(moment: datetime, start: datetime = DAY_0) -> str:
    """A moment as a story writes it."""
    days, rest = divmod(moment - start, DAY)
    if not rest:
        return f"{days}"
    if (left := DAY - rest) <= timedelta(minutes=1):
        return f"{days + 1}-{left.seconds}s"
    minutes, seconds = divmod(rest.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((hours, "h"), (minutes, "m"), (seconds, "s"))
    return f"{days}+" + "".join(f"{number}{unit}" for number, unit in parts if number)


@dataclass(frozen=True, slots=True)
class PolicyLoaded:
    """The workers were restarted with the policy of this version."""

    version: str


@dataclass(frozen=True, slots=True)
class StoryInput:
    """The input of one line, and when the worker receives it."""

    at: datetime
    what: Record | GuardTripped | GuardReleased | PolicyLoaded


def parse_story(rows: Sequence[tuple[str, str]], start: datetime = DAY_0) -> list[StoryInput]:
    """The inputs of a story's lines, (day, text), in order of arrival."""
    collected = [each for line, (day, text) in enumerate(rows) for each in _lines(line, day, text)]
    inputs = [each for line, day, text in collected for each in _inputs_of(line, day, text, start)]
    return sorted(inputs, key=lambda each: each.at)


def _lines(line: int, day: str, text: str) -> Iterator[tuple[str, str, str]]:
    """The expansion of a line into simple ones: (id, day, text)."""
    if text.startswith("feeds:"):
        yield from _daily(line, text.split()[1:])
        return
    ranges = _RANGE.findall(text)
    if not ranges:
        yield f"line-{line}", day, text
        return
    ((first, last),) = set(ranges)
    for number in range(int(first), int(last) + 1):
        yield f"line-{line}.{number}", day, _RANGE.sub(str(number), text)


def _daily(line: int, words: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """`daily 0..40` or `daily 0..40 logins`: both feeds, or one, carry others' activity."""
    found = _RANGE.fullmatch(words[1])
    assert words[0] == "daily"
    assert found is not None
    verbs = {"logins": "logs in", "api_requests": "requests 1"}
    for day in range(int(found[1]), int(found[2]) + 1):
        for feed in words[2:] or verbs:
            yield f"line-{line}.{feed}-{day}", str(day), f"others {verbs[feed]}"


def _inputs_of(id_: str, day: str, text: str, start: datetime) -> Iterator[StoryInput]:
    words = text.split()
    happened = next((word[1:] for word in words if word.startswith("@")), day)
    options = dict(word.split("=", 1) for word in words if "=" in word)
    words_said = [word for word in words if "=" not in word and not word.startswith("@")]
    at = moment(day, start)
    if words_said[0] == "operator:":
        yield StoryInput(at, _by_operator(Identity("operator", id_), at, words_said[1:]))
        return
    if words_said[0] == "unreadable":
        topic = {"logins": LOGINS, "api_requests": API_REQUESTS}[words_said[1]]
        key = options["key"].encode() if "key" in options else None
        yield StoryInput(at, Record(topic, 0, 0, at, key, UNREADABLE))
        return
    id_ = options.get("id") or (f"line-{options['line']}" if "line" in options else id_)
    line = StoryLine(id_, moment(happened, start).isoformat(), words_said, options, start)
    topic, value = line.message()
    subject = value.get("subject")
    key = subject.encode() if isinstance(subject, str) else None
    yield StoryInput(at, Record(topic, 0, 0, at, key, json.dumps(value).encode()))


def _by_operator(
    identity: Identity, at: datetime, words_said: Sequence[str]
) -> GuardTripped | GuardReleased | PolicyLoaded:
    match words_said:
        case ["trips"]:
            return GuardTripped(identity, at, by="olga", reason="a faulty import")
        case ["releases"]:
            return GuardReleased(identity, at, by="olga", reason="looked at")
        case ["releases", *number, side]:
            many = int(number[0]) if number else None
            guard = GuardSide(side)
            steps, requests = (many, None) if guard is GuardSide.STEPS else (None, many)
            return GuardReleased(identity, at, "olga", "looked at", steps, requests, guard)
        case ["loads", version]:
            return PolicyLoaded(version)
        case _:
            raise AssertionError(f"no operator does this: {words_said}")


@dataclass(frozen=True, slots=True)
class StoryLine:
    """One parsed line of a story."""

    id: str
    at: str
    words: Sequence[str]
    options: dict[str, str]
    start: datetime

    def message(self) -> tuple[str, dict[str, object]]:
        """The topic and the value that carry it."""
        market = self.words[0].partition(":")[0]
        if f"marketplace.{market}.notifications" in FEEDS:
            return f"marketplace.{market}.notifications", self.notification()
        match self.words:
            case ["support:", "unlock", *rest]:
                return SUPPORT, self.request(None, "unlock", rest)
            case ["support:", organization, verb, *rest]:
                return SUPPORT, self.request(organization, verb, rest)
            case [organization, "logs", "in"]:
                name, user = "identity.user.logged_in", {"user_id": "u-1"}
                return LOGINS, self.cloudevent(organization, name, user)
            case [organization, "requests", number]:
                requests = {"requests": int(number)}
                return API_REQUESTS, self.cloudevent(organization, "usage.api_requests", requests)
            case _:
                return CHANGES, self.change()

    def time(self, name: str) -> str | None:
        """An option that is a day of the story."""
        option = self.options.get(name)
        return moment(option, self.start).isoformat() if option else None

    def cloudevent(self, subject: str | None, name: str, data: object) -> dict[str, object]:
        """The CloudEvent of a product message."""
        event = {
            "specversion": "1.0",
            "id": self.id,
            "source": "/stories",
            "type": f"io.marketplace-worker.{name}.v1",
            "time": self.at,
            "data": data,
        }
        return event | ({"subject": subject} if subject else {})

    def change(self) -> dict[str, object]:
        """A product's change of an organization."""
        organization, verb, *rest = self.words
        data: dict[str, object]
        match verb, rest:
            case "created", _:
                owner = self.options.get("owner", f"{organization}@x.org")
                data = {"tier": (rest or ["free"])[0], "owner_email": owner}
                data |= {"billing_cycle_anchor": self.time("anchor")}
                name = "created"
            case "links", [subscription, *plan_type]:
                market, _, subscription_id = subscription.partition(":")
                data = {"marketplace": market, "subscription_id": subscription_id}
                data |= {"plan_type": plan_type[0]} if plan_type else {}
                data |= {"billing_account": self.options.get("account")}
                name = "subscription_linked"
            case "commits", [commitment]:
                data = {"commitment_id": commitment}
                data |= {"starts_at": self.time("from"), "ends_at": self.time("to")}
                name = "commitment_linked"
            case "tier", [tier]:
                data, name = {"tier": tier}, "tier_changed"
            case "owner", [owner]:
                data, name = {"owner_email": owner}, "owner_changed"
            case _:
                raise AssertionError(f"no such change: {self.words}")
        return self.cloudevent(organization, f"organization.{name}", data)

    def request(
        self, organization: str | None, verb: str, rest: Sequence[str]
    ) -> dict[str, object]:
        """A request of Support, which may be invalid."""
        asker = self.options.get("as", "sam")
        data: dict[str, object] = {"requested_by": asker, "reason": "the customer called"}
        name = f"{verb}_organization"
        match verb, rest:
            case "deactivate" | "reactivate", []:
                pass
            case "reinstate", []:
                data |= {"grant_until": self.time("grant")}
            case "unlock", [email]:
                data, name = data | {"email": email}, "unlock_email"
            case "hold", [kind]:
                data |= {"kind": kind, "expires_at": self.time("until")}
                name = "place_hold"
            case "release", [kind]:
                data, name = data | {"kind": kind}, "release_hold"
            case "extend", [days]:
                data, name = data | {"days": int(days)}, "extend_grace"
            case _:
                raise AssertionError(f"no such request: {self.words}")
        data.pop(self.options.get("without", ""), None)
        return self.cloudevent(organization, f"support.{name}", data)

    # --- marketplaces ---

    def notification(self) -> dict[str, object]:
        """A marketplace's notification, in its own format."""
        market, _, subject = self.words[0].partition(":")
        words = " ".join(self.words[1:])
        match market:
            case "aws" if "/" in subject:
                return self._sns(subject, words)
            case "aws":
                return self._eventbridge(subject, words)
            case "gcp":
                return self._google(subject, words)
            case _:
                return self._azure(subject, words)

    def _eventbridge(self, subject: str, words: str) -> dict[str, object]:
        kind = words if words.startswith(("License", "Agreement Canc")) else f"Purchase {words}"
        agreement: dict[str, object] = {"id": subject}
        if " Ended " in words:
            kind, _, agreement["status"] = kind.rpartition(" ")
        if renews := self.options.get("renews"):
            agreement["autoRenewalEnabled"] = renews == "yes"
        if previous := self.options.get("previous"):
            agreement["previousAgreementId"] = previous
        if ends_at := self.time("end"):
            agreement["endTime"] = ends_at
        detail: dict[str, object] = {"agreement": agreement}
        if account := self.options.get("account"):
            detail["acceptor"] = {"accountId": account}
        return {
            "id": self.id,
            "detail-type": f"{kind} - Proposer",
            "time": self.at,
            "detail": detail,
        }

    def _sns(self, subject: str, action: str) -> dict[str, object]:
        product, _, customer = subject.partition("/")
        message = {"action": action, "product-code": product, "customer-identifier": customer}
        envelope: dict[str, object] = {
            "Type": "Notification",
            "MessageId": self.id,
            "Timestamp": self.at,
            "Message": json.dumps(message),
        }
        if "entitled" not in self.options:
            return envelope
        entitlement = {
            "ExpirationDate": self.time("entitled"),
            "CustomerAWSAccountId": self.options.get("account"),
        }
        return {"notification": envelope, "resource": {"Entitlements": [entitlement]}}

    def _google(self, subject: str, event_type: str) -> dict[str, object]:
        entitlement = {"id": subject, "updateTime": self.at}
        message: dict[str, object] = {"eventType": event_type, "entitlement": entitlement}
        message |= {"eventId": self.id}
        account = self.options.get("account")
        resource = {
            "subscriptionEndTime": self.time("ends"),
            "cancellationReason": self.options.get("reason"),
            "offerDuration": self.options.get("offer"),
            "account": f"providers/p/accounts/{account}" if account else None,
        }
        present = {name: value for name, value in resource.items() if value}
        return {"notification": message, "resource": present} if present else message

    def _azure(self, subject: str, action: str) -> dict[str, object]:
        term = {"termUnit": self.options.get("term"), "endDate": self.time("ends")}
        renews = {"yes": True, "no": False}.get(self.options.get("renews", ""))
        return {
            "id": self.id,
            "action": action,
            "subscriptionId": subject,
            "timeStamp": self.at,
            "status": self.options.get("status", "Success"),
            "operationRequestSource": self.options.get("by", "Azure"),
            "subscription": {"autoRenew": renews, "term": term},
        }
