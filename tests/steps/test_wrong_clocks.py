"""If the database's clock and the workers' differ, no step is taken and no row is deleted."""

from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest
import structlog

from acceptance.scenario import at
from acceptance.stage import MovableClock
from marketplace_worker.lifecycle.facts import GuardReleased
from marketplace_worker.lifecycle.vocabulary import Identity
from marketplace_worker.record import Record
from marketplace_worker.runtime.local_clock import ClockReading, LocalClock
from marketplace_worker.runtime.worker import Worker
from marketplace_worker.settings import Retention
from marketplace_worker.steps.deadlines import fire_due
from marketplace_worker.steps.guard_operations import operate
from marketplace_worker.steps.ingest import ingest
from marketplace_worker.steps.retention import retain
from steps.story_beginnings import (
    canceled,
    day_of,
    events_of,
    ingest_lines,
    kinds,
    login,
    states,
    support,
    wait,
)

YEAR = timedelta(days=365)
HOUR = timedelta(hours=1)
MONTH = Retention(journal_days=30, dead_letters_days=30)


@pytest.fixture
def own(worker: Worker) -> MovableClock:
    """The worker's own clock, which stays right when the database's jumps."""
    own = MovableClock(at(0))
    worker.local_clock.read = own.of_machine
    return own


def restarted(worker: Worker, own: MovableClock) -> Worker:
    """A new process on the same database."""
    return replace(worker, local_clock=LocalClock(own.of_machine))


async def until(worker: Worker, clock: MovableClock, own: MovableClock, day: float) -> None:
    """Move both clocks to a day."""
    worker.local_clock.read = clock.of_machine
    await wait(worker, clock, until=day)
    await fire_due(worker, limit=10)
    own.now = at(day)
    worker.local_clock.read = own.of_machine


async def release(worker: Worker, clock: MovableClock) -> None:
    """The operator Olga releases the guard."""
    fact = GuardReleased(Identity("operator", str(uuid4())), clock.now, "Olga", "mended")
    await operate(fact, worker)


async def test_a_clock_that_jumps_a_year_ahead_trips_the_guard_and_nobody_is_deactivated(
    worker: Worker, clock: MovableClock, own: MovableClock
) -> None:
    """Nor loses its control plane; one event is published, with the reason `clock`."""
    await ingest_lines(worker, clock, *sorted([*canceled("acme"), *canceled("beta")], key=day_of))
    await until(worker, clock, own, 1.5)
    other = restarted(worker, own)
    await fire_due(other, limit=10)

    clock.now += YEAR
    for each in (worker, other, restarted(worker, own)):
        await fire_due(each, limit=10)

    assert await states(worker) == {"acme": "canceled", "beta": "canceled"}
    (tripped,) = await events_of(worker, "worker")
    data = tripped["data"]
    assert (data["guard"], data["reason"], data["by"]) == ("steps", "clock", None)
    assert (data["counted"], data["limit"], data["added_to"]) == (None, None, None)


async def test_a_jump_while_no_worker_ran_is_noticed_at_the_start(
    worker: Worker, clock: MovableClock, own: MovableClock
) -> None:
    """The last times of both clocks are stored."""
    await ingest_lines(worker, clock, *canceled("acme"))
    await until(worker, clock, own, 1.5)

    clock.now += YEAR
    await fire_due(restarted(worker, own), limit=10)

    assert await kinds(worker, "worker") == ["guard.tripped"]
    assert await states(worker) == {"acme": "canceled"}


async def test_the_guard_goes_on_at_the_release_and_trips_at_the_next_jump(
    worker: Worker, clock: MovableClock, own: MovableClock
) -> None:
    """A jump back, or one below an hour, does not trip it."""
    await ingest_lines(worker, clock, *canceled("acme"))
    await until(worker, clock, own, 1.5)
    for ahead in (YEAR, timedelta(0), HOUR, timedelta(0), -YEAR, timedelta(0)):
        clock.now = own.now + ahead
        await fire_due(worker, limit=10)
        await release(worker, clock)
        await fire_due(worker, limit=10)
    assert await kinds(worker, "worker") == ["guard.tripped", "guard.released"] * 2


async def test_a_clock_that_creeps_ahead_is_noticed_too(
    worker: Worker, clock: MovableClock, own: MovableClock
) -> None:
    """By less than an hour each time, it is more than an hour ahead at last."""
    await ingest_lines(worker, clock, *canceled("acme"))
    await until(worker, clock, own, 1.5)
    for _ in range(3):
        clock.now += timedelta(minutes=25)
        await fire_due(worker, limit=10)
    assert await kinds(worker, "worker") == ["guard.tripped"]


async def test_both_clocks_ahead_of_where_a_worker_stood_still_are_no_jump(
    worker: Worker, clock: MovableClock, own: MovableClock
) -> None:
    """A machine that was suspended, also between two readings of its clocks."""
    await ingest_lines(worker, clock, *canceled("acme"))
    await until(worker, clock, own, 1.1)
    moments = iter([at(1.5), at(30), at(30), at(60)])
    clock.now = at(20)
    worker.local_clock.read = lambda: next(moments)
    await fire_due(worker, limit=10)
    assert await kinds(worker, "worker") == []
    assert await states(worker) == {"acme": "control_plane_loss"}


async def test_a_trip_that_stands_is_added_to_and_lets_nothing_more_through(
    worker: Worker, clock: MovableClock, own: MovableClock
) -> None:
    """A release for some steps ends with a jump."""
    await ingest_lines(worker, clock, *canceled("acme"))
    await until(worker, clock, own, 1.5)
    clock.now += YEAR
    await fire_due(worker, limit=10)
    some = GuardReleased(Identity("operator", "r"), clock.now, "Olga", "some", steps=5)
    await operate(some, worker)
    clock.now += YEAR
    await fire_due(worker, limit=10)

    assert await states(worker) == {"acme": "canceled"}
    first, _, second = await events_of(worker, "worker")
    assert second["data"]["added_to"] == first["id"]


async def rows(worker: Worker) -> list[int]:
    """The number of rows that retention may delete."""
    return [
        await worker.pool.fetchval(f"SELECT count(*) FROM {table}")
        for table in ("journal", "decisions", "dead_letters")
    ]


async def filled(worker: Worker, clock: MovableClock, own: MovableClock) -> list[int]:
    """With a journal and a dead letter of the first days, on day 2; how much that is."""
    await ingest_lines(worker, clock, *canceled("acme"))
    letter = Record("identity.logins", 0, 7, clock.now, b"k", b"no JSON")
    await ingest([letter], worker)
    await until(worker, clock, own, 2)
    return await rows(worker)


async def test_retention_lets_nothing_go_by_a_clock_that_ran_ahead(
    worker: Worker, clock: MovableClock, own: MovableClock
) -> None:
    """It stops and reports that until an operator releases it; then it uses the other clocks."""
    there = await filled(worker, clock, own)
    clock.now += YEAR

    with structlog.testing.capture_logs() as lines:
        assert await retain(worker, MONTH) == 0
    assert [each["event"] for each in lines] == [
        "clock_moved", "guard_tripped", "retention_stopped",
    ]  # fmt: skip
    assert await retain(restarted(worker, own), MONTH) == 0
    await release(worker, clock)
    assert await retain(worker, MONTH) == 0

    left = await rows(worker)
    assert [now >= before for now, before in zip(left, there, strict=True)] == [True] * 3
    assert await worker.pool.fetchval("SELECT min(decided_at) FROM journal") == at(0)


async def test_after_a_jump_retention_waits_for_an_operator_also_when_the_clock_is_right_again(
    worker: Worker, clock: MovableClock, own: MovableClock
) -> None:
    """And when time has passed: a release for some steps does not do."""
    await filled(worker, clock, own)
    clock.now += YEAR
    await retain(worker, MONTH)
    clock.now = own.now = at(100)
    await ingest_lines(worker, clock, login(100, "acme"))
    assert await retain(worker, MONTH) == 0
    some = GuardReleased(Identity("operator", "r"), clock.now, "Olga", "some", steps=5)
    await operate(some, worker)
    assert await retain(worker, MONTH) == 0

    await release(worker, clock)
    assert await retain(worker, MONTH) > 0


async def test_retention_goes_no_further_than_the_newest_record_in_kafka(
    worker: Worker, clock: MovableClock, own: MovableClock
) -> None:
    """Postgres and the worker on one machine, whose clock is wrong; one record from far ahead
    proves nothing.
    """
    await filled(worker, clock, own)
    clock.now = own.now = at(2) + YEAR
    await ingest([Record("identity.logins", 1, 1, at(9_000), b"k", b"no JSON")], worker)
    there = await rows(worker)
    assert await retain(worker, MONTH) == 0
    assert await rows(worker) == there

    own.now = at(368)
    await ingest_lines(worker, clock, login(368, "acme"))
    assert await retain(worker, MONTH) > 0


async def test_a_request_of_support_is_not_withheld_by_a_jump(
    worker: Worker, clock: MovableClock, own: MovableClock
) -> None:
    """Only steps by deadlines depend on the clock."""
    await ingest_lines(worker, clock, *canceled("acme"))
    await until(worker, clock, own, 1.5)
    clock.now += YEAR
    await fire_due(worker, limit=10)
    clock.now = at(1.6)
    await ingest_lines(worker, clock, support(1.7, "deactivate_organization", "acme"))
    assert await states(worker) == {"acme": "deactivated"}


def test_the_clocks_are_compared_as_if_read_at_one_moment() -> None:
    """Of what is possible, what is nearest to what is known."""
    day = [at(number) for number in range(4)]
    assert ClockReading(day[2], day[1], day[3]).ahead(timedelta(0)) == timedelta(0)
    assert ClockReading(day[3], day[0], day[1]).ahead(timedelta(0)) == timedelta(days=2)
    assert ClockReading(day[0], day[1], day[2]).ahead(timedelta(0)) == timedelta(days=-1)
