"""Unreadable activity does not count as silence (lifecycle.md section 5)."""

from stories import check_story


def test_an_unreadable_login_of_its_own_postpones_for_as_long_as_a_login_counts() -> None:
    """Section 5: reported daily, with the organization; a login on day 5 counts up to day 35."""
    check_story("""
        day | input                      | events
        0   | acme created               |
        0   | feeds: daily 0..60         |
        5   | unreadable logins key=acme |
        23  |                            | notice_given: deactivated 30
        30  |                            | worker: activity_feed.unreadable: logins of acme ..34
        35  |                            | deactivated: inactivity
    """)


def test_unreadable_usage_postpones_up_to_the_end_of_the_next_billing_cycle() -> None:
    """Section 5: as long as an API request would count."""
    check_story("""
        day | input                            | events
        0   | acme created                     |
        0   | feeds: daily 0..90               |
        5   | unreadable api_requests key=acme |
        23  |                                  | notice_given: deactivated 30
        30  |                     | worker: activity_feed.unreadable: api_requests of acme ..59
        60  |                                  | deactivated: inactivity
    """)


def test_a_record_with_another_organizations_key_is_not_counted_for_this_one() -> None:
    """Section 5: only the organization that its key names."""
    check_story(
        """
        day | input                      | events
        0   | acme created               |
        0   | beta created plus          |
        0   | feeds: daily 0..60         |
        5   | unreadable logins key=beta |
        23  |                            | notice_given: deactivated 30
        30  |                            | deactivated: inactivity
        """,
        until="40",
    )


def test_a_key_that_is_a_json_string_is_decoded() -> None:
    """Some serializers write keys as JSON."""
    check_story("""
        day | input                        | events
        0   | acme created                 |
        0   | feeds: daily 0..60           |
        5   | unreadable logins key="acme" |
        23  |                              | notice_given: deactivated 30
        30  |                              | worker: activity_feed.unreadable: logins of acme ..34
        35  |                              | deactivated: inactivity
    """)


def test_an_unreadable_record_without_a_known_key_may_be_the_use_of_any_organization() -> None:
    """Section 5: one of two records of day 5; it counts up to the end of that day and 30 more."""
    check_story("""
        day | input              | events
        0   | acme created       |
        0   | feeds: daily 0..60 |
        5   | unreadable logins  |
        23  |                    | notice_given: deactivated 30
        30  |                    | worker: activity_feed.unreadable: logins ..35
        36  |                    | deactivated: inactivity
    """)


def test_a_key_that_is_no_organization_counts_as_unknown() -> None:
    """Some producers use the ids of users as keys."""
    check_story("""
        day | input                       | events
        0   | acme created                |
        0   | feeds: daily 0..60          |
        5   | unreadable logins key=u-123 |
        23  |                             | notice_given: deactivated 30
        30  |                             | worker: activity_feed.unreadable: logins ..35
        36  |                             | deactivated: inactivity
    """)


def test_up_to_one_in_a_thousand_without_a_known_key_has_no_effect() -> None:
    """Section 5: one of 1,000 records of the topic on day 5 is not more than one in a thousand."""
    check_story("""
        day | input                  | events
        0   | acme created           |
        0   | feeds: daily 0..60     |
        5   | org-1..998 logs in     |
        5   | unreadable logins      |
        23  |                        | notice_given: deactivated 30
        30  |                        | deactivated: inactivity
    """)


def test_a_little_more_than_one_in_a_thousand_counts_for_everybody() -> None:
    """Section 5: here one of 999."""
    check_story("""
        day | input                  | events
        0   | acme created           |
        0   | feeds: daily 0..60     |
        5   | org-1..997 logs in     |
        5   | unreadable logins      |
        23  |                        | notice_given: deactivated 30
        30  |                        | worker: activity_feed.unreadable: logins ..35
        36  |                        | deactivated: inactivity
    """)


def test_a_record_with_an_organizations_key_counts_even_if_it_is_one_of_thousands() -> None:
    """Section 5: the share matters only for records without a known key."""
    check_story("""
        day | input                      | events
        0   | acme created               |
        0   | feeds: daily 0..60         |
        5   | org-1..2000 logs in        |
        5   | unreadable logins key=acme |
        23  |                            | notice_given: deactivated 30
        30  |                            | worker: activity_feed.unreadable: logins of acme ..34
        35  |                            | deactivated: inactivity
    """)


def test_a_record_counts_for_an_organization_that_is_created_later() -> None:
    """The topics are not ordered among each other: the key may arrive before the organization."""
    check_story("""
        day | input                      | events
        0   | feeds: daily 0..60         |
        5   | org-1..2000 logs in        |
        5   | unreadable logins key=acme |
        20  | acme created @0            |
        23  |                            | notice_given: deactivated 30
        30  |                            | worker: activity_feed.unreadable: logins of acme ..34
        35  |                            | deactivated: inactivity
    """)


def test_possible_use_and_a_silent_feed_are_both_reported() -> None:
    """Section 5: each separately; the decision waits for both."""
    check_story("""
        day | input                           | events
        0   | acme created                    |
        0   | feeds: daily 0..60 api_requests |
        4   | feeds: daily 4..60 logins       |
        5   | unreadable logins key=acme      |
        23  |                                 | notice_given: deactivated 30
        30  |                                 | worker: activity_feed.silent: logins
            |                          | worker: activity_feed.unreadable: logins of acme ..34
        35  |                                 | deactivated: inactivity
    """)


def test_possible_use_withdraws_no_notice_and_real_use_does() -> None:
    """Section 5: it postpones like a silent feed; only real activity withdraws the notice."""
    check_story(
        """
        day | input                      | events
        0   | acme created               |
        0   | feeds: daily 0..60         |
        23  |                            | notice_given: deactivated 30
        25  | unreadable logins key=acme |
        30  |                            | worker: activity_feed.unreadable: logins of acme ..40
        41  | acme logs in               | notice_withdrawn: deactivated 30
        """,
        until="60",
    )


def test_unreadable_activity_affects_only_inactivity() -> None:
    """Section 5 is only about inactivity: a cancellation continues."""
    check_story("""
        day | input                         | events
        0   | acme created                  |
        0   | acme links gcp:e-1 payg       |
        0   | gcp:e-1 ENTITLEMENT_CANCELLED | canceled unknown by marketplace, payg
            |                               | final_report_due gcp:e-1 0+1h
        0   | unreadable logins key=acme    |
        1   |                               | control_plane_lost
        4   |                               | notice_given: suspended 7
        7   |                               | suspended
        30  |                               | notice_given: deactivated 37
        37  |                               | deactivated
    """)


def test_the_newest_of_several_unreadable_records_counts() -> None:
    """Section 5: until it has left the window."""
    check_story("""
        day | input                      | events
        0   | acme created               |
        0   | feeds: daily 0..60         |
        5   | unreadable logins key=acme |
        8   | unreadable logins key=acme |
        23  |                            | notice_given: deactivated 30
        30  |                            | worker: activity_feed.unreadable: logins of acme ..37
        38  |                            | deactivated: inactivity
    """)
