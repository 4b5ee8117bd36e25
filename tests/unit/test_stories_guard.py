"""The guard withholds mass suspensions and deactivations (lifecycle.md section 8)."""

from stories import check_story, policy

from marketplace_worker.lifecycle.events import (
    SupportDetails,
)
from marketplace_worker.lifecycle.worker_details import (
    GuardTrippedDetails,
)

TWO = policy("""
    [guard]
    minimum = 2
    control_plane_fraction = 1.0
""")
LOSSES_UNLIMITED = policy("""
    [guard]
    control_plane_fraction = 1.0
""")


def test_of_200_organizations_due_in_one_hour_50_are_suspended() -> None:
    """Section 8: the step that would exceed the limit is the first to be withheld; notices
    continue.
    """
    check_story(
        """
        day | input                              | events
        0   | org-1..200 created                 |
        0   | org-1..200 links gcp:e-1..200 payg |
        0   | gcp:e-1..200 ENTITLEMENT_CANCELLED | 200 x org: canceled unknown by marketplace, payg
        0   |                                    | 200 x org: final_report_due gcp:e 0+1h
        1   |                                    | 200 x org: control_plane_lost
        4   |                                    | 200 x org: notice_given: suspended 7
        7   |                                    | 50 x org: suspended
            |                                    | worker: guard.tripped: steps 50 of 50
        30  |                                    | 50 x org: notice_given: deactivated 37
        """,
        LOSSES_UNLIMITED,
    )


def test_withheld_steps_stay_due_and_are_taken_when_the_guard_is_released() -> None:
    """Section 8: for N steps or entirely; effective from the original deadline."""
    check_story(
        """
        day | input                             | events
        0   | org-1..70 created                 |
        0   | org-1..70 links gcp:e-1..70 payg  |
        0   | gcp:e-1..70 ENTITLEMENT_CANCELLED | 70 x org: canceled unknown by marketplace, payg
        0   |                                   | 70 x org: final_report_due gcp:e 0+1h
        1   |                                   | 70 x org: control_plane_lost
        4   |                                   | 70 x org: notice_given: suspended 7
        7   |                                   | 50 x org: suspended
            |                                   | worker: guard.tripped: steps 50 of 50
        9   | operator: releases 5 steps        | worker: guard.released: steps by olga, 5 steps
        9   |                                   | 5 x org: suspended @7
        10  | operator: releases                | worker: guard.released: steps by olga
        10  |                                   | 15 x org: suspended @7
        """,
        LOSSES_UNLIMITED,
        until="29",
    )


def test_a_full_release_restarts_the_count() -> None:
    """Section 8: otherwise the next step of the same hour would trip it again."""
    check_story(
        """
        day   | input                            | events
        0     | org-1..4 created                 |
        0     | org-1..4 links gcp:e-1..4 payg   |
        0     | gcp:e-1..4 ENTITLEMENT_CANCELLED | 4 x org: canceled unknown by marketplace, payg
        0     |                                  | 4 x org: final_report_due gcp:e 0+1h
        1     |                                  | 4 x org: control_plane_lost
        4     |                                  | 4 x org: notice_given: suspended 7
        7     |                                  | 2 x org: suspended
              |                                  | worker: guard.tripped: steps 2 of 2
        7+30m | operator: releases               | worker: guard.released: steps by olga
        7+30m |                                  | 2 x org: suspended @7
        """,
        TWO,
        until="8",
    )


def test_the_guard_stays_tripped_until_it_is_released() -> None:
    """Section 8: even long after the hour; it withholds lesser steps as well."""
    check_story(
        """
        day | input                            | events
        0   | org-1..4 created                 |
        0   | org-1..4 links gcp:e-1..4 payg   |
        0   | gcp:e-1..3 ENTITLEMENT_CANCELLED | 3 x org: canceled unknown by marketplace, payg
        0   |                                  | 3 x org: final_report_due gcp:e 0+1h
        1   |                                  | 3 x org: control_plane_lost
        4   |                                  | 3 x org: notice_given: suspended 7
        7   |                                  | 2 x org: suspended
            |                                  | worker: guard.tripped: steps 2 of 2
        20  | gcp:e-4 ENTITLEMENT_CANCELLED    | org-4: canceled unknown by marketplace, payg
        20  |                                  | org-4: final_report_due gcp:e-4 20+1h
        30  |                                  | 2 x org: notice_given: deactivated 37
        """,
        TWO,
        until="100",
    )


def test_the_hour_is_a_sliding_window() -> None:
    """Section 8: two within an hour, and two in the next, do not exceed the limit."""
    check_story(
        """
        day    | input                            | events
        0      | org-1..4 created                 |
        0      | org-1..4 links gcp:e-1..4 payg   |
        0      | gcp:e-1..2 ENTITLEMENT_CANCELLED | 2 x org: canceled unknown by marketplace, payg
        0      |                                  | 2 x org: final_report_due gcp:e 0+1h
        0+1h1m | gcp:e-3..4 ENTITLEMENT_CANCELLED | 2 x org: canceled unknown by marketplace, payg
        0+1h1m |                                  | 2 x org: final_report_due gcp:e 0+2h1m
        1      |                                  | 2 x org: control_plane_lost
        1+1h1m |                                  | 2 x org: control_plane_lost
        4      |                                  | 2 x org: notice_given: suspended 7
        4+1h1m |                                  | 2 x org: notice_given: suspended 7+1h1m
        7      |                                  | 2 x org: suspended
        7+1h1m |                                  | 2 x org: suspended
        """,
        TWO,
        until="8",
    )


def test_the_third_within_the_hour_is_withheld() -> None:
    """Section 8: the hour is not a calendar hour; it can begin with any step."""
    check_story(
        """
        day     | input                            | events
        0       | org-1..3 created                 |
        0       | org-1..3 links gcp:e-1..3 payg   |
        0+30m   | gcp:e-1..2 ENTITLEMENT_CANCELLED | 2 x org: canceled unknown by marketplace, payg
        0+30m   |                                  | 2 x org: final_report_due gcp:e 0+1h30m
        0+1h29m | gcp:e-3 ENTITLEMENT_CANCELLED    | org-3: canceled unknown by marketplace, payg
        0+1h29m |                                  | org-3: final_report_due gcp:e-3 0+2h29m
        1+30m   |                                  | 2 x org: control_plane_lost
        1+1h29m |                                  | org-3: control_plane_lost
        4+30m   |                                  | 2 x org: notice_given: suspended 7+30m
        4+1h29m |                                  | org-3: notice_given: suspended 7+1h29m
        7+30m   |                                  | 2 x org: suspended
        7+1h29m |                                  | worker: guard.tripped: steps 2 of 2
        """,
        TWO,
        until="8",
    )


def test_the_limit_grows_with_the_fleet() -> None:
    """Section 8: a fraction of the organizations that are not deactivated."""
    check_story(
        """
        day | input                            | events
        0   | org-1..10 created                |
        0   | org-1..10 links gcp:e-1..10 payg |
        0   | support: org-10 deactivate       | org-10: deactivated: support_request
            |                                  | org-10: support_request.completed
        0   | gcp:e-1..9 ENTITLEMENT_CANCELLED | 9 x org: canceled unknown by marketplace, payg
        0   |                                  | 9 x org: final_report_due gcp:e 0+1h
        1   |                                  | 9 x org: control_plane_lost
        4   |                                  | 9 x org: notice_given: suspended 7
        7   |                                  | 4 x org: suspended
            |                                  | worker: guard.tripped: steps 4 of 4
        """,
        policy("""
            [guard]
            minimum = 2
            fraction = 0.5
            control_plane_fraction = 1.0
        """),
        until="8",
    )


def test_the_kill_switch_withholds_every_step() -> None:
    """Section 8: an operator trips the guard by hand; withheld steps are effective from their
    deadline, and later ones have their dwell and notice.
    """
    check_story("""
        day  | input                         | events
        0    | acme created                  |
        0    | acme links gcp:e-1 payg       |
        0    | gcp:e-1 ENTITLEMENT_CANCELLED | canceled unknown by marketplace, payg
        0    |                               | final_report_due gcp:e-1 0+1h
        0+1h | operator: trips               | worker: guard.tripped: both by olga
        10   | operator: releases            | worker: guard.released: both by olga
        10   |                               | control_plane_lost @1
        10   |                               | notice_given: suspended 13
        13   |                               | suspended
        30   |                               | notice_given: deactivated 37
        37   |                               | deactivated
    """)


def test_everything_but_destructive_steps_continues_while_the_guard_is_tripped() -> None:
    """Section 8: cancellations, notices, reinstatements, holds, and other Support requests."""
    check_story(
        """
        day | input                       | events
        0   | acme created                |
        0   | acme links aws:p/c payg     |
        0   | aws:p/c unsubscribe-success | canceled unknown by marketplace, payg
            |                             | final_report_due aws:p/c 0+1h
        1   |                             | control_plane_lost
        2   | operator: trips             | worker: guard.tripped: both by olga
        4   |                             | notice_given: suspended 7
        8   | support: acme hold legal    | notice_withdrawn: suspended 7
            |                             | support_request.completed
        9   | aws:p/c subscribe-success   | reinstated
        10  | support: acme release legal | support_request.completed
        11  | aws:p/c unsubscribe-success | canceled unknown by marketplace, payg
            |                             | final_report_due aws:p/c 11+1h
        """,
        until="20",
    )


def test_the_kill_switch_refuses_requested_deactivations() -> None:
    """Section 8: it trips both sides; after a release for requests they are accepted, steps are
    not.
    """
    check_story(
        """
        day | input                         | events
        0   | acme created                  |
        0   | beta created                  |
        0   | beta links gcp:e-1 payg       |
        0   | gcp:e-1 ENTITLEMENT_CANCELLED | beta: canceled unknown by marketplace, payg
        0   |                               | beta: final_report_due gcp:e-1 0+1h
        0   | operator: trips               | worker: guard.tripped: both by olga
        2   | support: acme deactivate      | support_request.rejected: guard_tripped
        3   | operator: releases requests   | worker: guard.released: requests by olga
        4   | support: acme deactivate      | deactivated: support_request
            |                               | support_request.completed
        5   | operator: releases steps      | worker: guard.released: steps by olga
        5   |                               | beta: control_plane_lost @1
            |                               | beta: notice_given: suspended 8
        """,
        until="5+1h",
    )


def test_a_second_trip_keeps_the_first_and_is_reported_again() -> None:
    """Section 8: the details of the first limit still apply, but nothing more is allowed."""
    events = check_story(
        """
        day | input                            | events
        0   | o-1..4 created                   |
        0   | o-1..3 links gcp:e-1..3 payg     |
        0   | gcp:e-1..3 ENTITLEMENT_CANCELLED | 3 x o: canceled unknown by marketplace, payg
        0   |                                  | 3 x o: final_report_due gcp:e 0+1h
        1   |                                  | 3 x o: control_plane_lost
        4   |                                  | 3 x o: notice_given: suspended 7
        7   |                                  | 2 x o: suspended
            |                                  | worker: guard.tripped: steps 2 of 2
        8   | operator: trips                  | worker: guard.tripped: both by olga, once more
        9   | operator: releases steps         | worker: guard.released: steps by olga
        9   |                                  | o-3: suspended @7
        10  | operator: trips                  | worker: guard.tripped: both by olga, once more
        11  | support: o-4 deactivate          | o-4: support_request.rejected: guard_tripped
        """,
        TWO,
        until="12",
    )
    first, second, third = (e for e in events if isinstance(e.details, GuardTrippedDetails))
    assert isinstance(second.details, GuardTrippedDetails)
    assert isinstance(third.details, GuardTrippedDetails)
    assert (second.details.added_to, third.details.added_to) == (first.id, second.id)


# --- entries into control_plane_loss --------------------------------------------------------------


def test_of_1000_organizations_due_in_one_hour_50_lose_their_control_plane() -> None:
    """Section 8: counted separately, but by the same guard: when it is tripped, no step is
    taken.
    """
    check_story(
        """
        day  | input                              | events
        0    | o-1..1000 created plus             |
        0    | o-1..100 links gcp:e-1..100 payg   |
        0    | gcp:e-1..100 ENTITLEMENT_CANCELLED | 100 x o: canceled unknown by marketplace, payg
        0    |                                    | 100 x o: final_report_due gcp:e 0+1h
        1    |                                    | 50 x o: control_plane_lost
             |                                    | worker: guard.tripped: steps 50 of 50
        1+2h | operator: releases 10 steps        | worker: guard.released: steps by olga, 10 steps
        1+2h |                                    | 10 x o: control_plane_lost @1
        1+3h | operator: releases                 | worker: guard.released: steps by olga
        1+3h |                                    | 40 x o: control_plane_lost @1
        """,
        until="2",
    )


def test_losses_of_the_control_plane_and_destructive_steps_are_counted_separately() -> None:
    """Section 8: each has its own fraction of the fleet."""
    check_story(
        """
        day | input                            | events
        0   | org-1..3 created                 |
        0   | org-1..3 links gcp:e-1..3 payg   |
        0   | gcp:e-1..2 ENTITLEMENT_CANCELLED | 2 x org: canceled unknown by marketplace, payg
        0   |                                  | 2 x org: final_report_due gcp:e 0+1h
        1   |                                  | 2 x org: control_plane_lost
        4   |                                  | 2 x org: notice_given: suspended 7
        6   | gcp:e-3 ENTITLEMENT_CANCELLED    | org-3: canceled unknown by marketplace, payg
        6   |                                  | org-3: final_report_due gcp:e-3 6+1h
        7   |                                  | 2 x org: suspended
        7   |                                  | org-3: control_plane_lost
        """,
        policy("""
            [guard]
            minimum = 2
            control_plane_fraction = 0.0
        """),
        until="8",
    )


def test_a_release_restarts_the_count_of_losses_of_the_control_plane() -> None:
    """Section 8: otherwise the next loss of the same hour would trip it again."""
    check_story(
        """
        day   | input                            | events
        0     | org-1..4 created                 |
        0     | org-1..4 links gcp:e-1..4 payg   |
        0     | gcp:e-1..4 ENTITLEMENT_CANCELLED | 4 x org: canceled unknown by marketplace, payg
        0     |                                  | 4 x org: final_report_due gcp:e 0+1h
        1     |                                  | 2 x org: control_plane_lost
              |                                  | worker: guard.tripped: steps 2 of 2
        1+30m | operator: releases               | worker: guard.released: steps by olga
        1+30m |                                  | 2 x org: control_plane_lost @1
        """,
        policy("""
            [guard]
            minimum = 2
            control_plane_fraction = 0.0
        """),
        until="2",
    )


# --- requested deactivations ----------------------------------------------------------------------


def test_of_a_list_of_30_organizations_20_are_deactivated() -> None:
    """Section 8: two people, ten each; the request that would exceed the limit trips the guard, and
    all later ones are refused until it is released, even after the hour.
    """
    check_story(
        """
        day   | input                               | events
        0     | o-1..30 created enterprise          |
        1     | support: o-1..10 deactivate as=pat  | 10 x o: deactivated: support_request
              |                                     | 10 x o: support_request.completed
        1+10m | support: o-11..20 deactivate as=sam | 10 x o: deactivated: support_request
              |                                     | 10 x o: support_request.completed
        1+20m | support: o-21 deactivate as=kim     | worker: guard.tripped: 20 of 20 per_hour
              |                                     | o-21: support_request.rejected: guard_tripped
        1+20m | support: o-22 deactivate as=lee     | o-22: support_request.rejected: guard_tripped
        9     | support: o-23 deactivate as=lee     | o-23: support_request.rejected: guard_tripped
        10    | operator: releases requests         | worker: guard.released: requests by olga
        10    | support: o-21 deactivate as=kim     | o-21: deactivated: support_request
              |                                     | o-21: support_request.completed
        """,
        until="11",
    )


def test_one_person_is_stopped_after_10_however_the_name_is_written() -> None:
    """Section 8: the name is compared trimmed and without case; it trips for everybody, and the
    message says so.
    """
    events = check_story(
        """
        day   | input                              | events
        0     | o-1..12 created                    |
        1     | support: o-1..5 deactivate as=pat  | 5 x o: deactivated: support_request
              |                                    | 5 x o: support_request.completed
        1+59m | support: o-6..10 deactivate as=PAT | 5 x o: deactivated: support_request
              |                                    | 5 x o: support_request.completed
        1+59m | support: o-11 deactivate as=Pat    | worker: guard.tripped: 10 of 10 per_person
              |                                    | o-11: support_request.rejected: guard_tripped
        1+59m | support: o-12 deactivate as=sam    | o-12: support_request.rejected: guard_tripped
        """,
        until="2",
    )
    messages = {
        event.details.message
        for event in events
        if isinstance(event.details, SupportDetails) and event.details.code is not None
    }
    assert messages == {
        (
            "One person requested more deactivations within an hour than the guard allows. "
            "No requested deactivation is done, whoever asks, until an operator releases the "
            "guard; then request it again under a new id."
        )
    }


def test_a_request_of_an_hour_ago_no_longer_counts() -> None:
    """Section 8: the hour is (now - 1 h, now], by the decision's clock."""
    check_story(
        """
        day    | input                             | events
        0      | org-1..4 created                  |
        1      | support: org-1..2 deactivate      | 2 x org: deactivated: support_request
               |                                   | 2 x org: support_request.completed
        1+1h   | support: org-3 deactivate         | org-3: deactivated: support_request
               |                                   | org-3: support_request.completed
        """,
        policy("""
            [guard]
            requested_per_person = 2
        """),
        until="2",
    )


def test_only_granted_requests_are_counted() -> None:
    """Section 8: a request refused for another reason is not counted, in the order of the codes."""
    check_story(
        """
        day | input                         | events
        0   | acme created                  |
        0   | beta created                  |
        0   | dan created                   |
        1   | support: beta hold legal      | beta: support_request.completed
        2   | support: beta deactivate      | beta: support_request.rejected: on_hold
        2   | support: acme deactivate      | deactivated: support_request
            |                               | support_request.completed
        2   | support: dan deactivate       | worker: guard.tripped: 1 of 1 per_hour
            |                               | dan: support_request.rejected: guard_tripped
        2   | support: acme deactivate      | support_request.rejected: already_deactivated
        2   | support: beta deactivate      | beta: support_request.rejected: on_hold
        2   | support: beta release legal   | beta: support_request.completed
        2   | support: beta deactivate      | beta: support_request.rejected: guard_tripped
        """,
        policy("""
            [guard]
            requested_per_hour = 1
        """),
        until="3",
    )


def test_invalid_requests_and_unknown_organizations_do_not_reach_the_guard() -> None:
    """Section 8: these checks come first; otherwise a limit of 0 would trip it."""
    check_story(
        """
        day | input                                   | events
        0   | acme created                            |
        1   | support: acme deactivate without=reason | support_request.rejected: invalid_request
        1   | support: x deactivate without=reason    | x: support_request.rejected: invalid_request
        """,
        policy("""
            [guard]
            requested_per_hour = 0
        """),
        until="2",
    )
    check_story(
        """
        day | input                 | events
        0   | acme created          |
        1   | support: x deactivate | x: support_request.rejected: unknown_organization
        """,
        policy("""
            [guard]
            requested_per_hour = 0
        """),
        until="2",
    )


def test_a_legal_hold_that_has_expired_refuses_nothing() -> None:
    """Sections 7 and 11: the expiry takes effect at its instant, also for messages of that
    instant.
    """
    check_story(
        """
        day | input                            | events
        0   | acme created plus                |
        1   | support: acme hold legal until=3 | support_request.completed
        2   | support: acme deactivate         | support_request.rejected: on_hold
        3   | support: acme deactivate         | deactivated: support_request
            |                                  | support_request.completed
        """,
        until="4",
    )


def test_a_limit_of_0_lets_no_request_through() -> None:
    """Section 8: for any requester."""
    check_story(
        """
        day | input                    | events
        0   | acme created             |
        1   | support: acme deactivate | worker: guard.tripped: 0 of 0 per_hour
            |                          | support_request.rejected: guard_tripped
        """,
        policy("""
            [guard]
            requested_per_hour = 0
        """),
        until="2",
    )


def test_a_release_for_some_requests_allows_these_and_then_refuses_again() -> None:
    """Section 8: without counting them; then the guard refuses as before, without a new event."""
    check_story(
        """
        day | input                         | events
        0   | org-1..6 created              |
        1   | operator: trips               | worker: guard.tripped: both by olga
        2   | operator: releases 2 requests | worker: guard.released: requests by olga, 2 requests
        2   | support: org-1..2 deactivate  | 2 x org: deactivated: support_request
            |                               | 2 x org: support_request.completed
        2   | support: org-3 deactivate     | org-3: support_request.rejected: guard_tripped
        3   | operator: releases requests   | worker: guard.released: requests by olga
        3   | support: org-4 deactivate     | org-4: deactivated: support_request
            |                               | org-4: support_request.completed
        3   | support: org-5 deactivate     | worker: guard.tripped: 1 of 1 per_hour
            |                               | org-5: support_request.rejected: guard_tripped
        """,
        policy("""
            [guard]
            requested_per_hour = 1
        """),
        until="4",
    )


def test_a_release_of_requests_restarts_their_count() -> None:
    """Section 8: otherwise the next request would trip it again."""
    check_story(
        """
        day   | input                       | events
        0     | org-1..4 created            |
        1     | support: org-1 deactivate   | org-1: deactivated: support_request
              |                             | org-1: support_request.completed
        1+10m | support: org-2 deactivate   | worker: guard.tripped: 1 of 1 per_hour
              |                             | org-2: support_request.rejected: guard_tripped
        1+20m | operator: releases requests | worker: guard.released: requests by olga
        1+30m | support: org-3 deactivate   | org-3: deactivated: support_request
              |                             | org-3: support_request.completed
        1+40m | support: org-4 deactivate   | worker: guard.tripped: 1 of 1 per_hour
              |                             | org-4: support_request.rejected: guard_tripped
        """,
        policy("""
            [guard]
            requested_per_hour = 1
        """),
        until="2",
    )


def test_the_guard_for_requests_withholds_no_step_and_a_request_counts_for_none() -> None:
    """Section 8: the two sides are counted separately."""
    check_story(
        """
        day      | input                            | events
        0        | o-1..5 created                   |
        0        | o-1..2 links gcp:e-1..2 payg     |
        0        | gcp:e-1..2 ENTITLEMENT_CANCELLED | 2 x o: canceled unknown by marketplace, payg
        0        |                                  | 2 x o: final_report_due gcp:e 0+1h
        1        |                                  | 2 x o: control_plane_lost
        4        |                                  | 2 x o: notice_given: suspended 7
        6+23h30m | support: o-3..4 deactivate       | 2 x o: deactivated: support_request
                 |                                  | 2 x o: support_request.completed
        6+23h30m | support: o-5 deactivate          | worker: guard.tripped: 2 of 2 per_person
                 |                                  | o-5: support_request.rejected: guard_tripped
        7        |                                  | 2 x o: suspended
        """,
        policy("""
            [guard]
            minimum = 2
            requested_per_person = 2
        """),
        until="8",
    )


# --- which steps count as destructive -------------------------------------------------------------


def test_inactivity_is_counted_as_well() -> None:
    """Section 8: entries into `deactivated`, whatever their cause."""
    check_story(
        """
        day | input              | events
        0   | feeds: daily 0..30 |
        0   | org-1..5 created   |
        23  |                    | 5 x org: notice_given: deactivated 30
        30  |                    | 2 x org: deactivated: inactivity
            |                    | worker: guard.tripped: steps 2 of 2
        """,
        TWO,
    )


def test_the_end_of_a_cancellation_is_counted_as_well() -> None:
    """Section 8: the deletion of data is the most destructive step."""
    check_story(
        """
        day | input                            | events
        0   | org-1..3 created                 |
        0   | org-1..3 links gcp:e-1..3 payg   |
        0   | gcp:e-1..3 ENTITLEMENT_CANCELLED | 3 x org: canceled unknown by marketplace, payg
        0   |                                  | 3 x org: final_report_due gcp:e 0+1h
        1   |                                  | 3 x org: control_plane_lost
        4   |                                  | 3 x org: notice_given: suspended 7
        7   |                                  | 2 x org: suspended
            |                                  | worker: guard.tripped: steps 2 of 2
        8   | operator: releases               | worker: guard.released: steps by olga
        8   |                                  | org-3: suspended @7
        30  |                                  | 3 x org: notice_given: deactivated 37
        37  |                                  | 2 x org: deactivated
            |                                  | worker: guard.tripped: steps 2 of 2
        """,
        TWO,
    )


def test_a_withheld_step_is_dropped_when_the_customer_pays_meanwhile() -> None:
    """Section 8: it stayed due, but is no longer due when the guard is released."""
    check_story(
        """
        day | input                       | events
        0   | acme created                |
        0   | acme links aws:p/c payg     |
        0   | aws:p/c unsubscribe-success | canceled unknown by marketplace, payg
            |                             | final_report_due aws:p/c 0+1h
        1   |                             | control_plane_lost
        2   | operator: trips             | worker: guard.tripped: both by olga
        4   |                             | notice_given: suspended 7
        9   | aws:p/c subscribe-success   | reinstated
            |                             | notice_withdrawn: suspended 7
        10  | operator: releases          | worker: guard.released: both by olga
        """,
        until="20",
    )


def test_a_withheld_step_that_is_postponed_meanwhile_gets_a_new_notice() -> None:
    """Sections 7 and 8: Support extended the grace while the step was withheld."""
    check_story(
        """
        day | input                         | events
        0   | acme created                  |
        0   | acme links gcp:e-1 payg       |
        0   | gcp:e-1 ENTITLEMENT_CANCELLED | canceled unknown by marketplace, payg
        0   |                               | final_report_due gcp:e-1 0+1h
        1   |                               | control_plane_lost
        2   | operator: trips               | worker: guard.tripped: both by olga
        4   |                               | notice_given: suspended 7
        10  | support: acme extend 20       | notice_withdrawn: suspended 7
            |                               | support_request.completed
        12  | operator: releases            | worker: guard.released: both by olga
        24  |                               | notice_given: suspended 27
        27  |                               | suspended
        """,
        until="49",
    )


def test_a_withheld_step_under_a_hold_is_taken_after_the_hold() -> None:
    """Sections 7 and 8: a release rechecks withheld steps; a held one keeps waiting."""
    check_story(
        """
        day   | input                         | events
        0     | acme created                  |
        0     | acme links gcp:e-1 payg       |
        0     | gcp:e-1 ENTITLEMENT_CANCELLED | canceled unknown by marketplace, payg
        0     |                               | final_report_due gcp:e-1 0+1h
        0+12h | operator: trips               | worker: guard.tripped: both by olga
        2     | support: acme hold legal      | support_request.completed
        3     | operator: releases            | worker: guard.released: both by olga
        10    | support: acme release legal   | support_request.completed
        10+1h |                               | control_plane_lost
              |                               | notice_given: suspended 13+1h
        """,
        until="11",
    )


def test_a_guard_that_is_not_tripped_cannot_be_released() -> None:
    """Section 8: nothing was withheld, so there is nothing to report."""
    check_story("""
        day | input              | events
        0   | acme created plus  |
        1   | operator: releases |
    """)
