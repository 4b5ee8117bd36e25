"""The content of events (lifecycle.md section 9, events.md section 3)."""

import pytest
from stories import DAY_0, HASH, check_story, moment, policy, run_story, simulation

from marketplace_worker.lifecycle.events import (
    CancellationDetails,
    DeactivationDetails,
    EmailDetails,
    Event,
    EventKind,
    NoticeDetails,
    ScheduledStep,
    Standing,
    SubscriptionsDetails,
)
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.vocabulary import Initiator, PlanType, SubscriptionKey

TO_THE_END = """
    0 | acme created                                      |
    0 | acme owner new@x.org                              |
    0 | acme links gcp:e-1 payg                           |
    0 | acme commits c-1 from=0 to=5                      |
    9 | gcp:e-1 ENTITLEMENT_CANCELLED reason=user-aborted |
"""
AND_BACK = """
    0  | acme created                |
    0  | acme links aws:p/c payg     |
    9  | aws:p/c unsubscribe-success |
    20 | aws:p/c subscribe-success   |
    30 | aws:p/c unsubscribe-success |
"""


def standing(event: Event) -> Standing:
    """The organization's state in an event."""
    assert event.standing is not None
    return event.standing


def step(state: State, day: str) -> ScheduledStep:
    """A step of the schedule."""
    return ScheduledStep(state, moment(day))


# --- the schedule ---------------------------------------------------------------------------------


def test_the_cancellation_contains_the_whole_schedule() -> None:
    """A consumer that shows a banner needs no other event."""
    details = run_story(TO_THE_END)[0].details
    assert details == CancellationDetails(
        (
            step(State.CONTROL_PLANE_LOSS, "10"),
            step(State.SUSPENDED, "16"),
            step(State.DEACTIVATED, "46"),
        )
    )


def test_a_notice_contains_the_current_schedule() -> None:
    """events.md section 3: after an extension, and without the steps already taken."""
    events = run_story(TO_THE_END + "11 | support: acme extend 10 |")
    notice = next(event.details for event in events if event.kind is EventKind.NOTICE_GIVEN)
    assert isinstance(notice, NoticeDetails)
    assert (notice.upcoming_state, notice.at) == (State.SUSPENDED, moment("26"))
    assert notice.schedule == (step(State.SUSPENDED, "26"), step(State.DEACTIVATED, "56"))


def test_each_event_names_the_next_step() -> None:
    """As scheduled when the event is decided; none after the last."""
    by_kind = {event.kind: standing(event).next_step for event in run_story(TO_THE_END)}
    assert by_kind[EventKind.CANCELED] == step(State.CONTROL_PLANE_LOSS, "10")
    assert by_kind[EventKind.DATA_PLANE_ACCESS_REVOKED] == step(State.DEACTIVATED, "46")
    assert by_kind[EventKind.DEACTIVATED] is None


# --- reason and initiator -------------------------------------------------------------------------


def why(event: Event) -> tuple[str | None, str | None]:
    """The reason for the state of an organization, and its initiator."""
    return standing(event).reason, standing(event).initiator


def test_the_reason_of_a_cancellation_stays_until_its_end() -> None:
    """Section 11: the reason for the organization's state."""
    assert {why(event) for event in run_story(TO_THE_END)} == {("customer", "customer")}


def test_a_reinstatement_by_the_same_subscription_is_attributed_to_the_customer() -> None:
    """events.md section 3: the reason is then `reinstated`."""
    back = next(event for event in run_story(AND_BACK) if event.kind is EventKind.REINSTATED)
    assert why(back) == ("reinstated", "customer")


def test_a_commitment_that_reactivates_an_organization_is_attributed_to_the_vendor() -> None:
    """The customer buys a subscription; the vendor enters a commitment."""
    back = run_story("""
        0 | acme created                     |
        0 | acme commits c-1 from=0 to=5     |
        6 | acme commits c-2 from=6 to=99999 |
    """)[-1]
    assert (*why(back), standing(back).plan_type) == (
        "reinstated",
        Initiator.VENDOR,
        PlanType.COMMIT,
    )


def test_support_requests_are_attributed_to_support() -> None:
    """events.md section 3: `support_request`, then `reactivated`."""
    events = run_story(
        """
        0 | acme created plus        |
        1 | support: acme deactivate |
        2 | support: acme reactivate |
        """,
        until="9",
    )
    by_kind = {event.kind: why(event) for event in events}
    assert by_kind[EventKind.DEACTIVATED] == ("support_request", "support")
    assert by_kind[EventKind.REACTIVATED] == ("reactivated", "support")


def test_inactivity_is_decided_by_the_system() -> None:
    """events.md section 3."""
    events = run_story("""
        0 | feeds: daily 0..30 |
        0 | acme created       |
    """)
    deactivated = next(event for event in events if event.kind is EventKind.DEACTIVATED)
    assert why(deactivated) == ("inactivity", "system")


# --- details --------------------------------------------------------------------------------------


def test_the_deactivation_lists_what_it_removes() -> None:
    """All plans that were attached, and the newest owner's email as its keyed hash."""
    details = {event.kind: event.details for event in run_story(TO_THE_END)}
    removed = details[EventKind.SUBSCRIPTIONS_REMOVED]
    assert isinstance(removed, SubscriptionsDetails)
    assert [*map(str, removed.subscriptions), *removed.commitments] == ["gcp:e-1", "c-1"]
    assert isinstance(details[EventKind.DEACTIVATED], DeactivationDetails)
    assert details[EventKind.EMAIL_LOCKED] == EmailDetails(HASH("new@x.org"))


def test_the_deactivation_lists_grants_as_well() -> None:
    """Section 2: a grant is a plan, identified by its request."""
    events = run_story(
        f"""{TO_THE_END}
        12 | support: acme reinstate grant=14 id=r-1 |
        15 | support: acme reinstate grant=30 id=r-2 |
        16 | support: acme deactivate                |
        """,
        until="16",
    )
    removed = next(event for event in events if event.kind is EventKind.SUBSCRIPTIONS_REMOVED)
    assert isinstance(removed.details, SubscriptionsDetails)
    assert removed.details.grants == ("r-1", "r-2")


def test_the_final_report_is_requested_once_per_end() -> None:
    """Each end of a subscription, and no end twice, whatever is reported later."""
    check_story(
        """
        day | input                       | events
        0   | acme created                |
        0   | acme links aws:p/c payg     |
        5   | aws:p/c unsubscribe-pending | final_report_due aws:p/c 5+1h
        5   | aws:p/c unsubscribe-success | canceled unknown by marketplace, payg
        6   | aws:p/c subscribe-success   | reinstated
        8   | aws:p/c unsubscribe-success | canceled unknown by marketplace, payg
            |                             | final_report_due aws:p/c 8+1h
        8   | acme tier plus              |
        """,
        policy("""
            [timeline.payg]
            control_plane_loss = "P2D"
        """),
        until="9",
    )


def test_an_end_in_a_late_fact_is_reported_and_no_other_again() -> None:
    """The report for day 10 was requested; that there was an end on day 2 is reported on day 11."""
    check_story(
        """
        day | input                          | events
        0   | acme created                   |
        0   | acme links aws:p/c payg        |
        0   | aws:p/c subscribe-success      |
        10  | aws:p/c unsubscribe-success    | canceled unknown by marketplace, payg
            |                                | final_report_due aws:p/c 10+1h
        11  | aws:p/c subscribe-success @5   |
        11  | aws:p/c unsubscribe-success @2 | final_report_due aws:p/c 2+1h
        11  |                                | control_plane_lost
        """,
        until="11",
    )


def test_an_end_that_a_late_fact_dates_earlier_is_the_same_end() -> None:
    """It is requested once, for the time known then; two ends are requested once they are known."""
    check_story(
        """
        day | input                          | events
        0   | acme created                   |
        0   | acme links aws:p/c payg        |
        0   | aws:p/c subscribe-success      |
        10  | aws:p/c unsubscribe-pending    | final_report_due aws:p/c 10+1h
        10  | aws:p/c unsubscribe-success @8 |
        10  | aws:p/c subscribe-success @9   | final_report_due aws:p/c 8+1h
        """,
        until="10",
    )


# --- causes and stories ---------------------------------------------------------------------------


def test_all_events_of_a_cancellation_share_a_correlation_id() -> None:
    """That of the first, up to the withdrawn notice."""
    events = run_story(AND_BACK)
    second = next(e for e in events if e.decided_at == moment("30"))
    first = {event.correlation_id for event in events if event.decided_at < moment("30")}
    assert first == {str(events[0].id)}
    assert second.correlation_id == str(second.id)


def test_all_events_of_a_request_share_a_correlation_id() -> None:
    """events.md section 3."""
    events = run_story(
        """
        0 | acme created plus        |
        1 | support: acme deactivate |
        2 | support: acme reactivate |
        """,
        until="9",
    )
    stories = [{e.correlation_id for e in events if e.decided_at == moment(day)} for day in "12"]
    assert [len(story) for story in stories] == [1, 1]
    assert stories[0] != stories[1]


def test_a_deactivation_for_inactivity_shares_the_correlation_id_of_its_notice() -> None:
    """So that a consumer can tell which notice was carried out, and which was withdrawn."""
    events = run_story("""
        0  | feeds: daily 0..80 |
        0  | acme created       |
        25 | acme logs in       |
    """)
    first = {event.correlation_id for event in events if event.decided_at <= moment("25")}
    second = {event.correlation_id for event in events if event.decided_at > moment("25")}
    assert (len(first), len(second)) == (1, 1)
    assert first != second


def test_each_event_names_what_caused_it() -> None:
    """The inbound event, or `deadline`."""
    causes = {event.kind: event.causation_id for event in run_story(AND_BACK, until="20")}
    assert causes[EventKind.CANCELED] == "line-2"
    assert causes[EventKind.CONTROL_PLANE_LOST] == "deadline"
    assert causes[EventKind.API_KEYS_RESTORED] == "line-3"


@pytest.mark.parametrize("until", ["0", "9", "12", "16", "50"])
def test_sequences_increase_by_one_from_one(until: str) -> None:
    """Invariant 6: a consumer can detect a missing event."""
    events = run_story(TO_THE_END, until=until)
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))


def test_the_same_story_has_the_same_ids() -> None:
    """Invariant 6: an event's id is that of its organization, sequence and kind."""
    first, second = run_story(TO_THE_END), run_story(TO_THE_END)
    assert [event.id for event in first] == [event.id for event in second]
    assert len({event.id for event in first}) == len(first)


def test_an_empty_scenario_emits_nothing() -> None:
    """Without a message there is no clock."""
    assert list(simulation().run([])) == []
    assert list(simulation().run([], DAY_0)) == []


def test_a_subscription_has_the_marketplaces_id() -> None:
    """events.md section 2: `PRODUCT_CODE/CUSTOMER_IDENTIFIER` for AWS products without an
    agreement.
    """
    events = run_story(f"{AND_BACK}\n31 | support: acme deactivate |", until="31")
    removed = next(event for event in events if event.kind is EventKind.SUBSCRIPTIONS_REMOVED)
    assert isinstance(removed.details, SubscriptionsDetails)
    (key,) = removed.details.subscriptions
    assert isinstance(key, SubscriptionKey)
    assert str(key) == "aws:p/c"
