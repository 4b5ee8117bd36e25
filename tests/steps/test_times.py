"""Records with unusual times are ingested once, and dated at their receipt where necessary."""

from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from acceptance.scenario import at, created, linked, sns
from acceptance.stage import MovableClock
from marketplace_worker.record import EPOCH, Record
from marketplace_worker.runtime.worker import Worker
from marketplace_worker.steps.ingest import ingest
from steps.story_beginnings import Line, ingest_lines, records, states

END_OF_CALENDAR = datetime(9999, 12, 31, tzinfo=UTC)


def aws_notification(day: float, action: str) -> Line:
    """A notification of AWS without its own time and identity."""
    return sns(day, action, "customer-1", bare=True)


@pytest.mark.parametrize("recorded_at", [EPOCH, END_OF_CALENDAR])
async def test_what_a_wrong_clock_recorded_happened_when_it_was_received(
    recorded_at: datetime, worker: Worker, clock: MovableClock
) -> None:
    """Otherwise it would be older than all others, or have no effect before the year 9999."""
    first, last = (
        aws_notification(1, "subscribe-success"),
        aws_notification(2, "unsubscribe-success"),
    )
    await ingest_lines(
        worker, clock, created(0, "a"), linked(0.5, "a", "aws", "prod-1/customer-1"), first
    )
    clock.now = at(2)
    await ingest([replace(each, recorded_at=recorded_at) for each in records(last)], worker)
    assert await states(worker) == {"a": "canceled"}


@pytest.mark.parametrize("recorded_at", [EPOCH, END_OF_CALENDAR])
async def test_a_repeated_message_is_a_duplicate_whatever_its_time(
    recorded_at: datetime, worker: Worker, clock: MovableClock
) -> None:
    """A message without an identity is identified by its position and its original time."""
    batch: list[Record] = [
        replace(each, recorded_at=recorded_at)
        for each in records(aws_notification(1, "subscribe-success"))
    ]
    batch.append(replace(batch[0], offset=1, value=b"not JSON"))
    for day in (1, 2):
        clock.now = at(day)
        await ingest(batch, worker)

    assert await worker.pool.fetchval("SELECT count(*) FROM journal") == 1
    assert await worker.pool.fetchval("SELECT count(*) FROM dead_letters") == 1
    assert await worker.pool.fetchval("SELECT occurred_at FROM journal") == at(1)
