"""Decisions on open questions, tested from outside (lifecycle.md section 11).

Those about Support, holds, feeds and plans are with their subjects.
"""

from stories import check_story, moment

# --- times ----------------------------------------------------------------------------------------


def test_an_event_with_a_future_time_counts_from_its_arrival() -> None:
    """A clock that is ahead must not make all later messages stale."""
    check_story(
        """
        day | input                         | events
        0   | acme created                  |
        0   | acme links aws:p/c payg       |
        5   | aws:p/c subscribe-success @90 |
        6   | aws:p/c unsubscribe-success   | canceled unknown by marketplace, payg
            |                               | final_report_due aws:p/c 6+1h
        """,
        until="6",
    )


def test_facts_before_the_creation_are_applied_unchanged() -> None:
    """It was canceled and reinstated in between: nothing is replayed."""
    check_story("""
        day | input                       | events
        0   | acme links aws:p/c payg     |
        1   | aws:p/c unsubscribe-success |
        2   | aws:p/c subscribe-success   |
        9   | acme created @0             | final_report_due aws:p/c 1+1h
    """)


def test_the_oldest_creation_determines_the_beginning() -> None:
    """The second has another id, and is later or arrives late."""
    check_story("""
        day | input              | events
        0   | feeds: daily 0..40 |
        10  | acme created @10   |
        12  | acme created @2    |
        20  | acme created @20   |
        25  |                    | notice_given: deactivated 32
        32  |                    | deactivated: inactivity
    """)


def test_the_newest_creation_determines_tier_and_owner() -> None:
    """By its own time, not by its arrival."""
    check_story(
        """
        day | input                             | events
        0   | feeds: daily 0..60                |
        20  | acme created plus owner=new@x.org @15 |
        21  | acme created free @10             |
        22  | support: acme deactivate          | deactivated: support_request
            |                                   | support_request.completed
        23  | support: unlock acme@x.org        | worker: support_request.rejected: email_not_locked
        24  | support: unlock new@x.org         | email.unlocked
            |                                   | support_request.completed
        """,
        until="60",
    )


# --- ends -----------------------------------------------------------------------------------------


def test_a_contract_without_renewal_expires_without_a_report() -> None:
    """AWS had reported that it would not renew: `commit_expired`."""
    check_story(
        """
        day | input                                      | events
        0   | acme created                               |
        0   | aws:a-1 Agreement Created end=30           |
        0   | acme links aws:a-1                         |
        9   | aws:a-1 Agreement Amended renews=no end=30 |
        30  |                                            | canceled commit_expired by system, commit
        """,
        until="30",
    )


def test_other_ends_without_a_report_have_an_unknown_reason() -> None:
    """AWS removed the product and reported nothing else."""
    check_story(
        """
        day  | input                       | events
        0    | acme created                |
        0    | acme links aws:p/c payg     |
        9    | aws:p/c unsubscribe-pending | final_report_due aws:p/c 9+1h
        9+1h |                             | canceled unknown by system, payg
        """,
        until="10",
    )


def test_a_subscription_that_ended_before_it_was_linked_reports_then() -> None:
    """The original deadline of its final report is published."""
    check_story(
        """
        day | input                             | events
        0   | acme created plus                 |
        1   | aws:a-1 License Updated           |
        3   | aws:a-1 Agreement Ended CANCELLED |
        9   | acme links aws:a-1 payg           | canceled @3 customer by customer, payg
            |                                   | final_report_due aws:a-1 3+1h
        """,
        until="9",
    )


# --- owners ---------------------------------------------------------------------------------------


def test_of_two_links_of_one_time_the_greater_id_wins() -> None:
    """Whichever arrived first; the other organization's plan is an empty interval."""
    check_story(
        """
        day  | input                           | events
        0    | acme created plus               |
        0    | beta created plus               |
        5    | acme links gcp:e-1 payg id=z @3 |
        6    | beta links gcp:e-1 payg id=a @3 | beta: canceled @3 unknown by system, payg
        6+1h |                                 | beta: control_plane_lost
        6+2h | gcp:e-1 ENTITLEMENT_CANCELLED   | canceled unknown by marketplace, payg
        6+2h |                                 | final_report_due gcp:e-1 6+3h
        """,
        until="6+2h",
    )


def test_a_sign_in_links_the_subscription_for_good() -> None:
    """To the organization that held the account then; a later holder does not get it."""
    check_story(
        """
        day | input                                | events
        0   | acme created                         |
        0   | beta created plus                    |
        0   | acme links gcp:e-1 payg account=P    |
        0   | gcp:e-1 ENTITLEMENT_CANCELLED        | canceled unknown by marketplace, payg
        0   |                                      | final_report_due gcp:e-1 0+1h
        1   |                                      | control_plane_lost
        2   | gcp:e-2 ENTITLEMENT_ACTIVE account=P | reinstatement_pending: gcp:e-2 by sign_in
        3   | acme logs in                         | reinstated
        4   | beta links gcp:e-3 payg account=P    |
        5   | beta logs in                         |
        9   | gcp:e-2 ENTITLEMENT_CANCELLED        | canceled unknown by marketplace, payg
        9   |                                      | final_report_due gcp:e-2 9+1h
        """,
        until="9",
    )


def test_a_sign_in_stays_valid_whatever_happens_to_other_holders_of_the_account() -> None:
    """Beta had the account as well, and lost it on day 10: on day 20 it was acme's alone, however
    often beta regains and loses it later.
    """
    check_story(
        """
        day | input                                | events
        0   | acme created plus                    |
        0   | beta created plus                    |
        0   | acme links gcp:e-1 payg account=P    |
        0   | beta links gcp:e-9 payg account=P    |
        10  | support: beta deactivate             | beta: deactivated: support_request
            |                                      | beta: support_request.completed
        12  | gcp:e-1 ENTITLEMENT_CANCELLED        | canceled unknown by marketplace, payg
        12  |                                      | final_report_due gcp:e-1 12+1h
        13  |                                      | control_plane_lost
        15  | gcp:e-2 ENTITLEMENT_ACTIVE account=P | reinstatement_pending: gcp:e-2 by sign_in
        20  | acme logs in                         | reinstated
        30  | support: beta reactivate             | beta: reactivated
            |                                      | beta: support_request.completed
        31  | beta links gcp:e-9 payg account=P    |
        40  | support: beta deactivate             | beta: deactivated: support_request
            |                                      | beta: support_request.completed
        42  | support: beta reactivate             | beta: reactivated
            |                                      | beta: support_request.completed
        43  | beta links gcp:e-9 payg account=P    |
        44  | acme tier enterprise                 |
        """,
        until="100",
    )


def test_azure_needs_support_again_after_the_next_cancellation() -> None:
    """A request confirms what is pending at its time, and nothing later."""
    check_story(
        """
        day   | input                     | events
        0     | acme created              |
        0     | acme links azure:s-1 payg |
        5     | azure:s-1 Suspend         | canceled non_payment by marketplace, payg
        5+1h  | azure:s-1 Reinstate       | reinstatement_pending: azure:s-1 by support
        9     | support: acme reinstate   | reinstated
              |                           | support_request.completed
        40    | azure:s-1 Suspend         | canceled non_payment by marketplace, payg
        40+1h | azure:s-1 Reinstate       | reinstatement_pending: azure:s-1 by support
        """,
        until="99",
    )


# --- the content of events ------------------------------------------------------------------------


def test_effects_are_effective_with_their_state_event_and_sequences_begin_at_one() -> None:
    """A consumer reads a story in order; `event_rules.py` checks this in every story."""
    events = check_story(
        """
        day   | input                            | events
        0     | acme created                     |
        0     | acme links gcp:e-1 payg          |
        40    | gcp:e-1 ENTITLEMENT_CANCELLED @0 | canceled @0 unknown by marketplace, payg
        40    |                                  | final_report_due gcp:e-1 0+1h
        40+1h |                                  | control_plane_lost
        40+1h |                                  | notice_given: suspended 43+1h
        43+1h |                                  | suspended
        43+1h |                                  | notice_given: deactivated 50+1h
        """,
        until="44",
    )
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    suspended = [event for event in events if event.decided_at == moment("43+1h")][:3]
    assert {event.effective_at for event in suspended} == {moment("43+1h")}
