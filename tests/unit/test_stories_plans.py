"""What counts as a plan, and when the last one has ended (lifecycle.md section 2)."""

from itertools import permutations

import pytest
from stories import check_story, moment, run_story

from marketplace_worker.lifecycle.events import EventKind


def test_a_renewal_does_not_cancel() -> None:
    """AWS ends the old agreement as RENEWED, and a new one of the same owner continues it."""
    check_story("""
        day | input                                    | events
        0   | acme created                             |
        0   | aws:a-1 Agreement Created end=365        |
        0   | acme links aws:a-1                       |
        0   | aws:a-1 License Updated                  |
        365 | aws:a-2 Agreement Created previous=a-1 end=730 |
        365 | aws:a-1 Agreement Ended RENEWED          | final_report_due aws:a-1 365+1h
        366 | aws:a-2 License Updated                  |
        500 | aws:a-2 Agreement Ended TERMINATED       | canceled non_payment by marketplace, commit
            |                                          | final_report_due aws:a-2 500+1h
        503 |                                          | control_plane_lost
        511 |                                          | notice_given: suspended 514
        514 |                                          | suspended
        567 |                                          | notice_given: deactivated 574
        574 |                                          | deactivated
    """)


def test_of_two_subscriptions_the_last_one_cancels() -> None:
    """The last-plan rule; the timeline is that of the plan that ended last."""
    check_story(
        """
        day | input                            | events
        0   | acme created                     |
        0   | acme links gcp:e-1 commit        |
        0   | acme links azure:s-1 payg        |
        5   | gcp:e-1 ENTITLEMENT_CANCELLED    | final_report_due gcp:e-1 5+1h
        9   | azure:s-1 Unsubscribe by=Partner | canceled vendor by vendor, payg
        9   |                                  | final_report_due azure:s-1 10
        10  |                                  | control_plane_lost
        """,
        until="11",
    )


def test_two_subscriptions_and_one_ends() -> None:
    """Section 2: an organization has an active plan while any of its plans counts as active."""
    check_story("""
        day | input                         | events
        0   | acme created                  |
        0   | acme links gcp:e-1 payg       |
        0   | acme links azure:s-1 payg     |
        5   | gcp:e-1 ENTITLEMENT_CANCELLED | final_report_due gcp:e-1 5+1h
    """)


def test_of_two_ends_the_latest_counts_in_whatever_order_they_arrive() -> None:
    """`canceled_at` is the time of the event, not of its arrival."""
    check_story(
        """
        day | input                            | events
        0   | acme created                     |
        0   | acme links gcp:e-1 commit        |
        0   | acme links azure:s-1 payg        |
        9   | azure:s-1 Unsubscribe @8         | final_report_due azure:s-1 9
        9   | gcp:e-1 ENTITLEMENT_CANCELLED @5 | canceled @8 customer by customer, payg
        9   |                                  | final_report_due gcp:e-1 5+1h
        """,
        until="9",
    )


def test_a_commitment_replaced_on_its_last_day_is_never_missed() -> None:
    """The new one counts from its link, although it begins a month later."""
    check_story("""
        day | input                            | events
        0   | acme created                     |
        0   | acme commits c-1 from=0 to=100   |
        99  | acme commits c-2 from=130 to=200 |
        200 |                                  | canceled commit_expired by system, commit
        203 |                                  | control_plane_lost
        211 |                                  | notice_given: suspended 214
        214 |                                  | suspended
        267 |                                  | notice_given: deactivated 274
        274 |                                  | deactivated
    """)


def test_a_commitment_linked_at_the_instant_of_the_end_still_counts_from_its_link() -> None:
    """Section 11: while messages of an instant are read, a plan that ends by itself at it is
    active.
    """
    check_story("""
        day    | input                              | events
        0      | acme created                       |
        0      | acme commits c-1 from=0 to=100     |
        100    | acme commits c-2 from=102 to=99999 |
    """)


def test_a_commitment_linked_after_the_end_begins_at_its_own_beginning() -> None:
    """Section 2: only if the organization still had an active plan does it count from its link."""
    check_story("""
        day    | input                              | events
        0      | acme created                       |
        0      | acme commits c-1 from=0 to=100     |
        100    |                                    | canceled commit_expired by system, commit
        100+1s | acme commits c-2 from=102 to=99999 |
        102    |                                    | reinstated
    """)


def test_a_repeated_commitment_keeps_the_beginning_of_its_first_link() -> None:
    """A corrected end must not retroactively remove the interval that bridged the gap."""
    check_story("""
        day | input                              | events
        0   | acme created                       |
        0   | acme commits c-1 from=0 to=100     |
        99  | acme commits c-2 from=130 to=200   |
        110 | acme commits c-2 from=130 to=99999 |
    """)


def test_a_commitment_that_turns_out_not_to_have_begun_cancels_nobody() -> None:
    """Sections 2 and 10, 7: no plan has ended, so no step is taken until this one begins."""
    check_story(
        """
        day | input                                  | events
        0   | acme created plus                      |
        5   | acme commits c-1 from=-365 to=-1 @4    | canceled @-1 commit_expired by system, commit
        5   | acme commits c-1 from=100 to=99999 @5  |
        100 |                                        | reinstated
        """,
    )


def test_a_commitment_that_has_not_begun_cancels_nobody_by_earlier_facts() -> None:
    """The same in the other order: active throughout."""
    check_story(
        """
        day | input                                  | events
        0   | acme created plus                      |
        5   | acme commits c-1 from=100 to=99999 @5  |
        5   | acme commits c-1 from=-365 to=-1 @4    |
        """,
    )


def test_an_announced_step_is_withdrawn_when_no_plan_has_ended() -> None:
    """It is announced again, with its full lead, once a plan has ended."""
    events = check_story(
        """
        day | input                                 | events
        0   | acme created plus                     |
        0   | acme commits c-1 from=-365 to=0       |
        0   |                                       | canceled commit_expired by system, commit
        3   |                                       | control_plane_lost
        11  |                                       | notice_given: suspended 14
        12  | acme commits c-1 from=100 to=99999    | notice_withdrawn: suspended 14
        20  | acme commits c-1 from=-365 to=0       |
        20  |                                       | notice_given: suspended 23
        22  | acme commits c-1 from=30 to=99999     | notice_withdrawn: suspended 23
        30  |                                       | reinstated
        """,
    )
    withdrawn = next(event for event in events if event.kind is EventKind.NOTICE_WITHDRAWN)
    assert withdrawn.standing is not None
    assert withdrawn.standing.next_step is None, "no deadline runs"


def test_an_organization_created_after_its_cancellation() -> None:
    """The topics are not ordered among each other: earlier reports are applied unchanged."""
    check_story("""
        day  | input                         | events
        0    | gcp:e-1 ENTITLEMENT_ACTIVE    |
        0    | acme links gcp:e-1 payg       |
        3    | gcp:e-1 ENTITLEMENT_CANCELLED |
        5    | acme created @0               | canceled @3 unknown by marketplace, payg
        5    |                               | final_report_due gcp:e-1 3+1h
        5+1h |                               | control_plane_lost
        7    |                               | notice_given: suspended 10
        10   |                               | suspended
        33   |                               | notice_given: deactivated 40
        40   |                               | deactivated
    """)


def test_an_organization_that_never_had_a_plan_is_not_canceled() -> None:
    """Free organizations need no plan; a plan that has not begun has not ended either."""
    check_story("""
        day | input                             | events
        0   | acme created                      |
        5   | acme commits c-1 from=20 to=99999 |
    """)


def test_of_two_plans_that_end_at_once_the_longer_timeline_counts() -> None:
    """Section 2: a missing value never shortens a timeline."""
    check_story(
        """
        day | input                         | events
        0   | acme created                  |
        0   | acme links gcp:e-1 commit     |
        0   | acme links gcp:e-2 payg       |
        5   | gcp:e-1 ENTITLEMENT_CANCELLED | final_report_due gcp:e-1 5+1h
        5   | gcp:e-2 ENTITLEMENT_CANCELLED | canceled unknown by marketplace, commit
        5   |                               | final_report_due gcp:e-2 5+1h
        """,
        until="5",
    )


def test_a_second_subscription_bought_in_time_keeps_the_organization() -> None:
    """Section 2: also an Azure plan, which needs no reinstatement because nothing was canceled."""
    check_story("""
        day | input                     | events
        0   | acme created              |
        0   | acme links azure:s-1 payg |
        5   | azure:s-2 Subscribe       |
        5   | acme links azure:s-2 payg |
        9   | azure:s-1 Unsubscribe     | final_report_due azure:s-1 10
    """)


def test_an_announced_end_does_not_cancel_yet() -> None:
    """Section 2: `ending` counts up to its end, and may be reverted."""
    check_story(
        """
        day | input                                            | events
        0   | acme created                                     |
        0   | acme links gcp:e-1 payg                          |
        5   | gcp:e-1 ENTITLEMENT_PENDING_CANCELLATION ends=20 |
        19  | gcp:e-1 ENTITLEMENT_CANCELLATION_REVERTED        |
        40  | gcp:e-1 ENTITLEMENT_PENDING_CANCELLATION ends=60 |
        60  |                                                  | canceled unknown by system, payg
        """,
        until="60",
    )


def test_an_unknown_kind_of_notification_changes_nothing() -> None:
    """Section 2: an unknown value never leads to a destructive step."""
    check_story("""
        day | input                          | events
        0   | acme created                   |
        0   | acme links gcp:e-1 payg        |
        0   | acme links aws:a-1 payg        |
        0   | acme links azure:s-1 payg      |
        5   | gcp:e-1 ENTITLEMENT_EVAPORATED |
        5   | aws:a-1 Agreement Evaporated   |
        5   | azure:s-1 Evaporate            |
    """)


NEWS = [
    "acme created @0",
    "acme links gcp:e-1 payg @1",
    "gcp:e-1 ENTITLEMENT_ACTIVE @2",
    "gcp:e-1 ENTITLEMENT_CANCELLED reason=user-aborted @5",
]


@pytest.mark.parametrize("order", [*permutations(range(len(NEWS)))], ids=str)
def test_reports_have_the_same_result_in_any_order_and_with_repetitions(
    order: tuple[int, ...],
) -> None:
    """Section 2: a register is folded in the marketplace's order of time."""
    twice = (*order, *reversed(order))
    story = "\n".join(f"40 | {NEWS[number]} id=news-{number} |" for number in twice)
    canceled, report = run_story(story, until="40")
    assert report.kind == "metering.final_report_due"
    assert canceled.standing is not None
    assert (canceled.kind, canceled.effective_at) == ("organization.canceled", moment("5"))
    assert (canceled.standing.reason, canceled.standing.plan_type) == ("customer", "payg")


# --- reason and initiator -------------------------------------------------------------------------

ENDS = """
    aws:a-1   | Agreement Ended CANCELLED                     | customer by customer
    aws:a-1   | Agreement Ended TERMINATED                    | non_payment by marketplace
    aws:a-1   | Agreement Ended EXPIRED                       | commit_expired by system
    aws:p/c   | unsubscribe-success                           | unknown by marketplace
    gcp:e-1   | ENTITLEMENT_CANCELLED reason=user-cancelled   | customer by customer
    gcp:e-1   | ENTITLEMENT_CANCELLED reason=billing-disabled | non_payment by marketplace
    gcp:e-1   | ENTITLEMENT_CANCELLED reason=expired          | commit_expired by system
    gcp:e-1   | ENTITLEMENT_DELETED                           | unknown by marketplace
    azure:s-1 | Unsubscribe                                   | customer by customer
    azure:s-1 | Unsubscribe by=Partner                        | vendor by vendor
    azure:s-1 | Suspend                                       | non_payment by marketplace
"""


@pytest.mark.parametrize("line", ENDS.strip().splitlines())
def test_the_end_of_a_plan_contains_why_and_by_whom(line: str) -> None:
    """Section 2: `reason` and `initiator`."""
    plan, end, why = (cell.strip() for cell in line.split("|"))
    story = f"""
        0 | acme created      |
        0 | acme links {plan} |
        9 | {plan} {end}      |
    """
    canceled = run_story(story, until="9")[0].standing
    assert canceled is not None
    assert f"{canceled.reason} by {canceled.initiator}" == why


def test_an_azure_contract_that_was_not_to_renew_expires() -> None:
    """Section 2: Azure says `Unsubscribe` for this, too."""
    check_story(
        """
        day | input                                      | events
        0   | acme created                               |
        0   | acme links azure:s-1                       |
        0   | azure:s-1 Subscribe term=P1Y ends=365 renews=no |
        365 | azure:s-1 Unsubscribe                      | canceled commit_expired by system, commit
        365 |                                            | final_report_due azure:s-1 366
        """,
        until="365",
    )


def test_a_cancellation_that_the_vendor_asked_for_is_the_vendors() -> None:
    """Section 2: AWS says `CANCELLED` for both."""
    check_story(
        """
        day | input                                           | events
        0   | acme created                                    |
        0   | acme links aws:a-1 payg                         |
        4   | aws:a-1 Agreement Cancellation Request Approved |
        5   | aws:a-1 Agreement Ended CANCELLED               | canceled vendor by vendor, payg
            |                                                 | final_report_due aws:a-1 5+1h
        """,
        until="5",
    )
