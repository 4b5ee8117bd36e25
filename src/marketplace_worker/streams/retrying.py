"""Retries a batch with pauses that grow with every failure, and end when interrupted.

A nack alone makes FastStream deliver the batch again at once, a thousand times a second.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import StrEnum

import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_before_delay

from marketplace_worker.errors import Unavailable
from marketplace_worker.record import Record

Handler = Callable[[Sequence[Record]], Awaitable[AbstractSet[str]]]
"""Processes a batch; its offsets are committed once it has returned, except those of the topics
that it returns: their records are delivered again.
"""

log = structlog.get_logger(__name__)


class Interruption(StrEnum):
    """Why a pause ends early: the batch cannot be kept any longer."""

    REVOCATION = "revocation"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class RetryDelays:
    """Bounds in seconds: of the first pause, of each pause, and of all attempts at one delivery."""

    first_s: float
    longest_s: float
    delivery_s: float

    def after(self, failures: int) -> float:
        """The pause after so many failures in a row: doubling, with jitter, in seconds."""
        # A quarter of the delivery: even the longest pause is taken within one, and none is
        # skipped because it would not fit.
        longest = min(self.longest_s, self.delivery_s / 4)
        doubled = self.first_s * 2.0 ** min(failures - 1, 32)
        return min(doubled, longest) * random.uniform(0.5, 1.0)  # noqa: S311 - only jitter


class RetryingHandler:
    """Calls a handler until it succeeds; counts its failures in a row, also over deliveries."""

    def __init__(self, name: str, handler: Handler, pauses: RetryDelays) -> None:
        self.name = name
        self.failures = 0
        self._handler = handler
        self._pauses = pauses
        self._interruptions: set[Interruption] = set()
        self._interrupted = asyncio.Event()

    @property
    def interrupted(self) -> bool:
        """Whether the batch must be finished or given back now, without another pause."""
        return self._interrupted.is_set()

    def interrupt(self, why: Interruption) -> None:
        """End the current pause, and every later one at once, until `end_interruption`."""
        self._interruptions.add(why)
        self._interrupted.set()

    def end_interruption(self, why: Interruption) -> None:
        """Allow pauses again, unless another interruption lasts."""
        self._interruptions.discard(why)
        if not self._interruptions:
            self._interrupted.clear()

    async def handle(self, records: Sequence[Record]) -> AbstractSet[str]:
        """Call the handler until it returns, as long as it raises `Unavailable` and time is
        left.

        Returns the topics that the handler returned.

        Raises:
            Unavailable: the delivery's time is up, or it was interrupted in a pause.
            Exception: any other error of the handler, logged and after one pause.
        """
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(Unavailable),
            wait=self._after_failure,
            stop=stop_before_delay(self._pauses.delivery_s),
            sleep=self._pause,
            before_sleep=self._log_waiting,
            reraise=True,
        )
        try:
            stopped: AbstractSet[str] = await retrying(self._handler, records)
        except Unavailable as error:
            # One attempt may take as long as a whole delivery: then no pause was ever reported.
            log.warning(
                "batch_given_back", consumer=self.name, reason=str(error), failures=self.failures
            )
            raise
        except Exception:
            self.failures += 1
            first = records[0].position
            log.exception(
                "batch_failed",
                consumer=self.name,
                records=len(records),
                first=first,
                failures=self.failures,
            )
            await self._pause(self._pauses.after(self.failures))
            raise
        self.failures = 0
        return stopped

    def _after_failure(self, _state: RetryCallState) -> float:
        self.failures += 1
        return self._pauses.after(self.failures)

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._interrupted.wait(), timeout=seconds)
        except TimeoutError:
            return
        raise Unavailable(f"given back because of a {', '.join(sorted(self._interruptions))}")

    def _log_waiting(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome is not None else None
        log.warning(
            "ingest_waiting",
            consumer=self.name,
            reason=str(error),
            failures=self.failures,
            pause_ms=round(state.upcoming_sleep * 1000),
        )
