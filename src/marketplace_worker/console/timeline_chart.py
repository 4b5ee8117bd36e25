"""Geometry of an organization's timeline: phases in, coordinates out.  A template draws the SVG."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import pairwise

from marketplace_worker.inspection.timeline import HORIZON, OrganizationTimeline, Phase, Track
from marketplace_worker.lifecycle.subscription import FOREVER

WIDTH = 1000.0
INSET = 10.0
TOP = 8.0
TITLE = 18.0
"""The height of a row's title, which stands above its bars."""
BAR = 12.0
GAP = 8.0
AXIS = 26.0
CHARACTER = 6.2
"""The width of a character in a chart, about."""

LABEL = 28.0
"""Half the width of a date."""

PLANS_MAX = 8
TICKS_MAX = 9
PIECE_MIN = 2.0


class Past(StrEnum):
    """How much of the past is drawn."""

    QUARTER = "quarter"
    YEAR = "year"
    ALL = "all"


_DAYS = {Past.QUARTER: 90, Past.YEAR: 366}


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a phase: `ahead` is what lies after now.  `label`: only where it fits."""

    phase: Phase
    x: float
    width: float
    ahead: bool
    label: str


@dataclass(frozen=True, slots=True)
class Row:
    """The phases of one row, below its title; `y` is the top of the bars.

    The title begins above the first bar, or ends above it where it would not fit (`anchor`: of
    SVG).  The states have none: each has its label in the same place.
    """

    track: Track
    title: str
    title_x: float
    anchor: str
    y: float
    pieces: Sequence[Piece]


@dataclass(frozen=True, slots=True)
class Drawing:
    """The timeline from `begins_at` to `ends_at`, with the present at `now_x`.

    `plans_left_out`: how many plans are not drawn.  `choices`: how much of the past can be drawn.
    """

    width: float
    height: float
    bottom: float
    bar: float
    begins_at: datetime
    ends_at: datetime
    now_x: float
    rows: Sequence[Row]
    ticks: Sequence[tuple[float, str]]
    plans_left_out: int
    past: Past
    choices: Sequence[Past]


@dataclass(frozen=True, slots=True)
class _Scale:
    begins_at: datetime
    ends_at: datetime

    def x(self, at: datetime) -> float:
        part = (at - self.begins_at) / (self.ends_at - self.begins_at)
        return INSET + min(max(part, 0.0), 1.0) * (WIDTH - 2 * INSET)


def draw(timeline: OrganizationTimeline, past: Past) -> Drawing:
    """Rows of bars over an axis of time: the states, the plans, notices, holds, and pauses."""
    first = min((timeline.now, *(each.starts_at for each in timeline.phases)))
    age = timeline.now - first
    choices = [each for each in Past if each is Past.ALL or timedelta(days=_DAYS[each]) < age]
    past = past if past in choices else Past.ALL
    begins_at = first if past is Past.ALL else timeline.now - timedelta(days=_DAYS[past])
    scale = _scale(timeline, begins_at)
    visible = [each for each in timeline.phases if (each.ends_at or scale.ends_at) > begins_at]
    grouped, left_out = _grouped(visible)
    rows, y = list[Row](), TOP
    for track, title, phases in grouped:
        y += TITLE
        pieces = tuple(_pieces(phases, scale, timeline.now))
        rows.append(Row(track, title, *_title_place(title, pieces), y, pieces))
        y += BAR + GAP
    return Drawing(
        width=WIDTH,
        height=y + AXIS,
        bottom=y,
        bar=BAR,
        begins_at=begins_at,
        ends_at=scale.ends_at,
        now_x=scale.x(timeline.now),
        rows=rows,
        ticks=[
            (x, text)
            for at, text in _ticks(begins_at, scale.ends_at)
            if LABEL < (x := scale.x(at)) < WIDTH - LABEL
        ],
        plans_left_out=left_out,
        past=past,
        choices=choices,
    )


def _scale(timeline: OrganizationTimeline, begins_at: datetime) -> _Scale:
    """Up to a little after the last known moment to come."""
    now = timeline.now
    known = [each.starts_at for each in timeline.phases if each.planned]
    known += [each.ends_at for each in timeline.phases if each.ends_at is not None]
    last = max([now, *(at for at in known if at <= now + HORIZON)])
    return _Scale(begins_at, last + max((last - begins_at) / 12, timedelta(days=1)))


_Titled = tuple[Track, str, Sequence[Phase]]


def _grouped(phases: Iterable[Phase]) -> tuple[Sequence[_Titled], int]:
    """The rows with their titles, and how many plans are left out: those that ended first."""
    of_track: dict[Track, list[Phase]] = {track: [] for track in Track}
    for each in phases:
        of_track[each.track].append(each)
    plans = _by_name(of_track[Track.PLAN])
    shown = sorted(plans, key=_last_end, reverse=True)[:PLANS_MAX]
    rows: list[_Titled] = [
        (Track.STATE, "", of_track[Track.STATE]),
        *(
            (Track.PLAN, f"Plan {own[-1].name} ({own[-1].about})", own)
            for own in plans
            if own in shown
        ),
        (Track.NOTICE, "Notices, each up to the date that it announces", of_track[Track.NOTICE]),
        *(
            (Track.HOLD, f"{own[-1].name.capitalize()} hold", own)
            for own in _by_name(of_track[Track.HOLD])
        ),
        (Track.PAUSE, "No step is taken", of_track[Track.PAUSE]),
    ]
    return [row for row in rows if row[2]], len(plans) - len(shown)


def _by_name(phases: Sequence[Phase]) -> list[Sequence[Phase]]:
    found: dict[str, list[Phase]] = {}
    for each in phases:
        found.setdefault(each.name, []).append(each)
    return list(found.values())


def _last_end(phases: Sequence[Phase]) -> datetime:
    return max(each.ends_at or FOREVER for each in phases)


def _pieces(phases: Sequence[Phase], scale: _Scale, now: datetime) -> Iterator[Piece]:
    """A phase is cut in two at the present; of adjoining pieces of one name, the first that is wide
    enough has the label.
    """
    labeled = ""
    for phase in phases:
        labeled = labeled if labeled == phase.name else ""
        ends_at = phase.ends_at or scale.ends_at
        cuts = [phase.starts_at, *([now] if phase.starts_at < now < ends_at else []), ends_at]
        for starts, ends in pairwise(cuts):
            x, end = scale.x(starts), scale.x(ends)
            if end <= INSET:
                continue
            fits = phase.track is Track.STATE and len(phase.name) * CHARACTER < end - x
            label = phase.name if fits and not labeled else ""
            labeled = labeled or label
            yield Piece(phase, x, max(end - x, PIECE_MIN), starts >= now, label)


def _title_place(title: str, pieces: Sequence[Piece]) -> tuple[float, str]:
    """The x of a row's title, and which end of it is there."""
    left = pieces[0].x if pieces else INSET
    if left + len(title) * CHARACTER < WIDTH - INSET:
        return left, "start"
    return WIDTH - INSET, "end"


# --- the axis -------------------------------------------------------------------------------------

_EVERY_DAYS = (1, 2, 7, 14)
_EVERY_MONTHS = (1, 2, 3, 6, 12, 24, 60, 120)


def _ticks(begins_at: datetime, ends_at: datetime) -> Sequence[tuple[datetime, str]]:
    """At most `TICKS_MAX` midnights (UTC): every so many days, Mondays, or firsts of a month."""
    days = (ends_at - begins_at).days
    for step in _EVERY_DAYS:
        if days / step <= TICKS_MAX:
            return [
                (at, f"{at.day} {at:%b}")
                for at in _midnights(begins_at, ends_at)
                if (at.toordinal() - 1) % step == 0
            ]
    firsts = [at for at in _midnights(begins_at, ends_at) if at.day == 1]
    step = next((n for n in _EVERY_MONTHS if len(firsts) / n <= TICKS_MAX), _EVERY_MONTHS[-1])
    return [(at, f"{at:%b %Y}") for at in firsts if (at.year * 12 + at.month - 1) % step == 0]


def _midnights(begins_at: datetime, ends_at: datetime) -> Iterator[datetime]:
    at = begins_at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    while at < ends_at:
        if at >= begins_at:
            yield at
        at += timedelta(days=1)
