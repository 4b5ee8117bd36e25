"""Mass harm is stopped, and let go on by a person (lifecycle.md section 8)."""

from stories import check_story, policy

TWO = policy("""
    [guard]
    minimum = 2
""")


def test_of_200_organizations_due_in_one_hour_50_are_suspended() -> None:
    """Section 8: the step that would have gone past is the first that is withheld; notices and
    what is not harmful go on.
    """
    check_story("""
        day | heard                              | said
        0   | org-1..200 created                 |
        0   | org-1..200 links gcp:e-1..200 payg |
        0   | gcp:e-1..200 ENTITLEMENT_CANCELLED | 200 x org: canceled unknown by marketplace, payg
        0   |                                    | 200 x org: final_report_due gcp:e 0+1h
        1   |                                    | 200 x org: control_plane_lost
        4   |                                    | 200 x org: notice_given: suspended 7
        7   |                                    | 50 x org: suspended
            |                                    | worker: guard.tripped: 50 of 50
        30  |                                    | 50 x org: notice_given: deactivated 37
    """)


def test_what_was_withheld_stays_due_and_goes_on_when_the_guard_is_released() -> None:
    """Section 8: for N steps or altogether; effective from the deadline as it was."""
    check_story(
        """
        day | heard                             | said
        0   | org-1..70 created                 |
        0   | org-1..70 links gcp:e-1..70 payg  |
        0   | gcp:e-1..70 ENTITLEMENT_CANCELLED | 70 x org: canceled unknown by marketplace, payg
        0   |                                   | 70 x org: final_report_due gcp:e 0+1h
        1   |                                   | 70 x org: control_plane_lost
        4   |                                   | 70 x org: notice_given: suspended 7
        7   |                                   | 50 x org: suspended
            |                                   | worker: guard.tripped: 50 of 50
        9   | operator: releases 5              | worker: guard.released: by olga, 5 steps
        9   |                                   | 5 x org: suspended @7
        10  | operator: releases                | worker: guard.released: by olga
        10  |                                   | 15 x org: suspended @7
        """,
        until="29",
    )


def test_a_release_altogether_begins_to_count_anew() -> None:
    """Section 8: or the next step of the same hour would trip it again."""
    check_story(
        """
        day   | heard                            | said
        0     | org-1..4 created                 |
        0     | org-1..4 links gcp:e-1..4 payg   |
        0     | gcp:e-1..4 ENTITLEMENT_CANCELLED | 4 x org: canceled unknown by marketplace, payg
        0     |                                  | 4 x org: final_report_due gcp:e 0+1h
        1     |                                  | 4 x org: control_plane_lost
        4     |                                  | 4 x org: notice_given: suspended 7
        7     |                                  | 2 x org: suspended
              |                                  | worker: guard.tripped: 2 of 2
        7+30m | operator: releases               | worker: guard.released: by olga
        7+30m |                                  | 2 x org: suspended @7
        """,
        TWO,
        until="8",
    )


def test_it_stays_tripped_until_it_is_released() -> None:
    """Section 8: also when the hour has long passed."""
    check_story(
        """
        day | heard                            | said
        0   | org-1..4 created                 |
        0   | org-1..4 links gcp:e-1..4 payg   |
        0   | gcp:e-1..3 ENTITLEMENT_CANCELLED | 3 x org: canceled unknown by marketplace, payg
        0   |                                  | 3 x org: final_report_due gcp:e 0+1h
        1   |                                  | 3 x org: control_plane_lost
        4   |                                  | 3 x org: notice_given: suspended 7
        7   |                                  | 2 x org: suspended
            |                                  | worker: guard.tripped: 2 of 2
        20  | gcp:e-4 ENTITLEMENT_CANCELLED    | org-4: canceled unknown by marketplace, payg
        20  |                                  | org-4: final_report_due gcp:e-4 20+1h
        21  |                                  | org-4: control_plane_lost
        24  |                                  | org-4: notice_given: suspended 27
        30  |                                  | 2 x org: notice_given: deactivated 37
        """,
        TWO,
        until="100",
    )


def test_the_hour_slides() -> None:
    """Section 8: two within an hour, and two in the next, are no mass harm."""
    check_story(
        """
        day    | heard                            | said
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
    """Section 8: an hour is not a clock's hour, it begins with any step."""
    check_story(
        """
        day     | heard                            | said
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
        7+1h29m |                                  | worker: guard.tripped: 2 of 2
        """,
        TWO,
        until="8",
    )


def test_the_limit_grows_with_the_fleet() -> None:
    """Section 8: a fraction of the organizations that are not deactivated."""
    check_story(
        """
        day | heard                            | said
        0   | org-1..10 created                |
        0   | org-1..10 links gcp:e-1..10 payg |
        0   | support: org-10 deactivate       | org-10: deactivated: support_request
            |                                  | org-10: support_request.completed
        0   | gcp:e-1..9 ENTITLEMENT_CANCELLED | 9 x org: canceled unknown by marketplace, payg
        0   |                                  | 9 x org: final_report_due gcp:e 0+1h
        1   |                                  | 9 x org: control_plane_lost
        4   |                                  | 9 x org: notice_given: suspended 7
        7   |                                  | 4 x org: suspended
            |                                  | worker: guard.tripped: 4 of 4
        """,
        policy("""
            [guard]
            minimum = 2
            fraction = 0.5
        """),
        until="8",
    )


def test_the_kill_switch_withholds_everything_harmful() -> None:
    """Section 8: an operator trips the guard by hand; notices and lesser steps go on."""
    check_story("""
        day  | heard                         | said
        0    | acme created                  |
        0    | acme links gcp:e-1 payg       |
        0    | gcp:e-1 ENTITLEMENT_CANCELLED | canceled unknown by marketplace, payg
        0    |                               | final_report_due gcp:e-1 0+1h
        0+1h | operator: trips               | worker: guard.tripped: by olga
        1    |                               | control_plane_lost
        4    |                               | notice_given: suspended 7
        10   | operator: releases            | worker: guard.released: by olga
        10   |                               | suspended @7
        30   |                               | notice_given: deactivated 37
        37   |                               | deactivated
    """)


def test_everything_else_goes_on_while_the_guard_is_tripped() -> None:
    """Section 8: reinstatement and Support."""
    check_story(
        """
        day | heard                       | said
        0   | operator: trips             | worker: guard.tripped: by olga
        0   | acme created                |
        0   | beta created                |
        0   | acme links aws:p/c payg     |
        0   | aws:p/c unsubscribe-success | canceled unknown by marketplace, payg
            |                             | final_report_due aws:p/c 0+1h
        1   |                             | control_plane_lost
        4   |                             | notice_given: suspended 7
        9   | aws:p/c subscribe-success   | reinstated
            |                             | notice_withdrawn: suspended 7
        10  | support: acme deactivate    | deactivated: support_request
            |                             | support_request.completed
        """,
        until="20",
    )


def test_support_is_not_counted() -> None:
    """Section 8: entries that Support asks for are a person's will."""
    check_story(
        """
        day | heard                         | said
        0   | org-1..3 created              |
        0   | acme created                  |
        0   | acme links gcp:e-1 payg       |
        0   | gcp:e-1 ENTITLEMENT_CANCELLED | canceled unknown by marketplace, payg
        0   |                               | final_report_due gcp:e-1 0+1h
        1   |                               | control_plane_lost
        4   |                               | notice_given: suspended 7
        7   | support: org-1 deactivate     | org-1: deactivated: support_request
            |                               | org-1: support_request.completed
        7   | support: org-2 deactivate     | org-2: deactivated: support_request
            |                               | org-2: support_request.completed
        7   | support: org-3 deactivate     | org-3: deactivated: support_request
            |                               | org-3: support_request.completed
        7   |                               | suspended
        """,
        TWO,
        until="8",
    )


def test_inactivity_is_counted_as_well() -> None:
    """Section 8: entries into `deactivated`, whatever their cause."""
    check_story(
        """
        day | heard              | said
        0   | feeds: daily 0..30 |
        0   | org-1..5 created   |
        23  |                    | 5 x org: notice_given: deactivated 30
        30  |                    | 2 x org: deactivated: inactivity
            |                    | worker: guard.tripped: 2 of 2
        """,
        TWO,
    )


def test_the_end_of_a_cancellation_is_counted_as_well() -> None:
    """Section 8: the deletion of data is the worst of all."""
    check_story(
        """
        day | heard                            | said
        0   | org-1..3 created                 |
        0   | org-1..3 links gcp:e-1..3 payg   |
        0   | gcp:e-1..3 ENTITLEMENT_CANCELLED | 3 x org: canceled unknown by marketplace, payg
        0   |                                  | 3 x org: final_report_due gcp:e 0+1h
        1   |                                  | 3 x org: control_plane_lost
        4   |                                  | 3 x org: notice_given: suspended 7
        7   |                                  | 2 x org: suspended
            |                                  | worker: guard.tripped: 2 of 2
        8   | operator: releases               | worker: guard.released: by olga
        8   |                                  | org-3: suspended @7
        30  |                                  | 3 x org: notice_given: deactivated 37
        37  |                                  | 2 x org: deactivated
            |                                  | worker: guard.tripped: 2 of 2
        """,
        TWO,
    )


def test_what_was_withheld_and_is_paid_in_the_meantime_is_not_taken() -> None:
    """Section 8: it stayed due, and is no longer due when the guard is released."""
    check_story(
        """
        day | heard                       | said
        0   | operator: trips             | worker: guard.tripped: by olga
        0   | acme created                |
        0   | acme links aws:p/c payg     |
        0   | aws:p/c unsubscribe-success | canceled unknown by marketplace, payg
            |                             | final_report_due aws:p/c 0+1h
        1   |                             | control_plane_lost
        4   |                             | notice_given: suspended 7
        9   | aws:p/c subscribe-success   | reinstated
            |                             | notice_withdrawn: suspended 7
        10  | operator: releases          | worker: guard.released: by olga
        """,
        until="20",
    )


def test_what_was_withheld_and_is_put_off_in_the_meantime_has_its_notice_anew() -> None:
    """Sections 7 and 8: Support gave more time while nothing could happen."""
    check_story(
        """
        day | heard                         | said
        0   | operator: trips               | worker: guard.tripped: by olga
        0   | acme created                  |
        0   | acme links gcp:e-1 payg       |
        0   | gcp:e-1 ENTITLEMENT_CANCELLED | canceled unknown by marketplace, payg
        0   |                               | final_report_due gcp:e-1 0+1h
        1   |                               | control_plane_lost
        4   |                               | notice_given: suspended 7
        10  | support: acme extend 20       | notice_withdrawn: suspended 7
            |                               | support_request.completed
        12  | operator: releases            | worker: guard.released: by olga
        24  |                               | notice_given: suspended 27
        27  |                               | suspended
        """,
        until="49",
    )


def test_a_guard_that_is_not_tripped_cannot_be_released() -> None:
    """Section 8: nothing was withheld, so there is nothing to tell."""
    check_story("""
        day | heard              | said
        0   | acme created plus  |
        1   | operator: releases |
    """)
