"""Records between the last read position and the next start position are reported."""

from collections.abc import Iterator

import pytest
from msgspec.structs import replace
from prometheus_client import REGISTRY
from structlog.testing import capture_logs
from structlog.typing import EventDict

from acceptance.scenario import at, eventbridge
from acceptance.stage import MovableClock
from marketplace_worker.errors import Unavailable
from marketplace_worker.record import StartOffset
from marketplace_worker.runtime.worker import Worker
from marketplace_worker.settings import Topics
from marketplace_worker.steps.ingest import ingest
from marketplace_worker.steps.position_jumps import report_jumps
from steps.story_beginnings import records

TOPIC = Topics().aws_notifications


@pytest.fixture
def logs() -> Iterator[list[EventDict]]:
    """The log lines."""
    with capture_logs() as logs:
        yield logs


@pytest.fixture
async def read(worker: Worker, clock: MovableClock) -> int:
    """Ingest a notification; returns the read position of its partition."""
    clock.now = at(9)
    (record,) = records(eventbridge(1, "License Updated", {"id": "agmt-1"}))
    await ingest([replace(record, offset=7)], worker)
    return 8


async def holds(_beginning: StartOffset, _since: int) -> bool:
    """Kafka has records there."""
    return True


async def holds_nothing(_beginning: StartOffset, _since: int) -> bool:
    """Kafka has only control records of transactions there."""
    return False


def jumps(logs: list[EventDict]) -> list[tuple[int, int, str]]:
    """Both offsets and the cause of each jump."""
    lines = [each for each in logs if each["event"] == "position_jumped"]
    assert all((each["log_level"], each["topic"]) == ("error", TOPIC) for each in lines)
    return [(each["from_offset"], each["to_offset"], str(each["cause"])) for each in lines]


@pytest.mark.parametrize("offset", [0, 8])
async def test_what_is_read_on_or_again_is_no_jump(
    worker: Worker, read: int, logs: list[EventDict], offset: int
) -> None:
    """Also where the group lost its offsets: repeated records are duplicates."""
    await report_jumps([StartOffset(TOPIC, 0, offset)], worker, holds)
    await report_jumps([StartOffset(TOPIC, 0, read)], worker, holds)
    assert jumps(logs) == []


async def test_a_partition_of_which_nothing_was_read_may_begin_anywhere(
    worker: Worker, logs: list[EventDict]
) -> None:
    """A new worker on an old topic has missed nothing."""
    await report_jumps([StartOffset(TOPIC, 0, 500)], worker, holds)
    assert jumps(logs) == []


async def test_what_was_deleted_unread_is_reported_once(
    worker: Worker, read: int, logs: list[EventDict]
) -> None:
    """Also where the worker restarts before the partition has a new record."""
    before = _count("deleted")
    for _ in range(2):
        await report_jumps([StartOffset(TOPIC, 0, 500, read)], worker, holds_nothing)
    assert jumps(logs) == [(read, 500, "deleted")]
    assert _count("deleted") - before == 1


async def test_what_was_deleted_of_a_partition_of_which_nothing_was_read_yet(
    worker: Worker, logs: list[EventDict]
) -> None:
    """The group has an offset there, be it from before an update."""
    await report_jumps([StartOffset(TOPIC, 1, 500, 20)], worker, holds_nothing)
    await report_jumps([StartOffset(TOPIC, 1, 600)], worker, holds)
    assert jumps(logs) == [(20, 500, "deleted"), (500, 600, "skipped")]


async def test_a_group_that_stands_further_than_the_database_is_reported(
    worker: Worker, read: int, logs: list[EventDict]
) -> None:
    """It was moved, or the database was restored; Kafka is asked for records in between."""
    asked: list[tuple[StartOffset, int]] = []

    async def ask(beginning: StartOffset, since: int) -> bool:
        asked.append((beginning, since))
        return True

    beginning = StartOffset(TOPIC, 0, 500)
    await report_jumps([beginning], worker, ask)
    assert asked == [(beginning, read)]
    assert jumps(logs) == [(read, 500, "skipped")]


async def test_marks_of_transactions_are_no_loss(
    worker: Worker, read: int, logs: list[EventDict]
) -> None:
    """The group stands behind the mark, the database behind the record before it; Kafka is asked
    once, for from then on the partition was read up to there.
    """
    await report_jumps([StartOffset(TOPIC, 0, read + 1)], worker, holds_nothing)
    await report_jumps([StartOffset(TOPIC, 0, read + 1)], worker, holds)
    assert jumps(logs) == []


async def test_a_partition_that_ends_before_what_was_read_is_reported(
    worker: Worker, read: int, logs: list[EventDict]
) -> None:
    """After an unclean election or a recreation, records that we read are lost for others."""
    await report_jumps([StartOffset(TOPIC, 0, 0, read)], worker, holds)
    assert jumps(logs) == [(read, 0, "cut_off")]


async def test_a_group_that_was_moved_back_before_the_first_record_has_lost_nothing(
    worker: Worker, read: int, logs: list[EventDict]
) -> None:
    """The records that Kafka no longer has were ingested."""
    await report_jumps([StartOffset(TOPIC, 0, read - 3, 0)], worker, holds)
    assert jumps(logs) == []


async def test_where_kafka_cannot_be_asked_it_is_asked_again(
    worker: Worker, read: int, logs: list[EventDict]
) -> None:
    """Nothing is handled until then (streams/starting_positions.py): nothing is forgotten."""

    async def away(_beginning: StartOffset, _since: int) -> bool:
        raise Unavailable("Kafka does not answer")

    with pytest.raises(Unavailable):
        await report_jumps([StartOffset(TOPIC, 0, 500)], worker, away)
    assert jumps(logs) == []
    await report_jumps([StartOffset(TOPIC, 0, 500)], worker, holds)
    assert jumps(logs) == [(read, 500, "skipped")]


def _count(cause: str) -> float:
    name = "marketplace_worker_position_jumps_total"
    return REGISTRY.get_sample_value(name, {"topic": TOPIC, "cause": cause}) or 0
