"""What reinstates an organization, and what does not (lifecycle.md section 4)."""

from stories import check_story, policy

WITHOUT_SIGN_IN = policy("""
    [reinstatement]
    sign_in_required = false
""")


# --- by billing account, row 1 --------------------------------------------------------------------


def test_a_new_aws_subscription_of_the_same_account_waits_for_a_sign_in() -> None:
    """Section 4, row 1: the account alone proves nothing; a user who signs in does."""
    check_story("""
        day | input                             | events
        0   | acme created                      |
        0   | acme links aws:a-1 payg account=B |
        0   | aws:a-1 Agreement Ended CANCELLED | canceled customer by customer, payg
            |                                   | final_report_due aws:a-1 0+1h
        1   |                                   | control_plane_lost
        2   | aws:a-2 License Updated account=B | reinstatement_pending: aws:a-2 by sign_in
        3   | acme logs in                      | reinstated
    """)


def test_a_new_google_entitlement_of_the_same_account_waits_for_a_sign_in() -> None:
    """Section 4, row 1: the account is that of the resource."""
    check_story("""
        day | input                                | events
        0   | acme created                         |
        0   | acme links gcp:e-1 payg              |
        0   | gcp:e-1 ENTITLEMENT_ACTIVE account=P |
        0   | gcp:e-1 ENTITLEMENT_CANCELLED        | canceled unknown by marketplace, payg
        0   |                                      | final_report_due gcp:e-1 0+1h
        1   |                                      | control_plane_lost
        2   | gcp:e-2 ENTITLEMENT_ACTIVE account=P | reinstatement_pending: gcp:e-2 by sign_in
        30  | acme logs in                         | reinstated
    """)


def test_a_link_completes_a_pending_reinstatement() -> None:
    """Section 4, row 1: a link by the vendor's sign-up counts like a sign-in."""
    check_story("""
        day | input                                | events
        0   | acme created                         |
        0   | acme links gcp:e-1 payg account=P    |
        0   | gcp:e-1 ENTITLEMENT_CANCELLED        | canceled unknown by marketplace, payg
        0   |                                      | final_report_due gcp:e-1 0+1h
        1   |                                      | control_plane_lost
        2   | gcp:e-2 ENTITLEMENT_ACTIVE account=P | reinstatement_pending: gcp:e-2 by sign_in
        3   | acme links gcp:e-2                   | reinstated
    """)


def test_a_policy_may_require_no_sign_in() -> None:
    """Section 4, row 1: `sign_in_required = false`."""
    check_story(
        """
        day | input                                | events
        0   | acme created                         |
        0   | acme links gcp:e-1 payg account=P    |
        0   | gcp:e-1 ENTITLEMENT_CANCELLED        | canceled unknown by marketplace, payg
        0   |                                      | final_report_due gcp:e-1 0+1h
        1   |                                      | control_plane_lost
        2   | gcp:e-2 ENTITLEMENT_ACTIVE account=P | reinstated
        """,
        WITHOUT_SIGN_IN,
    )


def test_only_a_sign_in_after_the_activation_counts() -> None:
    """Section 4: its time must be later than that of the plan's activation, not the same."""
    check_story("""
        day | input                                | events
        0   | acme created                         |
        0   | acme links gcp:e-1 payg account=P    |
        0   | gcp:e-1 ENTITLEMENT_CANCELLED        | canceled unknown by marketplace, payg
        0   |                                      | final_report_due gcp:e-1 0+1h
        1   |                                      | control_plane_lost
        2   | gcp:e-2 ENTITLEMENT_ACTIVE account=P | reinstatement_pending: gcp:e-2 by sign_in
        3   | acme logs in @1                      |
        3   | acme logs in @2                      |
        3   | beta logs in                         |
        4   | acme requests 100                    |
        5   | acme logs in @2+1s                   | reinstated
    """)


def test_a_sign_in_that_arrived_before_the_plan_counts_too() -> None:
    """Section 4: times decide, not the order of arrival (invariant 7)."""
    check_story("""
        day   | input                                   | events
        0     | acme created                            |
        0     | acme links gcp:e-1 payg account=P       |
        0     | gcp:e-1 ENTITLEMENT_CANCELLED           | canceled unknown by marketplace, payg
        0     |                                         | final_report_due gcp:e-1 0+1h
        1     |                                         | control_plane_lost
        3     | acme logs in                            |
        3+12h | gcp:e-2 ENTITLEMENT_ACTIVE account=P @2 | reinstated
    """)


# --- holders of the account -----------------------------------------------------------------------


def test_an_account_of_several_organizations_links_nothing() -> None:
    """Section 4: the subscription waits for an explicit link."""
    check_story(
        """
        day | input                                | events
        0   | acme created                         |
        0   | beta created                         |
        0   | acme links gcp:e-1 payg account=P    |
        0   | beta links gcp:e-2 payg account=P    |
        0   | gcp:e-1 ENTITLEMENT_CANCELLED        | canceled unknown by marketplace, payg
        0   |                                      | final_report_due gcp:e-1 0+1h
        0   | gcp:e-2 ENTITLEMENT_CANCELLED        | beta: canceled unknown by marketplace, payg
        0   |                                      | beta: final_report_due gcp:e-2 0+1h
        1   |                                      | control_plane_lost
            |                                      | beta: control_plane_lost
        2   | gcp:e-3 ENTITLEMENT_ACTIVE account=P |
        2   | acme logs in                         |
        3   | acme links gcp:e-3                   | reinstated
        """,
        until="3",
    )


def test_an_account_of_several_is_checked_again_when_only_one_of_them_is_left() -> None:
    """Section 4: beta's deactivation changes the holder of the account; acme's user need not wait,
    because every sign-in of a canceled organization is checked.
    """
    check_story(
        """
        day | input                                | events
        0   | acme created                         |
        0   | beta created                         |
        0   | acme links gcp:e-1 payg account=P    |
        0   | beta links gcp:e-2 payg account=P    |
        0   | gcp:e-2 ENTITLEMENT_CANCELLED        | beta: canceled unknown by marketplace, payg
        0   |                                      | beta: final_report_due gcp:e-2 0+1h
        1   |                                      | beta: control_plane_lost
        4   |                                      | beta: notice_given: suspended 7
        7   |                                      | beta: suspended
        25  | gcp:e-1 ENTITLEMENT_CANCELLED        | canceled unknown by marketplace, payg
        25  |                                      | final_report_due gcp:e-1 25+1h
        26  |                                      | control_plane_lost
        29  |                                      | notice_given: suspended 32
        30  |                                      | beta: notice_given: deactivated 37
        32  |                                      | suspended
        35  | gcp:e-3 ENTITLEMENT_ACTIVE account=P |
        37  |                                      | beta: deactivated
        40  | acme logs in                         | reinstated
        """,
        until="54",
    )


def test_an_account_without_a_holder_links_nothing_until_it_has_one() -> None:
    """Section 4: the match is checked again when either side changes."""
    check_story(
        """
        day | input                                | events
        0   | acme created                         |
        0   | acme links gcp:e-1 payg              |
        0   | gcp:e-1 ENTITLEMENT_CANCELLED        | canceled unknown by marketplace, payg
        0   |                                      | final_report_due gcp:e-1 0+1h
        1   |                                      | control_plane_lost
        2   | gcp:e-2 ENTITLEMENT_ACTIVE account=P |
        3   | acme links gcp:e-1 payg account=P    | reinstatement_pending: gcp:e-2 by sign_in
        """,
        until="300",
    )


def test_an_account_of_an_active_organization_links_nothing_until_it_is_canceled() -> None:
    """Section 4: an unlinked subscription is no plan, so the end of the linked one cancels."""
    check_story("""
        day | input                                | events
        0   | acme created                         |
        0   | acme links gcp:e-1 payg account=P    |
        2   | gcp:e-2 ENTITLEMENT_ACTIVE account=P |
        5   | gcp:e-1 ENTITLEMENT_CANCELLED        | canceled unknown by marketplace, payg
            |                                      | reinstatement_pending: gcp:e-2 by sign_in
            5 |                                      | final_report_due gcp:e-1 5+1h
        6   | acme logs in                         | reinstated
    """)


def test_a_subscription_that_is_linked_elsewhere_matches_no_other_organization() -> None:
    """Section 4: only a subscription without a link is matched by its account."""
    check_story(
        """
        day | input                                | events
        0   | acme created                         |
        0   | beta created                         |
        0   | acme links gcp:e-1 payg account=P    |
        0   | gcp:e-1 ENTITLEMENT_CANCELLED        | canceled unknown by marketplace, payg
        0   |                                      | final_report_due gcp:e-1 0+1h
        1   |                                      | control_plane_lost
        2   | gcp:e-2 ENTITLEMENT_ACTIVE account=P | reinstatement_pending: gcp:e-2 by sign_in
        4   | beta links gcp:e-2                   | reinstatement_lapsed: gcp:e-2 by sign_in
        6   |                                      | notice_given: suspended 9
        """,
        until="6",
    )


# --- immediate, rows 2 and 4 ----------------------------------------------------------------------


def test_a_subscription_that_is_linked_explicitly_reinstates_at_once() -> None:
    """Section 4, row 2: no sign-in is needed."""
    check_story("""
        day | input                         | events
        0   | acme created                  |
        0   | acme links gcp:e-1 payg       |
        0   | gcp:e-1 ENTITLEMENT_CANCELLED | canceled unknown by marketplace, payg
        0   |                               | final_report_due gcp:e-1 0+1h
        1   |                               | control_plane_lost
        2   | aws:a-1 License Updated       |
        3   | acme links aws:a-1            | reinstated
    """)


def test_a_successor_reinstates_at_once() -> None:
    """Section 4, row 2: the agreement continues under another id."""
    check_story("""
        day | input                                  | events
        0   | acme created                           |
        0   | acme links aws:a-1 payg                |
        0   | aws:a-1 Agreement Ended EXPIRED        | canceled commit_expired by system, payg
            |                                        | final_report_due aws:a-1 0+1h
        1   |                                        | control_plane_lost
        3   | aws:a-2 Agreement Created previous=a-1 | reinstated
    """)


def test_the_same_subscription_active_again_reinstates_at_once() -> None:
    """Section 4, row 2: the customer subscribed to the same product again."""
    check_story("""
        day | input                       | events
        0   | acme created                |
        0   | acme links aws:p/c payg     |
        0   | aws:p/c unsubscribe-success | canceled unknown by marketplace, payg
            |                             | final_report_due aws:p/c 0+1h
        1   |                             | control_plane_lost
        3   | aws:p/c subscribe-success   | reinstated
    """)


def test_a_new_commitment_reinstates_when_it_has_started() -> None:
    """Section 4, row 4: a signed commitment is no plan before it starts."""
    check_story("""
        day | input                            | events
        0   | acme created                     |
        0   | acme links gcp:e-1 payg          |
        0   | gcp:e-1 ENTITLEMENT_CANCELLED    | canceled unknown by marketplace, payg
        0   |                                  | final_report_due gcp:e-1 0+1h
        1   |                                  | control_plane_lost
        2   | acme commits c-1 from=5 to=99999 |
        4   |                                  | notice_given: suspended 7
        5   |                                  | reinstated
            |                                  | notice_withdrawn: suspended 7
    """)


def test_a_commitment_that_runs_already_reinstates_at_once() -> None:
    """Section 4, row 4."""
    check_story("""
        day | input                            | events
        0   | acme created                     |
        0   | acme links gcp:e-1 payg          |
        0   | gcp:e-1 ENTITLEMENT_CANCELLED    | canceled unknown by marketplace, payg
        0   |                                  | final_report_due gcp:e-1 0+1h
        1   |                                  | control_plane_lost
        2   | acme commits c-1 from=1 to=99999 | reinstated
    """)
