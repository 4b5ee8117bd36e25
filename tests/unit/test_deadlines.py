"""The five moments of which a deadline is the latest, one by one (lifecycle.md section 3)."""

from dataclasses import replace
from datetime import datetime

import pytest
from world import ACME, DAY, DAY_0, HOUR

from marketplace_worker.lifecycle.deadlines import (
    Clock,
    NoticeDue,
    StepDue,
    due,
    notice_of,
    schedule,
)
from marketplace_worker.lifecycle.organization import Cancellation, Notice, Organization
from marketplace_worker.lifecycle.policy import Policy
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.vocabulary import PlanType

LOSS, SUSPENDED, DEACTIVATED = State.CONTROL_PLANE_LOSS, State.SUSPENDED, State.DEACTIVATED


def at(day: float) -> datetime:
    """A moment by its day."""
    return DAY_0 + day * DAY


def clock(plan_type: PlanType | None = PlanType.PAYG, floor: float | None = None) -> Clock:
    """Canceled on day 0."""
    return Clock(DAY_0, plan_type, None if floor is None else at(floor), Policy())


def organization(
    state: State, entered: float, notice: tuple[float, float] | None = None
) -> Organization:
    """In a state since a day; a standing notice is the days of its writing and of its step."""
    here = Organization(
        ACME, state=state, entered_at=at(entered), cancellation=Cancellation(DAY_0, "story", "v")
    )
    if notice is None:
        return here
    assert state.next_step is not None
    return replace(here, notice=Notice(state.next_step, at(notice[1]), given_at=at(notice[0])))


@pytest.mark.parametrize(
    ("state", "entered", "notice", "expected"),
    [
        # 1: canceled_at + offset
        (State.CANCELED, 0, None, StepDue(LOSS, at(1))),
        (LOSS, 1, None, NoticeDue(SUSPENDED, at(4))),
        (LOSS, 1, (4, 7), StepDue(SUSPENDED, at(7))),
        (SUSPENDED, 7, None, NoticeDue(DEACTIVATED, at(30))),
        (SUSPENDED, 7, (30, 37), StepDue(DEACTIVATED, at(37))),
        # 2: entered + dwell
        (State.CANCELED, 9, None, StepDue(LOSS, at(9) + HOUR)),
        (LOSS, 9, (5, 8), StepDue(SUSPENDED, at(10))),
        (SUSPENDED, 36, (30, 37), StepDue(DEACTIVATED, at(43))),
        # the notice is due at deadline - lead, or, where that is past, on entering
        (LOSS, 5, None, NoticeDue(SUSPENDED, at(5))),
        (SUSPENDED, 36, None, NoticeDue(DEACTIVATED, at(36))),
        # 3: the notice's lead
        (LOSS, 1, (6, 7), StepDue(SUSPENDED, at(9))),
        (SUSPENDED, 7, (35, 37), StepDue(DEACTIVATED, at(42))),
        # 5: the date that the notice named
        (LOSS, 1, (4, 12), StepDue(SUSPENDED, at(12))),
        (SUSPENDED, 7, (30, 50), StepDue(DEACTIVATED, at(50))),
    ],
)
def test_what_comes_next_and_when(
    state: State, entered: float, notice: tuple[float, float] | None, expected: StepDue | NoticeDue
) -> None:
    """Each of the five moments is the latest once, on the `payg` timeline from day 0."""
    assert due(organization(state, entered, notice), clock()) == expected


def test_the_floor_holds_the_deactivation_and_its_notice() -> None:
    """Number 4; the notice is counted back from it."""
    before = organization(SUSPENDED, 7)
    assert due(before, clock(floor=60)) == NoticeDue(DEACTIVATED, at(53))
    noticed = organization(SUSPENDED, 7, notice=(30, 37))
    assert due(noticed, clock(floor=60)) == StepDue(DEACTIVATED, at(60))


def test_the_floor_holds_nothing_but_the_deactivation() -> None:
    """Data are still there in a suspension."""
    assert due(organization(State.CANCELED, 0), clock(floor=60)) == StepDue(LOSS, at(1))
    assert due(organization(LOSS, 1), clock(floor=60)) == NoticeDue(SUSPENDED, at(4))


def test_a_notice_names_the_date_at_which_its_step_will_come() -> None:
    """Written late, it names a later date, so that its lead is kept."""
    here = organization(LOSS, 1)
    assert notice_of(SUSPENDED, here, clock(), at(4)).names == at(7)
    assert notice_of(SUSPENDED, here, clock(), at(6)).names == at(9)


def test_the_schedule_tells_the_worked_example() -> None:
    """What `organization.canceled` shows is what then happens, on time and 40 days late."""
    on_time = schedule(organization(State.CANCELED, 0), clock(), at(0))
    assert [(step.state, step.at) for step in on_time] == [
        (LOSS, at(1)),
        (SUSPENDED, at(7)),
        (DEACTIVATED, at(37)),
    ]
    late = schedule(organization(State.CANCELED, 40), clock(), at(40))
    assert [(step.state, step.at) for step in late] == [
        (LOSS, at(40) + HOUR),
        (SUSPENDED, at(43) + HOUR),
        (DEACTIVATED, at(50) + HOUR),
    ]


def test_the_schedule_keeps_the_date_that_a_notice_named() -> None:
    """And builds on it: the suspension of day 12 leaves its dwell before the deactivation."""
    steps = schedule(organization(LOSS, 1, notice=(4, 32)), clock(), at(5))
    assert [(step.state, step.at) for step in steps] == [(SUSPENDED, at(32)), (DEACTIVATED, at(39))]


def test_the_schedule_counts_the_lead_of_a_notice_from_now() -> None:
    """A notice that should have been written yesterday can be written today at the earliest."""
    (suspended, _) = schedule(organization(LOSS, 1), clock(), at(6))
    assert suspended.at == at(9)
