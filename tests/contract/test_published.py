"""Reading back published messages yields how far their sequences have advanced."""

import json
from dataclasses import replace
from typing import Any

import pytest

from acceptance.scenario import at
from marketplace_worker.contract.published import (
    PublishedSummary,
    numbered_topics,
    read_published,
)
from marketplace_worker.documents import published_from_json, published_to_json
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.vocabulary import DeactivationCause, OrganizationId
from marketplace_worker.record import Record
from marketplace_worker.settings import Topics

ACME = OrganizationId("acme")


def record(value: object, key: bytes | None = b"acme") -> Record:
    """A record with this value."""
    given = value if isinstance(value, bytes | None) else json.dumps(value).encode()
    return Record("organizations.lifecycle", 0, 0, at(0), key, given)


def event_with(name: str, sequence: object, **data: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON's
    """An event of acme, or (`organization.state`) a snapshot, with only the fields that are read
    back.
    """
    snapshot = "/state" if name == "organization.state" else ""
    return {
        "id": f"{name} {sequence}",
        "source": f"/marketplace-worker{snapshot}",
        "type": f"io.marketplace-worker.{name}.v1",
        "subject": "acme",
        "time": "2026-11-30T00:00:00Z",
        "sequence": sequence,
        "data": {"state": "active", "recoverable": True, "reason": None, **data},
    }


DEACTIVATED_TYPE = event_with(
    "organization.deactivated",
    "00000000000000000017",
    state="deactivated",
    recoverable=False,
    reason="customer",
    cause="marketplace_cancellation",
)


def read(*values: object) -> PublishedSummary:
    """The summary of these values, read in order."""
    whole = PublishedSummary(ACME)
    for each in map(read_published, map(record, values)):
        assert each is not None
        whole = whole.with_later(each)
    return whole


def test_every_topic_with_sequences_is_read_back() -> None:
    """All but dead letters. A new outbound topic must be added to one of the two lists."""
    topics = Topics()
    assert {*numbered_topics(topics), topics.dead_letters} == set(topics.outbound)


def test_events_and_snapshots_have_separate_numbers() -> None:
    """A snapshot has a revision, and the sequence of the last event that it includes."""
    snapshot = event_with("organization.state", "9", state="suspended", last_event_sequence=12)

    assert read(
        event_with("organization.canceled", "11", state="canceled"), snapshot
    ) == PublishedSummary(ACME, sequence=12, revision=9, state=State.SUSPENDED)
    assert read(snapshot, event_with("organization.reinstated", "13")).state is State.ACTIVE
    assert read(snapshot, event_with("organization.canceled", "11", state="canceled")).revision == 9


def test_a_deactivation_counts_until_a_later_reactivation() -> None:
    """Whatever other events say, also with sequences that were used again."""
    effect = event_with(
        "email.locked", "18", state="deactivated", recoverable=False, reason="customer"
    )
    used_again = event_with("organization.notice_given", "19", state="suspended")
    back = event_with("organization.reactivated", "20")

    closed = read(DEACTIVATED_TYPE, effect)
    assert closed.deactivated_for is DeactivationCause.MARKETPLACE_CANCELLATION
    assert read(DEACTIVATED_TYPE, effect, used_again).closed_by == DEACTIVATED_TYPE["id"]
    assert read(DEACTIVATED_TYPE, effect, used_again).deactivated_for is closed.deactivated_for
    assert read(DEACTIVATED_TYPE, back).closed_by is None
    assert read(back, DEACTIVATED_TYPE).closed_by is None
    assert (
        read(event_with("organization.reactivated", "16"), DEACTIVATED_TYPE).closed_by
        == DEACTIVATED_TYPE["id"]
    )


@pytest.mark.parametrize("cause", DeactivationCause)
def test_a_snapshot_shows_the_cause_of_a_deactivation(cause: DeactivationCause) -> None:
    """It has no field for the cause, which follows from its other fields."""
    recoverable = cause is not DeactivationCause.MARKETPLACE_CANCELLATION
    reason = cause.value if recoverable else "non_payment"
    data = {"state": "deactivated", "recoverable": recoverable, "reason": reason}

    assert (
        read(event_with("organization.state", "3", last_event_sequence=9, **data)).deactivated_for
        is cause
    )


def test_an_erasure_is_recognized_by_a_tombstone_or_by_its_event() -> None:
    """Compaction removes the tombstone some day, and retention the event."""
    event = event_with("organization.erased", "30") | {"data": {"organization_id": "acme"}}

    assert read_published(record(None)) == PublishedSummary(ACME, erased=True)
    assert read(event) == PublishedSummary(ACME, sequence=30, erased=True)
    assert read(DEACTIVATED_TYPE, event, event_with("organization.created", "9")).erased


@pytest.mark.parametrize(
    "value",
    [
        b"no JSON",
        b"[" * 100_000,
        b"[]",
        b"{}",
        event_with("organization.canceled", "-1"),
        event_with("organization.canceled", str(2**70)),
        event_with("organization.canceled", "many"),
        event_with("organization.canceled", "5") | {"source": "/somebody-else"},
        event_with("organization.canceled", "5") | {"data": None},
        event_with("organization.state", "5", last_event_sequence="many"),
    ],
    ids=repr,
)
def test_foreign_messages_are_ignored(value: object) -> None:
    """A made-up number would raise the sequence."""
    assert read_published(record(value)) is None


def test_a_summary_can_be_stored_and_loaded_again() -> None:
    """A recovery resumes from it."""
    whole = replace(read(DEACTIVATED_TYPE), revision=4)
    assert published_from_json(published_to_json(whole)) == whole
