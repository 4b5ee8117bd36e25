"""The register of one subscription once more, naively: marketplaces.md section 1, for
`reference_model.py`.

Moments are seconds of the story.  Stories tell plan type and billing account of a subscription in
one way only; where the rules do not say what is right, `Undecided` is raised.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from story_language import DAY_0, moment

HOUR, DAY, EVER = 3600, 86400, 10**10

ROWS = """
    Created | Amended | Updated | Deprovisioned | CANCELLED TERMINATED EXPIRED
    RENEWED REPLACED SUPERSEDED | Approved
    subscribe-fail | subscribe-success | unsubscribe-pending | unsubscribe-success
    ENTITLEMENT_OFFER_ACCEPTED | ENTITLEMENT_ACTIVE ENTITLEMENT_CANCELLATION_REVERTED
    ENTITLEMENT_PENDING_CANCELLATION | ENTITLEMENT_CANCELLED | ENTITLEMENT_DELETED
    Subscribe Renew | Suspend | Reinstate | Unsubscribe
""".replace("\n", "|").split("|")
RANKS = {word: number for number, row in enumerate(ROWS) for word in row.split()}
"""At equal times the later row of the tables comes later."""
GOOGLE = {
    "user-cancelled": "customer",
    "billing-disabled": "non_payment",
    "expired": "commit_expired",
    "migrated": "superseded",
}
SUSPENDED_FLOOR, UNSUBSCRIBED_FLOOR = 30 * DAY, 7 * DAY


class Undecided(Exception):
    """The rules do not say what is right here, or a fault is known here that is not mended yet."""


@dataclass
class Message:
    """One line of a story."""

    number: int
    at: int
    time: int
    words: list[str]
    options: dict[str, str]

    def day(self, name: str) -> int:
        return seconds(self.options[name]) if name in self.options else EVER

    @property
    def order(self) -> tuple[int, str]:
        return (self.time, f"line-{self.number}")


@dataclass
class Span:
    """An interval in which a plan counts, half-open, and why it ended.

    `explicit`: its end does not come by itself.  `inferred`: no message contained the reason.
    `superseded`: the time in which a superseded plan waits for its successor.  `since`: where it
    only matches by a billing account, and that from `start` on, when the plan itself began.
    """

    start: int
    end: int = EVER
    explicit: bool = True
    inferred: bool = False
    reason: str = "unknown"
    superseded: bool = False
    plan_type: str | None = None
    key: str = ""
    since: int = EVER


def seconds(day: str) -> int:
    """A day of a story in seconds."""
    return int((moment(day) - DAY_0).total_seconds())


def parse(text: str) -> list[Message]:
    """The lines of a story, in order of arrival."""
    messages = []
    for number, line in enumerate(filter(str.strip, text.splitlines())):
        day, what = (cell.strip() for cell in line.split("|")[:2])
        words = what.split()
        times = [word[1:] for word in words if word.startswith("@")]
        options = dict(word.split("=", 1) for word in words if "=" in word)
        words = [word for word in words if "=" not in word and not word.startswith("@")]
        at = seconds(day)
        messages.append(
            Message(number, at, min(seconds(times[0]) if times else at, at), words, options)
        )
    return sorted(messages, key=lambda each: each.at)


@dataclass
class Register:
    """What the notifications of one subscription come to."""

    key: str
    linked_at: int
    spans: list[Span] = field(default_factory=list)
    status: str = ""
    terminal: bool = False
    plan_type: str | None = None
    accounts: list[tuple[int, str]] = field(default_factory=list)
    previous: str | None = None
    bought_at: int = EVER
    floor: int = -EVER
    approved_at: int = EVER
    auto_renew: bool = True
    term_ends_at: int = EVER

    @property
    def begun(self) -> list[Span]:
        """The intervals in which it really counted."""
        return [span for span in self.spans if span.start < span.end and not span.superseded]

    # --- the fold ---

    def begin(self, at: int, status: str = "active") -> None:
        if not self.spans or self.spans[-1].end <= at:
            self.spans.append(Span(at))
        last = self.spans[-1]
        last.end, last.explicit, last.inferred, last.reason = EVER, True, False, "unknown"
        self.status = status

    def end(self, at: int, reason: str, status: str = "ended") -> None:
        """The earliest end gives the time, the first known reason the reason."""
        self.status = status
        if not self.spans:
            self.spans.append(Span(at, at, reason=reason))
            return
        last = self.spans[-1]
        if last.end > at:
            last.end, last.explicit, last.inferred, last.reason = at, True, False, reason
        elif last.inferred or last.reason == "unknown":
            last.explicit = last.explicit or last.end == at
            last.inferred, last.reason = False, reason

    def announce(self, at: int, ends_at: int, reason: str) -> None:
        """`ending`: counts until `ends_at`."""
        if ends_at <= at or (self.status == "ending" and self.spans[-1].end <= at):
            raise Undecided("an end that was announced after it, or again")
        self.begin(at, "ending")
        last = self.spans[-1]
        last.end, last.explicit, last.inferred, last.reason = ends_at, False, True, reason

    def supersede(self, at: int) -> None:
        self.end(at, "unknown", "superseded")
        self.terminal = True

    def after_the_end(self, note: Message, reason: str) -> None:
        """Terminal stays: only a reason, or `superseded`, is taken over."""
        last = self.spans[-1]
        if reason == "superseded":
            self.status, last.reason = "superseded", "unknown"
        elif reason and last.reason == "unknown" and self.status != "superseded":
            last.reason = reason
        self.describe(note)

    def apply(self, note: Message) -> None:
        word, at = note.words[-1], note.time
        if self.status in ("", "pending") and self.linked_at <= at:
            self.begin(self.linked_at)
        reason = self.reason_of(note)
        if self.terminal:
            self.after_the_end(note, reason)
            return
        if reason == "superseded":
            self.supersede(at)
        elif reason:
            self.end(at, reason)
            self.terminal = word not in ("subscribe-fail", "unsubscribe-success")
            if word == "Unsubscribe":
                self.floor = max(self.floor, at + UNSUBSCRIBED_FLOOR)
        elif word == "Amended":
            self.amend(note)
        else:
            self.change(note)
        self.describe(note)

    def amend(self, note: Message) -> None:
        """Only what is said of the renewal changes anything."""
        renews = note.options.get("renews")
        if renews == "no":
            self.announce(note.time, note.day("end"), "commit_expired")
        elif renews == "yes" and self.status == "ending":
            if self.spans[-1].end <= note.time:
                raise Undecided("renewed after the end ran out")
            self.begin(note.time)

    def change(self, note: Message) -> None:
        """What neither ends the plan nor amends it."""
        at = note.time
        match note.words[-1]:
            case "Suspend":
                self.end(at, "non_payment", "suspended")
                self.floor = max(self.floor, at + SUSPENDED_FLOOR)
            case "Deprovisioned" | "unsubscribe-pending":
                self.announce(at, at + HOUR, "unknown")
            case "ENTITLEMENT_PENDING_CANCELLATION":
                self.announce(at, note.day("ends"), "unknown")
            case "Created" | "ENTITLEMENT_OFFER_ACCEPTED":
                self.status = self.status or "pending"
            case "Reinstate" if self.status == "suspended":
                self.begin(at)
                self.floor = -EVER
            case "Reinstate" | "Approved":
                pass
            case _:
                self.begin(at)

    def reason_of(self, note: Message) -> str:
        """Why a notification ends the plan, or that it is superseded; empty where it does not."""
        word = note.words[-1]
        reasons = {
            "CANCELLED": "vendor" if self.approved_at <= note.time else "customer",
            "TERMINATED": "non_payment",
            "EXPIRED": "commit_expired",
            "RENEWED": "superseded",
            "REPLACED": "superseded",
            "SUPERSEDED": "superseded",
            "subscribe-fail": "non_payment",
            "unsubscribe-success": "unknown",
            "ENTITLEMENT_CANCELLED": GOOGLE.get(note.options.get("reason", ""), "unknown"),
            "ENTITLEMENT_DELETED": "unknown",
        }
        return self.unsubscribed(note) if word == "Unsubscribe" else reasons.get(word, "")

    def unsubscribed(self, note: Message) -> str:
        """Nobody's wish where the plan never was active."""
        if self.status == "suspended":
            return "non_payment"
        if note.options.get("by") == "Partner":
            return "vendor"
        term_ends_at = note.day("ends") if "term" in note.options else self.term_ends_at
        if not self.begun:
            if term_ends_at < EVER:
                raise Undecided("a term of what never counted")
            return "unknown"
        expired = term_ends_at <= note.time and not self.auto_renew
        return "commit_expired" if expired else "customer"

    def describe(self, note: Message) -> None:
        """Plan type, billing account, predecessor and term."""
        word, options = note.words[-1], note.options
        if word == "Created":
            self.plan_type = "commit" if "end" in options else "payg"
        if "previous" in options:
            self.previous = f"aws:{options['previous']}"
            self.bought_at = min(self.bought_at, note.time)
        if word == "subscribe-success":
            self.plan_type = "payg"
        if "offer" in options:
            self.plan_type = "commit"
        elif self.key.startswith("gcp") and {"ends", "reason", "account"} & {*options}:
            self.plan_type = self.plan_type or "payg"
        if "account" in options:
            self.accounts.append((note.time, options["account"]))
        if self.key.startswith("azure"):
            self.auto_renew = options.get("renews", "yes" if self.auto_renew else "no") == "yes"
            if "term" in options:
                self.plan_type = "payg" if options["term"] == "P1M" else "commit"
                self.term_ends_at = note.day("ends")


def fold(key: str, messages: Iterable[Message], linked_at: int) -> Register:
    """The fold of all notifications of a subscription in the marketplace's own time order."""
    notes = [each for each in messages if each.words[0] == key]
    notes.sort(key=lambda note: (note.time, RANKS[note.words[-1]], note.order))
    approvals = [note.time for note in notes if note.words[-1] == "Approved"]
    it = Register(key, linked_at, approved_at=min(approvals, default=EVER))
    for note in notes:
        it.apply(note)
    if it.status in ("", "pending") and linked_at < EVER:
        it.begin(linked_at)
    if it.status == "superseded":
        it.spans.append(Span(it.spans[-1].end, explicit=False, superseded=True))
    return it
