"""Where the drawings of the console put what they show."""

from datetime import date, timedelta

import pytest

from marketplace_worker.console.charts import curve, stacked_bars
from marketplace_worker.lifecycle.states import State

FIRST = date(2026, 3, 2)
LATER = FIRST + timedelta(days=3)


def test_a_bar_has_its_parts_one_upon_another() -> None:
    """The heights are those of the numbers; together they end where the bar's number is."""
    counts = {LATER: {State.SUSPENDED: 6, State.CANCELED: 2}}
    drawn = stacked_bars(FIRST, 60, counts)
    (bar,) = drawn.bars
    assert [part.state for part in bar.segments] == [State.SUSPENDED, State.CANCELED]
    assert [part.height for part in bar.segments] == pytest.approx([145.5, 48.5])
    assert bar.segments[0].y + bar.segments[0].height == drawn.bottom
    assert bar.segments[1].y + bar.segments[1].height == bar.segments[0].y
    assert (bar.day, bar.organizations) == (LATER, 8)


def test_what_is_overdue_stands_on_the_first_day() -> None:
    """It is due now."""
    counts = {FIRST - timedelta(days=9): {State.SUSPENDED: 1}, FIRST: {State.SUSPENDED: 2}}
    (bar,) = stacked_bars(FIRST, 60, counts).bars
    assert (bar.day, bar.organizations) == (FIRST, 3)


@pytest.mark.parametrize(
    ("highest", "lines"),
    [
        (0, [1]),
        (3, [1, 2, 3]),
        (17, [5, 10, 15, 20]),
        (41, [20, 40, 60]),
        (999, [500, 1_000]),
        (34_000, [10_000, 20_000, 30_000, 40_000]),
    ],
)
def test_the_lines_across_have_round_numbers(highest: int, lines: list[int]) -> None:
    """The highest bar fits below the last of them."""
    counts = {FIRST: {State.SUSPENDED: highest}} if highest else {}
    drawn = stacked_bars(FIRST, 60, counts)
    assert [number for _, number in drawn.grid] == lines
    assert all(part.y >= 0 for bar in drawn.bars for part in bar.segments)


def test_a_label_stands_below_each_monday() -> None:
    """The last ones would be cut off."""
    ticks = [day for _, day in stacked_bars(FIRST, 60, {}).ticks]
    assert ticks == [FIRST + timedelta(days=7 * n) for n in range(9)]


def test_a_curve_goes_from_its_smallest_to_its_largest_number() -> None:
    """From left to right, within its box; a steady number is a line in the middle."""
    drawn = curve([1, 3, 2], width=108, height=28)
    assert drawn.points == "4.0,24.0 54.0,4.0 104.0,14.0"
    assert drawn.area == "4.0,28 4.0,24.0 54.0,4.0 104.0,14.0 104.0,28"
    assert drawn.end == (104.0, 14.0)
    assert curve([5, 5], width=108, height=28).points == "4.0,14.0 104.0,14.0"
    assert curve([]).points == ""
