"""What could not be read is no silence (lifecycle.md section 5)."""

from stories import check_story


def test_a_login_of_its_own_that_could_not_be_read_postpones_for_as_long_as_one_counts() -> None:
    """Section 5: said daily, and with the organization; a login on day 5 counts up to day 35."""
    check_story("""
        day | input                      | events
        0   | acme created               |
        0   | feeds: daily 0..60         |
        5   | unreadable logins key=acme |
        23  |                            | notice_given: deactivated 30
        30  |                            | worker: activity_feed.unreadable: logins of acme ..34
        35  |                            | deactivated: inactivity
    """)


def test_usage_that_could_not_be_read_postpones_up_to_the_end_of_the_next_billing_cycle() -> None:
    """Section 5: as an API request would count."""
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
    """Section 5: by the organization that its key names, alone."""
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


def test_a_key_that_is_a_json_string_names_who_is_in_it() -> None:
    """As some serializers write keys."""
    check_story("""
        day | input                        | events
        0   | acme created                 |
        0   | feeds: daily 0..60           |
        5   | unreadable logins key="acme" |
        23  |                              | notice_given: deactivated 30
        30  |                              | worker: activity_feed.unreadable: logins of acme ..34
        35  |                              | deactivated: inactivity
    """)


def test_what_names_nobody_may_be_the_use_of_anybody_on_that_day() -> None:
    """Section 5: of two records of day 5 one; it counts up to the end of that day and 30 more."""
    check_story("""
        day | input              | events
        0   | acme created       |
        0   | feeds: daily 0..60 |
        5   | unreadable logins  |
        23  |                    | notice_given: deactivated 30
        30  |                    | worker: activity_feed.unreadable: logins ..35
        36  |                    | deactivated: inactivity
    """)


def test_a_key_that_is_no_organization_names_nobody() -> None:
    """Who writes the ids of users as keys names no organization with them."""
    check_story("""
        day | input                       | events
        0   | acme created                |
        0   | feeds: daily 0..60          |
        5   | unreadable logins key=u-123 |
        23  |                             | notice_given: deactivated 30
        30  |                             | worker: activity_feed.unreadable: logins ..35
        36  |                             | deactivated: inactivity
    """)


def test_fewer_than_one_in_a_thousand_that_name_nobody_count_for_nobody() -> None:
    """Section 5: of 1,000 records of the topic on day 5 one is not more than one in a thousand."""
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


def test_what_names_an_organization_counts_for_it_even_if_it_is_one_of_thousands() -> None:
    """Section 5: the share matters only where nobody is named."""
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


def test_an_organization_that_is_created_late_finds_what_had_its_key() -> None:
    """The topics have no order among each other: then it named nobody that was known."""
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
    """Section 5: each by itself; the decision waits for both."""
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


def test_possible_use_withdraws_no_notice_and_a_real_one_does() -> None:
    """Section 5: it postpones in the same way as a silent feed; only activity withdraws."""
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


def test_nobody_else_is_asked_what_could_not_be_read() -> None:
    """Section 5 is about inactivity alone: a cancellation runs its course."""
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


def test_of_several_that_could_not_be_read_the_newest_counts() -> None:
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
