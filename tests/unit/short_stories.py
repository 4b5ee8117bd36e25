"""Short stories, each about one rule, drawn to find violations of it.

Longer ones are in `linked_stories.py`, as is the notation.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from random import Random

from linked_stories import (
    ACCOUNTS,
    BESIDE,
    HOUR,
    ORGANIZATIONS,
    Line,
    Story,
    StoryDraft,
    allowed,
    arriving,
    buy,
    commit,
    draw_moments,
    end_in_time,
    live,
)
from story_language import DAY, DAY_0, day

# --- a plan whose end is announced ----------------------------------------------------------------

ANNOUNCED = {
    "gcp:e-1": (
        "ENTITLEMENT_ACTIVE",
        "ENTITLEMENT_PENDING_CANCELLATION ends={}",
        [
            "ENTITLEMENT_CANCELLED reason=user-cancelled",
            "ENTITLEMENT_CANCELLED reason=billing-disabled",
            "ENTITLEMENT_CANCELLED",
        ],
    ),
    "aws:a-1": (
        "License Updated",
        "Agreement Amended renews=no end={}",
        ["Agreement Ended CANCELLED", "Agreement Ended TERMINATED", "Agreement Ended EXPIRED"],
    ),
    "aws:p/1": ("subscribe-success", "unsubscribe-pending", ["unsubscribe-success"]),
}
"""How a plan begins, how its end is announced, and how the end is reported."""


def announced_ends(random: Random) -> tuple[list[Line], Line, Line]:
    """A story of a plan; the line that announces its end, and the one that reports it."""
    key = random.choice(sorted(ANNOUNCED))
    begins, announces, ends = ANNOUNCED[key]
    ends_at = DAY_0 + random.randint(5, 20) * DAY
    ended_at = ends_at + random.choice(BESIDE)
    announced_at = ends_at - (HOUR if key == "aws:p/1" else random.choice([DAY / 2, DAY, 4 * DAY]))
    announced_at = min(announced_at, ended_at)

    def line(at: datetime, text: str, number: int, late: Sequence[timedelta]) -> Line:
        return Line(at + random.choice(late), at, text, f"f{number}")

    late = [0 * DAY, 0 * DAY, HOUR, DAY, 2 * DAY]
    announced = line(announced_at, f"{key} {announces.format(day(ends_at))}", 3, late)
    end_line = line(ended_at, f"{key} {random.choice(ends)}", 4, late)
    story = [
        Line(DAY_0, DAY_0, "acme created plus", "f0"),
        line(DAY_0, f"acme links {key}", 1, [0 * DAY]),
        line(DAY_0 + HOUR, f"{key} {begins}", 2, [0 * DAY]),
        announced,
        end_line,
    ]
    return sorted(story, key=lambda each: each.arrives_at), announced, end_line


BOUGHT = {
    "gcp:e-1": ["ENTITLEMENT_ACTIVE", "ENTITLEMENT_ACTIVE offer=P1Y"],
    "aws:p/1": ["subscribe-success"],
    "azure:s-1": ["Subscribe", "Subscribe term=P1M", "Subscribe term=P1Y"],
}
"""How a plan begins that moves to another organization later."""


def moves(random: Random) -> tuple[list[Line], str]:
    """A story, reported in time, in which a plan of acme moves to beta; and the plan's key."""
    key = random.choice(sorted(BOUGHT))
    so_far = StoryDraft(random, draw_moments(random), [])
    so_far.add(DAY_0, f"acme links {key}")
    so_far.add(DAY_0 + HOUR, f"{key} {random.choice(BOUGHT[key])}")
    for other in random.choice([["aws:p/2"], ["gcp:e-2"], ["azure:s-2"], ["aws:p/2", "gcp:e-2"]]):
        buy(so_far, "beta", other, "b-2")
    if so_far.perhaps(0.6):
        commit(so_far, "beta")
    moved_at = so_far.when(DAY_0 + DAY)
    so_far.add(moved_at, f"beta links {key}")
    if so_far.perhaps(0.6):
        ended = {"gcp": "ENTITLEMENT_CANCELLED", "aws": "unsubscribe-success"}
        last_notification = ended.get(key[:3], "Unsubscribe")
        so_far.add(so_far.when(moved_at), f"{key} {last_notification}")
    return arriving(so_far, len(so_far.facts), 0), key


def bought_anew(story: Story, key: str) -> list[Line] | None:
    """The same story, but beta buys its own plan at the moment when acme's would have moved
    to it.
    """
    place = next((n for n, line in enumerate(story) if line.text == f"beta links {key}"), None)
    if place is None or not any(line.text == f"acme links {key}" for line in story):
        return None
    at, own = story[place].arrives_at, f"{key}0"
    collected: list[Line] = []
    for number, line in enumerate(story):
        if number != place:
            collected.append(line)
        if number >= place and key in line.text.split():
            collected.append(_anew(line, key, own, at))
        if number == place:
            collected += [
                _anew(each, key, own, at) for each in story[:place] if each.text.startswith(key)
            ]
    return collected


def _anew(line: Line, key: str, own: str, at: datetime) -> Line:
    """A report about one plan, changed to be about another that began at a moment."""
    happened_at, arrives_at = max(line.happened_at, at), max(line.arrives_at, at)
    return Line(arrives_at, happened_at, line.text.replace(key, own), f"{line.id}-own")


RUNS_OUT = [
    ["acme commits c-1 from=1 to={}"],
    ["acme links gcp:e-1", "gcp:e-1 ENTITLEMENT_PENDING_CANCELLATION ends={}"],
    ["acme links aws:a-1", "aws:a-1 Agreement Amended renews=no end={}"],
]
"""Plans that end by themselves."""

FOLLOWS = [
    ["acme commits c-2 from={} to=90"],
    ["acme links gcp:e-2", "gcp:e-2 ENTITLEMENT_ACTIVE"],
    ["acme links aws:p/2", "aws:p/2 subscribe-success"],
    ["gcp:e-1 ENTITLEMENT_CANCELLATION_REVERTED", "aws:a-1 Agreement Amended renews=yes"],
    ["gcp:e-1 ENTITLEMENT_CANCELLED", "aws:a-1 Agreement Ended CANCELLED"],
    ["acme commits c-1 from=1 to=80"],
]
"""Possible reports at the exact moment of the end."""


def instants(random: Random) -> list[Line]:
    """A story with many reports at the moment at which a plan ends by itself."""
    end = DAY_0 + random.randint(4, 20) * DAY
    story = [Line(DAY_0, DAY_0, "acme created plus", "f0")]
    for text in random.choice(RUNS_OUT):
        at = DAY_0 + random.randint(1, 3) * DAY
        story.append(Line(at, at, text.format(day(end)), f"f{len(story)}"))
    for text in (each for _ in range(random.randint(1, 3)) for each in random.choice(FOLLOWS)):
        at = end - random.choice([0 * DAY, 0 * DAY, HOUR, DAY])
        arrives_at = random.choice([at, end, end])
        story.append(Line(arrives_at, at, text.format(day(end)), f"f{len(story)}"))
    return sorted(story, key=lambda line: line.arrives_at)


def pendings(random: Random) -> tuple[list[Line], Line]:
    """A story, reported in time, of several plans with acme's account; and a sign-in to it."""
    so_far = StoryDraft(random, draw_moments(random), [])
    end_in_time(so_far, random.choice(["gcp:e-1", "aws:a-1"]))
    for key in random.sample(["gcp:e-2", "gcp:e-3", "aws:a-2"], random.randint(1, 3)):
        live(so_far, key, so_far.moments[0], random.choice(ACCOUNTS))
    if so_far.perhaps(0.2):
        buy(so_far, "beta", "gcp:e-4", "b-1")
    at = so_far.when(so_far.moments[0])
    so_far.add(at, "acme logs in", "login")
    return arriving(so_far, len(so_far.facts), 0), Line(at, at, "acme logs in", "login")


# --- messages that arrive together ----------------------------------------------------------------


def accounts(random: Random) -> list[Line]:
    """A story of one billing account: a plan of it without a link, perhaps beta's plan, and logins
    to acme around the changes of these; most of it arrives together.
    """
    so_far = StoryDraft(random, draw_moments(random), [])
    end_in_time(so_far, random.choice(["gcp:e-1", "aws:a-1"]))
    on_time = len(so_far.facts)
    prefix = "gcp:e-2 ENTITLEMENT"
    began = so_far.when(so_far.moments[0])
    so_far.add(began, f"{prefix}_ACTIVE account=b-1")
    ends_at = began + random.choice([HOUR, DAY, 2 * DAY, 3 * DAY])
    match random.choice(["stays", "is announced to end", "ends", "changes hands"]):
        case "is announced to end":
            at = random.choice([began, ends_at - HOUR, ends_at])
            so_far.add(at, f"{prefix}_PENDING_CANCELLATION ends={day(ends_at)} account=b-1")
        case "ends":
            so_far.add(ends_at, f"{prefix}_CANCELLED account=b-1")
        case "changes hands":
            so_far.add(ends_at, f"{prefix}_PLAN_CHANGED account=b-2")
        case _:
            pass
    if so_far.perhaps(0.4):
        shared = random.choice([began, ends_at]) + random.choice([*BESIDE, DAY])
        so_far.add(shared, "beta links gcp:e-3")
        so_far.add(shared, "gcp:e-3 ENTITLEMENT_ACTIVE account=b-1")
    bounds = [at for at, *_ in so_far.facts[on_time:]]
    for _ in range(random.choice([1, 2, 2])):
        at = random.choice(bounds) + random.choice([*BESIDE, -DAY, DAY, 5 * DAY, 20 * DAY])
        so_far.add(at, "acme logs in")
    return _together(so_far, on_time, f"{prefix}_CANCELLATION_REVERTED account=b-1")


def azure_again(random: Random) -> list[Line]:
    """A story of an Azure plan that begins after a cancellation was decided, and of another plan
    whose end becomes known at the same time.
    """
    so_far = StoryDraft(random, draw_moments(random), [])
    end_in_time(so_far, random.choice(["aws:p/1", "gcp:e-1", "azure:s-1"]))
    on_time = len(so_far.facts)
    began = so_far.when(so_far.moments[0])
    so_far.add(began, "acme links azure:s-2")
    if so_far.perhaps(0.7):
        so_far.add(began, "azure:s-2 Subscribe")
    for action in random.sample(["Suspend", "Reinstate", "Unsubscribe"], random.randint(0, 2)):
        so_far.add(so_far.when(began), f"azure:s-2 {action}")
    if so_far.perhaps(0.2):
        so_far.add(so_far.when(), "beta links azure:s-2")
    if so_far.perhaps(0.7):
        bought = so_far.when()
        so_far.add(bought, "acme links aws:p/2")
        so_far.add(bought, "aws:p/2 subscribe-success")
        so_far.add(so_far.when(bought), "aws:p/2 unsubscribe-success")
    return _together(so_far, on_time, "azure:s-2 Renew")


def _together(so_far: StoryDraft, on_time: int, afterwards: str) -> list[Line]:
    """After the first `on_time`, most arrives in one bundle; one event may follow."""
    random = so_far.random
    at = max(at for at, *_ in so_far.facts) + random.choice([0 * DAY, HOUR, DAY, 7 * DAY])
    lines = []
    first = so_far.facts[:on_time]
    for happened_at, text, id_ in allowed(so_far.facts):
        late = (happened_at, text, id_) not in first and random.random() < 0.9
        lines.append(Line(at if late else happened_at, happened_at, text, id_))
    if so_far.perhaps(0.3):
        later = at + random.choice([DAY, HOUR])
        lines.append(Line(later, later, afterwards, "later"))
    random.shuffle(lines)
    created = [Line(DAY_0, DAY_0, f"{each} created plus", each) for each in ORGANIZATIONS]
    return [*created, *sorted(lines, key=lambda line: line.arrives_at)]
