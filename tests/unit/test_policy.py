"""The policy as data, and the states (lifecycle.md sections 1, 3)."""

from dataclasses import replace
from datetime import timedelta

import pytest

from marketplace_worker.lifecycle.policy import (
    STEPS,
    Grace,
    Guard,
    Inactivity,
    MinimumDwell,
    NoticeLead,
    Policy,
    Timeline,
)
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.vocabulary import PlanType

DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("state", "manage", "data", "api_keys", "login"),
    [
        ("active", True, True, True, True),
        ("canceled", True, True, True, True),
        ("control_plane_loss", False, True, True, True),
        ("suspended", False, False, False, True),
        ("deactivated", False, False, False, False),
    ],
)
def test_what_each_state_allows(
    state: str, *, manage: bool, data: bool, api_keys: bool, login: bool
) -> None:
    """The table of section 1, cell by cell: downstream services enforce it."""
    allowed = State(state).capabilities
    told = (allowed.manage, allowed.data, allowed.api_keys, allowed.login)
    assert told == (manage, data, api_keys, login)


def test_a_cancellation_goes_through_the_states_in_their_order() -> None:
    """None is skipped on the way down, and none follows the last."""
    order = [State.CANCELED, *STEPS]
    assert [each.next_step for each in order] == [*STEPS, None]
    assert State.ACTIVE.next_step is None


@pytest.mark.parametrize(
    ("plan_type", "days"),
    [(PlanType.PAYG, [1, 7, 37]), (PlanType.COMMIT, [3, 14, 74]), (None, [3, 14, 74])],
)
def test_the_default_timelines(plan_type: PlanType | None, days: list[int]) -> None:
    """The table of section 3; unknown takes the longest."""
    assert [Policy().offset(plan_type, step) / DAY for step in STEPS] == days


def test_the_default_dwell_and_leads() -> None:
    """Section 3, numbers 2 and 3."""
    dwell, lead = Policy().minimum_dwell, Policy().notice
    assert [dwell.of(state) for state in (State.CANCELED, *STEPS[:2])] == [DAY / 24, DAY, 7 * DAY]
    assert [lead.of(step) for step in STEPS] == [None, 3 * DAY, 7 * DAY]


def test_the_default_policy_has_no_problems() -> None:
    """It is what runs where no file is given."""
    assert list(Policy().problems()) == []


NOTHING = timedelta(0)
BACKWARDS = Timeline(3 * DAY, 3 * DAY, 3 * DAY)


@pytest.mark.parametrize(
    ("policy", "fields"),
    [
        (
            replace(Policy(), payg=BACKWARDS),
            ["timeline.payg.suspended", "timeline.payg.deactivated"],
        ),
        (
            replace(Policy(), commit=BACKWARDS),
            ["timeline.commit.suspended", "timeline.commit.deactivated"],
        ),
        (
            replace(Policy(), payg=Timeline(NOTHING, DAY, 2 * DAY)),
            ["timeline.payg.control_plane_loss"],
        ),
        (
            replace(Policy(), minimum_dwell=MinimumDwell(canceled=NOTHING)),
            ["minimum_dwell.canceled"],
        ),
        (replace(Policy(), notice=NoticeLead(suspended=-DAY)), ["notice.suspended"]),
        (
            replace(Policy(), inactivity=Inactivity(feed_max_gap=NOTHING)),
            ["inactivity.feed_max_gap"],
        ),
        (replace(Policy(), grace=Grace(successor_within=NOTHING)), ["grace.successor_within"]),
        (replace(Policy(), guard=Guard(minimum=-1)), ["guard.minimum"]),
        (replace(Policy(), guard=Guard(fraction=1.01)), ["guard.fraction"]),
    ],
)
def test_a_policy_that_cannot_be_used_names_the_field(policy: Policy, fields: list[str]) -> None:
    """An operator must be told which line to change."""
    assert [field for field, _ in policy.problems()] == fields
