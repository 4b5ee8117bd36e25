"""Messages that are handled and logged for a person: other types, contradictions, huge values."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs
from structlog.testing import capture_logs

from acceptance.scenario import at, azure, created, event, eventbridge
from acceptance.stage import MovableClock
from marketplace_worker.lifecycle.facts import Created
from marketplace_worker.record import Record
from marketplace_worker.runtime.applying import READ_AT_ONCE_BYTES_MAX, parse_batch
from marketplace_worker.runtime.intake import IntakeBreaker
from marketplace_worker.runtime.worker import Worker
from marketplace_worker.settings import Ingest, Topics
from marketplace_worker.steps.ingest import ingest
from marketplace_worker.steps.redriving import Redrive
from marketplace_worker.store import outbox
from marketplace_worker.store.dead_letters import OperatorAction
from steps.story_beginnings import Line, login, records

CONTRADICTED = "identity_repeated_with_other_content"
SECRET = "jane@example.com"


async def logged(event_name: str, batches: list[list[Record]], worker: Worker) -> list[Any]:
    """The log lines of this name that these batches cause."""
    with capture_logs() as lines:
        for batch in batches:
            await ingest(batch, worker)
    assert not [each for each in lines if SECRET in str(each)]
    return [each for each in lines if each["event"] == event_name]


# --- types that are not ours ----------------------------------------------------------------------


async def test_a_type_that_is_not_ours_is_logged_with_source_and_topic(
    worker: Worker, clock: MovableClock
) -> None:
    """It is journalled and no dead letter, so without the log nobody would notice."""
    clock.now = at(3)
    line = event(1, "organization.not_ours_yet", "acme", {"email": SECRET})
    (logged_line,) = await logged("type_unrecognized", [records(line), records(line)], worker)
    assert logged_line["log_level"] == "warning"
    assert logged_line["type"] == "io.marketplace-worker.organization.not_ours_yet.v1"
    assert (logged_line["source"], logged_line["topic"]) == ("/tests", "organizations.changes")


async def test_what_a_marketplace_sends_about_no_subscription_needs_nobody(
    worker: Worker, clock: MovableClock
) -> None:
    """A customer who looks at a landing page, or an account, is as it should be."""
    clock.now = at(3)
    push = {"eventType": "LandingPage", "payloadFromLandingpage": {"name": SECRET}}
    value = json.dumps(push).encode()
    given = Record(Topics().azure_notifications, 0, 0, at(1), None, value)
    (logged_line,) = await logged("type_unrecognized", [[given]], worker)
    assert (logged_line["log_level"], logged_line["type"]) == ("info", "LandingPage")
    assert await worker.pool.fetchval("SELECT count(*) FROM dead_letters") == 0


# --- a known identity with other content ----------------------------------------------------------


def other(line: Line, **changed: object) -> Line:
    """The same message with other data."""
    value = {**line["value"], "data": {**line["value"]["data"], **changed}}
    return {**line, "value": value}


FIRST = created(0, "acme")
CONTRADICTIONS = {
    "another tier": (FIRST, other(FIRST, tier="plus")),
    "another email": (FIRST, other(FIRST, owner_email=SECRET)),
    "another organization": (
        FIRST,
        {**FIRST, "value": {**FIRST["value"], "subject": "globex"}},
    ),
    "another time": (FIRST, {**FIRST, "value": {**FIRST["value"], "time": at(-1).isoformat()}}),
    "another status of an agreement": tuple(
        eventbridge(1, "Purchase Agreement Ended", {"id": "agmt-1", "status": status})
        for status in ("CANCELLED", "TERMINATED")
    ),
}
AGREEING = {
    "the very same": (FIRST, FIRST),
    "with a field that nobody reads": (FIRST, other(FIRST, unread=SECRET)),
    "later": (FIRST, {**FIRST, "at": at(0.1).isoformat()}),
    "a notification without a time, later": tuple(
        {**azure(day, "Suspend", "sub-1"), "at": at(day).isoformat()} for day in (1, 2)
    ),
}


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("name", CONTRADICTIONS)
async def test_a_known_identity_with_other_content_is_logged(
    worker: Worker, clock: MovableClock, name: str, *, at_once: bool
) -> None:
    """It is skipped like any duplicate, but its sender uses an id twice."""
    clock.now = at(3)
    first, second = records(*CONTRADICTIONS[name])
    batches = [[first, second]] if at_once else [[first], [second]]
    (logged_line,) = await logged(CONTRADICTED, batches, worker)
    assert logged_line["log_level"] == "warning"
    assert logged_line["position"] == second.position
    assert logged_line["id"] == (first.value and json.loads(first.value)["id"])
    assert await worker.pool.fetchval("SELECT count(*) FROM journal") == 1


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("name", AGREEING)
async def test_a_duplicate_is_not_logged(
    worker: Worker, clock: MovableClock, name: str, *, at_once: bool
) -> None:
    """Every redelivery is a duplicate."""
    clock.now = at(3)
    first, second = records(*AGREEING[name])
    if name.startswith("a notification without a time"):
        first, second = (_without_time(each) for each in (first, second))
    batches = [[first, second]] if at_once else [[first], [second]]
    assert await logged(CONTRADICTED, batches, worker) == []
    assert await worker.pool.fetchval("SELECT count(*) FROM journal") == 1


def _without_time(given: Record) -> Record:
    body = {**json.loads(given.value or b""), "timeStamp": None, "id": "the same operation"}
    return structs.replace(given, value=json.dumps(body).encode())


# --- values that are too large --------------------------------------------------------------------


def bounded(worker: Worker, size: int) -> Worker:
    """The same worker with a smaller limit."""
    return replace(worker, intake=IntakeBreaker(Ingest(record_bytes_max=size)))


async def test_a_value_that_is_too_large_is_a_dead_letter_without_it(
    worker: Worker, clock: MovableClock
) -> None:
    """It stays in Kafka, at the given position; other records are ingested."""
    clock.now = at(3)
    small, large = records(created(0, "acme"), other(created(1, "large"), unread="x" * 2_000))
    await ingest([small, large], bounded(worker, 2_000))

    row = await worker.pool.fetchrow("SELECT * FROM dead_letters")
    assert row is not None
    assert (row["value"], row["left_out_bytes"]) == (None, len(large.value or b""))
    assert (row["topic"], row["offset"], row["key"]) == (large.topic, 1, b"large")
    assert (row["field"], row["reason"].partition(":")[0]) == (
        "value",
        "is larger than ingest.record_bytes_max",
    )
    sent = await worker.pool.fetchrow(
        "SELECT value, headers FROM outbox WHERE topic = $1", worker.topics.dead_letters
    )
    assert sent is not None
    headers = dict(outbox.headers_from_json(sent["headers"]))
    assert not sent["value"]
    assert b"it is in Kafka" in (headers["dead-letter-value"] or b"")
    assert headers["dead-letter-offset"] == b"1"
    assert await worker.pool.fetchval("SELECT count(*) FROM journal") == 1


async def test_a_value_of_just_that_size_is_read(worker: Worker, clock: MovableClock) -> None:
    """The limit is inclusive."""
    clock.now = at(3)
    (given,) = records(created(0, "acme"))
    await ingest([given], bounded(worker, max(1_024, len(given.value or b""))))
    assert await worker.pool.fetchval("SELECT count(*) FROM dead_letters") == 0


async def test_what_was_left_out_is_refused_again_by_a_redrive(
    worker: Worker, clock: MovableClock
) -> None:
    """Its value is not stored, and it must not count as a tombstone."""
    clock.now = at(3)
    (large,) = records(other(login(1, "acme"), unread="x" * 2_000))
    await ingest([large], bounded(worker, 2_000))
    before = await worker.pool.fetchval("SELECT reason FROM dead_letters")

    redrive = Redrive(worker, OperatorAction("Olga", "tried again"))
    await redrive.redrive([1], rate=100)

    row = await worker.pool.fetchrow("SELECT * FROM dead_letters")
    assert row is not None
    assert (row["status"], row["reason"], row["attempts"]) == ("waiting", before, 2)


@pytest.mark.parametrize(("padding", "turns"), [(0, False), (READ_AT_ONCE_BYTES_MAX, True)])
async def test_the_event_loop_goes_on_while_a_large_value_is_read(
    worker: Worker, padding: int, *, turns: bool
) -> None:
    """Heartbeats and probes wait for nobody's megabyte; small values are not worth a thread."""
    (record,) = records(created(1, "acme"))
    large = structs.replace(record, value=(record.value or b"") + b" " * padding)
    count = 0

    async def turn() -> None:
        nonlocal count
        while True:
            count += 1
            await asyncio.sleep(0)

    turning = asyncio.create_task(turn())
    batch = await parse_batch([large], worker)
    turning.cancel()

    assert [type(part.content) for part in batch.parts] == [Created]
    assert (count > 0) is turns
