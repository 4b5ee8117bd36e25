"""A deadline is the latest of five moments; here each one alone (lifecycle.md section 3)."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from world import ACME, DAY, DAY_0, HOUR, moment

from examples import examples
from marketplace_worker.lifecycle.cancellation import Cancellation, Notice
from marketplace_worker.lifecycle.deadlines import (
    CancellationClock,
    DeadlineRule,
    DeadlineTerm,
    NextDue,
    NoticeDue,
    StepDue,
    due_for_inactivity,
    due_in_cancellation,
    schedule,
)
from marketplace_worker.lifecycle.organization import Organization
from marketplace_worker.lifecycle.policy import Policy
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.vocabulary import PlanType

LOSS, SUSPENDED, DEACTIVATED = State.CONTROL_PLANE_LOSS, State.SUSPENDED, State.DEACTIVATED
LEAD = 7 * DAY

Days = tuple[float, float]
Comes = tuple[type[NextDue], State, datetime, datetime]
"""A step or a notice, of which state, when; and the date of the step, as a notice announces it."""


def comes(due: NextDue) -> Comes:
    """What is next, without the rules that made it so."""
    return type(due), due.step, due.at, due.deadline.at


def clock(
    plan_type: PlanType | None = PlanType.PAYG,
    floor: float | None = None,
    pauses: tuple[Days, ...] = (),
    extension: int = 0,
) -> CancellationClock:
    """Canceled on day 0."""
    return CancellationClock(
        DAY_0,
        plan_type,
        Policy(),
        extension=extension * DAY,
        floor=None if floor is None else moment(floor),
        pauses=tuple((moment(paused), moment(resumed)) for paused, resumed in pauses),
    )


def organization(state: State, entered: float, notice: Days | None = None) -> Organization:
    """In a state since a day; a standing notice is the days of its writing and of its step."""
    here = Organization(
        ACME,
        state=state,
        entered_at=moment(entered),
        cancellation=Cancellation(DAY_0, "story", "v"),
    )
    if notice is None:
        return here
    given, names = notice
    assert state.next_step is not None
    return replace(here, notice=Notice(state.next_step, moment(names), given_at=moment(given)))


def due(organization: Organization, clock: CancellationClock, now: float = 0) -> Comes:
    """The next step or notice after a day."""
    return comes(due_in_cancellation(organization, clock, moment(now)))


def step(state: State, day: float) -> Comes:
    """A step on a day."""
    return StepDue, state, moment(day), moment(day)


def notice(state: State, day: float, names: float) -> Comes:
    """A notice on a day, and the day that it will name."""
    return NoticeDue, state, moment(day), moment(names)


@pytest.mark.parametrize(
    ("state", "entered", "standing", "expected"),
    [
        # 1: canceled_at + offset
        (State.CANCELED, 0, None, step(LOSS, 1)),
        (LOSS, 1, None, notice(SUSPENDED, 4, names=7)),
        (LOSS, 1, (4, 7), step(SUSPENDED, 7)),
        (SUSPENDED, 7, None, notice(DEACTIVATED, 30, names=37)),
        (SUSPENDED, 7, (30, 37), step(DEACTIVATED, 37)),
        # 2: entered + dwell
        (State.CANCELED, 9, None, step(LOSS, 9 + 1 / 24)),
        (LOSS, 9, (5, 8), step(SUSPENDED, 10)),
        (SUSPENDED, 36, (30, 37), step(DEACTIVATED, 43)),
        # the notice is due at deadline - lead, or, where that is past, on entering
        (LOSS, 5, None, notice(SUSPENDED, 5, names=8)),
        (SUSPENDED, 36, None, notice(DEACTIVATED, 36, names=43)),
        # 3: the notice's lead
        (LOSS, 1, (6, 7), step(SUSPENDED, 9)),
        (SUSPENDED, 7, (35, 37), step(DEACTIVATED, 42)),
        # 5: the date that the notice named
        (LOSS, 1, (4, 12), step(SUSPENDED, 12)),
        (SUSPENDED, 7, (30, 50), step(DEACTIVATED, 50)),
    ],
)
def test_what_comes_next_and_when(
    state: State, entered: float, standing: Days | None, expected: Comes
) -> None:
    """Each of the five moments is the latest once, on the `payg` timeline from day 0."""
    assert due(organization(state, entered, standing), clock()) == expected


def test_the_dwell_counts_from_the_end_of_a_hold() -> None:
    """Nothing fires at once when a hold is released (section 7)."""
    held = replace(organization(LOSS, 1, (4, 7)), dwells_from=moment(20))
    assert due(held, clock()) == step(SUSPENDED, 21)
    assert due(replace(held, notice=None), clock()) == notice(SUSPENDED, 20, names=23)


def test_the_floor_holds_the_deactivation_and_its_notice() -> None:
    """Number 4; the notice is counted back from it."""
    before = organization(SUSPENDED, 7)
    assert due(before, clock(floor=60)) == notice(DEACTIVATED, 53, names=60)
    noticed = organization(SUSPENDED, 7, notice=(30, 37))
    assert due(noticed, clock(floor=60)) == step(DEACTIVATED, 60)


def test_the_floor_holds_nothing_but_the_deactivation() -> None:
    """Data are still there in a suspension."""
    assert due(organization(State.CANCELED, 0), clock(floor=60)) == step(LOSS, 1)
    assert due(organization(LOSS, 1), clock(floor=60)) == notice(SUSPENDED, 4, names=7)


def test_an_extension_adds_to_every_offset_and_to_nothing_else() -> None:
    """Section 7: later by so many days; dwell and floor stay what they are."""
    assert due(organization(State.CANCELED, 0), clock(extension=10)) == step(LOSS, 11)
    assert due(organization(LOSS, 1), clock(extension=10)) == notice(SUSPENDED, 14, names=17)
    assert due(organization(SUSPENDED, 45), clock(extension=10)) == notice(DEACTIVATED, 45, 52)
    assert due(organization(SUSPENDED, 7, (40, 47)), clock(floor=60, extension=10)) == step(
        DEACTIVATED, 60
    )


def test_a_notice_that_is_written_late_names_a_later_date() -> None:
    """So that its lead is kept; when it was due stays what it was."""
    here = organization(LOSS, 1)
    assert due(here, clock(), now=4) == notice(SUSPENDED, 4, names=7)
    assert due(here, clock(), now=6) == notice(SUSPENDED, 4, names=9)


# --- pauses ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "entered", "standing", "pauses", "expected"),
    [
        # offsets, dwell and leads stand still
        (State.CANCELED, 0, None, [(0.5, 2)], step(LOSS, 2.5)),
        (LOSS, 9, (5, 8), [(9.5, 12)], step(SUSPENDED, 12.5)),
        (LOSS, 1, (6, 7), [(8, 10)], step(SUSPENDED, 11)),
        # no time was left: it comes when the clock goes on
        (State.CANCELED, 0, None, [(1, 5)], step(LOSS, 5)),
        # what was over before the pause began, or begins after it ended, is not touched
        (State.CANCELED, 0, None, [(1.5, 5)], step(LOSS, 1)),
        (LOSS, 9, (5, 8), [(8, 9)], step(SUSPENDED, 10)),
        # the pause before a state was entered counts for the offset only
        (LOSS, 1, (4, 7), [(0.5, 0.75), (5, 6)], step(SUSPENDED, 8.25)),
        # the date that was named does not move; it only holds
        (LOSS, 1, (4, 20), [(5, 6)], step(SUSPENDED, 20)),
    ],
)
def test_the_clock_stands_still_while_a_reinstatement_is_pending(
    state: State, entered: float, standing: Days | None, pauses: list[Days], expected: Comes
) -> None:
    """Section 4: then the deadlines go on with the time that was left."""
    assert due(organization(state, entered, standing), clock(pauses=tuple(pauses))) == expected


def test_the_floor_does_not_stand_still() -> None:
    """Data are kept from the Suspend on, whatever else is pending."""
    paused = clock(floor=60, pauses=((8, 18),))
    assert due(organization(SUSPENDED, 7, (30, 37)), paused) == step(DEACTIVATED, 60)


@st.composite
def pauses(draw: st.DrawFn) -> tuple[Days, ...]:
    """A few pauses, in order."""
    edges = sorted(draw(st.lists(st.integers(0, 60), max_size=8, unique=True)))
    return tuple(zip(edges[0::2], edges[1::2], strict=False))


@settings(max_examples=examples(300), deadline=None)
@given(pauses(), st.integers(0, 60), st.integers(0, 60))
@example(((5, 9), (9.5, 20)), 5, 3)
def test_exactly_the_duration_passes_outside_of_the_pauses(
    paused: tuple[Days, ...], since: int, days: int
) -> None:
    """Counted hour by hour: no longer, and no shorter."""
    ends_at = clock(pauses=paused).after(moment(since), days * DAY)
    passed, now = timedelta(0), moment(since)
    while now < ends_at:
        stands_still = any(moment(p) <= now < moment(r) for p, r in paused)
        passed += timedelta(0) if stands_still else HOUR * 12
        now += HOUR * 12
    assert passed == days * DAY
    assert not any(moment(p) <= ends_at < moment(r) for p, r in paused)


# --- inactivity -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("standing", "now", "expected"),
    [
        (None, 0, notice(DEACTIVATED, 23, names=30)),
        (None, 25, notice(DEACTIVATED, 23, names=32)),
        (None, 50, notice(DEACTIVATED, 23, names=57)),
        ((23, 30), 25, step(DEACTIVATED, 30)),
        ((25, 32), 25, step(DEACTIVATED, 32)),
        ((25, 30), 25, step(DEACTIVATED, 32)),
        ((10, 17), 25, step(DEACTIVATED, 30)),
    ],
)
def test_an_inactivity_is_announced_and_then_comes(
    standing: Days | None, now: float, expected: Comes
) -> None:
    """Inactive on day 30: the notice goes first, and its lead and its date are kept."""
    free = Organization(ACME, entered_at=DAY_0)
    if standing is not None:
        given, names = standing
        free = replace(free, notice=Notice(DEACTIVATED, moment(names), given_at=moment(given)))
    inactive = (DeadlineTerm(DeadlineRule.NO_LOGIN, moment(30), DAY_0, 30 * DAY),)
    assert comes(due_for_inactivity(free, inactive, LEAD, moment(now))) == expected


# --- the schedule ---------------------------------------------------------------------------------


def scheduled(
    organization: Organization, clock: CancellationClock, now: float
) -> list[tuple[State, datetime]]:
    """The steps that are still to come, and when."""
    due = due_in_cancellation(organization, clock, moment(now))
    return [(each.state, each.at) for each in schedule(due, clock, moment(now))]


def test_the_schedule_matches_the_worked_example() -> None:
    """What `organization.canceled` shows is what then happens, on time and 40 days late."""
    assert scheduled(organization(State.CANCELED, 0), clock(), 0) == [
        (LOSS, moment(1)),
        (SUSPENDED, moment(7)),
        (DEACTIVATED, moment(37)),
    ]
    assert scheduled(organization(State.CANCELED, 40), clock(), 40) == [
        (LOSS, moment(40) + HOUR),
        (SUSPENDED, moment(43) + HOUR),
        (DEACTIVATED, moment(50) + HOUR),
    ]


def test_the_schedule_keeps_the_date_that_a_notice_named() -> None:
    """And builds on it: the suspension of day 32 leaves its dwell before the deactivation."""
    assert scheduled(organization(LOSS, 1, notice=(4, 32)), clock(), 5) == [
        (SUSPENDED, moment(32)),
        (DEACTIVATED, moment(39)),
    ]


def test_the_schedule_counts_the_lead_of_a_notice_from_now() -> None:
    """A notice that should have been written yesterday can be written today at the earliest."""
    assert scheduled(organization(LOSS, 1), clock(), 6)[0] == (SUSPENDED, moment(9))


def test_the_schedule_ends_with_the_last_step() -> None:
    """Of a suspended organization only the deactivation is still to come."""
    assert scheduled(organization(SUSPENDED, 7), clock(), 8) == [(DEACTIVATED, moment(37))]
