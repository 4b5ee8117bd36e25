"""Deactivation and reactivation of organizations (lifecycle.md section 6)."""

import pytest
from stories import HASH, check_story, run_story

from marketplace_worker.lifecycle.events import (
    EmailDetails,
    EventKind,
    SubscriptionsDetails,
)

# --- causes ---------------------------------------------------------------------------------------


def test_the_end_of_a_cancellation_is_final() -> None:
    """Section 6, row 1: from `suspended`, and all data are deleted."""
    events = check_story("""
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
        40  | support: acme reactivate      | support_request.rejected: irreversible
    """)
    deactivated = next(event.standing for event in events if event.kind is EventKind.DEACTIVATED)
    assert deactivated is not None
    assert not deactivated.recoverable
    assert EventKind.RESOURCES_DELETION_REQUESTED in {event.kind for event in events}


def test_an_inactive_organization_can_be_reactivated() -> None:
    """Section 6, row 2: from `active`, by Support; its inactivity clock restarts."""
    events = check_story("""
        day | input                    | events
        0   | feeds: daily 0..80       |
        0   | acme created             |
        23  |                          | notice_given: deactivated 30
        30  |                          | deactivated: inactivity
        45  | support: acme reactivate | reactivated
            |                          | support_request.completed
        68  |                          | notice_given: deactivated 75
        75  |                          | deactivated: inactivity
    """)
    assert EventKind.RESOURCES_DELETION_REQUESTED not in {event.kind for event in events}


STATES = {
    "active": """
        0   | acme created plus             |
    """,
    "canceled": """
        0 | acme created                  |
        0 | acme links gcp:e-1 payg       |
        8 | gcp:e-1 ENTITLEMENT_CANCELLED | canceled unknown by marketplace, payg
        8 |                               | final_report_due gcp:e-1 8+1h
    """,
    "control_plane_loss": """
        0 | acme created                  |
        0 | acme links gcp:e-1 payg       |
        7 | gcp:e-1 ENTITLEMENT_CANCELLED | canceled unknown by marketplace, payg
        7 |                               | final_report_due gcp:e-1 7+1h
        8 |                               | control_plane_lost
    """,
    "suspended": """
        0 | acme created                  |
        0 | acme links gcp:e-1 payg       |
        0 | gcp:e-1 ENTITLEMENT_CANCELLED | canceled unknown by marketplace, payg
        0 |                               | final_report_due gcp:e-1 0+1h
        1 |                               | control_plane_lost
        4 |                               | notice_given: suspended 7
        7 |                               | suspended
    """,
}


@pytest.mark.parametrize("state", STATES)
def test_support_deactivates_from_any_state_and_can_undo_it(state: str) -> None:
    """Section 6, row 3: keys and data are closed unless they were already; nothing is deleted."""
    events = check_story(
        STATES[state]
        + """
        8+1m | support: acme deactivate | deactivated: support_request
             |                          | support_request.completed
        20   | support: acme reactivate | reactivated
             |                          | support_request.completed
    """,
        until="40",
    )
    deactivated = next(event.standing for event in events if event.kind is EventKind.DEACTIVATED)
    assert deactivated is not None
    assert (deactivated.previous_state, deactivated.recoverable) == (state, True)
    kinds = [event.kind for event in events if event.standing == deactivated]
    assert (EventKind.API_KEYS_REVOKED in kinds) == (state != "suspended")
    assert EventKind.RESOURCES_DELETION_REQUESTED not in kinds


def test_support_deactivates_an_organization_with_a_notice() -> None:
    """Sections 3 and 6: the announced step is obsolete, so its notice is withdrawn."""
    check_story(
        """
        day | input                         | events
        0   | acme created                  |
        0   | acme links gcp:e-1 payg       |
        0   | gcp:e-1 ENTITLEMENT_CANCELLED | canceled unknown by marketplace, payg
        0   |                               | final_report_due gcp:e-1 0+1h
        1   |                               | control_plane_lost
        4   |                               | notice_given: suspended 7
        5   | support: acme deactivate      | deactivated: support_request
            |                               | notice_withdrawn: suspended 7
            |                               | support_request.completed
        """,
        until="40",
    )


def test_support_deactivates_an_organization_with_a_pending_reinstatement() -> None:
    """Section 6: a later sign-in proves nothing (invariant 4)."""
    check_story(
        """
        day | input                                | events
        0   | acme created                         |
        0   | acme links gcp:e-1 payg account=P    |
        0   | gcp:e-1 ENTITLEMENT_CANCELLED        | canceled unknown by marketplace, payg
        0   |                                      | final_report_due gcp:e-1 0+1h
        1   |                                      | control_plane_lost
        2   | gcp:e-2 ENTITLEMENT_ACTIVE account=P | reinstatement_pending: gcp:e-2 by sign_in
        3   | support: acme deactivate             | deactivated: support_request
            |                                      | support_request.completed
        4   | acme logs in                         |
        """,
        until="40",
    )


# --- removed plans and emails ---------------------------------------------------------------------


def test_all_subscriptions_are_removed_and_the_owners_email_is_locked() -> None:
    """Section 6: the list names every plan; the email is published as its keyed hash only."""
    causes = {
        event.kind: event.details
        for event in run_story(
            """
            0 | acme created                  |
            0 | acme owner new@x.org          |
            0 | acme links gcp:e-1 payg       |
            0 | acme commits c-1 from=0 to=50 |
            9 | support: acme deactivate      |
            """,
            until="9",
        )
    }
    removed = causes[EventKind.SUBSCRIPTIONS_REMOVED]
    assert isinstance(removed, SubscriptionsDetails)
    assert [*map(str, removed.subscriptions), *removed.commitments] == ["gcp:e-1", "c-1"]
    assert causes[EventKind.EMAIL_LOCKED] == EmailDetails(HASH("new@x.org"))


def test_nothing_leaves_deactivated_by_itself() -> None:
    """Section 6, invariant 4: neither reports nor logins nor time."""
    check_story(
        """
        day | input                         | events
        0   | acme created                  |
        0   | acme links aws:p/c payg       |
        1   | support: acme deactivate      | deactivated: support_request
            |                               | support_request.completed
        2   | aws:p/c subscribe-success     |
        3   | acme logs in                  |
        4   | acme links gcp:e-1 payg       |
        5   | acme commits c-1 from=5 to=90 |
        6   | acme tier enterprise          |
        """,
        until="400",
    )


# --- reactivation ---------------------------------------------------------------------------------


def test_a_reactivation_does_not_restore_subscriptions() -> None:
    """Section 6: the entitlement's end has no effect, and the organization is free."""
    check_story(
        """
        day | input                         | events
        0   | feeds: daily 0..60            |
        0   | acme created                  |
        0   | acme links gcp:e-1 payg       |
        1   | support: acme deactivate      | deactivated: support_request
            |                               | support_request.completed
        2   | support: acme reactivate      | reactivated
            |                               | support_request.completed
        3   | gcp:e-1 ENTITLEMENT_CANCELLED | final_report_due gcp:e-1 3+1h
        25  |                               | notice_given: deactivated 32
        32  |                               | deactivated: inactivity
        """
    )


def test_a_plan_linked_while_it_was_deactivated_counts_from_the_reactivation_on() -> None:
    """Sections 6 and 11."""
    check_story(
        """
        day | input                         | events
        0   | feeds: daily 0..60            |
        0   | acme created                  |
        1   | support: acme deactivate      | deactivated: support_request
            |                               | support_request.completed
        2   | acme links gcp:e-1 payg       |
        3   | support: acme reactivate      | reactivated
            |                               | support_request.completed
        50  | gcp:e-1 ENTITLEMENT_CANCELLED | canceled unknown by marketplace, payg
        50  |                               | final_report_due gcp:e-1 50+1h
        """,
        until="50",
    )


def test_a_plan_that_ended_before_the_reactivation_cancels_nothing() -> None:
    """Sections 6 and 11: it never counted for the reactivated organization, so its end has no
    effect.
    """
    check_story(
        """
        day | input                         | events
        0   | feeds: daily 0..60            |
        0   | acme created                  |
        1   | support: acme deactivate      | deactivated: support_request
            |                               | support_request.completed
        2   | acme links gcp:e-1 payg       |
        3   | gcp:e-1 ENTITLEMENT_CANCELLED | final_report_due gcp:e-1 3+1h
        4   | support: acme reactivate      | reactivated
            |                               | support_request.completed
        """,
        until="20",
    )


def test_a_plan_linked_again_after_the_reactivation_counts_again() -> None:
    """Section 11: plans linked before a deactivation are removed by it; later links count."""
    check_story(
        """
        day | input                         | events
        0   | feeds: daily 0..60            |
        0   | acme created                  |
        0   | acme links gcp:e-1 payg       |
        1   | support: acme deactivate      | deactivated: support_request
            |                               | support_request.completed
        2   | support: acme reactivate      | reactivated
            |                               | support_request.completed
        5   | acme links gcp:e-1 payg       |
        50  | gcp:e-1 ENTITLEMENT_CANCELLED | canceled unknown by marketplace, payg
        50  |                               | final_report_due gcp:e-1 50+1h
        """,
        until="50",
    )


def test_a_reactivated_organization_is_of_the_free_tier() -> None:
    """Section 6: whatever its tier was; its inactivity clock starts then."""
    check_story("""
        day  | input                    | events
        0    | feeds: daily 0..60       |
        0    | acme created enterprise  |
        0+1h | acme logs in             |
        1    | support: acme deactivate | deactivated: support_request
             |                          | support_request.completed
        10   | support: acme reactivate | reactivated
             |                          | support_request.completed
        33   |                          | notice_given: deactivated 40
        40   |                          | deactivated: inactivity
    """)


def test_a_reactivation_releases_the_email_to_it() -> None:
    """Section 6: another sign-up with the email is then no violation of a lock."""
    check_story(
        """
        day | input                              | events
        0   | acme created plus                  |
        1   | support: acme deactivate           | deactivated: support_request
            |                                    | support_request.completed
        2   | support: acme reactivate           | reactivated
            |                                    | support_request.completed
        3   | support: acme unlock acme@x.org    | support_request.rejected: email_not_locked
        4   | beta created plus owner=acme@x.org |
        """,
        until="9",
    )


def test_a_new_owner_with_a_locked_email_is_accepted_and_answered() -> None:
    """Section 7: like a sign-up with it; the organization's own locked email is no violation."""
    check_story(
        """
        day | input                    | events
        0   | acme created plus        |
        0   | beta created plus        |
        1   | support: acme deactivate | deactivated: support_request
            |                          | support_request.completed
        2   | beta owner acme@x.org    | email.lock_violated: by beta
        3   | acme owner acme@x.org    |
        """,
        until="9",
    )


def test_a_reactivation_unlocks_no_email_that_support_had_unlocked() -> None:
    """Section 9: `email.unlocked` is published only if it was still locked."""
    events = check_story(
        """
        day | input                      | events
        0   | acme created plus          |
        1   | support: acme deactivate   | deactivated: support_request
            |                            | support_request.completed
        2   | support: unlock acme@x.org | email.unlocked
            |                            | support_request.completed
        3   | support: acme reactivate   | reactivated
            |                            | support_request.completed
        """,
        until="9",
    )
    assert [event.kind for event in events].count(EventKind.EMAIL_UNLOCKED) == 1


def test_an_email_that_is_in_use_keeps_an_organization_from_being_reactivated() -> None:
    """Section 6: until the other organization has another owner, or is deactivated itself."""
    check_story(
        """
        day | input                              | events
        0   | acme created plus                  |
        1   | support: acme deactivate           | deactivated: support_request
            |                                    | support_request.completed
        2   | support: unlock acme@x.org         | email.unlocked
            |                                    | support_request.completed
        3   | beta created plus owner=acme@x.org |
        4   | support: acme reactivate           | support_request.rejected: email_in_use
        5   | beta owner else@x.org              |
        6   | support: acme reactivate           | reactivated
            |                                    | support_request.completed
        """,
        until="9",
    )


def test_an_organization_may_be_deactivated_and_reactivated_again_and_again() -> None:
    """Section 6: each restore follows its revoke (invariant 5)."""
    check_story(
        """
        day | input                    | events
        0   | acme created plus        |
        1   | support: acme deactivate | deactivated: support_request
            |                          | support_request.completed
        2   | support: acme reactivate | reactivated
            |                          | support_request.completed
        3   | support: acme deactivate | deactivated: support_request
            |                          | support_request.completed
        4   | support: acme reactivate | reactivated
            |                          | support_request.completed
        """,
        until="9",
    )
