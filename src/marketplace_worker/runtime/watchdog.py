"""Watches a worker: logs when it is ready and when not, and ends it when it hangs, so that its
supervisor restarts it.

A loop that waits for a server still beats at each turn; one that hangs does not.
"""

import asyncio
import re
from collections.abc import Iterator
from types import CoroutineType, FrameType

import structlog

from marketplace_worker.errors import CannotGoOn
from marketplace_worker.operations.health import Health
from marketplace_worker.operations.shutdown import Shutdown
from marketplace_worker.settings import Settings

TICK_S = 0.5

EVENT_LOOP = "event loop"

_NUMBER = re.compile(r"\d+(\.\d+)?")

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
    readiness = ReadinessLog(health)
    while not stop.requested.is_set():
        heartbeat.beat(rest_s=TICK_S)
        stop.end_process_unless_postponed(within_s=hung_after_s)
        for loop, silent_s in health.silences().items():
            if silent_s > hung_after_s:
                log.error("loop_hangs", loop=loop, silent_s=round(silent_s), tasks=_tasks())
                raise CannotGoOn(f"the loop {loop} had no heartbeat for {silent_s:.0f} s")
        readiness.log_change()
        await asyncio.sleep(TICK_S)


class ReadinessLog:
    """Logs what `/readyz` answers, whenever that has changed.

    Until the worker is ready for the first time, what it waits for is no warning.
    """

    def __init__(self, health: Health) -> None:
        self._health = health
        self._logged: list[str] | None = None
        self._has_been_ready = False

    def log_change(self) -> None:
        """Log the answer if it is another than the last one; its numbers do not count."""
        reasons = self._health.not_ready_reasons()
        without_numbers = [_NUMBER.sub("", each) for each in reasons]
        if without_numbers == self._logged:
            return
        self._logged = without_numbers
        if not reasons:
            self._has_been_ready = True
            log.info("worker_ready")
        else:
            write = log.warning if self._has_been_ready else log.info
            write("worker_not_ready", reasons=reasons)


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
