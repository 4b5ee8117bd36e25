"""A pending reinstatement pauses the cancellation clock (lifecycle.md section 4)."""

import pytest
from stories import check_story, run_story

from marketplace_worker.lifecycle.events import STATE_EVENTS, EventKind


def test_while_pending_no_step_is_taken_and_no_notice_is_written() -> None:
    """Section 4: no deadline runs, however long it lasts."""
    events = check_story("""
        day | input                                | events
        0   | acme created                         |
        0   | acme links gcp:e-1 payg account=P    |
        0   | gcp:e-1 ENTITLEMENT_CANCELLED        | canceled unknown by marketplace, payg
        0   |                                      | final_report_due gcp:e-1 0+1h
        1   |                                      | control_plane_lost
        2   | gcp:e-2 ENTITLEMENT_ACTIVE account=P | reinstatement_pending: gcp:e-2 by sign_in
        300 | acme tier plus                       |
    """)
    pending = events[-1].standing
    assert pending is not None
    assert pending.next_step is None, "section 11: null while pending"


def test_after_a_pending_plan_ends_the_remaining_time_continues() -> None:
    """Section 4: ten days pending, so every later step comes ten days later."""
    check_story("""
        day | input                                | events
        0   | acme created                         |
        0   | acme links gcp:e-1 payg account=P    |
        0   | gcp:e-1 ENTITLEMENT_CANCELLED        | canceled unknown by marketplace, payg
        0   |                                      | final_report_due gcp:e-1 0+1h
        1   |                                      | control_plane_lost
        2   | gcp:e-2 ENTITLEMENT_ACTIVE account=P | reinstatement_pending: gcp:e-2 by sign_in
        12  | gcp:e-2 ENTITLEMENT_CANCELLED        | reinstatement_lapsed: gcp:e-2 by sign_in
        14  |                                      | notice_given: suspended 17
        17  |                                      | suspended
        40  |                                      | notice_given: deactivated 47
        47  |                                      | deactivated
    """)


def test_the_time_of_two_pending_plans_is_not_counted_twice() -> None:
    """Section 4: the clock is paused from day 2 to day 9, for seven days."""
    check_story(
        """
        day | input                                | events
        0   | acme created                         |
        0   | acme links gcp:e-1 payg account=P    |
        0   | gcp:e-1 ENTITLEMENT_CANCELLED        | canceled unknown by marketplace, payg
        0   |                                      | final_report_due gcp:e-1 0+1h
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


def test_the_lead_of_a_current_notice_is_paused_as_well() -> None:
    """Section 4: two of its three days remained on day 5, and remain on day 15."""
    check_story(
        """
        day | input                                | events
        0   | acme created                         |
        0   | acme links gcp:e-1 payg account=P    |
        0   | gcp:e-1 ENTITLEMENT_CANCELLED        | canceled unknown by marketplace, payg
        0   |                                      | final_report_due gcp:e-1 0+1h
        1   |                                      | control_plane_lost
        4   |                                      | notice_given: suspended 7
        5   | gcp:e-2 ENTITLEMENT_ACTIVE account=P | reinstatement_pending: gcp:e-2 by sign_in
        15  | gcp:e-2 ENTITLEMENT_CANCELLED        | reinstatement_lapsed: gcp:e-2 by sign_in
        17  |                                      | suspended
        """,
        until="39",
    )


def test_the_dwell_is_paused_as_well() -> None:
    """Section 4: half of the minimum hour in `canceled` had passed."""
    check_story(
        """
        day    | input                                | events
        0      | acme created                         |
        0      | acme links gcp:e-1 payg account=P    |
        40     | gcp:e-1 ENTITLEMENT_CANCELLED @0     | canceled @0 unknown by marketplace, payg
        40     |                                      | final_report_due gcp:e-1 0+1h
        40+30m | gcp:e-2 ENTITLEMENT_ACTIVE account=P | reinstatement_pending: gcp:e-2 by sign_in
        50+30m | gcp:e-2 ENTITLEMENT_CANCELLED        | reinstatement_lapsed: gcp:e-2 by sign_in
        50+1h  |                                      | control_plane_lost
        50+1h  |                                      | notice_given: suspended 53+1h
        """,
        until="51",
    )


def test_the_lead_time_of_a_late_notice_is_paused_as_well() -> None:
    """Section 4: all offsets have passed; two of the three days of notice remain on day 51."""
    check_story(
        """
        day   | input                                | events
        0     | acme created                         |
        0     | acme links gcp:e-1 payg account=P    |
        40    | gcp:e-1 ENTITLEMENT_CANCELLED @0     | canceled @0 unknown by marketplace, payg
        40    |                                      | final_report_due gcp:e-1 0+1h
        40+1h |                                      | control_plane_lost
        40+1h |                                      | notice_given: suspended 43+1h
        41+1h | gcp:e-2 ENTITLEMENT_ACTIVE account=P | reinstatement_pending: gcp:e-2 by sign_in
        51+1h | gcp:e-2 ENTITLEMENT_CANCELLED        | reinstatement_lapsed: gcp:e-2 by sign_in
        53+1h |                                      | suspended
        53+1h |                                      | notice_given: deactivated 60+1h
        """,
        until="53+2h",
    )


def test_the_floors_of_a_marketplace_are_not_paused() -> None:
    """Section 4: Azure counts its 7 days from the Unsubscribe, whatever else is pending."""
    check_story("""
        day | input                             | events
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
    """Section 4: no time remained, so the step comes when the plan ends, effective from then."""
    check_story(
        """
        day | input                                | events
        0   | acme created                         |
        0   | acme links gcp:e-1 payg account=P    |
        0   | gcp:e-1 ENTITLEMENT_CANCELLED        | canceled unknown by marketplace, payg
        0   |                                      | final_report_due gcp:e-1 0+1h
        1   |                                      | control_plane_lost
        4   |                                      | notice_given: suspended 7
        7   | gcp:e-2 ENTITLEMENT_ACTIVE account=P | reinstatement_pending: gcp:e-2 by sign_in
        10  | gcp:e-2 ENTITLEMENT_CANCELLED        | reinstatement_lapsed: gcp:e-2 by sign_in
        10  |                                      | suspended
        """,
        until="32",
    )


def test_pending_time_still_counts_when_its_account_becomes_anothers_too() -> None:
    """Section 4: twenty days were pending, whatever beta links with that account later."""
    check_story("""
        day | input                                | events
        0   | acme created                         |
        0   | beta created plus                    |
        0   | acme links gcp:e-1 payg account=P    |
        0   | gcp:e-1 ENTITLEMENT_CANCELLED        | canceled unknown by marketplace, payg
        0   |                                      | final_report_due gcp:e-1 0+1h
        1   |                                      | control_plane_lost
        2   | gcp:e-2 ENTITLEMENT_ACTIVE account=P | reinstatement_pending: gcp:e-2 by sign_in
        22  | gcp:e-2 ENTITLEMENT_CANCELLED        | reinstatement_lapsed: gcp:e-2 by sign_in
        24  |                                      | notice_given: suspended 27
        27  |                                      | suspended
        35  | beta links gcp:e-9 payg account=P    |
        36  | acme logs in                         |
        50  |                                      | notice_given: deactivated 57
        57  |                                      | deactivated
    """)


def test_the_pending_time_counts_whatever_arrives_first() -> None:
    """Section 11: e-2 has ended before it is reported, so it caused no event."""
    check_story(
        """
        day | input                                   | events
        0   | acme created                            |
        0   | beta created plus                       |
        0   | acme links gcp:e-1 payg account=P       |
        0   | gcp:e-1 ENTITLEMENT_CANCELLED           | canceled unknown by marketplace, payg
        0   |                                         | final_report_due gcp:e-1 0+1h
        1   |                                         | control_plane_lost
        4   |                                         | notice_given: suspended 7
        6   | gcp:e-2 ENTITLEMENT_CANCELLED @5        |
        6   | gcp:e-2 ENTITLEMENT_ACTIVE account=P @2 |
        6   | beta links gcp:e-9 payg account=P       |
        10  |                                         | suspended
        33  |                                         | notice_given: deactivated 40
        """,
        until="39",
    )


def test_the_longest_pending_plan_counts_when_it_changes() -> None:
    """Section 4: the clock is paused from day 10 to day 35 by two plans that beta takes over: one
    by its link, the other by the account.
    """
    check_story("""
        day | input                                | events
        0   | acme created                         |
        0   | beta created plus                    |
        0   | acme links gcp:e-1 payg account=P    |
        0   | gcp:e-1 ENTITLEMENT_CANCELLED        | canceled unknown by marketplace, payg
        0   |                                      | final_report_due gcp:e-1 0+1h
        1   |                                      | control_plane_lost
        4   |                                      | notice_given: suspended 7
        7   |                                      | suspended
        10  | gcp:e-2 ENTITLEMENT_ACTIVE account=P | reinstatement_pending: gcp:e-2 by sign_in
        34  | gcp:e-3 ENTITLEMENT_ACTIVE account=P |
        35  | beta links gcp:e-2 payg              | reinstatement_lapsed: gcp:e-3 by sign_in
        55  |                                      | notice_given: deactivated 62
        62  |                                      | deactivated
    """)


def test_a_step_after_another_plan_was_pending_is_later_by_that_time() -> None:
    """Section 4: e-2 from day 10 to day 35, and e-3 from then on to day 36."""
    check_story("""
        day | input                                | events
        0   | acme created                         |
        0   | beta created plus                    |
        0   | acme links gcp:e-1 payg account=P    |
        0   | gcp:e-1 ENTITLEMENT_CANCELLED        | canceled unknown by marketplace, payg
        0   |                                      | final_report_due gcp:e-1 0+1h
        1   |                                      | control_plane_lost
        4   |                                      | notice_given: suspended 7
        7   |                                      | suspended
        10  | gcp:e-2 ENTITLEMENT_ACTIVE account=P | reinstatement_pending: gcp:e-2 by sign_in
        34  | gcp:e-3 ENTITLEMENT_ACTIVE account=P |
        35  | beta links gcp:e-2 payg account=Q    |
        36  | gcp:e-3 ENTITLEMENT_CANCELLED        | reinstatement_lapsed: gcp:e-3 by sign_in
        56  |                                      | notice_given: deactivated 63
        63  |                                      | deactivated
    """)


def test_pending_time_follows_late_reports_even_after_it_has_lapsed() -> None:
    """Section 11: the clock was paused from day 2 to day 12, but by the register only to day 5."""
    check_story(
        """
        day | input                                | events
        0   | acme created                         |
        0   | acme links gcp:e-1 payg account=P    |
        0   | gcp:e-1 ENTITLEMENT_CANCELLED        | canceled unknown by marketplace, payg
        0   |                                      | final_report_due gcp:e-1 0+1h
        1   |                                      | control_plane_lost
        2   | gcp:e-2 ENTITLEMENT_ACTIVE account=P | reinstatement_pending: gcp:e-2 by sign_in
        12  | gcp:e-2 ENTITLEMENT_CANCELLED        | reinstatement_lapsed: gcp:e-2 by sign_in
        13  | gcp:e-2 ENTITLEMENT_CANCELLED @5     |
        13  |                                      | notice_given: suspended 16
        16  |                                      | suspended
        33  |                                      | notice_given: deactivated 40
        """,
        until="39",
    )


def test_supports_confirmation_proves_every_pending_plan() -> None:
    """Section 11: when the plan pending longest ends first, the other is still its own."""
    check_story(
        """
        day | input                                | events
        0   | acme created plus                    |
        0   | acme links gcp:e-1 payg account=P    |
        0   | gcp:e-1 ENTITLEMENT_CANCELLED        | canceled unknown by marketplace, payg
        0   |                                      | final_report_due gcp:e-1 0+1h
        1   |                                      | control_plane_lost
        2   | gcp:e-2 ENTITLEMENT_ACTIVE account=P | reinstatement_pending: gcp:e-2 by sign_in
        2   | gcp:e-3 ENTITLEMENT_ACTIVE account=P |
        3   | support: acme reinstate              | reinstated
            |                                      | support_request.completed
        4   | gcp:e-3 ENTITLEMENT_CANCELLED        | final_report_due gcp:e-3 4+1h
        """,
        until="300",
    )


@pytest.mark.parametrize("end_first", [True, False])
def test_a_sign_in_proves_nothing_of_a_plan_that_had_ended_by_then(end_first: bool) -> None:
    """Section 4, in any order of arrival: an end reported late undoes the proof."""
    login, end = (
        "26  | acme logs in                          | {by_login}",
        "26  | gcp:e-2 ENTITLEMENT_CANCELLED @6      | {by_end}",
    )
    lapsed = "reinstatement_lapsed: gcp:e-2 by sign_in"
    if end_first:
        order = [end.format(by_end=lapsed), login.format(by_login="")]
    else:
        canceled = "canceled @2 unknown by marketplace, payg"
        order = [login.format(by_login="reinstated"), end.format(by_end=canceled)]
    check_story(
        """
        day | input                                 | events
        0   | acme created plus                     |
        0   | acme links gcp:e-1 payg               |
        2   | gcp:e-1 ENTITLEMENT_CANCELLED account=b-1 | canceled unknown by marketplace, payg
            |                                       | final_report_due gcp:e-1 2+1h
        3   |                                       | control_plane_lost
        6   |                                       | notice_given: suspended 9
        9   |                                       | suspended
        26  | gcp:e-2 ENTITLEMENT_ACTIVE account=b-1 @3 | reinstatement_pending: gcp:e-2 by sign_in
        """
        + "\n".join(order),
        until="26",
    )


def test_a_proof_stays_when_a_later_fact_assigns_the_account_to_another() -> None:
    """Section 11: when the user signed in, it was reported as acme's alone."""
    check_story("""
        day   | input                                  | events
        0     | acme created plus                      |
        0     | beta created plus                      |
        0     | acme links gcp:e-1 payg                |
        1     | beta links gcp:e-4 commit              |
        4     | gcp:e-1 ENTITLEMENT_CANCELLED account=b-1 | canceled unknown by marketplace, payg
              |                                        | final_report_due gcp:e-1 4+1h
        5     |                                        | control_plane_lost
        8     |                                        | notice_given: suspended 11
        9     | gcp:e-2 ENTITLEMENT_ACTIVE account=b-1 | reinstatement_pending: gcp:e-2 by sign_in
        10    | acme logs in                           | reinstated
              |                                        | notice_withdrawn: suspended 11
        14    | gcp:e-4 ENTITLEMENT_ACTIVE account=b-1 |
    """)


@pytest.mark.parametrize("word", ["acme logs in", "support: acme reinstate"])
def test_a_sign_in_proves_at_the_instant_of_an_end_what_support_would(word: str) -> None:
    """Section 11: while messages of an instant are read, plans that end by themselves at it are
    active.
    """
    events = run_story(
        f"""
        0  | acme created plus                                          |
        0  | acme links gcp:e-1 payg                                    |
        2  | gcp:e-1 ENTITLEMENT_CANCELLED account=b-1                  |
        3  | gcp:e-2 ENTITLEMENT_ACTIVE account=b-1                     |
        4  | gcp:e-2 ENTITLEMENT_PENDING_CANCELLATION ends=9 account=b-1 |
        9  | {word}                                                     |
        """,
        until="9",
    )
    states = [event.kind for event in events if event.kind in STATE_EVENTS]
    assert states[-2:] == [EventKind.REINSTATED, EventKind.CANCELED]


def test_of_two_sign_ins_that_prove_a_plan_the_first_has_it() -> None:
    """Section 4: it was not linked by then, whichever sign-in is reported first."""
    check_story(
        """
        day | input | events
        0   | acme created plus |
        0   | beta created plus |
        0   | acme links gcp:e-1 payg |
        5   | gcp:e-1 ENTITLEMENT_CANCELLED account=P | canceled unknown by marketplace, payg
            |  | final_report_due gcp:e-1 5+1h
        5   | gcp:e-2 ENTITLEMENT_ACTIVE account=P | reinstatement_pending: gcp:e-2 by sign_in
        6   | beta links gcp:e-1 payg | reinstatement_lapsed: gcp:e-2 by sign_in
            |  | beta: canceled unknown by marketplace, payg
            |  | beta: reinstatement_pending: gcp:e-2 by sign_in
        7   | beta logs in | beta: reinstated
        7   |  | control_plane_lost
        8   | acme logs in @5+1h | reinstated
        """,
        until="8",
    )
