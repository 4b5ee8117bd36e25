"""What postpones destructive steps: a purchased commitment, and waits that outlast their notice
(lifecycle.md sections 3, 5 and 12).
"""

import pytest
from stories import check_story

LONG_WAIT_ENDS = """
        21+1h | gcp:e-2 ENTITLEMENT_CANCELLED        | reinstatement_lapsed: gcp:e-2 by sign_in
              |                                      | notice_withdrawn: suspended 7
        21+1h |                                      | notice_given: suspended 24+1h
        24+1h |                                      | suspended
"""
SHORT_WAIT_ENDS = """
        21    | gcp:e-2 ENTITLEMENT_CANCELLED        | reinstatement_lapsed: gcp:e-2 by sign_in
        23    |                                      | suspended
"""


@pytest.mark.parametrize(
    ("end", "until"), [(LONG_WAIT_ENDS, "45"), (SHORT_WAIT_ENDS, "44")], ids=["long", "short"]
)
def test_a_notice_that_outlasted_a_long_wait_is_repeated(end: str, until: str) -> None:
    """Section 12, *any wait*: more than 14 days past the announced date."""
    check_story(
        f"""
        day   | input                                | events
        0     | acme created plus                    |
        0     | acme links gcp:e-1 payg account=P    |
        0     | gcp:e-1 ENTITLEMENT_CANCELLED        | canceled unknown by marketplace, payg
        0     |                                      | final_report_due gcp:e-1 0+1h
        1     |                                      | control_plane_lost
        4     |                                      | notice_given: suspended 7
        5     | gcp:e-2 ENTITLEMENT_ACTIVE account=P | reinstatement_pending: gcp:e-2 by sign_in
        {end}
        """,
        until=until,
    )


def test_no_destructive_step_is_taken_before_a_purchased_commitment_starts() -> None:
    """Section 3, 6: its data must still exist; the loss of the control plane does not wait."""
    check_story(
        """
        day | input                            | events
        0   | acme created plus                |
        0   | acme links azure:s-1 payg        |
        0   | azure:s-1 Suspend                | canceled non_payment by marketplace, payg
        0   | acme commits c-1 from=60 to=400  |
        0   | acme commits c-2 from=50 to=400  |
        1   |                                  | control_plane_lost
        47  |                                  | notice_given: suspended 50
        50  |                                  | reinstated
            |                                  | notice_withdrawn: suspended 50
        """,
        until="399",
    )


def test_a_commitment_bought_by_a_suspended_organization_keeps_its_data() -> None:
    """Section 3, 6: the current notice is not withdrawn, and the deletion waits."""
    check_story(
        """
        day | input                            | events
        0   | acme created plus                |
        0   | acme links azure:s-1 payg        |
        0   | azure:s-1 Suspend                | canceled non_payment by marketplace, payg
        1   |                                  | control_plane_lost
        4   |                                  | notice_given: suspended 7
        7   |                                  | suspended
        30  |                                  | notice_given: deactivated 37
        36  | acme commits c-1 from=90 to=400  |
        90  |                                  | reinstated
            |                                  | notice_withdrawn: deactivated 37
        """,
        until="399",
    )


def test_a_commitment_that_is_revoked_after_a_long_wait_leaves_a_new_notice() -> None:
    """Section 12: the customer is informed in time that the wait is over."""
    check_story(
        """
        day | input                              | events
        0   | acme created plus                  |
        0   | acme links azure:s-1 payg          |
        0   | azure:s-1 Suspend                  | canceled non_payment by marketplace, payg
        1   |                                    | control_plane_lost
        4   |                                    | notice_given: suspended 7
        5   | acme commits c-1 from=90 to=400    |
        22  | acme commits c-1 from=-900 to=-800 | notice_withdrawn: suspended 7
        22  |                                    | notice_given: suspended 25
        25  |                                    | suspended
        """,
        until="29",
    )


def test_a_free_organization_with_a_commitment_yet_to_start_is_not_inactive() -> None:
    """Section 5: only without an active plan or a commitment yet to start."""
    check_story(
        """
        day | input                           | events
        0   | acme created                    |
        0   | acme commits c-1 from=80 to=400 |
        """,
        until="399",
    )


@pytest.mark.parametrize(
    ("released", "goes_on"),
    [
        (
            "22",
            """
            22 |                               | notice_withdrawn: suspended 7
            22 |                               | notice_given: suspended 25
            25 |                               | suspended
            """,
        ),
        (
            "21",
            """
            21 |                               | suspended @7
            """,
        ),
    ],
    ids=["long", "short"],
)
def test_a_notice_that_the_guard_delayed_too_long_is_repeated(released: str, goes_on: str) -> None:
    """Section 12, *any wait*: more than 14 days past the announced date."""
    check_story(
        f"""
        day | input                         | events
        0   | acme created plus             |
        0   | acme links gcp:e-1 payg       |
        0   | gcp:e-1 ENTITLEMENT_CANCELLED | canceled unknown by marketplace, payg
            |                               | final_report_due gcp:e-1 0+1h
        1   |                               | control_plane_lost
        4   |                               | notice_given: suspended 7
        6   | operator: trips               | worker: guard.tripped: both by olga
        {released}  | operator: releases    | worker: guard.released: both by olga
        {goes_on}
        """,
        until="27",
    )
