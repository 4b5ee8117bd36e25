"""How a cancellation proceeds along its timeline, day by day (lifecycle.md section 3).

The settings of a policy are in `test_stories_policy.py`.
"""

from datetime import UTC, datetime

from stories import check_story


def test_the_worked_example_on_time() -> None:
    """Section 3 gives this example in full; it is the first that readers see."""
    check_story("""
        day | input                         | events
        0   | acme created                  |
        0   | acme links gcp:e-1 payg       |
        0   | gcp:e-1 ENTITLEMENT_CANCELLED | canceled unknown by marketplace, payg
        0   |                               | final_report_due gcp:e-1 0+1h
        1   |                               | control_plane_lost
        4   |                               | notice_given: suspended 7
        7   |                               | suspended
        30  |                               | notice_given: deactivated 37
        37  |                               | deactivated
    """)


def test_the_worked_example_40_days_late() -> None:
    """A worker that was down must not take three steps at once: dwells and leads start again."""
    check_story("""
        day   | input                            | events
        0     | acme created                     |
        0     | acme links gcp:e-1 payg          |
        40    | gcp:e-1 ENTITLEMENT_CANCELLED @0 | canceled @0 unknown by marketplace, payg
        40    |                                  | final_report_due gcp:e-1 0+1h
        40+1h |                                  | control_plane_lost
        40+1h |                                  | notice_given: suspended 43+1h
        43+1h |                                  | suspended
        43+1h |                                  | notice_given: deactivated 50+1h
        50+1h |                                  | deactivated
    """)


def test_a_commit_plan_has_more_time() -> None:
    """The second row of the table of section 3."""
    check_story("""
        day | input                         | events
        0   | acme created                  |
        0   | acme links gcp:e-1 commit     |
        10  | gcp:e-1 ENTITLEMENT_CANCELLED | canceled unknown by marketplace, commit
        10  |                               | final_report_due gcp:e-1 10+1h
        13  |                               | control_plane_lost
        21  |                               | notice_given: suspended 24
        24  |                               | suspended
        77  |                               | notice_given: deactivated 84
        84  |                               | deactivated
    """)


def test_an_unknown_plan_type_has_the_longest_timeline() -> None:
    """A missing value never shortens a timeline."""
    check_story("""
        day | input                         | events
        0   | acme created                  |
        0   | acme links gcp:e-1            |
        10  | gcp:e-1 ENTITLEMENT_CANCELLED | canceled unknown by marketplace, None
        10  |                               | final_report_due gcp:e-1 10+1h
        13  |                               | control_plane_lost
        21  |                               | notice_given: suspended 24
        24  |                               | suspended
        77  |                               | notice_given: deactivated 84
        84  |                               | deactivated
    """)


def test_a_plan_type_learned_later_lengthens_the_timeline() -> None:
    """The timeline is derived again; a current notice keeps its date as a minimum."""
    check_story("""
        day | input                         | events
        0   | acme created                  |
        0   | acme links gcp:e-1 payg       |
        0   | gcp:e-1 ENTITLEMENT_CANCELLED | canceled unknown by marketplace, payg
        0   |                               | final_report_due gcp:e-1 0+1h
        1   |                               | control_plane_lost
        4   |                               | notice_given: suspended 7
        5   | acme links gcp:e-1 commit     |
        14  |                               | suspended
        67  |                               | notice_given: deactivated 74
        74  |                               | deactivated
    """)


def test_a_plan_type_learned_later_shortens_the_timeline() -> None:
    """An overdue step is taken at once, the later ones not before their notice."""
    check_story("""
        day | input                         | events
        0   | acme created                  |
        0   | acme links gcp:e-1            |
        0   | gcp:e-1 ENTITLEMENT_CANCELLED | canceled unknown by marketplace, None
        0   |                               | final_report_due gcp:e-1 0+1h
        2   | acme links gcp:e-1 payg       |
        2   |                               | control_plane_lost @1
        4   |                               | notice_given: suspended 7
        7   |                               | suspended
        30  |                               | notice_given: deactivated 37
        37  |                               | deactivated
    """)


def test_a_late_fact_of_an_earlier_end_moves_the_steps_forward() -> None:
    """`canceled_at` follows the register; nobody is suspended before the announced date."""
    check_story("""
        day | input                          | events
        0   | acme created                   |
        0   | acme links gcp:e-1 payg        |
        10  | gcp:e-1 ENTITLEMENT_CANCELLED  | canceled unknown by marketplace, payg
        10  |                                | final_report_due gcp:e-1 10+1h
        11  |                                | control_plane_lost
        14  |                                | notice_given: suspended 17
        15  | gcp:e-1 ENTITLEMENT_DELETED @2 |
        17  |                                | suspended
        32  |                                | notice_given: deactivated 39
        39  |                                | deactivated
    """)


def test_a_late_report_before_the_notice_still_leaves_its_lead() -> None:
    """The suspension would have been due on day 9; its notice could be written only on day 12."""
    check_story("""
        day | input                          | events
        0   | acme created                   |
        0   | acme links gcp:e-1 payg        |
        10  | gcp:e-1 ENTITLEMENT_CANCELLED  | canceled unknown by marketplace, payg
        10  |                                | final_report_due gcp:e-1 10+1h
        11  |                                | control_plane_lost
        12  | gcp:e-1 ENTITLEMENT_DELETED @2 |
        12  |                                | notice_given: suspended 15
        15  |                                | suspended
        32  |                                | notice_given: deactivated 39
        39  |                                | deactivated
    """)


def test_a_late_report_of_a_later_end_postpones_the_steps() -> None:
    """A plan was active again in between: the last plan ended on day 8, not on day 2."""
    check_story("""
        day  | input                          | events
        0    | acme created                   |
        0    | acme links aws:p/c payg        |
        9    | aws:p/c unsubscribe-success @2 | canceled @2 unknown by marketplace, payg
             |                                | final_report_due aws:p/c 2+1h
        9    | aws:p/c subscribe-success @5   | reinstated
        9    | aws:p/c unsubscribe-success @8 | canceled @8 unknown by marketplace, payg
             |                                | final_report_due aws:p/c 8+1h
        9+1h |                                | control_plane_lost
        12   |                                | notice_given: suspended 15
        15   |                                | suspended
        38   |                                | notice_given: deactivated 45
        45   |                                | deactivated
    """)


def test_a_late_report_of_the_reason_changes_it() -> None:
    """The reason follows the register; the organization's next transition publishes it."""
    events = check_story("""
        day | input                                          | events
        0   | acme created                                   |
        0   | acme links gcp:e-1 payg                        |
        0   | gcp:e-1 ENTITLEMENT_CANCELLED                  | canceled unknown by marketplace, payg
        0   |                                                | final_report_due gcp:e-1 0+1h
        0   | gcp:e-1 ENTITLEMENT_CANCELLED reason=user-aborted |
        1   |                                                | control_plane_lost
        4   |                                                | notice_given: suspended 7
        7   |                                                | suspended
        30  |                                                | notice_given: deactivated 37
        37  |                                                | deactivated
    """)
    reasons = [event.standing.reason for event in events if event.standing]
    assert reasons == ["unknown", "unknown", *["customer"] * (len(events) - 2)]


def test_a_leap_day_is_a_day() -> None:
    """Durations are days of 24 hours, whatever the calendar: in 2028, day 37 is 4 April."""
    events = check_story(
        """
        day | input                         | events
        0   | acme created                  |
        0   | acme links gcp:e-1 payg       |
        0   | gcp:e-1 ENTITLEMENT_CANCELLED | canceled unknown by marketplace, payg
        0   |                               | final_report_due gcp:e-1 0+1h
        1   |                               | control_plane_lost
        4   |                               | notice_given: suspended 7
        7   |                               | suspended
        30  |                               | notice_given: deactivated 37
        37  |                               | deactivated
        """,
        start=datetime(2028, 2, 27, tzinfo=UTC),
    )
    assert events[-1].effective_at == datetime(2028, 4, 4, tzinfo=UTC)


def test_organizations_are_independent() -> None:
    """One organization's end does not affect another; at one moment, they are processed in order of
    id.
    """
    check_story("""
        day | input                         | events
        0   | acme created                  |
        0   | beta created                  |
        0   | acme links gcp:e-1 payg       |
        0   | beta links gcp:e-2 payg       |
        0   | gcp:e-2 ENTITLEMENT_CANCELLED | beta: canceled unknown by marketplace, payg
        0   |                               | beta: final_report_due gcp:e-2 0+1h
        0   | gcp:e-1 ENTITLEMENT_CANCELLED | canceled unknown by marketplace, payg
        0   |                               | final_report_due gcp:e-1 0+1h
        1   |                               | control_plane_lost
            |                               | beta: control_plane_lost
        2   | gcp:e-3 ENTITLEMENT_ACTIVE    |
        2   | acme links gcp:e-3            | reinstated
        4   |                               | beta: notice_given: suspended 7
        7   |                               | beta: suspended
        30  |                               | beta: notice_given: deactivated 37
        37  |                               | beta: deactivated
    """)
