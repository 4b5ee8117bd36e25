"""The owner of a subscription: links, moves and successors (lifecycle.md section 2)."""

import pytest
from stories import check_story

NOTIFIED_AND_LINKED = [
    """
    day | input                         | events
    0   | acme created                  |
    1   | gcp:e-1 ENTITLEMENT_ACTIVE    |
    5   | acme links gcp:e-1 payg       |
    9   | gcp:e-1 ENTITLEMENT_CANCELLED | canceled unknown by marketplace, payg
    9   |                               | final_report_due gcp:e-1 9+1h
    """,
    """
    day | input                         | events
    0   | acme created                  |
    1   | acme links gcp:e-1 payg       |
    5   | gcp:e-1 ENTITLEMENT_ACTIVE    |
    9   | gcp:e-1 ENTITLEMENT_CANCELLED | canceled unknown by marketplace, payg
    9   |                               | final_report_due gcp:e-1 9+1h
    """,
    """
    day | input                         | events
    0   | acme created                  |
    5   | gcp:e-1 ENTITLEMENT_ACTIVE    |
    9   | gcp:e-1 ENTITLEMENT_CANCELLED |
    9   | acme links gcp:e-1 payg       | canceled unknown by marketplace, payg
    9   |                               | final_report_due gcp:e-1 9+1h
    """,
]


@pytest.mark.parametrize("story", NOTIFIED_AND_LINKED, ids=["heard first", "linked first", "ended"])
def test_a_subscriptions_notifications_and_link_arrive_in_any_order(story: str) -> None:
    """A subscription that had ended when it is linked cancels, too."""
    check_story(story, until="9")


def test_a_subscription_that_is_moved_ends_for_the_former_organization() -> None:
    """At the time of the new link, for an unknown reason."""
    check_story(
        """
        day | input                         | events
        0   | acme created                  |
        0   | beta created                  |
        0   | acme links gcp:e-1 payg       |
        20  | beta links gcp:e-1 payg       | canceled unknown by system, payg
        21  |                               | control_plane_lost
        24  | gcp:e-1 ENTITLEMENT_CANCELLED | beta: canceled unknown by marketplace, payg
        24  |                               | beta: final_report_due gcp:e-1 24+1h
        24  |                               | notice_given: suspended 27
        """,
        until="24",
    )


def test_the_newest_link_wins_whatever_the_order_of_arrival() -> None:
    """By its own time: on day 20, the link of day 3 is outdated."""
    check_story("""
        day   | input                      | events
        0     | acme created               |
        0     | beta created               |
        19    | beta links gcp:e-1 payg    |
        20    | acme links gcp:e-1 payg @3 | canceled @19 unknown by system, payg
        20+1h |                            | control_plane_lost
        23    |                            | notice_given: suspended 26
        26    |                            | suspended
        49    |                            | notice_given: deactivated 56
        56    |                            | deactivated
    """)


def test_later_reports_of_a_moved_subscription_do_not_affect_the_former_organization() -> None:
    """It had ended for acme on day 5, before it was moved and revived: day 5 is what counts.  For
    beta it counts from the move on, as if it had begun and ended then (section 11).
    """
    check_story(
        """
        day  | input                       | events
        0    | acme created                |
        0    | beta created                |
        0    | acme links aws:p/c payg     |
        5    | aws:p/c unsubscribe-success | canceled unknown by marketplace, payg
             |                             | final_report_due aws:p/c 5+1h
        6    |                             | control_plane_lost
        8    | beta links aws:p/c          | beta: canceled unknown by marketplace, payg
        9    | aws:p/c subscribe-success   | beta: reinstated
        9    |                             | notice_given: suspended 12
        10   | aws:p/c unsubscribe-success | beta: canceled unknown by marketplace, payg
             |                             | beta: final_report_due aws:p/c 10+1h
        11   |                             | beta: control_plane_lost
        12   |                             | suspended
        """,
        until="12",
    )


def test_a_successor_moved_to_another_organization_ends_at_its_link() -> None:
    """It was acme's by inheritance until then: the twenty days are not removed retroactively."""
    check_story(
        """
        day | input                                  | events
        0   | acme created                           |
        0   | beta created plus                      |
        0   | acme links aws:a-1 payg                |
        10  | aws:a-2 Agreement Created previous=a-1 |
        10  | aws:a-1 Agreement Ended RENEWED        | final_report_due aws:a-1 10+1h
        30  | beta links aws:a-2                     | canceled unknown by system, payg
        31  |                                        | control_plane_lost
        """,
        until="31",
    )


def test_a_successor_of_a_moved_subscription_was_never_the_former_organizations() -> None:
    """Acme lost the agreement on day 5; its renewal for beta is no end for acme."""
    check_story(
        """
        day | input                                  | events
        0   | acme created                           |
        0   | beta created                           |
        0   | acme links aws:a-1 payg                |
        5   | beta links aws:a-1 payg                | canceled unknown by system, payg
        6   |                                        | control_plane_lost
        9   |                                        | notice_given: suspended 12
        10  | aws:a-2 Agreement Created previous=a-1 |
        12  |                                        | suspended
        """,
        until="12",
    )


def test_a_successor_has_its_own_plan_type() -> None:
    """The plan type of the old agreement's link does not apply to the new one: no short
    timeline.
    """
    check_story(
        """
        day | input                                          | events
        0   | acme created                                   |
        0   | acme links aws:a-1 payg                        |
        10  | aws:a-2 Agreement Created previous=a-1 end=400 |
        10  | aws:a-1 Agreement Ended REPLACED               | final_report_due aws:a-1 10+1h
        20  | aws:a-2 Agreement Ended CANCELLED              | canceled customer by customer, commit
            |                                                | final_report_due aws:a-2 20+1h
        """,
        until="20",
    )


def test_a_second_copy_of_the_purchase_keeps_the_predecessor() -> None:
    """AWS notifies the proposer and the manufacturer; one copy may have less information."""
    check_story(
        """
        day | input                                          | events
        0   | acme created                                   |
        0   | acme links aws:a-1 payg                        |
        10  | aws:a-2 Agreement Created previous=a-1 end=400 |
        10  | aws:a-2 Agreement Created end=400              |
        10  | aws:a-1 Agreement Ended REPLACED               | final_report_due aws:a-1 10+1h
        """,
        until="40",
    )


def test_the_successor_may_arrive_some_days_late() -> None:
    """A superseded plan counts until its successor is known, for up to 7 days."""
    check_story(
        """
        day | input                                  | events
        0   | acme created                           |
        0   | acme links aws:a-1                     |
        10  | aws:a-1 Agreement Ended REPLACED       | final_report_due aws:a-1 10+1h
        16  | aws:a-2 Agreement Created previous=a-1 |
        """,
    )


def test_a_superseded_plan_without_a_successor_ends_after_7_days() -> None:
    """Then it has ended, for an unknown reason."""
    check_story("""
        day | input                                  | events
        0   | acme created                           |
        0   | acme links aws:a-1 payg                |
        10  | aws:a-1 Agreement Ended SUPERSEDED     | final_report_due aws:a-1 10+1h
        17  |                                        | canceled unknown by system, payg
        18  |                                        | control_plane_lost
        19  | aws:a-2 Agreement Created previous=a-1 | reinstated
    """)


def test_a_superseded_plan_counts_no_longer_than_until_its_successor_begins() -> None:
    """Section 11: later reports about the successor then decide."""
    check_story(
        """
        day | input                                  | events
        0   | acme created                           |
        0   | acme links aws:a-1 payg                |
        10  | aws:a-2 Agreement Created previous=a-1 |
        10  | aws:a-1 Agreement Ended RENEWED        | final_report_due aws:a-1 10+1h
        12  | aws:a-2 Agreement Ended CANCELLED      | canceled customer by customer, payg
            |                                        | final_report_due aws:a-2 12+1h
        """,
        until="12",
    )


def test_superseded_reinstates_nobody() -> None:
    """A canceled organization needs a plan, not the announcement of one."""
    check_story(
        """
        day | input                             | events
        0   | acme created                      |
        0   | acme links aws:a-1 payg           |
        1   | aws:a-1 Agreement Ended CANCELLED | canceled customer by customer, payg
            |                                   | final_report_due aws:a-1 1+1h
        2   |                                   | control_plane_lost
        3   | aws:a-1 Agreement Ended REPLACED  |
        12  |                                   | notice_given: suspended 15
        """,
        until="14",
    )


def test_a_moved_plan_counts_for_its_new_organization_from_the_move_on() -> None:
    """Section 11: beta had no plan when its commitment was linked, so that one counts from its own
    beginning, and the end of the moved plan cancels.
    """
    check_story(
        """
        day | input                           | events
        0   | acme created plus               |
        0   | beta created plus               |
        0   | acme links azure:s-1 payg       |
        0   | beta links aws:p/c payg         |
        5   | aws:p/c unsubscribe-success     | beta: canceled unknown by marketplace, payg
            |                                 | beta: final_report_due aws:p/c 5+1h
        6   |                                 | beta: control_plane_lost
        7   | beta commits c-1 from=80 to=100 |
        8   | acme links aws:p/d payg         |
        9   | beta links aws:p/d payg         | beta: reinstated
        10  | aws:p/d unsubscribe-success     | beta: canceled unknown by marketplace, payg
            |                                 | beta: final_report_due aws:p/d 10+1h
        11  |                                 | beta: control_plane_lost
        """,
        until="12",
    )


def test_a_plan_of_azure_that_moves_to_a_canceled_organization_waits_for_support() -> None:
    """Section 11: it began there with the link, after the cancellation."""
    check_story(
        """
        day | input                       | events
        0   | acme created plus           |
        0   | beta created plus           |
        0   | acme links azure:s-1 payg   |
        0   | beta links aws:p/c payg     |
        5   | aws:p/c unsubscribe-success | beta: canceled unknown by marketplace, payg
            |                             | beta: final_report_due aws:p/c 5+1h
        6   |                             | beta: control_plane_lost
        7   | beta links azure:s-1 payg   | canceled unknown by system, payg
            |                             | beta: reinstatement_pending: azure:s-1 by support
        8   | support: beta reinstate     | beta: reinstated
            |                             | beta: support_request.completed
        8   |                             | control_plane_lost
        """,
        until="8",
    )


def test_a_plan_that_comes_back_counts_again_from_the_second_link_on() -> None:
    """Section 11, A -> B -> A: two intervals, and acme is canceled in between."""
    check_story(
        """
        day | input                   | events
        0   | acme created plus       |
        0   | beta created plus       |
        0   | acme links aws:p/c payg |
        5   | beta links aws:p/c payg | canceled unknown by system, payg
        6   |                         | control_plane_lost
        7   | acme links aws:p/c payg | reinstated
            |                         | beta: canceled unknown by system, payg
        """,
        until="7",
    )


def test_a_move_and_its_reversal_that_arrive_late_cancel_nobody_who_has_a_plan() -> None:
    """Section 11: beta had it for a while, and had lost it before that was reported."""
    check_story(
        """
        day   | input                      | events
        0     | acme created plus          |
        0     | beta created plus          |
        0     | acme links aws:p/c payg    |
        9     | acme links aws:p/c payg    |
        10    | beta links aws:p/c payg @5 | beta: canceled @9 unknown by system, payg
        10+1h |                            | beta: control_plane_lost
        """,
        until="11",
    )


@pytest.mark.parametrize(
    "ended",
    [
        "27 | gcp:e-1 ENTITLEMENT_PENDING_CANCELLATION ends=34 |",
        "27 | gcp:e-1 ENTITLEMENT_CANCELLED reason=migrated    | final_report_due gcp:e-1 27+1h",
    ],
    ids=["announced", "superseded"],
)
def test_a_plan_that_had_ended_before_it_moved_reactivates_nobody(ended: str) -> None:
    """Section 4: positive proof only, also at the very instant of the link."""
    check_story(
        f"""
        day | input                                              | events
        0   | acme created plus                                  |
        0   | beta created plus                                  |
        0   | acme links gcp:e-1 payg                            |
        0   | beta links gcp:e-2 payg                            |
        {ended}
        28  | gcp:e-2 ENTITLEMENT_CANCELLED | beta: canceled unknown by marketplace, payg
            |                               | beta: final_report_due gcp:e-2 28+1h
        29  |                               | beta: control_plane_lost
        32  |                               | beta: notice_given: suspended 35
        34  |                               | canceled unknown by system, payg
        34+1h | beta links gcp:e-1 payg     |
        """,
        until="34+1h",
    )


def test_of_a_moved_plan_the_last_end_before_the_move_is_the_new_organizations() -> None:
    """Other reports from its time in the former organization do not count."""
    check_story(
        """
        day | input                            | events
        0   | acme created plus                |
        0   | beta created plus                |
        0   | acme links azure:s-1 payg        |
        39  | azure:s-1 Suspend                | canceled non_payment by marketplace, payg
        40  |                                  | control_plane_lost
        41  | azure:s-1 Reinstate              | reinstatement_pending: azure:s-1 by support
        41  | support: acme reinstate          | reinstated
            |                                  | support_request.completed
        61  | azure:s-1 Unsubscribe by=Partner | canceled vendor by vendor, payg
            |                                  | final_report_due azure:s-1 62
        62  | beta links azure:s-1 payg        | beta: canceled vendor by vendor, payg
        62  |                                  | control_plane_lost
        """,
        until="62",
    )


def test_facts_about_a_moved_plan_shorten_no_timeline_of_its_former_owner() -> None:
    """Section 3: the timeline is that of the plan at the time when it ended for acme."""
    check_story(
        """
        day | input                          | events
        0   | acme created plus              |
        0   | beta created plus              |
        0   | acme links azure:s-1 commit    |
        10  | beta links azure:s-1 payg      | canceled unknown by system, commit
        13  |                                | control_plane_lost
        20  | azure:s-1 Unsubscribe          | beta: canceled customer by customer, payg
            |                                | beta: final_report_due azure:s-1 21
        21  |                                | notice_given: suspended 24
            |                                | beta: control_plane_lost
        """,
        until="21",
    )
