"""Loops wait while there is nothing to do, and are woken when there is."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from structlog.testing import capture_logs

from marketplace_worker.errors import Unavailable
from marketplace_worker.operations.health import Heartbeat
from marketplace_worker.operations.shutdown import Shutdown
from marketplace_worker.runtime.loops import looping, unless_stopped

LONG_S = 60.0


class Steps:
    """Counts how often it was taken; each finds so much as `finds` says, or fails."""

    def __init__(self, finds: Callable[[int], int]) -> None:
        self.rows = 0
        self._finds = finds
        self._turned = asyncio.Condition()

    async def __call__(self) -> int:
        async with self._turned:
            self.rows += 1
            self._turned.notify_all()
        return self._finds(self.rows)

    async def until(self, times: int) -> None:
        """Wait until it was taken so often."""
        async with asyncio.timeout(10), self._turned:
            await self._turned.wait_for(lambda: self.rows >= times)


async def loop(
    steps: Steps,
    then: Callable[[asyncio.Event], Awaitable[None]],
    heartbeat: Heartbeat | None = None,
) -> None:
    """Repeat the steps, with long rests, while something else is done."""
    wake, requested = asyncio.Event(), asyncio.Event()
    with Shutdown(requested, within_s=5.0) as stop:
        async with looping(
            "test", steps, idle_s=LONG_S, heartbeat=heartbeat or Heartbeat(), stop=stop, wake=wake
        ):
            await then(wake)
            stop.request()


async def test_a_loop_that_finds_something_runs_again_at_once() -> None:
    """It rests when there was nothing."""
    steps = Steps(lambda rows: 1 if rows < 5 else 0)
    await loop(steps, lambda _: steps.until(5))
    assert steps.rows == 5


async def test_a_waiting_loop_runs_once_each_time_that_it_is_woken() -> None:
    """And rests again."""
    steps = Steps(lambda _: 0)

    async def wakes(wake: asyncio.Event) -> None:
        for times in (1, 2, 3):
            await steps.until(times)
            wake.set()
        await steps.until(4)
        await asyncio.sleep(0.1)

    await loop(steps, wakes)
    assert steps.rows == 4


async def test_a_loop_that_failed_is_not_woken() -> None:
    """Its pauses grow, whatever there is to do."""

    def away(_: int) -> int:
        raise Unavailable("away")

    steps = Steps(away)

    async def wakes(wake: asyncio.Event) -> None:
        await steps.until(3)
        wake.set()
        await asyncio.sleep(0.1)

    await loop(steps, wakes)
    assert steps.rows == 3


def fails_thrice(error: Exception) -> Callable[[int], int]:
    """Three failures, then nothing to do."""

    def step(rows: int) -> int:
        if rows <= 3:
            raise error
        return 0

    return step


@pytest.mark.parametrize(
    ("error", "event", "reason"),
    [
        (Unavailable("Kafka is away"), "loop_waiting", "Kafka is away"),
        (KeyError("of ours"), "loop_failed", "a bug, KeyError"),
    ],
)
async def test_each_failure_in_a_row_is_counted_and_doubles_the_pause(
    error: Exception, event: str, reason: str
) -> None:
    """A step that succeeds ends the row; the heartbeat keeps why it failed."""
    heartbeat = Heartbeat()
    with capture_logs() as logged:
        await loop(steps := Steps(fails_thrice(error)), lambda _: steps.until(4), heartbeat)
    assert [(line["event"], line["loop"]) for line in logged] == [(event, "test")] * 3
    assert [(line["failures"], line["pause_s"]) for line in logged] == [
        (1, 0.1),
        (2, 0.2),
        (3, 0.4),
    ]
    assert (heartbeat.failures, heartbeat.reason) == (0, reason)


async def test_a_pause_has_a_bound_and_is_no_silence() -> None:
    """A loop whose server is away all night gives a sign every quarter of a minute."""
    heartbeat = Heartbeat()
    heartbeat.failures = 2_000

    def away(_: int) -> int:
        raise Unavailable("away")

    steps = Steps(away)

    async def pauses(_: asyncio.Event) -> None:
        await steps.until(1)
        await asyncio.sleep(0.2)
        assert heartbeat.silent_s == 0

    with capture_logs() as logged:
        await loop(steps, pauses, heartbeat)
    assert [(line["failures"], line["pause_s"]) for line in logged] == [(2_001, 15.0)]


@pytest.mark.parametrize("finds", [0, 1])
async def test_a_loop_ends_when_it_is_stopped(finds: int) -> None:
    """At rest or not."""
    steps = Steps(lambda _: finds)
    await loop(steps, lambda _: steps.until(1))


async def test_a_stop_does_not_wait_for_the_answer_to_a_question() -> None:
    """Kafka may be silent just then, and what is under way elsewhere needs the time."""
    asked, given_up = asyncio.Event(), asyncio.Event()

    async def ask() -> int:
        asked.set()
        try:
            await asyncio.sleep(LONG_S)
        finally:
            given_up.set()
        return 0

    with Shutdown(asyncio.Event(), within_s=5.0) as stop:
        asking = asyncio.create_task(unless_stopped(stop, ask))
        await asyncio.wait_for(asked.wait(), timeout=10)
        stop.request()
        assert await asyncio.wait_for(asking, timeout=10) == 0
    assert given_up.is_set()


async def test_a_question_that_is_answered_is_answered() -> None:
    """With what there was, or with its failure."""

    async def fail() -> int:
        raise Unavailable("away")

    with Shutdown(asyncio.Event(), within_s=5.0) as stop:
        assert await unless_stopped(stop, Steps(lambda _: 3)) == 3
        with pytest.raises(Unavailable):
            await unless_stopped(stop, fail)
