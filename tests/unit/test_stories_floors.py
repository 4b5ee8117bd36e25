"""The marketplaces' minimum retention of data (lifecycle.md section 3, 4)."""

from stories import check_story


def test_azure_keeps_data_for_30_days_after_a_suspension() -> None:
    """Section 3: the clock was paused for five days, so the timeline ends on day 42; Azure's 30
    days on 55.
    """
    check_story("""
        day | input                     | events
        0   | acme created              |
        0   | acme links azure:s-1 payg |
        0   | azure:s-1 Suspend         | canceled non_payment by marketplace, payg
        1   |                           | control_plane_lost
        4   |                           | notice_given: suspended 7
        7   |                           | suspended
        20  | azure:s-1 Reinstate       | reinstatement_pending: azure:s-1 by support
        25  | azure:s-1 Suspend         | reinstatement_lapsed: azure:s-1 by support
        48  |                           | notice_given: deactivated 55
        55  |                           | deactivated
    """)


def test_azure_keeps_data_for_7_days_after_an_unsubscription() -> None:
    """Section 3: counted from the Unsubscribe, also if a notice has announced an earlier date."""
    check_story("""
        day | input                     | events
        0   | acme created              |
        0   | acme links azure:s-1 payg |
        0   | azure:s-1 Suspend         | canceled non_payment by marketplace, payg
        1   |                           | control_plane_lost
        4   |                           | notice_given: suspended 7
        7   |                           | suspended
        30  |                           | notice_given: deactivated 37
        33  | azure:s-1 Unsubscribe     |
        40  |                           | deactivated
    """)


def test_an_unsubscription_after_the_usual_30_days_changes_nothing() -> None:
    """Section 3: Azure unsubscribes on day 30, and its 7 days end with the timeline."""
    check_story("""
        day | input                     | events
        0   | acme created              |
        0   | acme links azure:s-1 payg |
        0   | azure:s-1 Suspend         | canceled non_payment by marketplace, payg
        1   |                           | control_plane_lost
        4   |                           | notice_given: suspended 7
        7   |                           | suspended
        30  | azure:s-1 Unsubscribe     |
        30  |                           | notice_given: deactivated 37
        37  |                           | deactivated
    """)


def test_the_floor_of_any_plan_of_the_organization_counts() -> None:
    """Section 3: the data is shared; the Google plan that ended last does not lower the floor."""
    check_story("""
        day | input                         | events
        0   | acme created                  |
        0   | acme links azure:s-1 payg     |
        0   | acme links gcp:e-1 payg       |
        5   | azure:s-1 Suspend             |
        6   | gcp:e-1 ENTITLEMENT_CANCELLED | canceled unknown by marketplace, payg
        6   |                               | final_report_due gcp:e-1 6+1h
        7   |                               | control_plane_lost
        10  |                               | notice_given: suspended 13
        13  |                               | suspended
        36  |                               | notice_given: deactivated 43
        38  | azure:s-1 Unsubscribe         |
        45  |                               | deactivated
    """)


def test_a_reinstatement_lifts_the_floor_of_the_suspension() -> None:
    """Section 3: the 30 days end with a `Reinstate`; only the 7 after the Unsubscribe remain."""
    check_story("""
        day | input                     | events
        0   | acme created              |
        0   | acme links azure:s-1 payg |
        0   | azure:s-1 Suspend         | canceled non_payment by marketplace, payg
        1   |                           | control_plane_lost
        4   |                           | notice_given: suspended 7
        7   |                           | suspended
        20  | azure:s-1 Reinstate       | reinstatement_pending: azure:s-1 by support
        25  | azure:s-1 Suspend         | reinstatement_lapsed: azure:s-1 by support
        26  | azure:s-1 Reinstate       | reinstatement_pending: azure:s-1 by support
        27  | azure:s-1 Unsubscribe     | reinstatement_lapsed: azure:s-1 by support
        27  |                           | final_report_due azure:s-1 28
        36  |                           | notice_given: deactivated 43
        43  |                           | deactivated
    """)


def test_a_renewal_does_not_lift_the_floor_of_the_suspension() -> None:
    """Section 3: only a `Reinstate` ends the 30 days."""
    check_story("""
        day | input                     | events
        0   | acme created              |
        0   | acme links azure:s-1 payg |
        0   | azure:s-1 Suspend         | canceled non_payment by marketplace, payg
        1   |                           | control_plane_lost
        4   |                           | notice_given: suspended 7
        7   |                           | suspended
        20  | azure:s-1 Reinstate       | reinstatement_pending: azure:s-1 by support
        25  | azure:s-1 Suspend         | reinstatement_lapsed: azure:s-1 by support
        26  | azure:s-1 Renew           | reinstatement_pending: azure:s-1 by support
        27  | azure:s-1 Unsubscribe     | reinstatement_lapsed: azure:s-1 by support
        27  |                           | final_report_due azure:s-1 28
        48  |                           | notice_given: deactivated 55
        55  |                           | deactivated
    """)


def test_later_reports_of_a_moved_plan_do_not_change_the_floor_of_its_former_organization() -> None:
    """Section 3, 4: over the organization's plans; later reports concern another organization."""
    check_story(
        """
        day | input                      | events
        0   | acme created plus          |
        0   | beta created plus          |
        4   | acme links azure:s-1 payg  |
        34  | beta links azure:s-1 payg  | canceled unknown by system, payg
        35  |                            | control_plane_lost
        38  |                            | notice_given: suspended 41
        41  |                            | suspended
        64  |                            | notice_given: deactivated 71
        68  | azure:s-1 Suspend          | beta: canceled non_payment by marketplace, payg
        69  |                            | beta: control_plane_lost
        71  |                            | deactivated
        """,
        until="71",
    )


def test_of_several_floors_the_latest_counts() -> None:
    """Section 3, 4: over all plans of the organization."""
    check_story(
        """
        day | input                     | events
        0   | acme created plus         |
        0   | acme links azure:s-1 payg |
        0   | acme links azure:s-2 payg |
        0   | azure:s-1 Suspend         |
        0   | azure:s-2 Suspend         | canceled non_payment by marketplace, payg
        1   |                           | control_plane_lost
        4   |                           | notice_given: suspended 7
        7   |                           | suspended
        25  | azure:s-2 Suspend         |
        48  |                           | notice_given: deactivated 55
        55  |                           | deactivated
        """,
    )
