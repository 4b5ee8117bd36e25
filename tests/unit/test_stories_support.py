"""Support requests and their refusals (lifecycle.md section 7).

Holds and extensions have their own modules.
"""

import pytest
from stories import check_story, run_story

from marketplace_worker.lifecycle.events import EventKind, SupportDetails
from marketplace_worker.lifecycle.vocabulary import Initiator

# --- the requests ---------------------------------------------------------------------------------


def test_support_deactivates_and_reactivates_an_organization() -> None:
    """Section 7, rows 1 and 2."""
    check_story(
        """
        day | input                    | events
        0   | acme created plus        |
        5   | support: acme deactivate | deactivated: support_request
            |                          | support_request.completed
        9   | support: acme reactivate | reactivated
            |                          | support_request.completed
        """,
        until="9",
    )


def test_support_reinstates_an_organization() -> None:
    """Section 7, row 3; section 4 has the rest of it."""
    check_story(
        """
        day   | input                           | events
        0     | acme created                    |
        0     | acme links gcp:e-1 payg         |
        0     | gcp:e-1 ENTITLEMENT_CANCELLED   | canceled unknown by marketplace, payg
        0     |                                 | final_report_due gcp:e-1 0+1h
        0+30m | support: acme reinstate grant=9 | reinstated
              |                                 | support_request.completed
        """,
        until="1",
    )


def test_support_unlocks_an_email_for_another_organization() -> None:
    """Section 7, row 4: the new owner's organization violates nothing."""
    check_story(
        """
        day | input                              | events
        0   | acme created                       |
        1   | support: acme deactivate           | deactivated: support_request
            |                                    | support_request.completed
        2   | support: unlock acme@x.org         | email.unlocked
            |                                    | support_request.completed
        3   | beta created plus owner=acme@x.org |
        """,
        until="9",
    )


def test_an_email_is_the_same_in_any_spelling() -> None:
    """Section 7: trimmed and case-folded."""
    check_story(
        """
        day | input                              | events
        0   | acme created                       |
        1   | support: acme deactivate           | deactivated: support_request
            |                                    | support_request.completed
        2   | beta created plus owner=ACME@X.org | email.lock_violated: by beta
        3   | support: unlock Acme@x.ORG         | email.unlocked
            |                                    | support_request.completed
        """,
        until="9",
    )


def test_a_sign_up_with_a_locked_email_is_reported_each_time() -> None:
    """Section 7: it is accepted, because the sign-up service decides."""
    check_story(
        """
        day | input                              | events
        0   | acme created                       |
        1   | support: acme deactivate           | deactivated: support_request
            |                                    | support_request.completed
        2   | beta created plus owner=acme@x.org | email.lock_violated: by beta
        3   | zeta created plus owner=acme@x.org | email.lock_violated: by zeta
        """,
        until="9",
    )


def test_a_repetition_of_its_own_creation_violates_no_lock() -> None:
    """Sections 7 and 11: the email is its own."""
    check_story(
        """
        day | input                    | events
        0   | acme created             |
        1   | support: acme deactivate | deactivated: support_request
            |                          | support_request.completed
        2   | acme created             |
        """,
        until="9",
    )


def test_one_locked_email_may_belong_to_several() -> None:
    """Section 11: an unlock publishes `email.unlocked` for each."""
    check_story(
        """
        day | input                           | events
        0   | acme created                    |
        0   | beta created owner=acme@x.org   |
        1   | support: acme deactivate        | deactivated: support_request
            |                                 | support_request.completed
        2   | support: beta deactivate        | beta: deactivated: support_request
            |                                 | beta: support_request.completed
        3   | support: acme unlock acme@x.org | beta: email.unlocked
            |                                 | email.unlocked
            |                                 | support_request.completed
        4   | support: unlock acme@x.org      | worker: support_request.rejected: email_not_locked
        """,
        until="9",
    )


def test_an_unlock_of_anothers_email_keeps_the_lock_of_the_named_organization() -> None:
    """Section 7: the request concerns the email, whichever organization it names."""
    check_story(
        """
        day | input                           | events
        0   | acme created                    |
        0   | beta created                    |
        1   | support: acme deactivate        | deactivated: support_request
            |                                 | support_request.completed
        2   | support: beta deactivate        | beta: deactivated: support_request
            |                                 | beta: support_request.completed
        3   | support: acme unlock beta@x.org | beta: email.unlocked
            |                                 | support_request.completed
        4   | support: acme unlock acme@x.org | email.unlocked
            |                                 | support_request.completed
        """,
        until="9",
    )


def test_a_repeated_request_has_no_effect() -> None:
    """Section 7: recognized by its id; not even the answer is repeated."""
    check_story(
        """
        day | input                          | events
        0   | acme created                   |
        0   | acme links gcp:e-1 payg        |
        0   | gcp:e-1 ENTITLEMENT_CANCELLED  | canceled unknown by marketplace, payg
        0   |                                | final_report_due gcp:e-1 0+1h
        1   |                                | control_plane_lost
        2   | support: acme extend 10 id=r-1 | support_request.completed
        2   | support: acme extend 10 id=r-1 |
        3   | support: acme extend 10 id=r-1 |
        14  |                                | notice_given: suspended 17
        17  |                                | suspended
        """,
        until="17",
    )


def test_a_refused_request_may_be_made_again_under_another_id() -> None:
    """Section 7: the refusal is the answer to that request only."""
    check_story(
        """
        day | input                           | events
        0   | acme created plus               |
        1   | support: acme reactivate id=r-1 | support_request.rejected: not_deactivated
        2   | support: acme deactivate id=r-2 | deactivated: support_request
            |                                 | support_request.completed
        3   | support: acme reactivate id=r-1 |
        4   | support: acme reactivate id=r-3 | reactivated
            |                                 | support_request.completed
        """,
        until="9",
    )


# --- the refusals ---------------------------------------------------------------------------------

BEFORE = {
    "nothing": "",
    "links": "0 | nobody links gcp:e-1 |",
    "active": """
        0  | acme created plus                |
        1  | support: acme hold legal until=9 | support_request.completed
        20 | support: acme hold legal         | support_request.completed
    """,
    "canceled": """
        0  | acme created                      |
        0  | acme links gcp:e-1 payg           |
        30 | gcp:e-1 ENTITLEMENT_CANCELLED     | canceled unknown by marketplace, payg
        31 |                                   | control_plane_lost
        31 | support: acme hold legal until=35 | support_request.completed
    """,
    "deactivated": """
        0 | acme created plus                  |
        1 | support: acme deactivate           | deactivated: support_request
          |                                    | support_request.completed
        2 | beta created plus owner=acme@x.org | email.lock_violated: by beta
    """,
    "ended": """
        0 | acme created                  |
        0 | acme links gcp:e-1 payg       |
        0 | gcp:e-1 ENTITLEMENT_CANCELLED | canceled unknown by marketplace, payg
    """,
}
REFUSED = """
    before      | Support asks                         | refused as
    nothing     | acme deactivate                      | unknown_organization
    nothing     | acme reactivate                      | unknown_organization
    nothing     | acme hold legal                      | unknown_organization
    links       | acme reinstate                       | unknown_organization
    active      | acme reactivate                      | not_deactivated
    canceled    | acme reactivate                      | not_deactivated
    deactivated | acme deactivate                      | already_deactivated
    ended       | acme deactivate                      | already_deactivated
    ended       | acme reactivate                      | irreversible
    active      | acme reinstate                       | not_reinstatable
    active      | acme reinstate grant=90              | not_reinstatable
    deactivated | acme reinstate                       | not_reinstatable
    ended       | acme reinstate grant=90              | not_reinstatable
    active      | acme extend 10                       | not_reinstatable
    deactivated | acme extend 10                       | not_reinstatable
    canceled    | acme reinstate                       | no_active_plan
    active      | acme unlock acme@x.org               | email_not_locked
    deactivated | acme unlock other@x.org              | email_not_locked
    deactivated | acme reactivate                      | email_in_use
    active      | acme release commercial              | no_such_hold
    canceled    | acme release legal                   | no_such_hold
    ended       | acme release legal                   | no_such_hold
    canceled    | acme extend 91                       | extension_too_long
    canceled    | acme extend 0                        | invalid_request
    canceled    | acme extend -5                       | invalid_request
    canceled    | acme deactivate without=reason       | invalid_request
    canceled    | acme deactivate without=requested_by | invalid_request
    canceled    | acme hold for-ever                   | invalid_request
    canceled    | acme hold legal until=40             | invalid_request
    canceled    | acme reinstate grant=40              | invalid_request
    canceled    | acme reinstate grant=20              | invalid_request
    nothing     | acme extend 0                        | invalid_request
    active      | acme extend 0                        | invalid_request
    active      | acme reinstate grant=40              | invalid_request
    ended       | acme reactivate without=reason       | invalid_request
"""
"""Section 7, every code, on day 40."""


@pytest.mark.parametrize("line", REFUSED.strip().splitlines()[1:])
def test_a_refusal_has_its_code(line: str) -> None:
    """Section 7; section 11: invalidity is checked before anything else."""
    before, request, code = (cell.strip() for cell in line.split("|"))
    events = run_story(f"{BEFORE[before]}\n40 | support: {request} id=asked |", until="40")
    (answer,) = [event for event in events if event.causation_id == "asked"]
    assert isinstance(answer.details, SupportDetails)
    assert (answer.details.code, answer.subject) == (code, "acme")


def test_the_subject_of_an_unlock_that_cannot_be_found_is_the_worker() -> None:
    """Section 11: a request without a subject, for an unknown email."""
    check_story(
        """
        day | input                           | events
        0   | acme created plus               |
        1   | support: unlock nobody@x.org    | worker: support_request.rejected: email_not_locked
        2   | support: unlock x without=email | worker: support_request.rejected: invalid_request
        """,
        until="9",
    )


def test_a_request_before_the_creation_is_refused_at_once_and_not_kept() -> None:
    """Section 7: the topics are not ordered among each other, but Support can ask again."""
    check_story(
        """
        day | input                    | events
        0   | support: acme deactivate | support_request.rejected: unknown_organization
        1   | acme created plus        |
        2   | support: acme deactivate | deactivated: support_request
            |                          | support_request.completed
        """,
        until="9",
    )


def test_an_answer_names_the_requester_and_the_request() -> None:
    """events.md section 3: and `code` is null if the request was completed."""
    completed, rejected = [
        event.details
        for event in run_story(
            """
            0 | acme created plus               |
            1 | support: acme hold legal id=r-1 |
            2 | support: acme reinstate id=r-2  |
        """,
            until="9",
        )
    ]
    assert isinstance(completed, SupportDetails)
    assert isinstance(rejected, SupportDetails)
    assert (completed.request_id, completed.request, completed.code) == ("r-1", "place_hold", None)
    assert (rejected.request_id, rejected.request) == ("r-2", "reinstate_organization")
    assert {completed.requested_by, rejected.requested_by} == {"sam"}


# --- at the exact moment at which a plan begins or ends -------------------------------------------


def test_a_reinstatement_asked_for_as_a_plan_begins_is_completed() -> None:
    """Section 4, row 5: there is a plan, so it is not refused; the reinstatement is attributed to
    Support.
    """
    events = check_story(
        """
        day | input                             | events
        0   | acme created plus                 |
        0   | acme links aws:a-1 payg           |
        0   | aws:a-1 Agreement Ended CANCELLED | canceled customer by customer, payg
            |                                   | final_report_due aws:a-1 0+1h
        1   |                                   | control_plane_lost
        4   |                                   | notice_given: suspended 7
        5   | acme commits c-1 from=10 to=100   |
        10  | support: acme reinstate           | reinstated
            |                                   | notice_withdrawn: suspended 7
            |                                   | support_request.completed
        """,
        until="99",
    )
    reinstated = next(event for event in events if event.kind is EventKind.REINSTATED)
    assert reinstated.standing is not None
    assert reinstated.standing.initiator is Initiator.SUPPORT


def test_a_grace_is_not_extended_before_the_plan_has_ended() -> None:
    """Section 7, row 7: messages of an instant come before plans that end by themselves (section
    11).
    """
    check_story(
        """
        day | input                         | events
        0   | acme created plus             |
        0   | acme commits c-1 from=0 to=10 |
        10  | support: acme extend 10       | support_request.rejected: not_reinstatable
        10  |                               | canceled commit_expired by system, commit
        13  |                               | control_plane_lost
        """,
        until="13",
    )


def test_no_grant_is_made_before_the_plan_has_ended() -> None:
    """Section 7, row 3: messages of an instant come before plans that end by themselves (section
    11).
    """
    check_story(
        """
        day | input                            | events
        0   | acme created plus                |
        0   | acme commits c-1 from=0 to=10    |
        10  | support: acme reinstate grant=40 | support_request.rejected: not_reinstatable
        10  |                                  | canceled commit_expired by system, commit
        11  | support: acme reinstate grant=40 | reinstated
            |                                  | support_request.completed
        40  |                                  | canceled grant_expired by system, None
        """,
        until="40",
    )


def test_a_plan_that_ends_at_the_instant_of_a_deactivation_cancels_nothing() -> None:
    """Section 11: messages of an instant come before plans that end by themselves."""
    check_story(
        """
        day | input                         | events
        0   | acme created plus             |
        0   | acme commits c-1 from=0 to=10 |
        10  | support: acme deactivate      | deactivated: support_request
            |                               | support_request.completed
        """,
    )


def test_a_grace_is_not_extended_after_a_plan_has_begun() -> None:
    """Section 7, row 7: a plan has begun, so no cancellation runs."""
    check_story(
        """
        day | input                             | events
        0   | acme created plus                 |
        0   | acme links aws:a-1 payg           |
        0   | aws:a-1 Agreement Ended CANCELLED | canceled customer by customer, payg
            |                                   | final_report_due aws:a-1 0+1h
        1   |                                   | control_plane_lost
        2   | acme commits c-1 from=3 to=100    |
        3   | support: acme extend 10           | reinstated
            |                                   | support_request.rejected: not_reinstatable
        """,
        until="99",
    )
