"""When what a record reports can have happened: by its own time, as far as that can be believed."""

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from marketplace_worker.record import EPOCH, Record

RECEIVED_AT = datetime(2026, 11, 22, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def recorded(at: datetime, received_at: datetime | None = RECEIVED_AT) -> Record:
    """A record of that time."""
    return Record("topic", 0, 7, at, key=None, value=b"", received_at=received_at)


@pytest.mark.parametrize("ago", [timedelta(0), SECOND, timedelta(days=9_000)])
def test_a_record_is_believed_where_its_time_has_passed(ago: timedelta) -> None:
    """It waited in the topic, for however long."""
    assert recorded(RECEIVED_AT - ago).latest_event_time == RECEIVED_AT - ago


@pytest.mark.parametrize("ahead", [SECOND, timedelta(hours=1)])
def test_clocks_may_differ_a_little(ahead: timedelta) -> None:
    """Dated back to one moment, the records of a batch would lose their order."""
    assert recorded(RECEIVED_AT + ahead).latest_event_time == RECEIVED_AT + ahead


@pytest.mark.parametrize(
    "at",
    [
        RECEIVED_AT + timedelta(hours=1, milliseconds=1),
        datetime(9999, 12, 31, tzinfo=UTC),
        datetime.max.replace(tzinfo=UTC),
    ],
)
def test_a_record_from_the_future_happened_when_it_was_received(at: datetime) -> None:
    """Otherwise it would stay the newest, and make all later messages stale."""
    assert recorded(at).latest_event_time == RECEIVED_AT


def test_a_record_without_a_time_happened_when_it_was_received() -> None:
    """1970-01-01 is the zero of somebody's clock, and no time."""
    assert recorded(EPOCH).latest_event_time == RECEIVED_AT
    assert recorded(EPOCH + SECOND).latest_event_time == EPOCH + SECOND


@pytest.mark.parametrize("at", [EPOCH, RECEIVED_AT, datetime.max.replace(tzinfo=UTC)])
def test_without_a_time_of_receipt_its_own_time_counts(at: datetime) -> None:
    """So in a scenario, where a message is received at its time."""
    assert recorded(at, received_at=None).latest_event_time == at


@pytest.mark.parametrize("at", [EPOCH, RECEIVED_AT, datetime.max.replace(tzinfo=UTC)])
def test_a_record_is_the_same_whenever_it_is_received(at: datetime) -> None:
    """It comes again after a crash, and must then be known."""
    first = recorded(at)
    again = replace(first, received_at=RECEIVED_AT + timedelta(days=1))
    assert again.positional_id == first.positional_id
