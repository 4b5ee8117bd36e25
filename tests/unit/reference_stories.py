"""Random short stories, run by `simulate` and by the naive model (`reference_model.py`).

Days are on a coarse grid, so that events coincide with one another, with deadlines and with ends,
and some reports are late or out of order.
"""

import random
from datetime import datetime, timedelta
from difflib import ndiff

from reference_model import Outcome, ReferenceModel
from reference_registers import DAY, HOUR, Undecided
from stories import run_story
from story_language import DAY_0, day

UNTIL = "230"
COMPARED = {
    "canceled",
    "control_plane_lost",
    "suspended",
    "deactivated",
    "reinstated",
    "reinstatement_pending",
    "reinstatement_lapsed",
    "notice_given",
    "notice_withdrawn",
}
STEPS = [0, 0, 1, HOUR, *(days * DAY for days in (1, 1, 1, 2, 3, 4, 5, 7, 7, 10, 14, 20, 30, 37))]
POOLS = [
    text.split()
    for text in (
        "gcp:e-1 gcp:e-2",
        "gcp:e-1 gcp:e-2 gcp:e-3",
        "azure:s-1",
        "azure:s-1 azure:s-2",
        "aws:a-1 aws:a-2",
        "aws:a-1 aws:a-2 aws:a-3",
        "aws:p/c",
        "aws:p/c gcp:e-1",
        "gcp:e-1 azure:s-1",
        "aws:a-1 gcp:e-1 azure:s-1",
        "aws:a-1 aws:p/c azure:s-1",
    )
]
GOOGLE = """
    ENTITLEMENT_ACTIVE | ENTITLEMENT_ACTIVE | ENTITLEMENT_CANCELLED | ENTITLEMENT_CANCELLED
    ENTITLEMENT_CANCELLED reason=user-cancelled | ENTITLEMENT_CANCELLED reason=billing-disabled
    ENTITLEMENT_CANCELLED reason=expired | ENTITLEMENT_CANCELLED reason=migrated
    ENTITLEMENT_DELETED | ENTITLEMENT_OFFER_ACCEPTED | ENTITLEMENT_CANCELLATION_REVERTED
    ENTITLEMENT_PENDING_CANCELLATION | ENTITLEMENT_PENDING_CANCELLATION ends={later}
"""
AZURE = """
    Subscribe | Renew | Suspend | Suspend | Reinstate | Reinstate | Unsubscribe | Unsubscribe
    Unsubscribe by=Partner | Suspend renews=no | Renew renews=yes | Subscribe {term} ends={later}
    Renew renews=no {term} ends={later}
"""
SNS = """
    subscribe-success | subscribe-success | subscribe-fail
    unsubscribe-pending | unsubscribe-success | unsubscribe-success
"""
EVENTBRIDGE = """
    Agreement Created {sold} | Agreement Created {sold} | License Updated | License Updated
    Agreement Amended renews=no end={later} | Agreement Amended renews=yes | License Deprovisioned
    Agreement Ended CANCELLED | Agreement Ended CANCELLED | Agreement Ended TERMINATED
    Agreement Ended EXPIRED | Agreement Ended RENEWED | Agreement Ended REPLACED
    Agreement Cancellation Request Approved
"""
SUPPORT = """
    reinstate | reinstate | reinstate grant={soon} | hold legal | hold commercial until={soon}
    release legal | release commercial | extend 1 | extend 10 | extend 50
"""


class StoryWriter:
    """Draws one story."""

    def __init__(self, seed: int) -> None:
        self.draw = draw = random.Random(seed)
        self.organizations = draw.choice([["acme"], ["acme", "beta"], ["acme", "beta"]])
        self.pool = draw.choice(POOLS)
        self.types = {key: draw.choice(["payg", "payg", "commit", ""]) for key in self.pool}
        self.accounts = {key: draw.choice([" account=P", " account=P", ""]) for key in self.pool}
        self.accounts |= {key: "" for key in self.pool if key.startswith("azure")}
        self.verbs = draw.choices(
            ["links", "commits", "logs in", "support", "notifies"],
            draw.choice([(20, 7, 10, 18, 45), (8, 4, 20, 13, 55), (10, 7, 3, 40, 40)]),
            k=draw.randint(3, 12),
        )
        self.is_late = draw.choice([0.1, 0.1, 0.5])
        self.now, self.times = 0, [0]

    def story(self) -> list[str]:
        """The lines of the story."""
        lines = [f"0 | {name} created plus |" for name in self.organizations]
        for number, verb in enumerate(["links", *self.verbs]):
            if number:
                since = self.draw.choice([self.now, self.now, self.now, *self.times])
                self.now = max(self.now, since + self.draw.choice(STEPS))
                self.times.append(self.now)
            lines.append(f"{clock(self.now)} | {self.line(number, verb)} |")
        return lines

    def line(self, number: int, verb: str) -> str:
        """A line at the current moment, which may arrive late."""
        draw, happened, late = self.draw, self.now, ""
        name, key = draw.choice(self.organizations), draw.choice(self.pool)
        moves = len(self.organizations) > 1 and verb == "links" and self.accounts[key]
        if number and verb != "support" and not moves and draw.random() < self.is_late:
            since = draw.choice(self.times) + draw.choice([0, 0, 1, -1, HOUR, DAY, -DAY])
            if 0 <= since < self.now:
                happened, late = since, f" @{clock(since)}"
        days = {
            "later": clock(happened + draw.choice([1, 3, 7, 14, 20, 30]) * DAY),
            "soon": clock(self.now + draw.choice([1, 5, 10, 20]) * DAY),
            "term": "term=P1Y" if self.types[key] == "commit" else "term=P1M",
            "sold": self.sold(key),
        }
        match verb:
            case "links":
                text = f"{name} links {key} {self.types[key]}{self.accounts[key]}"
            case "commits":
                start = draw.choice(["0", clock(happened), days["later"], days["later"]])
                end = happened + draw.choice([35, 80] if start == days["later"] else [5, 40]) * DAY
                text = f"{name} commits c-{number} from={start} to={clock(end)}"
            case "support":
                text = f"support: {name} {self.one_of(SUPPORT)}"
            case "notifies":
                account = "" if "/" in key else self.accounts[key]  # SNS has none
                text = f"{key} {self.notification(key)}{account}"
            case _:
                text = f"{name} logs in"
        return " ".join((text.format(**days) + late).split())

    def sold(self, key: str) -> str:
        """The options of an agreement's creation."""
        previous = f"previous=a-{int(key[-1]) - 1}" if key in ("aws:a-2", "aws:a-3") else ""
        return f"{previous} end=400" if self.types[key] == "commit" else previous

    def notification(self, key: str) -> str:
        """A marketplace's notification of a subscription."""
        if key.startswith("gcp"):
            return self.one_of(GOOGLE) + (" offer=P1Y" if self.types[key] == "commit" else "")
        if key.startswith("azure"):
            return self.one_of(AZURE)
        return self.one_of(SNS if "/" in key else EVENTBRIDGE)

    def one_of(self, options: str) -> str:
        """One of the options, which are separated by bars and line ends."""
        return self.draw.choice(
            [each for each in options.replace("\n", "|").split("|") if each.strip()]
        )


def clock(at: int) -> str:
    """A moment in the notation of stories."""
    days, rest = divmod(at, DAY)
    parts = ((rest // HOUR, "h"), (rest % HOUR // 60, "m"), (rest % 60, "s"))
    return f"{days}+{''.join(f'{n}{unit}' for n, unit in parts if n)}" if rest else f"{days}"


# --- comparing ------------------------------------------------------------------------------------


def simulated(text: str) -> list[Outcome]:
    """The events of `simulate` for a story."""
    found = []
    for event in run_story(text, until=UNTIL):
        if event.kind.removeprefix("organization.") in COMPARED:
            assert event.standing is not None
            decided, effective = map(since_day_0, (event.decided_at, event.effective_at))
            reason = str(event.standing.reason)
            found.append(Outcome(str(event.subject), str(event.kind), decided, effective, reason))
    return by_organization(found)


def since_day_0(at: datetime) -> int:
    """Seconds since the story's beginning."""
    return (at - DAY_0) // timedelta(seconds=1)


def by_organization(outcomes: list[Outcome]) -> list[Outcome]:
    """Events by organization: the order between organizations is undefined."""
    return sorted(outcomes, key=lambda each: (each.subject, each.decided))


def difference(lines: list[str]) -> str:
    """The difference between `simulate` and the model; empty if equal or undecided."""
    text = "\n".join(lines)
    try:
        expected = by_organization(ReferenceModel().run(text, UNTIL))
    except Undecided:
        return ""
    went = simulated(text)
    if went == expected:
        return ""
    both = ndiff([shown(each) for each in expected], [shown(each) for each in went])
    return "\n".join(line for line in both if not line.startswith("?"))


def shown(each: Outcome) -> str:
    """An outcome as readable text."""
    decided, effective = (
        day(DAY_0 + timedelta(seconds=at)) for at in (each.decided, each.effective)
    )
    event = each.event.removeprefix("organization.")
    return f"{each.subject}: {decided} | {event} @{effective} {each.reason}"


def differs(lines: list[str]) -> bool:
    """Whether a shortened story still shows a difference."""
    try:
        return bool(difference(lines))
    except (KeyError, IndexError):
        return False  # the model cannot do without what was cut


def shrunk(lines: list[str]) -> list[str]:
    """The story without its unnecessary lines."""
    smaller = True
    while smaller:
        smaller = False
        for number in reversed(range(len(lines))):
            less = lines[:number] + lines[number + 1 :]
            if less and differs(less):
                lines, smaller = less, True
    return lines


def report(seed: int) -> str:
    """The shortest story of a seed in which the two differ, and how; empty if they agree."""
    lines = StoryWriter(seed).story()
    if not difference(lines):
        return ""
    lines = shrunk(lines)
    return "\n".join([f"seed {seed}", *lines, "- the model, + simulate:", difference(lines)])
