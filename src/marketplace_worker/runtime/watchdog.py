"""Watches a worker: logs when it is ready and when not, and ends it when it hangs, so that its
supervisor restarts it.

A loop that waits for a server still beats at each turn; one that hangs does not.
"""

import asyncio
from collections.abc import Iterator
from types import CoroutineType, FrameType

import structlog

from marketplace_worker.errors import CannotGoOn
from marketplace_worker.operations.health import Health
from marketplace_worker.operations.shutdown import Shutdown
from marketplace_worker.settings import Settings

TICK_S = 0.5

EVENT_LOOP = "event loop"

log = structlog.get_logger(__name__)


def silence_max_s(settings: Settings) -> float:
    """How long one turn of a loop may take: the sum of the waits that it may have.

    To find Kafka anew, for a rebalance, for acknowledgements (and for those of a second producer),
    and for a statement.
    """
    kafka, relay = settings.kafka, settings.relay
    waits_ms = (
        kafka.request_timeout_ms
        + kafka.rebalance_timeout_ms
        + 2 * relay.acknowledge_timeout_ms
        + settings.postgres.statement_timeout_ms
    )
    return waits_ms / 1000


async def watch(health: Health, stop: Shutdown) -> None:
    """Beat for the event loop; end the worker when a loop has hung for twice what is allowed.

    An event loop that is blocked cannot end itself, so the process ends unless this goes on; also
    after a SIGSTOP or a frozen container of that length, which loses nothing.  A stop has a bound
    of its own.

    Raises:
        CannotGoOn: a loop hangs though the event loop turns; where each task stands is logged.
    """
    heartbeat = health.heartbeat(EVENT_LOOP)
    hung_after_s = 2 * health.silence_max_s
    was_ready = False
    while not stop.requested.is_set():
        heartbeat.beat(rest_s=TICK_S)
        stop.end_process_unless_postponed(within_s=hung_after_s)
        for loop, silent_s in health.silences().items():
            if silent_s > hung_after_s:
                log.error("loop_hangs", loop=loop, silent_s=round(silent_s), tasks=_tasks())
                raise CannotGoOn(f"the loop {loop} had no heartbeat for {silent_s:.0f} s")
        if health.started:
            was_ready = _log_readiness(health, was_ready=was_ready)
        await asyncio.sleep(TICK_S)


def _log_readiness(health: Health, *, was_ready: bool) -> bool:
    """Log what `/readyz` answers, if that has changed; returns whether the worker is ready."""
    reasons = health.not_ready_reasons()
    if was_ready and reasons:
        log.warning("worker_not_ready", reasons=reasons)
    elif not (was_ready or reasons):
        log.info("worker_ready")
    return not reasons


def _tasks() -> dict[str, list[str]]:
    """Where each task waits, from the outermost call inwards."""
    return {task.get_name(): list(_awaits(task.get_coro())) for task in asyncio.all_tasks()}


def _awaits(awaited: object) -> Iterator[str]:
    while isinstance(awaited, CoroutineType):
        frame: FrameType | None = awaited.cr_frame
        if frame is not None:
            code = frame.f_code
            yield f"{code.co_filename}:{frame.f_lineno} {code.co_qualname}"
        awaited = awaited.cr_await
