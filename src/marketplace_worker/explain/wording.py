"""Words that operators and customers share: moments, lengths of time, lists."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

_UNITS = (
    ("day", timedelta(days=1)),
    ("hour", timedelta(hours=1)),
    ("minute", timedelta(minutes=1)),
    ("second", timedelta(seconds=1)),
)


@dataclass(frozen=True, slots=True)
class Sentences:
    """An explanation in sentences: why, what comes next, and what would stop it."""

    why: tuple[str, ...]
    next: tuple[str, ...]
    stops: tuple[str, ...]


def length(duration: timedelta) -> str:
    """A length of time in its two largest units: `7 days`, `1 day 2 hours`, `no time`."""
    parts, left = list[str](), abs(duration)
    for name, unit in _UNITS:
        number, left = divmod(left, unit)
        if number:
            parts.append(f"{number} {name}{'s' if number > 1 else ''}")
    return " ".join(parts[:2]) or "no time"


def distance(at: datetime, now: datetime) -> str:
    """The distance of a moment: `in 6 days`, `3 hours ago`, `now`."""
    if abs(at - now) < timedelta(seconds=1):
        return "now"
    return f"in {length(at - now)}" if at > now else f"{length(now - at)} ago"


def listed(names: Sequence[str], last: str = "and") -> str:
    """`a`, `a and b`, `a, b and c`."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} {last} {names[-1]}"
