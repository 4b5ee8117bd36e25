"""Reinstatements by Azure and Support, and what each restores (lifecycle.md section 4)."""

import pytest
from stories import check_story, policy

AUTOMATIC = policy("""
    [reinstatement]
    azure = "automatic"
""")


# --- Azure, row 3 ---------------------------------------------------------------------------------


def test_azure_reinstates_and_support_completes_it() -> None:
    """Section 4, row 3: the default of `reinstatement.azure` is `support`."""
    check_story("""
        day | input                     | events
        0   | acme created              |
        0   | acme links azure:s-1 payg |
        5   | azure:s-1 Suspend         | canceled non_payment by marketplace, payg
        6   |                           | control_plane_lost
        9   |                           | notice_given: suspended 12
        10  | azure:s-1 Reinstate       | reinstatement_pending: azure:s-1 by support
        11  | acme logs in              |
        30  | support: acme reinstate   | reinstated
            |                           | notice_withdrawn: suspended 12
            |                           | support_request.completed
    """)


def test_a_new_azure_subscription_waits_for_support_as_well() -> None:
    """Section 4, row 3: also one that is linked explicitly."""
    check_story("""
        day | input                     | events
        0   | acme created              |
        0   | acme links azure:s-1 payg |
        5   | azure:s-1 Unsubscribe     | canceled customer by customer, payg
        5   |                           | final_report_due azure:s-1 6
        6   |                           | control_plane_lost
        7   | azure:s-2 Subscribe       |
        8   | acme links azure:s-2      | reinstatement_pending: azure:s-2 by support
        9   | support: acme reinstate   | reinstated
            |                           | support_request.completed
    """)


def test_no_sign_in_completes_what_azure_reinstates() -> None:
    """Section 4: Azure has no billing accounts, whatever the sign-up reports; only Support confirms
    it.
    """
    check_story(
        """
        day | input                               | events
        0   | acme created                        |
        0   | acme links azure:s-1 payg account=T |
        5   | azure:s-1 Unsubscribe               | canceled customer by customer, payg
        5   |                                     | final_report_due azure:s-1 6
        6   | azure:s-2 Subscribe                 |
        6   |                                     | control_plane_lost
        8   | acme logs in                        |
        9   |                                     | notice_given: suspended 12
        10  | acme links azure:s-2 account=T      | reinstatement_pending: azure:s-2 by support
        11  | acme logs in                        |
        14  | support: acme reinstate             | reinstated
            |                                     | notice_withdrawn: suspended 12
            |                                     | support_request.completed
        """,
    )


def test_a_sign_in_that_arrives_after_the_link_completes_it_no_more_than_one_before() -> None:
    """The same in the other order."""
    check_story(
        """
        day | input                               | events
        0   | acme created                        |
        0   | acme links azure:s-1 payg account=T |
        5   | azure:s-1 Unsubscribe               | canceled customer by customer, payg
        5   |                                     | final_report_due azure:s-1 6
        6   | azure:s-2 Subscribe                 |
        6   |                                     | control_plane_lost
        7   | acme links azure:s-2 account=T      | reinstatement_pending: azure:s-2 by support
        8   | acme logs in                        |
        """,
    )


def test_an_azure_plan_of_another_was_never_pending_by_its_account() -> None:
    """Section 4: acme signed in before; its clock continues as if nothing had been bought."""
    check_story(
        """
        day | input                               | events
        0   | acme created                        |
        0   | beta created plus                   |
        0   | acme links azure:s-1 payg account=T |
        5   | azure:s-1 Unsubscribe               | canceled customer by customer, payg
        5   |                                     | final_report_due azure:s-1 6
        6   | azure:s-2 Subscribe                 |
        6   |                                     | control_plane_lost
        8   | acme logs in                        |
        9   |                                     | notice_given: suspended 12
        10  | beta links azure:s-2 account=T      |
        11  | acme tier plus                      |
        12  |                                     | suspended
        """,
        until="12",
    )


def test_azure_may_reinstate_automatically() -> None:
    """Section 4, row 3: `reinstatement.azure = "automatic"`."""
    check_story(
        """
        day | input                     | events
        0   | acme created              |
        0   | acme links azure:s-1 payg |
        5   | azure:s-1 Suspend         | canceled non_payment by marketplace, payg
        6   |                           | control_plane_lost
        7   | azure:s-1 Reinstate       | reinstated
        """,
        AUTOMATIC,
    )


def test_a_second_azure_subscription_that_began_in_time_needs_no_support() -> None:
    """Section 11: it is reported late, but began before the cancellation."""
    check_story("""
        day | input                     | events
        0   | acme created              |
        0   | acme links azure:s-1 payg |
        9   | azure:s-1 Unsubscribe     | canceled customer by customer, payg
        9   |                           | final_report_due azure:s-1 10
        10  |                           | control_plane_lost
        11  | azure:s-2 Subscribe @5    |
        11  | acme links azure:s-2 @5   | reinstated
    """)


def test_an_azure_subscription_that_began_while_another_was_active_needs_support() -> None:
    """Section 11: it began after the decided `canceled_at`; that late reports move this later is no
    proof.
    """
    check_story("""
        day | input                                 | events
        0   | acme created                          |
        0   | acme links azure:s-1 payg             |
        9   | azure:s-1 Unsubscribe                 | canceled customer by customer, payg
        9   |                                       | final_report_due azure:s-1 10
        10  |                                       | control_plane_lost
        11  | azure:s-2 Subscribe @10               |
        11  | acme links azure:s-2 @10              | reinstatement_pending: azure:s-2 by support
        12  | gcp:e-1 ENTITLEMENT_CANCELLED @10+12h |
        12  | acme links gcp:e-1 payg @8            | final_report_due gcp:e-1 10+13h
        13  | support: acme reinstate               | reinstated
            |                                       | support_request.completed
    """)


@pytest.mark.parametrize("azure_first", [True, False])
def test_azure_waits_in_either_order_of_old_news(azure_first: bool) -> None:
    """Section 11: "after" refers to what was decided, so the order of arrival does not matter
    (invariant 7).
    """
    azure = """
        20  | azure:s-2 Subscribe @10               |
        20  | acme links azure:s-2 @10              | {by_azure}
    """
    other = """
        20  | gcp:e-1 ENTITLEMENT_CANCELLED @12     |
        20  | acme links gcp:e-1 payg @11           | final_report_due gcp:e-1 12+1h
    """
    azure = azure.format(by_azure="reinstatement_pending: azure:s-2 by support")
    check_story(
        """
        day | input                                 | events
        0   | acme created                          |
        0   | acme links azure:s-1 payg             |
        9   | azure:s-1 Unsubscribe                 | canceled customer by customer, payg
        9   |                                       | final_report_due azure:s-1 10
        10  |                                       | control_plane_lost
        13  |                                       | notice_given: suspended 16
        16  |                                       | suspended
        """
        + (azure + other if azure_first else other + azure)
    )


def test_suspended_on_day_29_and_paid_on_day_30() -> None:
    """Section 4, row 2: everything revoked is restored, and nothing of the timeline remains."""
    events = check_story("""
        day | input                       | events
        0   | acme created                |
        0   | acme links aws:p/c payg     |
        22  | aws:p/c unsubscribe-success | canceled unknown by marketplace, payg
            |                             | final_report_due aws:p/c 22+1h
        23  |                             | control_plane_lost
        26  |                             | notice_given: suspended 29
        29  |                             | suspended
        30  | aws:p/c subscribe-success   | reinstated
    """)
    assert [event.kind for event in events[-4:]] == [
        "organization.reinstated",
        "control_plane.access_restored",
        "api_keys.restored",
        "data_plane.access_restored",
    ]


def test_suspended_by_azure_on_day_29_and_paid_on_day_30() -> None:
    """Section 4, row 3: the payment is processed before the step of the same moment, and
    stops it.
    """
    check_story("""
        day | input                     | events
        0   | acme created              |
        0   | acme links azure:s-1 payg |
        29  | azure:s-1 Suspend         | canceled non_payment by marketplace, payg
        30  | azure:s-1 Reinstate       | reinstatement_pending: azure:s-1 by support
        31  | support: acme reinstate   | reinstated
            |                           | support_request.completed
    """)


def test_paid_on_the_last_day_and_the_notice_is_withdrawn_last_of_all() -> None:
    """Sections 3 and 4: the announced step is obsolete."""
    check_story(
        """
        day    | input                        | events
        0      | acme created                 |
        0      | azure:s-1 Subscribe term=P1M |
        0      | acme links azure:s-1         |
        10     | azure:s-1 Suspend            | canceled non_payment by marketplace, payg
        11     |                              | control_plane_lost
        14     |                              | notice_given: suspended 17
        17     |                              | suspended
        40     |                              | notice_given: deactivated 47
        46+23h | azure:s-1 Reinstate          | reinstated
               |                              | notice_withdrawn: deactivated 47
        """,
        AUTOMATIC,
    )


def test_paid_at_the_last_instant() -> None:
    """At one instant messages come before deadlines: the payment wins."""
    check_story(
        """
        day | input                     | events
        0   | acme created              |
        0   | acme links azure:s-1 payg |
        0   | azure:s-1 Suspend         | canceled non_payment by marketplace, payg
        1   |                           | control_plane_lost
        4   |                           | notice_given: suspended 7
        7   | azure:s-1 Reinstate       | reinstated
            |                           | notice_withdrawn: suspended 7
        """,
        AUTOMATIC,
    )


# --- Support, row 5 -------------------------------------------------------------------------------


def test_support_completes_a_reinstatement_that_waits_for_a_sign_in() -> None:
    """Section 4, row 5: there is an active plan, so it is immediate."""
    check_story("""
        day | input                                | events
        0   | acme created                         |
        0   | acme links gcp:e-1 payg account=P    |
        0   | gcp:e-1 ENTITLEMENT_CANCELLED        | canceled unknown by marketplace, payg
        0   |                                      | final_report_due gcp:e-1 0+1h
        1   |                                      | control_plane_lost
        2   | gcp:e-2 ENTITLEMENT_ACTIVE account=P | reinstatement_pending: gcp:e-2 by sign_in
        3   | support: acme reinstate              | reinstated
            |                                      | support_request.completed
    """)


def test_support_cannot_reinstate_without_a_plan() -> None:
    """Section 4, row 5: positive proof only."""
    check_story(
        """
        day | input                         | events
        0   | acme created                  |
        0   | acme links gcp:e-1 payg       |
        0   | gcp:e-1 ENTITLEMENT_CANCELLED | canceled unknown by marketplace, payg
        0   |                               | final_report_due gcp:e-1 0+1h
        1   |                               | control_plane_lost
        2   | support: acme reinstate       | support_request.rejected: no_active_plan
        """,
        until="3",
    )


def test_support_reinstates_with_a_grant_that_ends_by_itself() -> None:
    """Sections 4 and 7: `grant_expired` by the system, and the longest timeline."""
    check_story("""
        day | input                            | events
        0   | acme created                     |
        0   | acme links gcp:e-1 payg          |
        0   | gcp:e-1 ENTITLEMENT_CANCELLED    | canceled unknown by marketplace, payg
        0   |                                  | final_report_due gcp:e-1 0+1h
        1   |                                  | control_plane_lost
        2   | support: acme reinstate grant=60 | reinstated
            |                                  | support_request.completed
        60  |                                  | canceled grant_expired by system, None
        63  |                                  | control_plane_lost
        71  |                                  | notice_given: suspended 74
        74  |                                  | suspended
        127 |                                  | notice_given: deactivated 134
        134 |                                  | deactivated
    """)


def test_a_plan_bought_during_the_grant_keeps_the_organization() -> None:
    """Sections 2 and 7: a grant is a plan among others; the last one cancels."""
    check_story("""
        day | input                            | events
        0   | acme created                     |
        0   | acme links gcp:e-1 payg          |
        0   | gcp:e-1 ENTITLEMENT_CANCELLED    | canceled unknown by marketplace, payg
        0   |                                  | final_report_due gcp:e-1 0+1h
        1   |                                  | control_plane_lost
        2   | support: acme reinstate grant=60 | reinstated
            |                                  | support_request.completed
        59  | acme links gcp:e-2 payg          |
    """)


# --- what is restored -----------------------------------------------------------------------------

BACK = {
    "canceled": (
        """
        0+30m | aws:p/c subscribe-success       | reinstated
        """,
        [],
    ),
    "control_plane_loss": (
        """
        1 |                           | control_plane_lost
        2 | aws:p/c subscribe-success | reinstated
        """,
        ["control_plane.access_restored"],
    ),
    "suspended": (
        """
        1 |                           | control_plane_lost
        4 |                           | notice_given: suspended 7
        7 |                           | suspended
        8 | aws:p/c subscribe-success | reinstated
        """,
        ["control_plane.access_restored", "api_keys.restored", "data_plane.access_restored"],
    ),
}


@pytest.mark.parametrize("state", BACK)
def test_a_reinstatement_undoes_exactly_what_was_in_force(state: str) -> None:
    """Sections 1, 4 and 9: nothing from canceled, everything from suspended."""
    story, restored = BACK[state]
    began = """
        0 | acme created                |
        0 | acme links aws:p/c payg     |
        0 | aws:p/c unsubscribe-success | canceled unknown by marketplace, payg
          |                             | final_report_due aws:p/c 0+1h
    """
    events = check_story(began.rstrip() + "\n" + story.strip("\n"))
    kinds = [str(event.kind) for event in events]
    assert kinds[kinds.index("organization.reinstated") + 1 :] == restored
    assert events[-1].standing is not None
    assert (events[-1].standing.state, events[-1].standing.previous_state) == ("active", state)


def test_a_deactivated_organization_is_never_reinstated() -> None:
    """Sections 4 and 6: its data is deleted; later purchases and reports have no effect."""
    events = check_story("""
        day | input                          | events
        0   | acme created                   |
        0   | acme links aws:p/c payg        |
        0   | aws:p/c unsubscribe-success    | canceled unknown by marketplace, payg
            |                                | final_report_due aws:p/c 0+1h
        1   |                                | control_plane_lost
        4   |                                | notice_given: suspended 7
        7   |                                | suspended
        30  |                                | notice_given: deactivated 37
        37  |                                | deactivated
        40  | aws:p/c subscribe-success      |
        41  | acme links gcp:e-1             |
        42  | acme commits c-1 from=42 to=50 |
        43  | acme logs in                   |
        44  | support: acme reinstate        | support_request.rejected: not_reinstatable
        45  | aws:p/c unsubscribe-success    | final_report_due aws:p/c 45+1h
    """)
    deactivated = next(event for event in events if event.kind == "organization.deactivated")
    assert deactivated.standing is not None
    assert deactivated.standing.reason == "unknown"
