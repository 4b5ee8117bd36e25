"""Geometry of the drawings: numbers in, coordinates out.  The templates draw them as SVG."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from math import ceil

from marketplace_worker.lifecycle.states import State

STACKED = (State.SUSPENDED, State.CONTROL_PLANE_LOSS, State.CANCELED, State.ACTIVE)
"""From the bottom of a bar to its top: what comes first is what hurts most."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a bar."""

    state: State
    organizations: int
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class Bar:
    """What is due on one day.  `is_month`: it is the first bar of its month."""

    day: date
    x: float
    segments: Sequence[Segment]
    organizations: int


@dataclass(frozen=True, slots=True)
class Bars:
    """Stacked bars of equal width, one for each day, above an axis at the bottom.

    `grid`: heights and numbers of the lines across.  `ticks`: places and days of the labels.
    """

    width: float
    height: float
    left: float
    bottom: float
    bar_width: float
    bars: Sequence[Bar]
    grid: Sequence[tuple[float, int]]
    ticks: Sequence[tuple[float, date]]


def stacked_bars(
    first: date,
    days: int,
    counts: Mapping[date, Mapping[State, int]],
    *,
    width: float = 1000,
    height: float = 230,
) -> Bars:
    """Bars from `first` on; what is due before is counted on the first day."""
    left, top, below = 44.0, 12.0, 24.0
    bottom = height - below
    step = (width - left - 8) / days
    by_day = _from(first, counts)
    lines = _lines(max((sum(each.values()) for each in by_day.values()), default=0))
    scale = (bottom - top) / lines[-1]
    dates = [first + timedelta(days=n) for n in range(days)]
    return Bars(
        width=width,
        height=height,
        left=left,
        bottom=bottom,
        bar_width=step * 0.72,
        bars=[
            Bar(
                day,
                left + n * step + step * 0.14,
                tuple(_segments(by_day[day], bottom, scale)),
                sum(by_day[day].values()),
            )
            for n, day in enumerate(dates)
            if day in by_day
        ],
        grid=[(bottom - value * scale, value) for value in lines],
        ticks=[
            (left + (n + 0.5) * step, day)
            for n, day in enumerate(dates)
            if day.weekday() == 0 and n < days - 2
        ],
    )


def _from(first: date, counts: Mapping[date, Mapping[State, int]]) -> dict[date, dict[State, int]]:
    by_day: dict[date, dict[State, int]] = {}
    for day, of_day in counts.items():
        total = by_day.setdefault(max(day, first), {})
        for state, number in of_day.items():
            total[state] = total.get(state, 0) + number
    return by_day


def _segments(of_day: Mapping[State, int], bottom: float, scale: float) -> Iterator[Segment]:
    y = bottom
    for state in STACKED:
        if number := of_day.get(state, 0):
            height = max(number * scale, 1.0)
            y -= height
            yield Segment(state, number, y, height)


def _lines(highest: int) -> Sequence[int]:
    """The numbers of at most four lines across, at 1, 2 or 5 times a power of ten from one another;
    the last one is not below the highest number.
    """
    step = next(
        n * 10**power for power in range(20) for n in (1, 2, 5) if 4 * n * 10**power >= highest
    )
    return [step * n for n in range(1, max(1, ceil(highest / step)) + 1)]


@dataclass(frozen=True, slots=True)
class Curve:
    """A line through daily numbers, in a box; `points` are as SVG's `polyline` takes them.

    `area`: the same, closed at the bottom.  `end`: the place of the last number.
    """

    width: float
    height: float
    points: str
    area: str
    end: tuple[float, float]


def curve(numbers: Sequence[int], *, width: float = 220, height: float = 44) -> Curve:
    """The numbers from left to right, from the smallest at the bottom to the largest at the top."""
    low, high = min(numbers, default=0), max(numbers, default=0)
    inset = 4.0
    across = (width - 2 * inset) / max(1, len(numbers) - 1)
    scale = (height - 2 * inset) / max(1, high - low)
    places = [
        (inset + n * across, height - inset - (number - low) * scale)
        for n, number in enumerate(numbers)
    ]
    if high == low:
        places = [(x, height / 2) for x, _ in places]
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    left, right = (places[0][0], places[-1][0]) if places else (0.0, 0.0)
    area = f"{left:.1f},{height} {points} {right:.1f},{height}"
    return Curve(width, height, points, area, places[-1] if places else (0.0, 0.0))
