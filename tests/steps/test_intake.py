"""Intake stops: a topic that is mostly unreadable is stopped, not emptied into dead letters."""

import json
from collections.abc import Sequence
from dataclasses import replace

from msgspec import structs
from structlog.testing import capture_logs

from acceptance.scenario import at, created, eventbridge
from acceptance.stage import MovableClock
from marketplace_worker.operations import metrics
from marketplace_worker.record import Record
from marketplace_worker.runtime.intake import WINDOW_S, IntakeBreaker, RefusalWindow
from marketplace_worker.runtime.worker import Worker
from marketplace_worker.settings import Ingest, Topics
from marketplace_worker.steps.ingest import ingest
from marketplace_worker.store import intake
from marketplace_worker.store.database import transaction
from steps.story_beginnings import records

LIMITS = Ingest(batch_rows_max=10, refused_rows_max=10, refused_share_max=0.5)
FLOODED, OTHER = Topics().aws_notifications, Topics().azure_notifications


def junk(first: int, count: int, topic: str = FLOODED) -> list[Record]:
    """`count` unreadable records."""
    return [Record(topic, 0, first + n, at(1), b"key", b"not JSON") for n in range(count)]


def good(first: int, count: int) -> list[Record]:
    """`count` readable records of the same topic."""
    (notification,) = records(eventbridge(1, "License Updated", {"id": "agmt-1"}))
    value = json.loads(notification.value or b"")
    return [
        structs.replace(
            notification,
            offset=first + n,
            value=json.dumps(value | {"id": f"notification {first + n}"}).encode(),
        )
        for n in range(count)
    ]


def one(worker: Worker) -> Worker:
    """Another worker, or the same one after a restart, with new counters."""
    return replace(worker, intake=IntakeBreaker(LIMITS))


async def resume(worker: Worker, topic: str = FLOODED) -> bool:
    """Resume the topic, as `intake resume` does."""
    async with transaction(worker.pool) as conn:
        now = await worker.clock(conn)
        return await intake.resume(conn, topic, by="Jo", because="mended upstream", now=now)


async def dead_letters(worker: Worker) -> list[int]:
    """The offsets of all dead letters."""
    rows = await worker.pool.fetch('SELECT "offset" FROM dead_letters ORDER BY id')
    return [row["offset"] for row in rows]


async def ingested(worker: Worker) -> int:
    """The number of facts in the journal."""
    return int(await worker.pool.fetchval("SELECT count(*) FROM journal"))


async def test_a_flood_stops_its_topic_and_no_other(worker: Worker, clock: MovableClock) -> None:
    """The batch that would exceed the limit is the first that is not ingested."""
    clock.now, worker = at(1), one(worker)
    assert await ingest(junk(0, 10), worker) == set()

    with capture_logs() as lines:
        stopped = await ingest([*junk(10, 1), *records(created(0, "a")), *junk(11, 1)], worker)

    assert stopped == {FLOODED}
    assert await dead_letters(worker) == list(range(10))
    assert await ingested(worker) == 1
    (logged_line,) = [line for line in lines if line["log_level"] == "error"]
    assert logged_line["event"] == "intake_stopped"
    assert (logged_line["topic"], logged_line["refused"], logged_line["records"]) == (
        FLOODED,
        12,
        12,
    )
    assert (logged_line["reason"], logged_line["field"]) == (
        "is not JSON (at character 0)",
        "value",
    )
    assert metrics.INTAKE_STOPPED.labels(FLOODED)._value.get() == 1


async def test_of_a_batch_larger_than_the_limit_the_first_records_are_ingested(
    worker: Worker, clock: MovableClock
) -> None:
    """As if it had come in several batches: otherwise a resumed topic would stop at once."""
    clock.now, worker = at(1), one(worker)
    with capture_logs():
        assert await ingest(junk(0, 35), worker) == {FLOODED}
        assert await dead_letters(worker) == list(range(10))

        assert await resume(worker)
        assert await ingest([*junk(10, 25), *records(created(0, "a"))], worker) == {FLOODED}
    assert await dead_letters(worker) == list(range(20))
    assert await ingested(worker) == 1


async def test_a_stop_holds_for_all_workers_and_over_restarts(
    worker: Worker, clock: MovableClock
) -> None:
    """No worker ingests any record of the topic, not even readable ones, to keep their order."""
    clock.now, worker = at(1), one(worker)
    await ingest(junk(0, 10), worker)
    await ingest(junk(10, 10), worker)

    for other in (worker, one(worker)):
        batch = [*good(20, 1), *junk(21, 1, OTHER), *junk(22, 1)]
        assert await ingest(batch, other) == {FLOODED}
    assert await dead_letters(worker) == [*range(10), 21]
    assert await ingested(worker) == 0


async def test_after_a_resume_the_rest_is_ingested_once_and_the_count_restarts(
    worker: Worker, clock: MovableClock
) -> None:
    """By all workers, also by one that was near its limit and did not notice the stop."""
    clock.now, worker = at(1), one(worker)
    elsewhere = one(worker)
    await ingest(junk(100, 10), elsewhere)
    await ingest(junk(0, 10), worker)
    assert await ingest(junk(10, 10), worker) == {FLOODED}

    assert await resume(worker)
    assert not await resume(worker), "it is not stopped any more"

    assert await ingest(junk(10, 10), worker) == set()
    assert await ingest(junk(110, 10), elsewhere) == set()
    offsets = await dead_letters(worker)
    assert sorted(offsets) == [*range(20), *range(100, 120)]
    assert metrics.INTAKE_STOPPED.labels(FLOODED)._value.get() == 0

    assert await ingest(junk(20, 10), worker) == {FLOODED}, "a flood that goes on is stopped again"
    async with transaction(worker.pool) as conn:
        (stop,) = await intake.history(conn)
    assert (stop.records, stop.refused, stop.resumed_by) == (20, 20, None)


async def test_what_is_below_either_limit_never_stops(worker: Worker, clock: MovableClock) -> None:
    """A few bad records in a quiet topic, and many in a busy one that is mostly good."""
    clock.now, worker = at(1), one(worker)
    assert await ingest(junk(0, 10, OTHER), worker) == set(), "ten of ten"
    for first in range(0, 300, 10):
        batch = [*good(first, 5), *junk(first + 5, 5)]
        assert await ingest(batch, worker) == set(), "half of them"
    assert (len(await dead_letters(worker)), await ingested(worker)) == (10 + 150, 150)


async def test_refusals_that_are_delivered_again_do_not_count_again(
    worker: Worker, clock: MovableClock
) -> None:
    """After a loss of the group's offsets a topic is read from its beginning: no flood."""
    clock.now, worker = at(1), one(worker)
    await ingest(junk(0, 6), worker)
    for _ in range(3):
        assert await ingest(junk(0, 4), worker) == set()
    assert await ingest(junk(6, 4), worker) == set()
    assert await dead_letters(worker) == list(range(10))


async def test_records_that_we_fail_on_ourselves_count_as_refused(
    worker: Worker, clock: MovableClock
) -> None:
    """A bug that affects every record must not make the whole topic dead letters."""
    clock.now, worker = at(1), one(worker)
    strangers = [*junk(0, 6, "nobody's topic"), *records(created(0, "a"))]
    assert await ingest(strangers, worker) == set()

    with capture_logs() as lines:
        batch = [*junk(6, 8, "nobody's topic"), *records(created(0, "b"))]
        assert await ingest(batch, worker) == {"nobody's topic"}

    assert await dead_letters(worker) == list(range(10))
    assert await ingested(worker) == 2
    (logged_line,) = [line for line in lines if line["event"] == "intake_stopped"]
    assert logged_line["reason"] == "marketplace-worker failed on it: KeyError"
    assert await _parked_once_more(strangers, worker) == list(range(10))


async def _parked_once_more(given: Sequence[Record], worker: Worker) -> list[int]:
    """The new dead letters when all records are delivered again after a resume."""
    assert await resume(worker, "nobody's topic")
    assert await ingest(given, worker) == set()
    return await dead_letters(worker)


async def test_a_header_whose_name_is_not_utf_8_is_refused_and_can_be_sent_on(
    worker: Worker, clock: MovableClock
) -> None:
    """The reason names it; in the dead letters topic its bytes are escaped."""
    clock.now = at(1)
    (before, after) = good(0, 2)
    odd = structs.replace(before, offset=7, headers=(("grüße", b"1"), ("na\udcffme", b"2")))

    assert await ingest([before, odd, after], worker) == set()

    assert await ingested(worker) == 2
    row = await worker.pool.fetchrow('SELECT "offset", field, reason, headers FROM dead_letters')
    assert row is not None
    assert tuple(row)[:3] == (7, "headers[1]", "the header's name is not UTF-8")
    promised = await worker.pool.fetchval(
        "SELECT headers FROM outbox WHERE topic = $1", worker.topics.dead_letters
    )
    for headers in (row["headers"], promised):
        assert [name for name, _ in json.loads(headers)][:2] == ["grüße", "na\\xffme"]


def test_what_was_read_long_ago_does_not_count() -> None:
    """Refusals of half an hour ago have no effect."""
    window = RefusalWindow()
    window.add(0.0, 7, 3)
    window.add(5.0, 1, 1)
    window.add(WINDOW_S / 2, 10, 2)
    assert window.counts(WINDOW_S / 2) == (18, 6)
    assert window.counts(WINDOW_S - 1) == (18, 6)
    assert window.counts(WINDOW_S + 15) == (10, 2)
    assert window.counts(2 * WINDOW_S) == (0, 0)
