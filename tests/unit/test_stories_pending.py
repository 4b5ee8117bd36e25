"""While a reinstatement is pending the clock stands still (lifecycle.md section 4)."""

from stories import check_story


def test_while_pending_no_step_is_taken_and_no_notice_is_written() -> None:
    """Section 4: no deadline runs, however long it takes."""
    events = check_story("""
        day | heard                                | said
        0   | acme created                         |
        0   | acme links gcp:e-1 payg account=P    |
        0   | gcp:e-1 ENTITLEMENT_CANCELLED        | canceled unknown by marketplace, payg
        1   |                                      | control_plane_lost
        2   | gcp:e-2 ENTITLEMENT_ACTIVE account=P | reinstatement_pending: gcp:e-2 by sign_in
        300 | acme tier plus                       |
    """)
    pending = events[-1].standing
    assert pending is not None
    assert pending.next_step is None, "section 11: null while pending"


def test_a_plan_that_ends_while_pending_leaves_the_time_that_was_left() -> None:
    """Section 4: ten days pending, so all that was to come comes ten days later."""
    check_story("""
        day | heard                                | said
        0   | acme created                         |
        0   | acme links gcp:e-1 payg account=P    |
        0   | gcp:e-1 ENTITLEMENT_CANCELLED        | canceled unknown by marketplace, payg
        1   |                                      | control_plane_lost
        2   | gcp:e-2 ENTITLEMENT_ACTIVE account=P | reinstatement_pending: gcp:e-2 by sign_in
        12  | gcp:e-2 ENTITLEMENT_CANCELLED        | reinstatement_lapsed: gcp:e-2 by sign_in
        14  |                                      | notice_given: suspended 17
        17  |                                      | suspended
        40  |                                      | notice_given: deactivated 47
        47  |                                      | deactivated
    """)


def test_the_time_of_two_pending_plans_is_not_counted_twice() -> None:
    """Section 4: the clock stands still from day 2 to day 9, for seven days."""
    check_story(
        """
        day | heard                                | said
        0   | acme created                         |
        0   | acme links gcp:e-1 payg account=P    |
        0   | gcp:e-1 ENTITLEMENT_CANCELLED        | canceled unknown by marketplace, payg
        1   |                                      | control_plane_lost
        2   | gcp:e-2 ENTITLEMENT_ACTIVE account=P | reinstatement_pending: gcp:e-2 by sign_in
        4   | gcp:e-3 ENTITLEMENT_ACTIVE account=P |
        6   | gcp:e-2 ENTITLEMENT_CANCELLED        |
        9   | gcp:e-3 ENTITLEMENT_CANCELLED        | reinstatement_lapsed: gcp:e-3 by sign_in
        11  |                                      | notice_given: suspended 14
        14  |                                      | suspended
        """,
        until="36",
    )


def test_the_lead_of_a_standing_notice_stands_still_as_well() -> None:
    """Section 4: two of its three days were left on day 5, and are left on day 25."""
    check_story(
        """
        day | heard                                | said
        0   | acme created                         |
        0   | acme links gcp:e-1 payg account=P    |
        0   | gcp:e-1 ENTITLEMENT_CANCELLED        | canceled unknown by marketplace, payg
        1   |                                      | control_plane_lost
        4   |                                      | notice_given: suspended 7
        5   | gcp:e-2 ENTITLEMENT_ACTIVE account=P | reinstatement_pending: gcp:e-2 by sign_in
        25  | gcp:e-2 ENTITLEMENT_CANCELLED        | reinstatement_lapsed: gcp:e-2 by sign_in
        27  |                                      | suspended
        """,
        until="49",
    )


def test_the_dwell_stands_still_as_well() -> None:
    """Section 4: half of the hour that a canceled organization dwells at least had passed."""
    check_story(
        """
        day    | heard                                | said
        0      | acme created                         |
        0      | acme links gcp:e-1 payg account=P    |
        40     | gcp:e-1 ENTITLEMENT_CANCELLED @0     | canceled @0 unknown by marketplace, payg
        40+30m | gcp:e-2 ENTITLEMENT_ACTIVE account=P | reinstatement_pending: gcp:e-2 by sign_in
        50+30m | gcp:e-2 ENTITLEMENT_CANCELLED        | reinstatement_lapsed: gcp:e-2 by sign_in
        50+1h  |                                      | control_plane_lost
        50+1h  |                                      | notice_given: suspended 53+1h
        """,
        until="51",
    )


def test_a_lead_that_was_given_late_stands_still_as_well() -> None:
    """Section 4: all offsets have passed; two of the three days of notice are left on day 51."""
    check_story(
        """
        day   | heard                                | said
        0     | acme created                         |
        0     | acme links gcp:e-1 payg account=P    |
        40    | gcp:e-1 ENTITLEMENT_CANCELLED @0     | canceled @0 unknown by marketplace, payg
        40+1h |                                      | control_plane_lost
        40+1h |                                      | notice_given: suspended 43+1h
        41+1h | gcp:e-2 ENTITLEMENT_ACTIVE account=P | reinstatement_pending: gcp:e-2 by sign_in
        51+1h | gcp:e-2 ENTITLEMENT_CANCELLED        | reinstatement_lapsed: gcp:e-2 by sign_in
        53+1h |                                      | suspended
        53+1h |                                      | notice_given: deactivated 60+1h
        """,
        until="53+2h",
    )


def test_the_floors_of_a_marketplace_do_not_stand_still() -> None:
    """Section 4: Azure counts its 7 days from the Unsubscribe, whatever else is pending."""
    check_story("""
        day | heard                             | said
        0   | acme created                      |
        0   | acme links aws:a-1 payg account=B |
        0   | acme links azure:s-1 payg         |
        0   | aws:a-1 Agreement Ended CANCELLED | final_report_due aws:a-1 0+1h
        0   | azure:s-1 Suspend                 | canceled non_payment by marketplace, payg
        1   |                                   | control_plane_lost
        4   |                                   | notice_given: suspended 7
        7   |                                   | suspended
        30  |                                   | notice_given: deactivated 37
        33  | azure:s-1 Unsubscribe             |
        34  | aws:a-2 License Updated account=B | reinstatement_pending: aws:a-2 by sign_in
        36  | aws:a-2 Agreement Ended CANCELLED | reinstatement_lapsed: aws:a-2 by sign_in
        40  |                                   | deactivated
    """)


def test_a_plan_that_is_active_again_at_the_last_instant_stops_the_step() -> None:
    """Section 4: no time was left, so the step comes when the plan ends, and as of then."""
    check_story(
        """
        day | heard                                | said
        0   | acme created                         |
        0   | acme links gcp:e-1 payg account=P    |
        0   | gcp:e-1 ENTITLEMENT_CANCELLED        | canceled unknown by marketplace, payg
        1   |                                      | control_plane_lost
        4   |                                      | notice_given: suspended 7
        7   | gcp:e-2 ENTITLEMENT_ACTIVE account=P | reinstatement_pending: gcp:e-2 by sign_in
        10  | gcp:e-2 ENTITLEMENT_CANCELLED        | reinstatement_lapsed: gcp:e-2 by sign_in
        10  |                                      | suspended
        """,
        until="32",
    )
