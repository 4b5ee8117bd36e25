"""Stories as tables: what is heard day by day, and what must be said.

A line of a story is `day | what is heard | what is said`; a day is `40` or `40+1h`, counted from
the story's beginning, and a trailing `@5` tells that it happened on day 5.  Each line becomes a
real record, and the whole goes through `Simulation`.  Only the events of the organization and of
metering are written in the table; that each is followed by its effects of lifecycle.md section 9,
and by nothing else, is checked in every story.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from difflib import ndiff
from itertools import count
from textwrap import dedent

from marketplace_worker.contract.emails import email_hasher
from marketplace_worker.errors import Malformed
from marketplace_worker.lifecycle.events import (
    Event,
    EventKind,
    MeteringDetails,
    NoticeDetails,
)
from marketplace_worker.lifecycle.policy import Policy
from marketplace_worker.lifecycle.settle import BY_DEADLINE
from marketplace_worker.lifecycle.states import State
from marketplace_worker.record import Record
from marketplace_worker.simulate import Simulation
from marketplace_worker.translate import Feed

DAY_0 = datetime(2026, 1, 1, tzinfo=UTC)
CHANGES = "organizations.changes"
FEEDS = {
    "marketplace.aws.notifications": Feed.AWS,
    "marketplace.gcp.notifications": Feed.GCP,
    "marketplace.azure.notifications": Feed.AZURE,
    "identity.logins": Feed.CLOUDEVENTS,
    CHANGES: Feed.CLOUDEVENTS,
}
HASH = email_hasher(b"a key for tests")

EFFECTS = {
    "organization.canceled": "",
    "organization.control_plane_lost": "control_plane.access_revoked",
    "organization.suspended": "api_keys.revoked data_plane.access_revoked",
    "organization.deactivated": "billing.stopped subscriptions.removed "
    "control_plane.decommissioned team_memberships.removed roles.removed logins.blocked "
    "email.locked runtimes.detached resources.deletion_requested",
    "organization.notice_given": "",
    "organization.notice_withdrawn": "",
    "metering.final_report_due": "",
}
"""lifecycle.md section 9, word for word; what a reinstatement restores depends: `RESTORED`."""

RESTORED = {
    State.CANCELED: "",
    State.CONTROL_PLANE_LOSS: "control_plane.access_restored",
    State.SUSPENDED: "control_plane.access_restored api_keys.restored data_plane.access_restored",
}
"""What a reinstatement gives back, by the state that it comes from (section 4)."""


def moment(day: str, start: datetime = DAY_0) -> datetime:
    """The moment that a story calls `40` or `40+1h`."""
    days, _, hours = day.partition("+")
    return start + timedelta(days=int(days), hours=int(hours.removesuffix("h") or 0))


def day(moment: datetime, start: datetime = DAY_0) -> str:
    """How a story calls a moment."""
    since = moment - start
    if since % timedelta(hours=1):
        return str(since)
    hours = since.seconds // 3600
    return f"{since.days}+{hours}h" if hours else f"{since.days}"


# --- checking a story -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a story."""

    day: str
    heard: str
    said: str


def check_story(
    text: str, policy: Policy | None = None, *, start: datetime = DAY_0, until: str | None = None
) -> list[Event]:
    """Tell a story and compare what is said with what the table says; returns all events."""
    expected = list(_rows(text))
    events = tell(text, policy, start=start, until=until)
    check_effects(events)
    actual = _table(_told(_heard(expected), events, start))
    wanted = _table(_folded(expected))
    if actual != wanted:
        lines = ndiff(wanted, actual)
        raise AssertionError("- expected, + came:\n" + "\n".join(lines))
    return events


def tell(
    text: str, policy: Policy | None = None, *, start: datetime = DAY_0, until: str | None = None
) -> list[Event]:
    """Everything that is said when a story is heard; the right column is not looked at."""
    records = [
        record(line, row, start) for line, row in zip(count(), _heard(_rows(text)), strict=False)
    ]
    return list(simulation(policy).run(records, moment(until, start) if until else None))


def simulation(policy: Policy | None = None) -> Simulation:
    """An empty fleet; a message that cannot be read is the test's own fault."""

    def refuse(_record: Record, refusal: Malformed) -> None:
        raise AssertionError(str(refusal))

    return Simulation(policy or Policy(), FEEDS, HASH, refuse)


def check_effects(events: Sequence[Event]) -> None:
    """Each event of an organization is followed by its effects, in order, and by nothing else."""
    said = [f"{event.standing.organization} {event.kind}" for event in events]
    due: list[str] = []
    for event in events:
        if event.kind in {*EFFECTS, EventKind.REINSTATED}:
            effects = EFFECTS.get(event.kind) if event.kind in EFFECTS else None
            if effects is None:
                assert event.standing.previous_state is not None
                effects = RESTORED[event.standing.previous_state]
            names = [event.kind, *effects.split()]
            due += [f"{event.standing.organization} {name}" for name in names]
    assert said == due


def _rows(text: str) -> Iterable[Row]:
    for line in dedent(text).strip().splitlines():
        cells = [" ".join(cell.split()) for cell in line.split("|")]
        assert len(cells) == 3, f"a line of a story has three cells: {line}"
        if cells[0] != "day":
            yield Row(*cells)


def _heard(rows: Iterable[Row]) -> list[Row]:
    return [row for row in rows if row.heard]


def _folded(rows: Iterable[Row]) -> Iterable[Row]:
    """The rows of one moment as they are compared: the day is written where it begins."""
    said_on = ""
    for row in rows:
        said_on = row.day or said_on
        yield Row(said_on, row.heard, row.said)


def _told(heard: Sequence[Row], events: Sequence[Event], start: datetime) -> Iterable[Row]:
    """The story as it really went: after each line heard what it made us say, then deadlines."""
    answers: dict[int, list[Row]] = {number: [] for number in range(len(heard))}
    deadlines: list[tuple[datetime, Row]] = []
    for event in events:
        if (text := sentence(event, start)) is None:
            continue
        if event.causation_id == BY_DEADLINE:
            row = Row(day(event.decided_at, start), "", text)
            deadlines.append((event.decided_at, row))
        else:
            found = re.search(r"line-(\d+)", event.causation_id)
            assert found is not None
            number = int(found[1])
            answers[number].append(Row(heard[number].day, "", text))
    for number, row in enumerate(heard):
        while deadlines and deadlines[0][0] < moment(row.day, start):
            yield deadlines.pop(0)[1]
        first, *others = answers[number] or [Row(row.day, "", "")]
        yield Row(row.day, row.heard, first.said)
        yield from others
    yield from (row for _, row in deadlines)


def _table(rows: Iterable[Row]) -> list[str]:
    return [f"{row.day:>6} | {row.heard:<48} | {row.said}".rstrip() for row in rows]


def sentence(event: Event, start: datetime = DAY_0) -> str | None:
    """An event as a story tells it; None for an effect, which `check_effects` looks at."""
    kind = event.kind.removeprefix("organization.")
    if event.effective_at != event.decided_at:
        kind = f"{kind} @{day(event.effective_at, start)}"
    match event.kind, event.details:
        case EventKind.CANCELED, _:
            standing = event.standing
            text = f"{kind} {standing.reason} by {standing.initiator}, {standing.plan_type}"
        case _, NoticeDetails(upcoming_state=step, at=at):
            text = f"{kind}: {step} {day(at, start)}"
        case _, MeteringDetails(subscription=key, deadline=deadline):
            text = f"final_report_due {key} {day(deadline, start)}"
        case _:
            text = kind if event.kind.startswith("organization.") else ""
    organization = event.standing.organization
    return (text if organization == "acme" else f"{organization}: {text}") if text else None


# --- from a line to a record ----------------------------------------------------------------------


def record(line: int, row: Row, start: datetime = DAY_0) -> Record:
    """What a line of a story says, as it comes from Kafka."""
    words = row.heard.split()
    happened = row.day
    if words[-1].startswith("@"):
        happened = words.pop().removeprefix("@")
    options = dict(word.split("=", 1) for word in words if "=" in word)
    said = [word for word in words if "=" not in word]
    at = moment(happened, start).isoformat()
    telling = Telling(f"line-{options.get('line', line)}", at, said, options, start)
    market = said[0].partition(":")[0]
    if f"marketplace.{market}.notifications" in FEEDS:
        topic, value = f"marketplace.{market}.notifications", telling.notification()
    else:
        topic, value = CHANGES, telling.change()
    return Record(topic, 0, line, moment(row.day, start), None, json.dumps(value).encode())


@dataclass(frozen=True, slots=True)
class Telling:
    """One line of a story, taken apart."""

    id: str
    at: str
    said: Sequence[str]
    options: dict[str, str]
    start: datetime

    def time(self, name: str) -> str | None:
        """An option that is a day of the story."""
        told = self.options.get(name)
        return moment(told, self.start).isoformat() if told else None

    def change(self) -> dict[str, object]:
        """`acme created`, `acme links aws:a-1 payg`, `acme commits c-1 from=3 to=30`."""
        organization, verb, *rest = self.said
        match verb, rest:
            case "created", _:
                tier, name = (rest or ["free"])[0], "created"
                data: dict[str, object] = {"tier": tier, "owner_email": f"{organization}@x.org"}
            case "links", [subscription, *plan_type]:
                market, _, subscription_id = subscription.partition(":")
                data = {"marketplace": market, "subscription_id": subscription_id}
                data |= {"plan_type": plan_type[0]} if plan_type else {}
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
                raise AssertionError(f"no such change: {self.said}")
        return {
            "specversion": "1.0",
            "id": self.id,
            "source": "/stories",
            "type": f"io.marketplace-worker.organization.{name}.v1",
            "subject": organization,
            "time": self.at,
            "data": data,
        }

    def notification(self) -> dict[str, object]:
        """`aws:a-1 License Updated`, `aws:p/c subscribe-success`, `gcp:e-1 ENTITLEMENT_ACTIVE`."""
        market, _, subject = self.said[0].partition(":")
        words = " ".join(self.said[1:])
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
        return {
            "id": self.id,
            "detail-type": f"{kind} - Proposer",
            "time": self.at,
            "detail": {"agreement": agreement},
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
        expires_at = self.time("entitled")
        return {
            "notification": envelope,
            "resource": {"Entitlements": [{"ExpirationDate": expires_at}]},
        }

    def _google(self, subject: str, event_type: str) -> dict[str, object]:
        entitlement = {"id": subject, "updateTime": self.at}
        message: dict[str, object] = {"eventType": event_type, "entitlement": entitlement}
        message |= {"eventId": self.id}
        if self.options:
            ends_at, reason = self.time("ends"), self.options.get("reason")
            resource = {"subscriptionEndTime": ends_at, "cancellationReason": reason}
            return {"notification": message, "resource": resource}
        return message

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
