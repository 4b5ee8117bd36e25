"""A figure that is read anew in the background, because reading it takes longer than a page may."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import structlog

from marketplace_worker.errors import Unavailable

T = TypeVar("T")

EVERY_S = 30.0

AGE_MAX_S = 90.0
"""An older figure is not shown: the page waits for a new one."""

log = structlog.get_logger(__name__)


class Sampled(Generic[T]):
    """The last value of `read`, at most `AGE_MAX_S` old."""

    def __init__(self, read: Callable[[], Awaitable[T]]) -> None:
        self._read = read
        self._last: tuple[float, T] | None = None
        self._reading = asyncio.Lock()

    async def value(self) -> T:
        """The last value, or a new one if it is too old; raises as `read` does."""
        if (last := self._fresh()) is not None:
            return last[1]
        async with self._reading:  # whoever waited for another's reading uses its value
            last = self._fresh() or await self._sample()
        return last[1]

    async def keep_fresh(self) -> None:
        """Read again and again, until cancelled; while the database does not answer, try again."""
        while True:
            try:
                async with self._reading:
                    await self._sample()
            except Unavailable as error:
                log.warning("console_sample_failed", reason=str(error))
            await asyncio.sleep(EVERY_S)

    def _fresh(self) -> tuple[float, T] | None:
        if self._last is None or _now() - self._last[0] > AGE_MAX_S:
            return None
        return self._last

    async def _sample(self) -> tuple[float, T]:
        self._last = (_now(), await self._read())
        return self._last


def _now() -> float:
    return asyncio.get_running_loop().time()
