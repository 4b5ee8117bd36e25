"""How a consumer's death is noticed: FastStream tries again for ever, whatever happened."""

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Any

import structlog
from aiokafka.errors import KafkaError

from marketplace_worker.errors import CannotGoOn

FATAL_ERRORS_MAX = 3
FATAL_ERRORS_WITHIN_S = 60.0
"""Errors that do not pass by waiting: so many so close together, and the consumer is dead."""

log = structlog.get_logger(__name__)


class ConsumerFailed(CannotGoOn):
    """A consumer cannot go on."""


class FrameworkLog:
    """FastStream's log: its errors only, and the place where a consumer that failed is noticed.

    FastStream tries again for ever, whatever happened; only here it tells what.
    """

    def __init__(self, name: str, failed: asyncio.Future[None]) -> None:
        self._name = name
        self._failed = failed
        self._fatal_at: list[float] = []

    def log(
        self,
        level: int,
        msg: Any,  # noqa: ANN401 - FastStream's protocol
        /,
        *,
        exc_info: Any = None,  # noqa: ANN401 - likewise
        extra: Mapping[str, Any] | None = None,  # noqa: ARG002 - likewise
    ) -> None:
        """Log an error, and count the one that will not pass by waiting."""
        if level < logging.ERROR or isinstance(exc_info, asyncio.CancelledError):
            return  # what was cancelled was given up by us, which is said there
        log.error("consumer_error", consumer=self._name, message=str(msg), exc_info=exc_info)
        if isinstance(exc_info, KafkaError) and exc_info.retriable:
            return
        now = time.monotonic()
        self._fatal_at = [at for at in self._fatal_at if now - at < FATAL_ERRORS_WITHIN_S]
        self._fatal_at.append(now)
        if len(self._fatal_at) >= FATAL_ERRORS_MAX and not self._failed.done():
            self._failed.set_exception(ConsumerFailed(f"the consumer {self._name}: {exc_info!r}"))
