"""Deactivation of unused free organizations (lifecycle.md section 5)."""

import pytest
from stories import check_story, policy


def test_an_unused_free_organization_is_deactivated_after_30_days() -> None:
    """Section 5: seven days after its notice; its creation counts as a login."""
    check_story("""
        day | input              | events
        0   | feeds: daily 0..30 |
        0   | acme created       |
        23  |                    | notice_given: deactivated 30
        30  |                    | deactivated: inactivity
    """)


@pytest.mark.parametrize("tier", ["plus", "enterprise"])
def test_plus_and_enterprise_are_exempt_always(tier: str) -> None:
    """Section 5, invariant 9."""
    check_story(
        f"""
        day | input               | events
        0   | feeds: daily 0..100 |
        0   | acme created {tier} |
        """,
        until="100",
    )


def test_an_organization_with_a_plan_is_never_inactive() -> None:
    """Section 5: a free organization may have a plan that is billed by usage."""
    check_story(
        """
        day | input                   | events
        0   | feeds: daily 0..100     |
        0   | acme created            |
        20  | acme links gcp:e-1 payg |
        """,
        until="100",
    )


def test_a_canceled_organization_is_not_inactive_as_well() -> None:
    """Section 5: only in `active`."""
    check_story(
        """
        day | input                         | events
        0   | feeds: daily 0..60            |
        0   | acme created                  |
        0   | acme links gcp:e-1            |
        29  | gcp:e-1 ENTITLEMENT_CANCELLED | canceled unknown by marketplace, None
        29  |                               | final_report_due gcp:e-1 29+1h
        32  |                               | control_plane_lost
        40  |                               | notice_given: suspended 43
        43  |                               | suspended
        """,
        until="60",
    )


# --- what counts as use ---------------------------------------------------------------------------


def test_a_login_postpones_the_deadline_to_30_days_after_it() -> None:
    """Section 5: the last login counts."""
    check_story("""
        day | input              | events
        0   | feeds: daily 0..50 |
        0   | acme created       |
        3   | acme logs in       |
        10  | acme logs in       |
        33  |                    | notice_given: deactivated 40
        40  |                    | deactivated: inactivity
    """)


def test_a_login_after_the_notice_withdraws_it() -> None:
    """Section 5: activity after the notice."""
    check_story("""
        day | input              | events
        0   | feeds: daily 0..60 |
        0   | acme created       |
        23  |                    | notice_given: deactivated 30
        25  | acme logs in       | notice_withdrawn: deactivated 30
        48  |                    | notice_given: deactivated 55
        55  |                    | deactivated: inactivity
    """)


def test_a_request_counts_for_its_billing_cycle_and_the_next() -> None:
    """Section 5: a request of cycle 0 keeps the organization up to the end of cycle 1."""
    check_story("""
        day | input              | events
        0   | feeds: daily 0..60 |
        0   | acme created       |
        3   | acme requests 1    |
        53  |                    | notice_given: deactivated 60
        60  |                    | deactivated: inactivity
    """)


@pytest.mark.parametrize(("request_on", "inactive"), [("30-1s", "60"), ("30", "90")])
def test_a_billing_cycle_is_half_open(request_on: str, inactive: str) -> None:
    """Section 5: the first second of a cycle belongs to it."""
    check_story(
        f"""
        day                 | input               | events
        0                   | feeds: daily 0..100 |
        0                   | acme created plus   |
        {request_on}        | acme requests 1     |
        31                  | acme tier free      |
        {int(inactive) - 7} |                     | notice_given: deactivated {inactive}
        {inactive}          |                     | deactivated: inactivity
        """
    )


def test_a_request_after_the_notice_withdraws_it() -> None:
    """Section 5: both halves count."""
    check_story("""
        day | input              | events
        0   | feeds: daily 0..60 |
        0   | acme created       |
        23  |                    | notice_given: deactivated 30
        25  | acme requests 5    | notice_withdrawn: deactivated 30
        53  |                    | notice_given: deactivated 60
        60  |                    | deactivated: inactivity
    """)


@pytest.mark.parametrize("used", ["logs in", "requests 5"])
def test_any_use_after_a_notice_withdraws_it_however_long_its_lead(used: str) -> None:
    """Section 5: even if by this use alone it would be inactive before the announced date; the new
    notice has its full lead.
    """
    check_story(
        f"""
        day | input              | events
        0   | feeds: daily 0..60 |
        0   | acme created       |
        0   |                    | notice_given: deactivated 45
        10  | acme {used}        | notice_withdrawn: deactivated 45
        10  |                    | notice_given: deactivated 55
        55  |                    | deactivated: inactivity
        """,
        policy("""
            [notice]
            inactivity = "P45D"
            [inactivity]
            billing_cycle = "P7D"
        """),
    )


def test_late_reported_use_from_before_the_notice_does_not_withdraw_it_by_itself() -> None:
    """Section 5: only activity after it does; with this one it is inactive at the same moment."""
    check_story(
        """
        day | input              | events
        0   | feeds: daily 0..60 |
        0   | acme created       |
        23  |                    | notice_given: deactivated 30
        24  | acme logs in @0    |
        30  |                    | deactivated: inactivity
        """,
    )


def test_the_billing_cycles_begin_at_the_anchor() -> None:
    """Section 5: cycle 0 is from day -10 to 20, so a request on day 3 counts up to day 50."""
    check_story("""
        day | input                   | events
        0   | feeds: daily 0..60      |
        0   | acme created anchor=-10 |
        3   | acme requests 1         |
        43  |                         | notice_given: deactivated 50
        50  |                         | deactivated: inactivity
    """)


def test_both_logins_and_usage_must_be_absent() -> None:
    """Section 5: the later of the two moments counts."""
    check_story("""
        day | input              | events
        0   | feeds: daily 0..90 |
        0   | acme created       |
        5   | acme requests 1    |
        45  | acme logs in       |
        68  |                    | notice_given: deactivated 75
        75  |                    | deactivated: inactivity
    """)


def test_another_organizations_logins_do_not_count() -> None:
    """Section 5: each organization is checked by itself."""
    check_story(
        """
        day | input              | events
        0   | feeds: daily 0..40 |
        0   | acme created       |
        0   | beta created       |
        10  | beta logs in       |
        23  |                    | notice_given: deactivated 30
        30  |                    | deactivated: inactivity
        33  |                    | beta: notice_given: deactivated 40
        40  |                    | beta: deactivated: inactivity
        """
    )


# --- to the second --------------------------------------------------------------------------------


def test_a_login_exactly_30_days_ago_no_longer_counts() -> None:
    """Section 5: at that very second the organization is inactive."""
    check_story("""
        day   | input              | events
        0     | feeds: daily 0..40 |
        0     | acme created       |
        5+1s  | acme logs in       |
        28+1s |                    | notice_given: deactivated 35+1s
        35+1s |                    | deactivated: inactivity
    """)


def test_a_login_at_the_exact_second_of_the_boundary_saves_the_organization() -> None:
    """Section 5: at one instant messages come before deadlines."""
    check_story("""
        day | input              | events
        0   | feeds: daily 0..60 |
        0   | acme created       |
        23  |                    | notice_given: deactivated 30
        30  | acme logs in       | notice_withdrawn: deactivated 30
        53  |                    | notice_given: deactivated 60
        60  |                    | deactivated: inactivity
    """)


def test_a_login_one_second_before_the_boundary_saves_it_too() -> None:
    """Section 5: and its 30 days count from that second."""
    check_story("""
        day   | input              | events
        0     | feeds: daily 0..60 |
        0     | acme created       |
        23    |                    | notice_given: deactivated 30
        30-1s | acme logs in       | notice_withdrawn: deactivated 30
        53-1s |                    | notice_given: deactivated 60-1s
        60-1s |                    | deactivated: inactivity
    """)


def test_a_login_one_second_after_the_boundary_comes_too_late() -> None:
    """Section 5: nothing leaves `deactivated` by itself (invariant 4)."""
    check_story("""
        day   | input              | events
        0     | feeds: daily 0..30 |
        0     | acme created       |
        23    |                    | notice_given: deactivated 30
        30    |                    | deactivated: inactivity
        30+1s | acme logs in       |
    """)


def test_a_login_that_arrives_late_counts_from_its_own_time() -> None:
    """Section 5: it still postpones the deadline by a day, and the notice starts its lead again."""
    check_story("""
        day | input              | events
        0   | feeds: daily 0..40 |
        0   | acme created       |
        23  |                    | notice_given: deactivated 30
        25  | acme logs in @1    | notice_withdrawn: deactivated 30
        25  |                    | notice_given: deactivated 32
        32  |                    | deactivated: inactivity
    """)


def test_a_login_with_a_future_time_counts_from_its_arrival() -> None:
    """Section 11: a clock that is ahead must not keep the organization active."""
    check_story("""
        day | input              | events
        0   | feeds: daily 0..40 |
        0   | acme created       |
        10  | acme logs in @4000 |
        33  |                    | notice_given: deactivated 40
        40  |                    | deactivated: inactivity
    """)


# --- other reasons against it ---------------------------------------------------------------------


def test_an_organization_that_upgrades_after_the_notice_is_exempt() -> None:
    """Section 5: the notice of a step that is not taken is withdrawn (section 3)."""
    check_story(
        """
        day | input              | events
        0   | feeds: daily 0..60 |
        0   | acme created       |
        23  |                    | notice_given: deactivated 30
        25  | acme tier plus     | notice_withdrawn: deactivated 30
        """,
        until="60",
    )


def test_an_organization_that_buys_a_plan_after_the_notice_is_not_inactive() -> None:
    """Section 5: only without an active plan."""
    check_story(
        """
        day | input                   | events
        0   | feeds: daily 0..60      |
        0   | acme created            |
        23  |                         | notice_given: deactivated 30
        25  | acme links gcp:e-1 payg | notice_withdrawn: deactivated 30
        """,
        until="60",
    )


def test_an_organization_that_becomes_free_long_after_its_last_login_has_its_notice_first() -> None:
    """Sections 3 and 5: the deadline has passed, but there is no step without a notice."""
    check_story("""
        day | input                   | events
        0   | feeds: daily 0..100     |
        0   | acme created enterprise |
        80  | acme tier free          |
        80  |                         | notice_given: deactivated 87
        87  |                         | deactivated: inactivity
    """)
