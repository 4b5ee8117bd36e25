"""Repeats one step: waits while there is no work or a server is away, and beats at each turn."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import structlog

from marketplace_worker.errors import Unavailable
from marketplace_worker.operations.health import Heartbeat
from marketplace_worker.operations.shutdown import Shutdown

PAUSE_MIN_S = 0.1
PAUSE_MAX_S = 15.0
"""How long a loop waits after a failure: the pause doubles from the one to the other."""

CANCEL_TIMEOUT_S = 0.5
"""How long a cancelled step may take to roll back."""

Step = Callable[[], Awaitable[int]]
"""Does some work and returns how much; after 0 the loop waits."""

log = structlog.get_logger(__name__)


@asynccontextmanager
async def looping(
    loop: str,
    step: Step,
    *,
    idle_s: float,
    heartbeat: Heartbeat,
    stop: Shutdown,
    wake: asyncio.Event | None = None,
) -> AsyncIterator[asyncio.Task[None]]:
    """A task that repeats a step until the shutdown is requested.

    After a step without work it waits for `idle_s`, or until `wake` is set.  On leaving, the step
    under way may finish; when the shutdown's time for work is over, it is cancelled, and its
    transaction rolls back.
    """
    repeated = _repeat(
        loop,
        step,
        idle_s=idle_s,
        heartbeat=heartbeat,
        stop=stop.requested,
        wake=wake or asyncio.Event(),
    )
    task = asyncio.create_task(repeated, name=loop)
    try:
        yield task
    finally:
        await asyncio.wait({task}, timeout=stop.work_left_s())
        if task.cancel():
            log.warning("step_given_up", loop=loop)
            await asyncio.wait({task}, timeout=CANCEL_TIMEOUT_S)


async def unless_stopped(stop: Shutdown, step: Step) -> int:
    """Run a step that only reads: a shutdown cancels it instead of waiting for an answer."""
    asking = asyncio.ensure_future(step())
    ordered = asyncio.create_task(stop.requested.wait())
    try:
        await asyncio.wait({asking, ordered}, return_when=asyncio.FIRST_COMPLETED)
        return asking.result() if asking.done() else 0
    finally:
        ordered.cancel()
        asking.cancel()
        await asyncio.wait({asking}, timeout=CANCEL_TIMEOUT_S)


async def _repeat(
    loop: str,
    step: Step,
    *,
    idle_s: float,
    heartbeat: Heartbeat,
    stop: asyncio.Event,
    wake: asyncio.Event,
) -> None:
    """Repeat at once while there is work; wait while there is none, or after a failure."""
    while not stop.is_set():
        heartbeat.beat()
        wake.clear()
        try:
            found = await step()
        except Unavailable as error:
            heartbeat.fail(str(error))
            pause_s = _pause_s(heartbeat.failures)
            log.warning(
                "loop_waiting",
                loop=loop,
                reason=str(error),
                pause_s=pause_s,
                failures=heartbeat.failures,
            )
        except Exception as error:  # a bug of ours: say so, and go on with what can go on
            heartbeat.fail(f"a bug, {type(error).__name__}")
            pause_s = _pause_s(heartbeat.failures)
            log.exception("loop_failed", loop=loop, pause_s=pause_s, failures=heartbeat.failures)
        else:
            heartbeat.failures = 0
            if found:
                await asyncio.sleep(0)
            else:
                heartbeat.beat(rest_s=idle_s)
                await _wait(idle_s, stop, wake)
            continue
        heartbeat.beat(rest_s=pause_s)
        await _wait(pause_s, stop)


def _pause_s(failures: int) -> float:
    # The exponent is clamped, not only the result: it must not overflow after a long night.
    return min(PAUSE_MIN_S * 2.0 ** min(failures - 1, 16), PAUSE_MAX_S)


async def _wait(seconds: float, *events: asyncio.Event) -> None:
    """Wait this long, or until any of the events is set."""
    waits = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in waits:
            each.cancel()
