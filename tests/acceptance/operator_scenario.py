"""A fleet for the operator's commands, and the examples in docs/operating.md."""

import re
from collections.abc import Iterator
from copy import deepcopy
from itertools import chain, zip_longest
from pathlib import Path

from acceptance.scenario import azure, committed, created, eventbridge
from acceptance.scenario import linked as linked_to
from marketplace_worker.errors import Malformed
from marketplace_worker.store.intake import Flood
from steps.story_beginnings import Line, day_of, ended, linked, login, support, use

TODAY = 36
"""The day of the fleet on which the operator uses the commands."""
LATER = 42

PAGE = Path(__file__).parents[2] / "docs" / "operating.md"
_SHOWN = re.compile(r"^```\n\$ marketplace-worker (.*)\n((?:.*\n)*?)```$", re.MULTILINE)
ELIDED = "…"


def _left(organization: str, agreement: str, account: str, day: float) -> list[Line]:
    """An organization with an AWS plan, canceled on that day."""
    return [
        created(0, organization),
        linked(0.5, organization, agreement, account),
        ended(day, agreement, account),
    ]


def _from_the_sign_up(line: Line) -> Line:
    """The same line with the source of the product's sign-up service."""
    changed = deepcopy(line)
    if changed["topic"] == "organizations.changes":
        changed["value"]["source"] = "/signup"
    return changed


_FEEDS = chain.from_iterable((login(day, "others"), use(day, "others")) for day in range(LATER))

FLEET: list[Line] = sorted(
    (
        _from_the_sign_up(line)
        for line in (
            *_left("acme", "agmt-7k2", "845735284135", 1),
            support(5.5, "extend_grace", "acme", days=3),
            created(0, "initech"),
            login(9.4, "initech"),
            created(0, "globex"),
            linked_to(0.1, "globex", "azure", "sub-91", "commit"),
            azure(20, "Suspend", "sub-91"),
            azure(30, "Reinstate", "sub-91"),
            *_left("umbrella", "agmt-3f9", "112233445566", 3),
            support(6, "place_hold", "umbrella", kind="legal"),
            *_left("hooli", "agmt-0c1", "998877665544", 30),
            created(0, "pied-piper"),
            committed(0.5, "pied-piper", "c-2026", 1, 42),
            *_FEEDS,
        )
    ),
    key=day_of,
)

_ENDED = eventbridge(TODAY, "Purchase Agreement Ended", {"id": "agmt-9d4", "status": "CANCELLED"})


def _without(line: Line, *path: str) -> Line:
    """The same line without a field."""
    changed = deepcopy(line)
    within = changed["value"]
    for name in path[:-1]:
        within = within[name]
    del within[path[-1]]
    return changed


UNREADABLE: list[Line] = [
    _without(_ENDED, "detail", "agreement", "id"),
    _without(_ENDED, "detail", "agreement", "id"),
    _without(azure(TODAY, "Unsubscribe", "sub-17"), "action"),
]
"""Messages that the worker refuses on that day."""

FAILED_ON: list[Line] = [_from_the_sign_up(created(TODAY, each)) for each in ("stark", "wayne")]
"""Messages that it fails on because of a bug, until the bug is fixed."""

FLOOD = Flood("marketplace.gcp.notifications", 1214, 1003, Malformed("is missing", field="eventId"))
"""Why a topic is stopped on that day."""

SLOWER = """
version = "2026-03"
[timeline.payg]
deactivated = "P50D"
[inactivity]
no_login_for = "P40D"
"""
"""The policy file of the page."""


def shown_on_the_page() -> Iterator[tuple[str, list[str]]]:
    """The commands of the page with their output lines, in its order."""
    for found in _SHOWN.finditer(PAGE.read_text(encoding="utf-8")):
        yield found[1], found[2].splitlines()


def same(shown: list[str], printed: list[str]) -> bool:
    """Whether a page shows the printed lines; at an ellipsis it may omit some."""
    if ELIDED not in shown:
        return shown == printed
    cut = shown.index(ELIDED)
    before, after = shown[:cut], shown[cut + 1 :]
    ends = zip_longest(reversed(after), reversed(printed[-len(after) :]))
    return before == printed[:cut] and all(one == other for one, other in ends)
