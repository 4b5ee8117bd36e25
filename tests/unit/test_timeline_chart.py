"""Where the drawing of an organization's timeline puts what it shows."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from marketplace_worker.console.timeline_chart import (
    INSET,
    PLANS_MAX,
    TICKS_MAX,
    WIDTH,
    Drawing,
    Past,
    Piece,
    draw,
)
from marketplace_worker.inspection.timeline import OrganizationTimeline, Phase, Track
from marketplace_worker.lifecycle.states import State

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def state(state: State, begins: float, ends: float | None, *, planned: bool = False) -> Phase:
    """A phase of the track of states, in days from now."""
    ends_at = None if ends is None else NOW + ends * DAY
    return Phase(Track.STATE, state, NOW + begins * DAY, ends_at, planned=planned)


def phase(track: Track, name: str, begins: float, ends: float | None) -> Phase:
    """A phase of another track."""
    return Phase(track, name, NOW + begins * DAY, None if ends is None else NOW + ends * DAY)


def drawn(*phases: Phase, past: Past = Past.ALL) -> Drawing:
    """The drawing of a timeline."""
    return draw(OrganizationTimeline(NOW, phases, complete=True), past)


def ends(piece: Piece) -> float:
    """The right end of a bar."""
    return piece.x + piece.width


def test_the_states_follow_one_another_without_a_gap() -> None:
    """From the left edge, past the present, to the right edge; the future is drawn otherwise."""
    drawing = drawn(
        state(State.ACTIVE, -60, -30),
        state(State.CANCELED, -30, 0),
        state(State.CANCELED, 0, 30, planned=True),
        state(State.SUSPENDED, 30, None, planned=True),
    )
    (row,) = drawing.rows
    assert row.pieces[0].x == INSET
    assert [piece.x for piece in row.pieces[1:]] == pytest.approx(
        [ends(p) for p in row.pieces[:-1]]
    )
    assert ends(row.pieces[-1]) == pytest.approx(WIDTH - INSET)
    assert [piece.ahead for piece in row.pieces] == [False, False, True, True]
    assert row.pieces[2].x == pytest.approx(drawing.now_x)
    assert drawing.ends_at > NOW + 30 * DAY


def test_a_span_over_the_present_is_cut_there() -> None:
    """What is ahead of it may still change."""
    drawing = drawn(state(State.ACTIVE, -60, 0), phase(Track.PLAN, "aws:a-1", -50, 20))
    past, ahead = drawing.rows[1].pieces
    assert ends(past) == pytest.approx(drawing.now_x) == pytest.approx(ahead.x)
    assert (past.ahead, ahead.ahead) == (False, True)


def test_a_plan_without_a_known_end_reaches_the_right_edge() -> None:
    """However far that is."""
    drawing = drawn(state(State.ACTIVE, -60, 0), phase(Track.PLAN, "aws:a-1", -50, None))
    assert ends(drawing.rows[1].pieces[-1]) == pytest.approx(WIDTH - INSET)


def test_a_short_span_is_seen() -> None:
    """An hour in two years."""
    drawing = drawn(state(State.ACTIVE, -700, 0), phase(Track.PAUSE, "pending", -50, -49.96))
    assert drawing.rows[1].pieces[0].width == 2


def test_rows_have_an_order_and_do_not_overlap() -> None:
    """States, plans by name, notices, holds by kind, pauses; empty ones are left out."""
    drawing = drawn(
        phase(Track.PAUSE, "pending", -5, -3),
        phase(Track.HOLD, "legal", -5, -3),
        phase(Track.HOLD, "commercial", -9, None),
        phase(Track.HOLD, "legal", -2, None),
        phase(Track.NOTICE, "suspended", -5, -3),
        phase(Track.PLAN, "aws:a-1", -9, -8),
        phase(Track.PLAN, "aws:a-1", -7, -6),
        state(State.ACTIVE, -10, 0),
    )
    assert [row.title for row in drawing.rows] == [
        "",
        "Plan aws:a-1 ()",
        "Notices, each up to the date that it announces",
        "Legal hold",
        "Commercial hold",
        "No step is taken",
    ]
    assert [len(row.pieces) for row in drawing.rows] == [1, 2, 1, 3, 2, 1]
    tops = [row.y for row in drawing.rows]
    assert all(under - above > drawing.bar for above, under in pairwise(tops))
    assert tops[-1] + drawing.bar < drawing.bottom < drawing.height


def test_a_label_stands_once_and_only_where_it_fits() -> None:
    """A state that is cut at the present has one."""
    drawing = drawn(
        state(State.ACTIVE, -100, -50),
        state(State.CANCELED, -50, -49),
        state(State.SUSPENDED, -49, 0),
        state(State.SUSPENDED, 0, 60, planned=True),
    )
    labels = [piece.label for piece in drawing.rows[0].pieces]
    assert labels == ["active", "", "suspended", ""]


def test_a_title_that_would_leave_the_drawing_ends_at_its_edge() -> None:
    """Otherwise it begins above its first bar."""
    long = "aws:" + "a" * 60
    drawing = drawn(
        state(State.ACTIVE, -100, 0),
        phase(Track.PLAN, "aws:a-1", -50, None),
        phase(Track.PLAN, long, -2, None),
    )
    first, last = drawing.rows[1:]
    assert (first.title_x, first.anchor) == (first.pieces[0].x, "start")
    assert (last.title_x, last.anchor) == (WIDTH - INSET, "end")


def test_of_many_plans_those_that_ended_last_are_drawn() -> None:
    """The others are counted; the table beside the drawing has them."""
    many = [phase(Track.PLAN, f"aws:a-{n}", -100 + n, -90 + n) for n in range(PLANS_MAX + 3)]
    drawing = drawn(state(State.ACTIVE, -100, 0), *many)
    titles = [row.title for row in drawing.rows if row.track is Track.PLAN]
    assert titles == [f"Plan aws:a-{n} ()" for n in range(3, PLANS_MAX + 3)]
    assert drawing.plans_left_out == 3


def test_an_older_past_can_be_left_out() -> None:
    """What ended before is not drawn; what began before begins at the left edge."""
    phases = [
        state(State.ACTIVE, -800, 0),
        phase(Track.PLAN, "aws:a-1", -800, -200),
        phase(Track.PLAN, "aws:a-2", -200, None),
    ]
    quarter, year = drawn(*phases, past=Past.QUARTER), drawn(*phases, past=Past.YEAR)
    assert [row.title for row in quarter.rows] == ["", "Plan aws:a-2 ()"]
    assert quarter.begins_at == NOW - 90 * DAY
    assert quarter.rows[1].pieces[0].x == INSET
    assert len(year.rows) == 3
    assert quarter.choices == list(Past)


def test_of_a_young_organization_all_is_drawn() -> None:
    """There is nothing to choose."""
    drawing = drawn(state(State.ACTIVE, -20, 0), past=Past.QUARTER)
    assert (drawing.past, drawing.choices) == (Past.ALL, [Past.ALL])


def test_a_plan_for_years_does_not_stretch_the_axis() -> None:
    """Only what comes within the horizon does."""
    drawing = drawn(state(State.ACTIVE, -60, 0), phase(Track.PLAN, "commitment:c-1", -50, 1_000))
    assert drawing.ends_at < NOW + 10 * DAY
    assert ends(drawing.rows[1].pieces[-1]) == pytest.approx(WIDTH - INSET)


def test_nothing_known_is_drawn_as_an_empty_axis() -> None:
    """An organization that was never created."""
    drawing = drawn()
    assert (drawing.rows, drawing.now_x) == ([], INSET)


@pytest.mark.parametrize(
    ("days", "first", "last"),
    [
        (3, "28 Feb", "3 Mar"),
        (40, "26 Jan", "2 Mar"),
        (200, "Sep 2025", "Mar 2026"),
        (2_000, "Jan 2021", "Jan 2026"),
        (9_000, "Jan 2005", "Jan 2025"),
    ],
)
def test_the_axis_has_a_few_round_dates(days: int, first: str, last: str) -> None:
    """Days, Mondays, or firsts of a month, within the drawing and in order."""
    drawing = drawn(state(State.ACTIVE, -days, 0))
    places, texts = zip(*drawing.ticks, strict=True)
    assert (texts[0], texts[-1]) == (first, last)
    assert len(texts) <= TICKS_MAX
    assert list(places) == sorted(places)
    assert all(INSET < x < WIDTH - INSET for x in places)
