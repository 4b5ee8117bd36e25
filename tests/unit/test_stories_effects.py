"""All events of each transition (lifecycle.md sections 1 and 9).

Every story's effects are checked by `event_rules.py`; here each row of the table is tested once.
"""

import pytest
from event_rules import ALLOWED
from stories import moment, run_story

CANCELED = """
    0 | feeds: daily 0..40          |
    0 | acme created                |
    0 | acme links aws:p/c payg     |
    0 | aws:p/c unsubscribe-success |
"""
FREE = """
    0 | feeds: daily 0..40 |
    0 | acme created       |
"""
PENDING = """
    0 | acme created                         |
    0 | acme links gcp:e-1 payg account=P    |
    0 | gcp:e-1 ENTITLEMENT_CANCELLED        |
    2 | gcp:e-2 ENTITLEMENT_ACTIVE account=P |
"""

GONE = """
    billing.stopped subscriptions.removed control_plane.decommissioned
    team_memberships.removed roles.removed logins.blocked email.locked runtimes.detached
"""
CLOSED_AND_GONE = """
    billing.stopped subscriptions.removed control_plane.decommissioned
    api_keys.revoked data_plane.access_revoked
    team_memberships.removed roles.removed logins.blocked email.locked runtimes.detached
"""

ROWS = {
    "-> canceled, and the last usage": (
        CANCELED,
        "0",
        "organization.canceled metering.final_report_due",
    ),
    "-> control_plane_loss": (
        CANCELED,
        "1",
        "organization.control_plane_lost control_plane.access_revoked",
    ),
    "notice of the next step": (CANCELED, "4", "organization.notice_given"),
    "-> suspended": (
        CANCELED,
        "7",
        "organization.suspended api_keys.revoked data_plane.access_revoked",
    ),
    "-> deactivated, marketplace_cancellation": (
        CANCELED,
        "37",
        f"organization.deactivated {GONE} resources.deletion_requested",
    ),
    "-> deactivated, inactivity": (FREE, "30", f"organization.deactivated {CLOSED_AND_GONE}"),
    "-> deactivated, support_request, from active": (
        FREE + "5 | support: acme deactivate |",
        "5",
        f"organization.deactivated {CLOSED_AND_GONE} support_request.completed",
    ),
    "-> deactivated, support_request, from control_plane_loss": (
        CANCELED + "3 | support: acme deactivate |",
        "3",
        f"organization.deactivated {CLOSED_AND_GONE} support_request.completed",
    ),
    "-> deactivated, support_request, from suspended": (
        CANCELED + "8 | support: acme deactivate |",
        "8",
        f"organization.deactivated {GONE} support_request.completed",
    ),
    "plan active again, pending": (PENDING, "2", "organization.reinstatement_pending"),
    "ended before it was completed": (
        PENDING + "3 | gcp:e-2 ENTITLEMENT_CANCELLED |",
        "3",
        "organization.reinstatement_lapsed",
    ),
    "-> active, reinstated, from canceled": (
        CANCELED + "0+30m | aws:p/c subscribe-success |",
        "0+30m",
        "organization.reinstated",
    ),
    "-> active, reinstated, from control_plane_loss": (
        CANCELED + "5 | aws:p/c subscribe-success |",
        "5",
        "organization.reinstated control_plane.access_restored organization.notice_withdrawn",
    ),
    "-> active, reinstated, from suspended": (
        CANCELED + "8 | aws:p/c subscribe-success |",
        "8",
        """organization.reinstated
        control_plane.access_restored api_keys.restored data_plane.access_restored""",
    ),
    "-> active, reactivated": (
        FREE + "5 | support: acme deactivate |\n 6 | support: acme reactivate |",
        "6",
        """organization.reactivated
        control_plane.provision_requested data_plane.access_restored logins.unblocked email.unlocked
        support_request.completed""",
    ),
    "-> active, reactivated, its email unlocked before": (
        FREE + "4 | support: acme deactivate |\n 5 | support: unlock acme@x.org |\n"
        "6 | support: acme reactivate |",
        "6",
        """organization.reactivated
        control_plane.provision_requested data_plane.access_restored logins.unblocked
        support_request.completed""",
    ),
    "unlocked by Support": (
        FREE + "4 | support: acme deactivate |\n 5 | support: unlock acme@x.org |",
        "5",
        "email.unlocked support_request.completed",
    ),
    "locked email reused": (
        FREE + "4 | support: acme deactivate |\n 5 | beta created plus owner=acme@x.org |",
        "5",
        "email.lock_violated",
    ),
    "notice withdrawn": (
        CANCELED + "5 | support: acme hold legal |",
        "5",
        "organization.notice_withdrawn support_request.completed",
    ),
    "the last usage of AWS, an hour before the end": (
        FREE + "4 | acme links aws:p/c payg |\n 5 | aws:p/c unsubscribe-pending |",
        "5",
        "metering.final_report_due",
    ),
    "Support refused": (
        FREE + "5 | support: acme reactivate |",
        "5",
        "support_request.rejected",
    ),
    "guard": (FREE + "5 | operator: trips |", "5", "guard.tripped"),
    "guard released": (
        FREE + "4 | operator: trips |\n 5 | operator: releases |",
        "5",
        "guard.released",
    ),
    "feeds": (
        "0 | acme created |",
        "30",
        "activity_feed.silent activity_feed.silent",
    ),
}


@pytest.mark.parametrize("row", ROWS)
def test_the_events_of_a_transition_in_their_order(row: str) -> None:
    """Section 9, row by row."""
    story, day, expected = ROWS[row]
    events = run_story(story, until=day)
    kinds = [str(event.kind) for event in events if event.decided_at == moment(day)]
    assert kinds == expected.split()


def test_each_state_allows_what_the_table_lists() -> None:
    """Section 1: every event contains its row, which `event_rules.py` checks."""
    story = CANCELED + "38 | acme tier plus |"
    states = [event.standing.state for event in run_story(story) if event.standing]
    assert list(dict.fromkeys(states)) == list(ALLOWED)[1:]


def test_the_workers_own_events_have_their_own_sequence() -> None:
    """Section 9: guard and feeds have the subject `worker`."""
    events = run_story("""
        0 | acme created                 |
        1 | operator: trips              |
        2 | operator: releases           |
        3 | support: unlock nobody@x.org |
    """)
    own = [(str(event.kind), event.sequence) for event in events if event.subject == "worker"]
    assert own == [
        ("guard.tripped", 1),
        ("guard.released", 2),
        ("support_request.rejected", 3),
        ("activity_feed.silent", 4),
        ("activity_feed.silent", 5),
    ]
