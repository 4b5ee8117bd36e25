"""Stories whose plans, billing accounts and logins are related: drawn to find faults of order.

Two organizations share subscriptions and accounts.  Everything happens at a few moments, or a
second or an hour beside one of them; part of it arrives late, in bundles.  The lines are in the
language of `story_language.py`, so a failing test prints a story that can be run again.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from random import Random

from story_language import DAY, DAY_0, day, parse_story

from marketplace_worker.record import Record

HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)
BESIDE = [0 * DAY, 0 * DAY, 0 * DAY, -SECOND, SECOND, -HOUR, HOUR, DAY / 2]
"""How far from a moment an event may be."""

AFTER_THE_FIRST = [0, 1, 3, 4, 5, 7, 8, 10, 14, 17, 30]
"""Days from the first end; some are deadlines of its cancellation."""

ORGANIZATIONS = ["acme", "beta"]
LOGINS_A_DAY_MAX = 2
"""Only the first and the last login of a day are kept (lifecycle.md section 5)."""

LOGINS_WITHIN = timedelta(days=44)
"""How long logins are kept."""

ACTIVATING = "_ACTIVE", "_CHANGED", "_REVERTED", "License Up", "renews=yes", "subscribe-s", "links"
"""Notifications that make a plan count, perhaps again."""


@dataclass(frozen=True, slots=True)
class Line:
    """What happened, when it happened, and when the worker receives it."""

    arrives_at: datetime
    happened_at: datetime
    text: str
    id: str

    @property
    def is_request(self) -> bool:
        """Whether it is a Support request: their order matters."""
        return self.text.startswith("support:")

    def same_content_as(self, other: "Line") -> bool:
        """Whether both report the same at the same time, whenever they arrive."""
        return replace(self, arrives_at=other.arrives_at) == other

    def __str__(self) -> str:
        """As a line of a story."""
        return f"{day(self.arrives_at):>12} | {self.text} @{day(self.happened_at)} id={self.id} |"


Story = Sequence[Line]


def records(story: Story) -> list[Record]:
    """The messages of a story, in its order."""
    rows = [(day(line.arrives_at), str(line).split("|")[1].strip()) for line in story]
    return [item.what for item in parse_story(rows) if isinstance(item.what, Record)]


def printed(story: Story) -> str:
    """A story as text, to be run again with `check_story`."""
    return "\n".join(map(str, story))


@dataclass(slots=True)
class StoryDraft:
    """The events so far of a story that is being drawn."""

    random: Random
    moments: list[datetime]
    facts: list[tuple[datetime, str, str]]

    def when(self, since: datetime = DAY_0, *, until: datetime | None = None) -> datetime:
        """One of the moments, or a little beside it; later than `since`."""
        at = self.random.choice(self.moments) + self.random.choice(BESIDE)
        at = max(at, since + SECOND)
        return at if until is None else min(at, until)

    def add(self, at: datetime, text: str, id_: str = "") -> None:
        """Add an event; `id_`: for several messages with the same id."""
        self.facts.append((at, text, id_ or f"f{len(self.facts)}"))

    def one(self, *options: str) -> str:
        """One of several options."""
        return self.random.choice(options)

    def perhaps(self, chance: float = 0.5) -> bool:
        """Whether an event happens at all."""
        return self.random.random() < chance


# --- events ---------------------------------------------------------------------------------------


def _google(so_far: StoryDraft, name: str, since: datetime, account: str) -> None:
    """A subscription at Google begins and usually ends; or its end is announced."""
    began = so_far.when(since)
    prefix = f"gcp:{name} ENTITLEMENT"
    so_far.add(began, f"{prefix}_ACTIVE account={account}")
    if so_far.perhaps(0.3):
        retold = so_far.one(account, "b-1", "b-2")
        so_far.add(so_far.when(began), f"{prefix}_PLAN_CHANGED account={retold}")
    ended = so_far.when(began)
    if so_far.perhaps(0.4):
        announced, ends_at = so_far.when(began), day(so_far.when(began))
        so_far.add(announced, f"{prefix}_PENDING_CANCELLATION ends={ends_at} account={account}")
        if so_far.perhaps(0.3):
            so_far.add(so_far.when(announced), f"{prefix}_CANCELLATION_REVERTED account={account}")
    if so_far.perhaps(0.6):
        reason = so_far.one("user-cancelled", "billing-disabled", "migrated", "expired")
        so_far.add(ended, f"{prefix}_CANCELLED reason={reason} account={account}")


def _agreement(so_far: StoryDraft, name: str, since: datetime, account: str) -> None:
    """An agreement at AWS: it may be amended, renewed by a successor, or lose its licence."""
    began = so_far.when(since)
    prefix = f"aws:{name}"
    until = so_far.when(began)
    if so_far.perhaps(0.4):
        previous = f" previous={so_far.one('a-1', 'a-2')}" if name == "a-3" else ""
        so_far.add(
            began, f"{prefix} Agreement Created end={day(until)} account={account}{previous}"
        )
    so_far.add(began, f"{prefix} License Updated account={account}")
    if so_far.perhaps(0.4):
        amended = so_far.when(began)
        so_far.add(amended, f"{prefix} Agreement Amended renews=no end={day(until)}")
        if so_far.perhaps(0.3):
            so_far.add(so_far.when(amended), f"{prefix} Agreement Amended renews=yes")
    if so_far.perhaps(0.6):
        status = so_far.one("CANCELLED", "TERMINATED", "EXPIRED", "RENEWED", "REPLACED")
        so_far.add(so_far.when(began), f"{prefix} Agreement Ended {status}")
    if so_far.perhaps(0.2):
        so_far.add(so_far.when(began), f"{prefix} License Deprovisioned")
    if so_far.perhaps(0.1):
        so_far.add(so_far.when(began), f"{prefix} Agreement Cancellation Request Approved")


def _product(so_far: StoryDraft, name: str, since: datetime, _account: str) -> None:
    """A product subscription at AWS may end and begin again several times."""
    began = so_far.when(since)
    so_far.add(began, f"aws:{name} subscribe-success")
    for _ in range(so_far.random.randrange(4)):
        action = so_far.one(
            "unsubscribe-pending", "unsubscribe-success", "unsubscribe-success", "subscribe-success"
        )
        so_far.add(so_far.when(began), f"aws:{name} {action}")


def _saas(so_far: StoryDraft, name: str, since: datetime, _account: str) -> None:
    """A subscription at Azure, with each report of its operations."""
    began = so_far.when(since)
    so_far.add(began, f"azure:{name} Subscribe")
    for number in range(so_far.random.randrange(4)):
        action = so_far.one("Suspend", "Suspend", "Reinstate", "Unsubscribe", "Renew")
        operation, at = f"{name}-{number}", so_far.when(began)
        for word in so_far.random.choice(WORDS):
            so_far.add(at, f"azure:{name} {action} status={word}", operation)
            at = so_far.when(at)


WORDS = [
    ["Succeeded"],
    ["Succeeded"],
    ["InProgress", "Succeeded"],
    ["InProgress", "Failed"],
    ["InProgress", "Conflict", "Succeeded"],
    ["NotStarted"],
    ["Failed", "Succeeded"],
]

Market = Callable[[StoryDraft, str, datetime, str], None]
MARKETS: dict[str, Market] = {
    "gcp:e-": _google,
    "aws:a-": _agreement,
    "aws:p/": _product,
    "azure:s-": _saas,
}


def buy(so_far: StoryDraft, organization: str, key: str, account: str) -> None:
    """The product links a subscription; its messages are a marketplace's."""
    at = so_far.when()
    plan_type = so_far.one("", " payg", " commit")
    account_line = so_far.one("", f" account={account}")
    so_far.add(at, f"{organization} links {key}{plan_type}{account_line}")
    live(so_far, key, at - so_far.random.choice([0 * DAY, HOUR, DAY]), account)


def live(so_far: StoryDraft, key: str, since: datetime, account: str) -> None:
    """The notifications of a subscription."""
    market = next(each for each in MARKETS if key.startswith(each))
    MARKETS[market](so_far, key.partition(":")[2], since, account)


def _moved(so_far: StoryDraft, key: str) -> None:
    """A subscription is linked to one organization after another."""
    at = so_far.when()
    for organization in so_far.random.choice([["beta"], ["beta", "acme"], ["acme", "beta"]]):
        so_far.add(at, f"{organization} links {key}")
        at = so_far.when(at)


def commit(so_far: StoryDraft, organization: str) -> None:
    """A commitment, which may begin later; it may be reported again with changes."""
    name = so_far.one("c-1", "c-1", "c-2")
    linked = so_far.when()
    for _ in range(so_far.random.choice([1, 1, 2])):
        starts_at = so_far.when() + so_far.random.choice([0, 0, 5, 20, 60]) * DAY
        ends_at = starts_at + so_far.random.choice([1, 10, 30, 9_999]) * DAY
        commit_line = f"{organization} commits {name}-{organization} from={day(starts_at)}"
        so_far.add(linked, f"{commit_line} to={day(ends_at)}")
        linked = so_far.when(linked)


def _signed_in(so_far: StoryDraft, organization: str) -> None:
    """Users sign in around the moments at which a plan began or ended."""
    began = [at for at, *_ in so_far.facts] or so_far.moments
    for _ in range(so_far.random.choice([1, 2, 2, 3])):
        at = so_far.random.choice(began) + so_far.random.choice([*BESIDE, DAY, 3 * DAY, 31 * DAY])
        so_far.add(max(at, DAY_0 + SECOND), f"{organization} logs in")


# --- whole stories --------------------------------------------------------------------------------

ACCOUNTS = ["b-1", "b-1", "b-1", "b-2"]


@dataclass(frozen=True, slots=True)
class Theme:
    """The subject of a story: its plans, and how often events happen.

    `others` are linked, `matching` are not; of each there are up to `plans`.
    """

    first: Sequence[str] = ("gcp:e-1", "gcp:e-1", "aws:a-1", "aws:p/1", "azure:s-1")
    others: Sequence[str] = ("gcp:e-2", "gcp:e-3", "aws:a-2", "aws:a-3", "aws:p/2", "azure:s-2")
    matching: Sequence[str] = ("gcp:e-2", "gcp:e-2", "gcp:e-3", "aws:a-2")
    plans: int = 2
    ends_first: float = 0.7
    moves: float = 0.3
    commits: float = 0.3
    signs_in: float = 0.5


THEMES = [
    Theme(),
    Theme(
        first=["gcp:e-1", "aws:a-1"],
        others=["gcp:e-3", "gcp:e-2"],
        ends_first=1,
        moves=0.1,
        commits=0,
        signs_in=1,
    ),
    Theme(
        first=["gcp:e-1", "aws:p/1"],
        others=["aws:p/2", "azure:s-1", "azure:s-2"],
        matching=[],
        plans=3,
        ends_first=0.9,
        commits=0.1,
        signs_in=0,
    ),
    Theme(first=["aws:p/1", "gcp:e-1"], matching=[], plans=1, commits=1, signs_in=0),
]


def draw_story(
    random: Random, *, without: Iterable[str] = (), late: float | None = None
) -> list[Line]:
    """A story of two organizations, in the order of arrival.

    It avoids cases that no rule decides: more than two logins a day, or more than 45 days of them.
    `without`: marketplaces to leave out.  `late`: the part of it that arrives late.
    """
    theme, so_far = random.choice(THEMES), StoryDraft(random, draw_moments(random), [])
    first = _choose(random, theme.first, without)
    if so_far.perhaps(theme.ends_first):
        end_in_time(so_far, first)
    else:
        buy(so_far, "acme", first, "b-1")
    on_time, keys = len(so_far.facts), [first]
    for key in _some(random, theme, theme.others, without):
        keys.append(key)
        buy(so_far, random.choice(ORGANIZATIONS), key, random.choice(ACCOUNTS))
    for key in _some(random, theme, theme.matching, without):
        if key not in keys:
            keys.append(key)
            live(so_far, key, so_far.moments[0] - DAY, random.choice(ACCOUNTS))
    if so_far.perhaps(theme.moves):
        _moved(so_far, random.choice(keys))
    if so_far.perhaps(theme.commits):
        commit(so_far, random.choice(ORGANIZATIONS))
    if so_far.perhaps(theme.signs_in):
        _signed_in(so_far, "acme")
    if so_far.perhaps(theme.signs_in / 3):
        _signed_in(so_far, "beta")
    if so_far.perhaps(0.1):
        so_far.add(so_far.when(), f"{random.choice(ORGANIZATIONS)} tier enterprise")
    return arriving(so_far, on_time, random.choice([0.3, 0.8, 0.95]) if late is None else late)


def _some(random: Random, theme: Theme, keys: Sequence[str], without: Iterable[str]) -> list[str]:
    number = random.randint(0, theme.plans) if keys else 0
    return sorted({_choose(random, keys, without) for _ in range(number)})


def end_in_time(so_far: StoryDraft, key: str) -> None:
    """A plan of acme that ended at the first of the moments, reported in time."""
    end = so_far.moments[0]
    so_far.add(DAY_0, f"acme links {key}{so_far.one('', '', ' payg', ' commit')}")
    began, ended = {
        "gcp:e-": ("ENTITLEMENT_ACTIVE account=b-1", "ENTITLEMENT_CANCELLED account=b-1"),
        "aws:a-": ("License Updated account=b-1", "Agreement Ended CANCELLED account=b-1"),
        "aws:p/": ("subscribe-success", "unsubscribe-success"),
        "azure:s-": ("Subscribe", "Unsubscribe"),
    }[key[:-1]]
    so_far.add(DAY_0 + HOUR, f"{key} {began}")
    so_far.add(end, f"{key} {ended}")


def _choose(random: Random, keys: Sequence[str], without: Iterable[str]) -> str:
    left_out = tuple(without)
    return random.choice([key for key in keys if not key.startswith(left_out or ("none:",))])


def draw_moments(random: Random) -> list[datetime]:
    """A few moments: the first end, and later ones, where deadlines of a cancellation may be."""
    first = random.randint(2, 8)
    after = [random.choice(AFTER_THE_FIRST) for _ in range(random.choice([2, 3, 4]))]
    return [DAY_0 + (first + days) * DAY for days in (0, *after)]


def arriving(so_far: StoryDraft, on_time: int, late: float) -> list[Line]:
    """Some arrives when it happens, as the first `on_time` do; the rest late, in bundles."""
    random = so_far.random
    first = {id_ for _, _, id_ in so_far.facts[:on_time]}
    facts = allowed(so_far.facts)
    last = max(at for at, *_ in facts)
    bundles = [random.choice([*so_far.moments, last]), last][: random.choice([1, 2])]
    bundles = [each + random.choice([0 * DAY, 0 * DAY, DAY, 8 * DAY]) for each in bundles]
    lines = []
    for at, text, id_ in facts:
        later = [bundle for bundle in bundles if bundle >= at]
        is_late = later and id_ not in first and random.random() < late
        arrives_at = random.choice(later) if is_late else at
        lines.append(Line(arrives_at, at, text, id_))
    random.shuffle(lines)
    created = [Line(DAY_0, DAY_0, f"{each} created plus", each) for each in ORGANIZATIONS]
    return [*created, *sorted(lines, key=lambda line: line.arrives_at)]


def allowed(facts: Sequence[tuple[datetime, str, str]]) -> list[tuple[datetime, str, str]]:
    """Without cases that no rule decides: a third login of a day, one older than those kept, and
    one in the same second as an activation, which may have been before or after it.
    """
    activations = {at for at, text, _ in facts if any(word in text for word in ACTIVATING)}
    kept: list[tuple[datetime, str, str]] = []
    logins: dict[str, list[datetime]] = {}
    for at, text, id_ in facts:
        if text.endswith("logs in"):
            others = logins.setdefault(text, [])
            same_day = [each for each in others if each.date() == at.date()]
            far = any(abs(each - at) > LOGINS_WITHIN for each in others)
            if len(same_day) >= LOGINS_A_DAY_MAX or far or at in activations:
                continue
            others.append(at)
        kept.append((at, text, id_))
    return kept


def swapped(story: Story, line: Line, following: Line) -> list[Line] | None:
    """The story with two adjacent lines in the other order, each arriving when the other did.

    None if they are not adjacent, or a rule requires their order.
    """
    place = next((place for place, each in enumerate(story) if each is line), len(story))
    if place + 1 >= len(story) or story[place + 1] is not following:
        return None
    if line.is_request or following.is_request or following.happened_at > line.arrives_at:
        return None
    first = replace(following, arrives_at=line.arrives_at)
    second = replace(line, arrives_at=following.arrives_at)
    return [*story[:place], first, second, *story[place + 2 :]]


def bundles(story: Story) -> list[datetime]:
    """When several lines arrive together."""
    times = [line.arrives_at for line in story if line.arrives_at > DAY_0]
    return sorted({at for at in times if times.count(at) > 1})
