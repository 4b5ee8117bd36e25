"""Stored JSON documents are read back unchanged, also those older than a field."""

import json
from dataclasses import fields
from datetime import timedelta
from typing import get_args

import pytest
from hypothesis import given
from policies import POLICIES
from stored_values import (
    ACME,
    AGREEMENT,
    CHANGES,
    FACTS,
    ORGANIZATIONS,
    READINGS,
    SAFEGUARDS,
    SUBSCRIPTION,
    on,
)

from marketplace_worker.contract.examples import example_answer_of_the_worker, outbound_examples
from marketplace_worker.contract.outbound import encode
from marketplace_worker.documents import (
    events_to_json,
    fact_from_json,
    fact_to_json,
    organization_from_json,
    organization_to_json,
    policy_from_json,
    policy_to_json,
    readings_from_json,
    readings_to_json,
    safeguards_from_json,
    safeguards_to_json,
    subscription_from_json,
    subscription_to_json,
)
from marketplace_worker.lifecycle.cancellation import Cancellation, Notice
from marketplace_worker.lifecycle.events import Event, EventKind
from marketplace_worker.lifecycle.facts import (
    Fact,
    GuardReleased,
)
from marketplace_worker.lifecycle.notes import (
    Change,
    Note,
    Unsubscribed,
)
from marketplace_worker.lifecycle.organization import (
    Organization,
    Reported,
)
from marketplace_worker.lifecycle.policy import Policy
from marketplace_worker.lifecycle.replay import Readings
from marketplace_worker.lifecycle.safeguards import Safeguards, Trip
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.subscription import Subscription
from marketplace_worker.lifecycle.vocabulary import (
    Identity,
    OrganizationId,
)


@pytest.mark.parametrize("organization", ORGANIZATIONS)
def test_an_organization_is_read_as_it_was_written(organization: Organization) -> None:
    """The document is the only copy of its state."""
    assert organization_from_json(organization_to_json(organization)) == organization


def test_every_field_of_an_organization_is_among_those_that_are_read_back() -> None:
    """Otherwise the test above would not notice a lost field."""
    blank = Organization(ACME)
    for field in fields(Organization):
        if field.name != "id":
            values = [getattr(each, field.name) for each in ORGANIZATIONS]
            assert any(value != getattr(blank, field.name) for value in values), field.name


def test_an_organization_that_was_on_its_way_down_before_the_new_fields_is_read() -> None:
    """Its document, to the letter, has no grants, holds or extension, and its notice no story."""
    document = """
        {"id":"org-42",
         "creation":{"occurred_at":"2026-01-01T09:30:00Z","id":"created-1",
                     "billing_cycle_anchor":"2026-01-01T09:30:00Z"},
         "tier":{"occurred_at":"2026-01-01T09:30:00Z","id":"created-1","value":"plus"},
         "owner":{"occurred_at":"2026-02-01T09:30:00Z","id":"owner-2",
                  "value":"5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f"},
         "commitments":[{"commitment_id":"commitment-9","starts_at":"2026-01-02T09:30:00Z",
                         "ends_at":"2026-11-01T09:30:00Z","linked_at":"2026-01-01T09:30:00Z",
                         "told_at":"2026-01-03T09:30:00Z","id":"linked-3"}],
         "state":"suspended","previous_state":"control_plane_loss",
         "entered_at":"2026-11-08T09:30:00Z","reason":"customer","initiator":"customer",
         "plan_type":"commit",
         "cancellation":{"canceled_at":"2026-11-01T09:30:00Z",
                         "correlation_id":"0b4f8a52-6d3e-5d0c-9d54-4f0f6a6c1f77",
                         "policy_version":"default"},
         "notice":{"step":"deactivated","names":"2026-12-08T09:30:00Z",
                   "given_at":"2026-12-01T09:30:00Z"},
         "deactivation_cause":null,
         "reported":[{"subscription":{"marketplace":"aws","subscription_id":"agmt-1"},"ends":1}],
         "sequence":7,"revision":5}
    """
    read = organization_from_json(document)
    canceled_at = on(11, 1).replace(microsecond=0)
    assert read.cancellation == Cancellation(
        canceled_at, "0b4f8a52-6d3e-5d0c-9d54-4f0f6a6c1f77", "default", extension=timedelta(0)
    )
    named, given_at = on(12, 8).replace(microsecond=0), on(12, 1).replace(microsecond=0)
    assert read.notice == Notice(State.DEACTIVATED, named, given_at, correlation_id=None)
    assert read.reported == (Reported(AGREEMENT, 1),)
    assert read.commitments[0].commitment_id == "commitment-9"
    assert (read.grants, read.proofs, read.holds) == ((), (), ())
    assert (read.pending, read.withheld_at, read.dwells_from) == (None, None, None)
    assert organization_from_json(organization_to_json(read)) == read


def test_old_documents_of_ended_or_uncreated_organizations_are_read() -> None:
    """The first states and the last one."""
    ended = """
        {"id":"org-43",
         "creation":{"occurred_at":"2026-01-01T09:30:00Z","id":"created-1",
                     "billing_cycle_anchor":"2026-01-01T09:30:00Z"},
         "tier":{"occurred_at":"2026-01-01T09:30:00Z","id":"created-1","value":"free"},
         "owner":{"occurred_at":"2026-02-01T09:30:00Z","id":"owner-2",
                  "value":"5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f"},
         "commitments":[],"state":"deactivated","previous_state":"suspended",
         "entered_at":"2026-12-08T09:30:00Z","reason":"unknown","initiator":"system",
         "plan_type":null,
         "cancellation":{"canceled_at":"2026-11-01T09:30:00Z","correlation_id":"x",
                         "policy_version":"default"},
         "notice":null,"deactivation_cause":"marketplace_cancellation","reported":[],
         "sequence":19,"revision":8}
    """
    uncreated = """
        {"id":"org-44","creation":null,"tier":null,"owner":null,"commitments":[],"state":"active",
         "previous_state":null,"entered_at":null,"reason":null,"initiator":null,"plan_type":null,
         "cancellation":null,"notice":null,"deactivation_cause":null,"reported":[],"sequence":0,
         "revision":0}
    """
    read = organization_from_json(ended)
    assert (read.state, read.recoverable, read.recovery) == (State.DEACTIVATED, False, None)
    assert organization_from_json(uncreated) == Organization(OrganizationId("org-44"))


# --- registers and facts --------------------------------------------------------------------------


@pytest.mark.parametrize("fact", FACTS)
def test_a_fact_is_read_as_it_was_written(fact: Fact) -> None:
    """The journal can be folded again (invariant 8)."""
    assert fact_from_json(fact_to_json(fact)) == fact


@pytest.mark.parametrize("readings", READINGS)
def test_a_decisions_answers_are_read_as_they_were_written(readings: Readings) -> None:
    """Not to have been asked is another answer than no feed, and than no."""
    assert readings_from_json(readings_to_json(readings)) == readings


def test_every_kind_of_fact_and_of_change_is_among_those_that_are_read_back() -> None:
    """A new one without an example would slip through."""
    assert {type(fact) for fact in FACTS} == set(get_args(Fact))
    assert {type(change) for change in CHANGES} == set(get_args(Change))


def test_a_subscription_is_read_as_it_was_written() -> None:
    """Every kind of notification among its notes, and a link with all that it can tell."""
    assert subscription_from_json(subscription_to_json(SUBSCRIPTION)) == SUBSCRIPTION


def test_a_note_that_was_stored_before_the_new_fields_is_read() -> None:
    """As an operation of its own that succeeded, without a licence, and without a final report."""
    note = Note(on(3, 1), 5, "n-1", Unsubscribed(by_partner=False))
    subscription = Subscription(AGREEMENT, (note,))
    document = json.loads(subscription_to_json(subscription))
    for name in ("operation", "progress", "licence", "term_started", "closes_usage"):
        del document["notes"][0][name]
    assert subscription_from_json(json.dumps(document)) == subscription


# --- policies and safeguards ----------------------------------------------------------------------


@given(POLICIES)
def test_a_policy_is_read_as_it_was_written(policy: Policy) -> None:
    """An organization is pinned to it, to the microsecond, for as long as it lasts."""
    assert policy_from_json(policy_to_json(policy)) == policy


def test_the_built_in_policy_can_be_kept_too() -> None:
    """Organizations are pinned to it where no file is given."""
    assert policy_from_json(policy_to_json(Policy())) == Policy()


@pytest.mark.parametrize("safeguards", SAFEGUARDS)
def test_the_safeguards_are_read_as_they_were_written(safeguards: Safeguards) -> None:
    """The guard stays tripped over a restart (lifecycle.md section 8)."""
    assert safeguards_from_json(safeguards_to_json(safeguards)) == safeguards


def test_a_trip_and_a_release_of_before_requests_had_a_guard_are_read() -> None:
    """What 0.1 wrote: its release let so many steps through, and named no side."""
    old = '{"trip":{"at":"2026-03-01T09:30:00.000001Z","by":null,"reason":"x","allowance":2}}'
    assert safeguards_from_json(old) == Safeguards(trip=Trip(on(3, 1), None, "x", 2))
    released = fact_from_json(
        '{"identity":{"source":"operator","id":"1"},"occurred_at":"2026-03-01T09:30:00.000001Z",'
        '"by":"grace","reason":"x","steps":5,"kind":"guard_released"}'
    )
    assert released == GuardReleased(Identity("operator", "1"), on(3, 1), "grace", "x", 5)


def test_safeguards_that_were_never_written_are_those_of_a_new_fleet() -> None:
    """A migration starts with them."""
    assert safeguards_from_json("{}") == Safeguards()


# --- the history ----------------------------------------------------------------------------------


def test_an_event_in_the_history_has_its_result_time_and_cause() -> None:
    """As short as it can be: where the organization stood follows from the events before."""
    event = outbound_examples()[EventKind.DEACTIVATED]
    assert json.loads(events_to_json([event])) == [
        {
            "subject": "org-42",
            "sequence": event.sequence,
            "kind": "organization.deactivated",
            "id": str(event.id),
            "effective_at": "2026-12-08T09:30:00Z",
            "decided_at": "2026-12-08T09:30:00.250000Z",
            "causation_id": "deadline",
            "correlation_id": "0b4f8a52-6d3e-5d0c-9d54-4f0f6a6c1f77",
            "policy_version": "2026-11-22",
            "details": {"cause": "marketplace_cancellation"},
        }
    ]


@pytest.mark.parametrize(
    "event",
    [*outbound_examples().values(), example_answer_of_the_worker()],
    ids=lambda event: f"{event.kind} of {event.subject}",
)
def test_the_details_in_the_history_are_those_that_were_published(event: Event) -> None:
    """Unchanged, for every kind."""
    published = json.loads(encode(event))["data"]
    (kept,) = json.loads(events_to_json([event]))
    assert kept["details"].items() <= published.items()
    assert (kept["policy_version"] is None) == (event.standing is None)


def test_the_history_keeps_the_order_in_which_events_were_emitted() -> None:
    """No events are an empty list, not null."""
    events = list(outbound_examples().values())
    assert [each["kind"] for each in json.loads(events_to_json(events))] == list(EventKind)
    assert events_to_json([]) == "[]"
