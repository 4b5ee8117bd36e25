"""The settings of a timeline that an operator can change, and fixed rules (lifecycle.md
section 3).
"""

import pytest
from stories import check_story, policy

# --- each line of the policy file -----------------------------------------------------------------

ON_TIME = {
    "timeline.payg": (
        """
        [timeline.payg]
        control_plane_loss = "P2D"
        suspended = "P10D"
        deactivated = "P60D"
        """,
        """
        2  |  | control_plane_lost
        7  |  | notice_given: suspended 10
        10 |  | suspended
        53 |  | notice_given: deactivated 60
        60 |  | deactivated
        """,
    ),
    "notice.suspended": (
        """
        [notice]
        suspended = "P5D"
        """,
        """
        1  |  | control_plane_lost
        2  |  | notice_given: suspended 7
        7  |  | suspended
        30 |  | notice_given: deactivated 37
        37 |  | deactivated
        """,
    ),
    "notice.deactivated": (
        """
        [notice]
        deactivated = "P10D"
        """,
        """
        1  |  | control_plane_lost
        4  |  | notice_given: suspended 7
        7  |  | suspended
        27 |  | notice_given: deactivated 37
        37 |  | deactivated
        """,
    ),
    "leads that are longer than their steps": (
        """
        [notice]
        suspended = "P20D"
        deactivated = "P40D"
        """,
        """
        1  |  | control_plane_lost
        1  |  | notice_given: suspended 21
        21 |  | suspended
        21 |  | notice_given: deactivated 61
        61 |  | deactivated
        """,
    ),
}
LATE = {
    "minimum_dwell.canceled": (
        """
        [minimum_dwell]
        canceled = "PT6H"
        """,
        """
        40+6h |  | control_plane_lost
        40+6h |  | notice_given: suspended 43+6h
        43+6h |  | suspended
        43+6h |  | notice_given: deactivated 50+6h
        50+6h |  | deactivated
        """,
    ),
    "minimum_dwell.control_plane_loss": (
        """
        [minimum_dwell]
        control_plane_loss = "P5D"
        """,
        """
        40+1h |  | control_plane_lost
        42+1h |  | notice_given: suspended 45+1h
        45+1h |  | suspended
        45+1h |  | notice_given: deactivated 52+1h
        52+1h |  | deactivated
        """,
    ),
    "minimum_dwell.suspended": (
        """
        [minimum_dwell]
        suspended = "P20D"
        """,
        """
        40+1h |  | control_plane_lost
        40+1h |  | notice_given: suspended 43+1h
        43+1h |  | suspended
        56+1h |  | notice_given: deactivated 63+1h
        63+1h |  | deactivated
        """,
    ),
}
BEGAN = """
    0 | acme created            |
    0 | acme links gcp:e-1 payg |
"""


@pytest.mark.parametrize("line", ON_TIME)
def test_a_line_of_the_policy_changes_a_timely_case(line: str) -> None:
    """Section 3, the table and the file."""
    file, story = ON_TIME[line]
    canceled = """0 | gcp:e-1 ENTITLEMENT_CANCELLED | canceled unknown by marketplace, payg
                  0 |                               | final_report_due gcp:e-1 0+1h"""
    check_story(BEGAN + canceled + story, policy(file))


@pytest.mark.parametrize("line", LATE)
def test_a_line_of_the_policy_changes_a_case_40_days_late(line: str) -> None:
    """Section 3: the dwell counts from when a state was really entered."""
    file, story = LATE[line]
    canceled = """40 | gcp:e-1 ENTITLEMENT_CANCELLED @0 | canceled @0 unknown by marketplace, payg
                  40 |                                  | final_report_due gcp:e-1 0+1h"""
    check_story(BEGAN + canceled + story, policy(file))


def test_the_timeline_of_commit_plans_is_its_own() -> None:
    """Section 3: `timeline.commit`."""
    check_story(
        """
        day | input                         | events
        0   | acme created                  |
        0   | acme links gcp:e-1 commit     |
        0   | gcp:e-1 ENTITLEMENT_CANCELLED | canceled unknown by marketplace, commit
        0   |                               | final_report_due gcp:e-1 0+1h
        4   |                               | control_plane_lost
        17  |                               | notice_given: suspended 20
        20  |                               | suspended
        93  |                               | notice_given: deactivated 100
        100 |                               | deactivated
        """,
        policy("""
            [timeline.commit]
            control_plane_loss = "P4D"
            suspended = "P20D"
            deactivated = "P100D"
        """),
    )


def test_an_unknown_plan_type_has_the_longest_of_each_step() -> None:
    """Section 2: an operator may make any step of either timeline the longer one."""
    check_story(
        """
        day | input                         | events
        0   | acme created                  |
        0   | acme links gcp:e-1            |
        0   | gcp:e-1 ENTITLEMENT_CANCELLED | canceled unknown by marketplace, None
        0   |                               | final_report_due gcp:e-1 0+1h
        5   |                               | control_plane_lost
        11  |                               | notice_given: suspended 14
        14  |                               | suspended
        83  |                               | notice_given: deactivated 90
        90  |                               | deactivated
        """,
        policy("""
            [timeline.payg]
            control_plane_loss = "P5D"
            deactivated = "P90D"
        """),
    )


INACTIVE = {
    "notice.inactivity": (
        """
        [notice]
        inactivity = "P10D"
        """,
        """
        20 |  | notice_given: deactivated 30
        30 |  | deactivated: inactivity
        """,
    ),
    "inactivity.no_login_for": (
        """
        [inactivity]
        no_login_for = "P60D"
        """,
        """
        53 |  | notice_given: deactivated 60
        60 |  | deactivated: inactivity
        """,
    ),
    "inactivity.billing_cycle": (
        """
        [inactivity]
        billing_cycle = "P10D"
        """,
        """
        15 | acme requests 5 |
        23 |                 | notice_given: deactivated 30
        25 | acme requests 5 | notice_withdrawn: deactivated 30
        33 |                 | notice_given: deactivated 40
        40 |                 | deactivated: inactivity
        """,
    ),
}


@pytest.mark.parametrize("line", INACTIVE)
def test_a_line_of_the_policy_changes_when_an_organization_is_inactive(line: str) -> None:
    """Sections 3 and 5; `feed_max_gap` is tested with the feeds."""
    file, story = INACTIVE[line]
    began = """
        0 | feeds: daily 0..70 |
        0 | acme created       |
    """
    check_story(began + story, policy(file))


def test_a_policy_may_shorten_the_wait_for_a_successor() -> None:
    """Section 3: `grace.successor_within`."""
    check_story(
        """
        day | input                              | events
        0   | acme created                       |
        0   | acme links aws:a-1 payg            |
        10  | aws:a-1 Agreement Ended SUPERSEDED | final_report_due aws:a-1 10+1h
        12  |                                    | canceled unknown by system, payg
        """,
        policy("""
            [grace]
            successor_within = "P2D"
        """),
        until="12",
    )


def test_no_policy_moves_an_announced_date_forward() -> None:
    """Section 3, 5: the notice announced day 30; under the newer policy it would have been
    day 25.
    """
    check_story(
        """
        day | input                     | events
        0   | feeds: daily 0..40        |
        0   | acme created              |
        23  |                           | notice_given: deactivated 30
        24  | operator: loads impatient |
        30  |                           | deactivated: inactivity
        """,
        policy("""
            version = "patient"
        """),
        policy("""
            version = "impatient"
            [inactivity]
            no_login_for = "P25D"
            [notice]
            inactivity = "P1D"
        """),
    )


# --- the policy that an organization is pinned to -------------------------------------------------

FIRST = policy("""
    version = "first"
""")
HARSHER = policy("""
    version = "harsher"
    [timeline.payg]
    suspended = "P2D"
    deactivated = "P30D"
    [notice]
    suspended = "P1D"
    [minimum_dwell]
    canceled = "PT1M"
    [grace]
    max_extension = "P10D"
""")
KINDER = policy("""
    version = "kinder"
    [timeline.payg]
    suspended = "P14D"
    deactivated = "P60D"
    [reinstatement]
    sign_in_required = false
""")


def test_a_stricter_policy_does_not_apply_to_a_current_cancellation() -> None:
    """Section 3: it was canceled, and informed, under the first policy."""
    events = check_story(
        """
        day | input                         | events
        0   | acme created                  |
        0   | acme links gcp:e-1 payg       |
        0   | gcp:e-1 ENTITLEMENT_CANCELLED | canceled unknown by marketplace, payg
        0   |                               | final_report_due gcp:e-1 0+1h
        1   |                               | control_plane_lost
        2   | operator: loads harsher       |
        4   |                               | notice_given: suspended 7
        7   |                               | suspended
        30  |                               | notice_given: deactivated 37
        37  |                               | deactivated
        """,
        FIRST,
        HARSHER,
    )
    assert {event.standing.policy_version for event in events if event.standing} == {"first"}


def test_dwell_and_grace_are_those_of_the_pinned_policy() -> None:
    """Section 3: an hour in `canceled`, and up to 90 days of extension."""
    check_story(
        """
        day   | input                            | events
        0     | acme created                     |
        0     | acme links gcp:e-1 payg          |
        40    | gcp:e-1 ENTITLEMENT_CANCELLED @0 | canceled @0 unknown by marketplace, payg
        40    |                                  | final_report_due gcp:e-1 0+1h
        40+1s | operator: loads harsher          |
        40+1h |                                  | control_plane_lost
        40+1h |                                  | notice_given: suspended 43+1h
        41    | support: acme extend 60          | notice_withdrawn: suspended 43+1h
              |                                  | support_request.completed
        64    |                                  | notice_given: suspended 67
        """,
        FIRST,
        HARSHER,
        until="64",
    )


def test_a_stricter_policy_applies_to_later_cancellations() -> None:
    """Section 3."""
    events = check_story(
        """
        day | input                         | events
        0   | acme created                  |
        0   | acme links gcp:e-1 payg       |
        0   | operator: loads harsher       |
        1   | gcp:e-1 ENTITLEMENT_CANCELLED | canceled unknown by marketplace, payg
        1   |                               | final_report_due gcp:e-1 1+1h
        2   |                               | control_plane_lost
        2   |                               | notice_given: suspended 3
        3   |                               | suspended
        24  |                               | notice_given: deactivated 31
        31  |                               | deactivated
        """,
        FIRST,
        HARSHER,
    )
    assert {event.standing.policy_version for event in events if event.standing} == {"harsher"}


def test_a_more_lenient_policy_applies_at_once() -> None:
    """Section 3: as far as it is more lenient; here it allows more time, and requires no
    sign-in.
    """
    check_story(
        """
        day | input                                | events
        0   | acme created                         |
        0   | acme links gcp:e-1 payg account=P    |
        0   | gcp:e-1 ENTITLEMENT_CANCELLED        | canceled unknown by marketplace, payg
        0   |                                      | final_report_due gcp:e-1 0+1h
        1   |                                      | control_plane_lost
        2   | operator: loads kinder               |
        11  |                                      | notice_given: suspended 14
        14  |                                      | suspended
        53  |                                      | notice_given: deactivated 60
        54  | gcp:e-2 ENTITLEMENT_ACTIVE account=P | reinstated
            |                                      | notice_withdrawn: deactivated 60
        """,
        FIRST,
        KINDER,
    )
