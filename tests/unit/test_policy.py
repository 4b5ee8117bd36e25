"""The policy as data, and the states (lifecycle.md sections 1, 3)."""

from dataclasses import replace
from datetime import timedelta

import pytest

from marketplace_worker.lifecycle.policy import (
    STEPS,
    AzureReinstatement,
    Grace,
    Guard,
    Inactivity,
    MinimumDwell,
    NoticeLead,
    Policies,
    Policy,
    Reinstatement,
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
    actual = (allowed.manage, allowed.data, allowed.api_keys, allowed.login)
    assert actual == (manage, data, api_keys, login)


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
BACKWARDS = Timeline(60 * DAY, 60 * DAY, 60 * DAY)
SHORT, LONG = Timeline(DAY, 5 * DAY, 31 * DAY), Timeline(2 * DAY, 9 * DAY, 90 * DAY)


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
            replace(Policy(), payg=Timeline(NOTHING, DAY, 30 * DAY)),
            ["timeline.payg.control_plane_loss"],
        ),
        (
            replace(Policy(), minimum_dwell=MinimumDwell(canceled=NOTHING)),
            ["minimum_dwell.canceled"],
        ),
        (replace(Policy(), notice=NoticeLead(suspended=-DAY)), ["notice.suspended"]),
        (
            replace(Policy(), inactivity=Inactivity(feed_max_gap=23 * DAY / 24)),
            ["inactivity.feed_max_gap"],
        ),
        (
            replace(Policy(), inactivity=Inactivity(no_login_for=NOTHING)),
            ["inactivity.no_login_for"],
        ),
        (replace(Policy(), grace=Grace(successor_within=NOTHING)), ["grace.successor_within"]),
        (replace(Policy(), guard=Guard(minimum=-1)), ["guard.minimum"]),
        (replace(Policy(), guard=Guard(fraction=1.01)), ["guard.fraction"]),
        (replace(Policy(), guard=Guard(fraction=-0.01)), ["guard.fraction"]),
        (
            replace(Policy(), guard=Guard(-1, 2, -1, -1, -1)),
            [
                "guard.minimum",
                "guard.requested_per_hour",
                "guard.requested_per_person",
                "guard.fraction",
                "guard.control_plane_fraction",
            ],
        ),
    ],
)
def test_a_policy_that_cannot_be_used_names_the_field(policy: Policy, fields: list[str]) -> None:
    """The message must name the line to change."""
    assert [field for field, _ in policy.problems()] == fields


@pytest.mark.parametrize("plan_type", ["payg", "commit"])
def test_a_policy_that_undercuts_a_floor_names_the_field(plan_type: str) -> None:
    """Azure wants data kept for 30 days after a Suspend (section 3, 4); 30 days are enough."""
    enough, short = Timeline(DAY, 2 * DAY, 30 * DAY), Timeline(DAY, 2 * DAY, 30 * DAY - DAY / 24)
    policies = [
        Policy(payg=timeline) if plan_type == "payg" else Policy(commit=timeline)
        for timeline in (enough, short)
    ]
    named = [[field for field, _ in policy.problems()] for policy in policies]
    assert named == [[], [f"timeline.{plan_type}.deactivated"]]


@pytest.mark.parametrize(
    "policy",
    [
        Policy(guard=Guard(minimum=0, fraction=0.0)),
        Policy(guard=Guard(minimum=0, fraction=1.0)),
        Policy(guard=Guard(0, 0, 0, 0, 0)),
        Policy(inactivity=Inactivity(feed_max_gap=DAY)),
    ],
)
def test_the_edges_of_what_is_allowed_are_allowed(policy: Policy) -> None:
    """A limit of nothing stops all harm; a feed is recorded by the day."""
    assert list(policy.problems()) == []


# --- an older policy and a newer one --------------------------------------------------------------


def test_a_newer_policy_applies_only_where_it_is_kinder() -> None:
    """Section 3, of each duration by itself; whatever is longer is kinder to who is canceled."""
    older = Policy(
        version="1",
        payg=Timeline(DAY, 9 * DAY, 40 * DAY),
        commit=SHORT,
        minimum_dwell=MinimumDwell(canceled=DAY, suspended=DAY),
        notice=NoticeLead(suspended=DAY, deactivated=9 * DAY),
        grace=Grace(max_extension=10 * DAY, successor_within=9 * DAY),
    )
    newer = Policy(
        version="2",
        payg=Timeline(2 * DAY, 7 * DAY, 41 * DAY),
        commit=LONG,
        minimum_dwell=MinimumDwell(canceled=DAY / 2, suspended=2 * DAY),
        notice=NoticeLead(suspended=2 * DAY, deactivated=7 * DAY),
        grace=Grace(max_extension=11 * DAY, successor_within=8 * DAY),
    )
    held = Policies(newer, {"1": older}).pinned_to("1")
    assert held.version == "1"
    assert held.payg == Timeline(2 * DAY, 9 * DAY, 41 * DAY)
    assert held.commit == LONG
    assert (held.minimum_dwell.canceled, held.minimum_dwell.suspended) == (DAY, 2 * DAY)
    assert (held.notice.suspended, held.notice.deactivated) == (2 * DAY, 9 * DAY)
    assert held.grace == Grace(max_extension=11 * DAY, successor_within=9 * DAY)


@pytest.mark.parametrize(("older", "newer"), [(True, False), (False, True)])
def test_what_either_policy_does_not_ask_for_is_not_asked_for(*, older: bool, newer: bool) -> None:
    """Asking for less is kinder: a sign-in, or Support's word for an Azure organization."""

    def asking(version: str, *, strict: bool) -> Policy:
        azure = AzureReinstatement.SUPPORT if strict else AzureReinstatement.AUTOMATIC
        return Policy(version=version, reinstatement=Reinstatement(strict, azure))

    policies = Policies(asking("2", strict=newer), {"1": asking("1", strict=older)})
    automatic = Reinstatement(sign_in_required=False, azure=AzureReinstatement.AUTOMATIC)
    assert policies.pinned_to("1").reinstatement == automatic


def test_what_concerns_no_cancellation_is_the_newer_policys() -> None:
    """Inactivity and the guard: no organization is pinned to these."""
    newer = Policy("2", inactivity=Inactivity(feed_max_gap=2 * DAY), guard=Guard(minimum=7))
    held = Policies(newer, {"1": Policy("1")}).pinned_to("1")
    assert (held.inactivity, held.guard) == (newer.inactivity, newer.guard)


@pytest.mark.parametrize("version", [None, "unknown"])
def test_an_organization_pinned_to_an_unknown_policy_has_the_one_in_force(
    version: str | None,
) -> None:
    """There is nothing to be kinder than."""
    policies = Policies(Policy("2", payg=LONG), {"1": Policy("1", payg=SHORT)})
    assert policies.pinned_to(version) == policies.current
