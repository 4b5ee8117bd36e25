"""Holds and extensions postpone steps (lifecycle.md section 7)."""

import pytest
from stories import check_story, moment, policy

from marketplace_worker.lifecycle.events import CancellationDetails, EventKind, ScheduledStep
from marketplace_worker.lifecycle.states import State

# --- holds ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["legal", "commercial"])
def test_a_hold_stops_every_step_until_it_is_released(kind: str) -> None:
    """Section 7: then the dwell starts again and notices are written again."""
    check_story(
        f"""
        day | input                         | events
        0   | acme created                  |
        0   | acme links gcp:e-1 payg       |
        0   | gcp:e-1 ENTITLEMENT_CANCELLED | canceled unknown by marketplace, payg
        0   |                               | final_report_due gcp:e-1 0+1h
        1   |                               | control_plane_lost
        2   | support: acme hold {kind}     | support_request.completed
        40  | support: acme release {kind}  | support_request.completed
        40  |                               | notice_given: suspended 43
        43  |                               | suspended
        43  |                               | notice_given: deactivated 50
        50  |                               | deactivated
        """
    )


def test_a_hold_released_after_its_deadline() -> None:
    """Section 7: the earlier notice is withdrawn, and nothing fires at once."""
    check_story("""
        day | input                         | events
        0   | acme created                  |
        0   | acme links gcp:e-1 payg       |
        0   | gcp:e-1 ENTITLEMENT_CANCELLED | canceled unknown by marketplace, payg
        0   |                               | final_report_due gcp:e-1 0+1h
        1   |                               | control_plane_lost
        4   |                               | notice_given: suspended 7
        5   | support: acme hold legal      | notice_withdrawn: suspended 7
            |                               | support_request.completed
        20  | support: acme release legal   | support_request.completed
        20  |                               | notice_given: suspended 23
        23  |                               | suspended
        30  |                               | notice_given: deactivated 37
        37  |                               | deactivated
    """)


def test_a_hold_released_before_its_deadline_repeats_the_notice() -> None:
    """Section 7: the old notice was withdrawn, so its three days count from the new one."""
    check_story(
        """
        day | input                         | events
        0   | acme created                  |
        0   | acme links gcp:e-1 payg       |
        0   | gcp:e-1 ENTITLEMENT_CANCELLED | canceled unknown by marketplace, payg
        0   |                               | final_report_due gcp:e-1 0+1h
        1   |                               | control_plane_lost
        4   |                               | notice_given: suspended 7
        5   | support: acme hold legal      | notice_withdrawn: suspended 7
            |                               | support_request.completed
        6   | support: acme release legal   | support_request.completed
        6   |                               | notice_given: suspended 9
        9   |                               | suspended
        """,
        until="29",
    )


def test_the_dwell_of_the_current_state_counts_from_the_release() -> None:
    """Section 7: also where no notice is needed; an hour in `canceled`, a day in the next."""
    check_story(
        """
        day   | input                         | events
        0     | acme created                  |
        0     | acme links gcp:e-1 payg       |
        0     | gcp:e-1 ENTITLEMENT_CANCELLED | canceled unknown by marketplace, payg
        0     |                               | final_report_due gcp:e-1 0+1h
        0+30m | support: acme hold legal      | support_request.completed
        10    | support: acme release legal   | support_request.completed
        10+1h |                               | control_plane_lost
        10+1h |                               | notice_given: suspended 13+1h
        13+1h |                               | suspended
        """,
        until="14",
    )


def test_the_dwell_of_a_suspension_counts_from_the_release() -> None:
    """Section 7: seven days, as long as the notice's lead."""
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
        36  | support: acme hold legal      | notice_withdrawn: deactivated 37
            |                               | support_request.completed
        100 | support: acme release legal   | support_request.completed
        100 |                               | notice_given: deactivated 107
        107 |                               | deactivated
    """)


def test_an_expired_hold_counts_as_released() -> None:
    """Section 7: no request is needed."""
    check_story(
        """
        day | input                             | events
        0   | acme created                      |
        0   | acme links gcp:e-1 payg           |
        0   | gcp:e-1 ENTITLEMENT_CANCELLED     | canceled unknown by marketplace, payg
        0   |                                   | final_report_due gcp:e-1 0+1h
        1   |                                   | control_plane_lost
        4   |                                   | notice_given: suspended 7
        5   | support: acme hold legal until=20 | notice_withdrawn: suspended 7
            |                                   | support_request.completed
        20  |                                   | notice_given: suspended 23
        23  |                                   | suspended
        """,
        until="29",
    )


def test_the_dwell_counts_from_the_expiry_of_a_hold() -> None:
    """Section 7: as from a release."""
    check_story(
        """
        day   | input                             | events
        0     | acme created                      |
        0     | acme links gcp:e-1 payg           |
        0     | gcp:e-1 ENTITLEMENT_CANCELLED     | canceled unknown by marketplace, payg
        0     |                                   | final_report_due gcp:e-1 0+1h
        0+30m | support: acme hold legal until=10 | support_request.completed
        10+1h |                                   | control_plane_lost
        10+1h |                                   | notice_given: suspended 13+1h
        """,
        until="11",
    )


def test_no_step_is_taken_while_any_hold_stands() -> None:
    """Section 7: both holds must have ended."""
    check_story(
        """
        day | input                                  | events
        0   | acme created                           |
        0   | acme links gcp:e-1 payg                |
        0   | gcp:e-1 ENTITLEMENT_CANCELLED          | canceled unknown by marketplace, payg
        0   |                                        | final_report_due gcp:e-1 0+1h
        1   |                                        | control_plane_lost
        2   | support: acme hold legal               | support_request.completed
        2   | support: acme hold commercial until=30 | support_request.completed
        20  | support: acme release legal            | support_request.completed
        30  |                                        | notice_given: suspended 33
        33  |                                        | suspended
        33  |                                        | notice_given: deactivated 40
        """,
        until="36",
    )


def test_a_second_hold_of_a_kind_replaces_the_expiry_of_the_first() -> None:
    """Section 11: in either direction."""
    check_story(
        """
        day | input                             | events
        0   | acme created                      |
        0   | acme links gcp:e-1 payg           |
        0   | gcp:e-1 ENTITLEMENT_CANCELLED     | canceled unknown by marketplace, payg
        0   |                                   | final_report_due gcp:e-1 0+1h
        1   |                                   | control_plane_lost
        2   | support: acme hold legal until=10 | support_request.completed
        3   | support: acme hold legal until=50 | support_request.completed
        11  | support: acme hold legal until=20 | support_request.completed
        20  |                                   | notice_given: suspended 23
        23  |                                   | suspended
        24  | support: acme release legal       | support_request.rejected: no_such_hold
        """,
        until="24",
    )


def test_a_hold_does_not_stop_the_cancellation_itself() -> None:
    """Sections 7 and 11: having no plan is a fact; only steps are stopped."""
    events = check_story(
        """
        day | input                         | events
        0   | acme created                  |
        0   | acme links gcp:e-1 payg       |
        1   | support: acme hold legal      | support_request.completed
        5   | gcp:e-1 ENTITLEMENT_CANCELLED | canceled unknown by marketplace, payg
        5   |                               | final_report_due gcp:e-1 5+1h
        """,
        until="300",
    )
    canceled = next(event for event in events if event.kind is EventKind.CANCELED)
    assert canceled.standing is not None
    assert canceled.standing.next_step is None, "section 11: null under a hold"
    as_if_released_now = [
        (State.CONTROL_PLANE_LOSS, moment("6")),
        (State.SUSPENDED, moment("12")),
        (State.DEACTIVATED, moment("42")),
    ]
    assert canceled.details == CancellationDetails(
        tuple(ScheduledStep(state, at) for state, at in as_if_released_now), held=True
    )


def test_reinstating_still_works_under_a_hold() -> None:
    """Section 7: a hold stops only steps."""
    check_story(
        """
        day | input                         | events
        0   | acme created                  |
        0   | acme links gcp:e-1 payg       |
        0   | gcp:e-1 ENTITLEMENT_CANCELLED | canceled unknown by marketplace, payg
        0   |                               | final_report_due gcp:e-1 0+1h
        1   |                               | control_plane_lost
        2   | support: acme hold legal      | support_request.completed
        9   | acme links gcp:e-2            | reinstated
        """,
        until="40",
    )


def test_a_hold_keeps_a_free_organization_from_being_inactive() -> None:
    """Sections 5 and 7: its notice is withdrawn, and written again after the release."""
    check_story("""
        day | input                            | events
        0   | feeds: daily 0..70               |
        0   | acme created                     |
        23  |                                  | notice_given: deactivated 30
        25  | support: acme hold commercial    | notice_withdrawn: deactivated 30
            |                                  | support_request.completed
        50  | support: acme release commercial | support_request.completed
        50  |                                  | notice_given: deactivated 57
        57  |                                  | deactivated: inactivity
    """)


def test_support_may_deactivate_under_a_commercial_hold_only() -> None:
    """Section 7: a legal hold stops requested deactivations as well."""
    check_story(
        """
        day | input                         | events
        0   | acme created                  |
        1   | support: acme hold commercial | support_request.completed
        1   | support: acme hold legal      | support_request.completed
        2   | support: acme deactivate      | support_request.rejected: on_hold
        3   | support: acme release legal   | support_request.completed
        4   | support: acme deactivate      | deactivated: support_request
            |                               | support_request.completed
        """,
        until="9",
    )


def test_a_hold_may_be_placed_in_any_state() -> None:
    """Section 7: a hold on a deactivated organization counts after its reactivation."""
    check_story(
        """
        day | input                       | events
        0   | acme created                |
        1   | support: acme deactivate    | deactivated: support_request
            |                             | support_request.completed
        2   | support: acme hold legal    | support_request.completed
        3   | support: acme release legal | support_request.completed
        """,
        until="9",
    )


# --- extensions -----------------------------------------------------------------------------------


def test_an_extension_postpones_every_later_step() -> None:
    """Section 7: it adds to `canceled_at` + offset."""
    check_story("""
        day   | input                         | events
        0     | acme created                  |
        0     | acme links gcp:e-1 payg       |
        0     | gcp:e-1 ENTITLEMENT_CANCELLED | canceled unknown by marketplace, payg
        0     |                               | final_report_due gcp:e-1 0+1h
        0+30m | support: acme extend 10       | support_request.completed
        11    |                               | control_plane_lost
        14    |                               | notice_given: suspended 17
        17    |                               | suspended
        40    |                               | notice_given: deactivated 47
        47    |                               | deactivated
    """)


def test_an_extension_withdraws_the_notice_that_stood() -> None:
    """Sections 3 and 7: a new notice is written at its time."""
    check_story(
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
        31  | support: acme extend 10       | notice_withdrawn: deactivated 37
            |                               | support_request.completed
        40  |                               | notice_given: deactivated 47
        47  |                               | deactivated
        """
    )


def test_extensions_add_up_to_90_days_and_no_more() -> None:
    """Section 7: `max_extension`, in total."""
    check_story("""
        day | input                         | events
        0   | acme created                  |
        0   | acme links gcp:e-1 payg       |
        0   | gcp:e-1 ENTITLEMENT_CANCELLED | canceled unknown by marketplace, payg
        0   |                               | final_report_due gcp:e-1 0+1h
        1   |                               | control_plane_lost
        2   | support: acme extend 60       | support_request.completed
        2   | support: acme extend 31       | support_request.rejected: extension_too_long
        3   | support: acme extend 30       | support_request.completed
        4   | support: acme extend 1        | support_request.rejected: extension_too_long
        94  |                               | notice_given: suspended 97
        97  |                               | suspended
        120 |                               | notice_given: deactivated 127
        127 |                               | deactivated
    """)


def test_the_cap_of_extensions_counts_per_cancellation() -> None:
    """Section 11: an extension ends with its cancellation."""
    check_story(
        """
        day | input                       | events
        0   | acme created                |
        0   | acme links aws:p/c payg     |
        0   | aws:p/c unsubscribe-success | canceled unknown by marketplace, payg
            |                             | final_report_due aws:p/c 0+1h
        0   | support: acme extend 90     | support_request.completed
        5   | aws:p/c subscribe-success   | reinstated
        10  | aws:p/c unsubscribe-success | canceled unknown by marketplace, payg
            |                             | final_report_due aws:p/c 10+1h
        11  |                             | control_plane_lost
        12  | support: acme extend 90     | support_request.completed
        104 |                             | notice_given: suspended 107
        """,
        until="104",
    )


def test_a_policy_may_allow_longer_extensions() -> None:
    """Section 3: `grace.max_extension`."""
    check_story(
        """
        day | input                         | events
        0   | acme created                  |
        0   | acme links gcp:e-1 payg       |
        0   | gcp:e-1 ENTITLEMENT_CANCELLED | canceled unknown by marketplace, payg
        0   |                               | final_report_due gcp:e-1 0+1h
        0   | support: acme extend 120      | support_request.completed
        0   | support: acme extend 1        | support_request.rejected: extension_too_long
        """,
        policy("""
            [grace]
            max_extension = "P120D"
        """),
        until="100",
    )
