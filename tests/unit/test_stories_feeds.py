"""Inactivity counts only while the activity feeds are received (lifecycle.md section 5)."""

from stories import check_story, policy


def test_a_feed_that_is_silent_for_three_weeks_postpones_until_its_gap_has_left_the_window() -> (
    None
):
    """Section 5: nothing was received from day 21 to day 41.  On day 69 the window of 30 days for
    logins begins three days before day 42, which is no longer too long a gap; API usage is checked
    by whole billing cycles.
    """
    check_story("""
        day | input               | events
        0   | acme created        |
        0   | feeds: daily 0..20  |
        23  |                     | notice_given: deactivated 30
        30  |                     | worker: activity_feed.silent: logins ..68
            |                     | worker: activity_feed.silent: api_requests ..89
        42  | feeds: daily 42..91 |
        90  |                     | deactivated: inactivity
    """)


def test_one_silent_feed_is_enough_to_postpone() -> None:
    """Section 5: both feeds must have been received; only the silent one is named."""
    check_story("""
        day | input                           | events
        0   | acme created                    |
        0   | feeds: daily 0..60 api_requests |
        0   | feeds: daily 0..20 logins       |
        23  |                                 | notice_given: deactivated 30
        30  | feeds: daily 30..60 logins      |
            |                                 | worker: activity_feed.silent: logins ..56
        57  |                                 | deactivated: inactivity
    """)


def test_feeds_without_any_record_postpone_without_end() -> None:
    """Section 5: the time before a feed's first record counts as a gap; it is checked again
    daily.
    """
    check_story(
        """
        day | input        | events
        0   | acme created |
        23  |              | notice_given: deactivated 30
        30  |              | worker: activity_feed.silent: logins ..99
            |              | worker: activity_feed.silent: api_requests ..99
        """,
        until="100-1s",
    )


def test_the_daily_recheck_of_a_silent_feed_does_not_keep_the_clock_running() -> None:
    """events.md section 4: such a scenario ends after the first check."""
    check_story("""
        day | input        | events
        0   | acme created |
        23  |              | notice_given: deactivated 30
        30  |              | worker: activity_feed.silent: logins
            |              | worker: activity_feed.silent: api_requests
    """)


def test_a_gap_of_exactly_three_days_is_allowed() -> None:
    """Section 5: `feed_max_gap` may be reached, and both ends of the window count."""
    check_story("""
        day | input               | events
        0   | acme created        |
        3   | feeds: daily 3..10  |
        13  | feeds: daily 13..27 |
        23  |                     | notice_given: deactivated 30
        30  |                     | deactivated: inactivity
    """)


def test_a_gap_of_a_second_more_postpones() -> None:
    """Section 5: here in the middle."""
    check_story(
        """
        day   | input                           | events
        0     | acme created                    |
        0     | feeds: daily 0..30 api_requests |
        0     | feeds: daily 0..10 logins       |
        13+1s | others logs in                  |
        14    | feeds: daily 14..60 logins      |
        23    |                                 | notice_given: deactivated 30
        30    |                                 | worker: activity_feed.silent: logins
        """,
        until="31-1s",
    )


def test_the_end_of_the_window_counts_as_a_gap() -> None:
    """Section 5: a feed that fell silent four days ago may be broken."""
    check_story("""
        day | input                           | events
        0   | acme created                    |
        0   | feeds: daily 0..30 logins       |
        0   | feeds: daily 0..26 api_requests |
        23  |                                 | notice_given: deactivated 30
        30  |                                 | worker: activity_feed.silent: api_requests
    """)


def test_the_beginning_of_the_window_counts_as_a_gap() -> None:
    """Section 5: the organization's activity of the first four days may have been lost."""
    check_story("""
        day | input                           | events
        0   | acme created                    |
        0   | feeds: daily 0..30 api_requests |
        4   | feeds: daily 4..30 logins       |
        23  |                                 | notice_given: deactivated 30
        30  |                                 | worker: activity_feed.silent: logins
    """)


def test_a_feed_is_recent_by_the_times_of_its_records() -> None:
    """Section 5: lost records are reported later, so the next check can decide."""
    check_story(
        """
        day | input                 | events
        0   | acme created          |
        0   | feeds: daily 0..20    |
        23  |                       | notice_given: deactivated 30
        30  |                       | worker: activity_feed.silent: logins
            |                       | worker: activity_feed.silent: api_requests
        31  | others logs in @23    |
        31  | others logs in @26    |
        31  | others logs in @29    |
        31  | others requests 1 @23 |
        31  | others requests 1 @26 |
        31  | others requests 1 @29 |
        31  |                       | deactivated: inactivity
        """,
        until="31",
    )


def test_a_login_that_was_lost_in_the_silence_saves_the_organization() -> None:
    """Section 5: this is the purpose of postponing."""
    check_story(
        """
        day   | input              | events
        0     | acme created       |
        0     | feeds: daily 0..20 |
        23    |                    | notice_given: deactivated 30
        30    |                    | worker: activity_feed.silent: logins ..32
              |                    | worker: activity_feed.silent: api_requests ..32
        33-1s | acme logs in @25   | notice_withdrawn: deactivated 30
        48    |                    | notice_given: deactivated 55
        """,
        until="48",
    )


def test_silence_is_reported_once_a_day_however_many_organizations_wait() -> None:
    """Section 5: once per feed and UTC day; each organization is checked from its deadline on."""
    check_story(
        """
        day   | input         | events
        0     | acme created  |
        0+1h  | beta created  |
        1     | gamma created |
        23    |               | notice_given: deactivated 30
        23+1h |               | beta: notice_given: deactivated 30+1h
        24    |               | gamma: notice_given: deactivated 31
        30    |               | worker: activity_feed.silent: logins ..31
              |               | worker: activity_feed.silent: api_requests ..31
        """,
        until="32-1s",
    )


def test_a_postponed_step_is_dated_at_the_recheck() -> None:
    """events.md section 3: `effective_at` is the deadline, or the decision if it was postponed."""
    events = check_story(
        """
        day   | input                           | events
        0     | acme created                    |
        0     | feeds: daily 0..60 logins       |
        0     | feeds: daily 0..26 api_requests |
        23    |                                 | notice_given: deactivated 30
        30    |                                 | worker: activity_feed.silent: api_requests ..32
        32+1h | others requests 1 @29           |
        32+1h | others requests 1 @32           |
        33    |                                 | deactivated: inactivity
        """
    )
    deactivated = next(e for e in events if e.kind == "organization.deactivated")
    assert deactivated.effective_at == deactivated.decided_at


def test_a_fact_between_two_rechecks_is_no_recheck() -> None:
    """Section 5: checked again daily from the deadline on, and reported once a day."""
    check_story(
        """
        day    | input                  | events
        0      | acme created           |
        0      | feeds: daily 0..20     |
        23     |                        | notice_given: deactivated 30
        30     |                        | worker: activity_feed.silent: logins ..31
               |                        | worker: activity_feed.silent: api_requests ..31
        30+12h | acme owner new@x.org   |
        31+12h | acme owner newer@x.org |
        """,
        until="32-1s",
    )


def test_a_policy_may_allow_a_longer_gap() -> None:
    """Sections 3 and 5: `inactivity.feed_max_gap`."""
    check_story(
        """
        day | input              | events
        0   | acme created       |
        0   | feeds: daily 0..20 |
        23  |                    | notice_given: deactivated 30
        30  |                    | deactivated: inactivity
        """,
        policy("""
            [inactivity]
            feed_max_gap = "P10D"
        """),
    )
