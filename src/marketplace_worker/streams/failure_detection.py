"""Detects that a consumer cannot continue; FastStream retries forever, whatever happened.

Errors are recorded where they occur: reading in `Consumer`, processing in a middleware, committing
in `BatchMessage`; and the end of the reading task.  FastStream catches each of them afterwards.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from functools import partial
from types import TracebackType
from typing import Any

import structlog
from aiokafka.errors import ConsumerStoppedError, KafkaError
from faststream import BaseMiddleware
from faststream.exceptions import IgnoredException

from marketplace_worker.errors import CannotGoOn

FATAL_ERRORS_MAX = 3
FATAL_ERRORS_WITHIN_S = 60.0
"""Errors that waiting does not resolve: this many within this time, and the consumer has failed."""

log = structlog.get_logger(__name__)


class ConsumerFailed(CannotGoOn):
    """A consumer cannot go on."""


class FailureDetector:
    """Decides when one consumer has failed, and then ends the future `failed` with the reason.

    Args:
        name: of the consumer.
        failed: shared by both consumers; the first failure counts.
    """

    def __init__(self, name: str, failed: asyncio.Future[None]) -> None:
        self._name = name
        self._failed = failed
        self._fatal_at: list[float] = []

    @property
    def middleware(self) -> Callable[..., BaseMiddleware[Any, Any]]:
        """Records what fails while FastStream processes a batch."""
        return partial(_ProcessingErrors, failures=self)

    def record(self, error: Exception) -> None:
        """Count an error that waiting does not resolve; too many mean failure."""
        if isinstance(error, ConsumerStoppedError):
            return  # the consumer was stopped while it read
        if isinstance(error, KafkaError) and error.retriable:
            return
        now = time.monotonic()
        self._fatal_at = [at for at in self._fatal_at if now - at < FATAL_ERRORS_WITHIN_S]
        self._fatal_at.append(now)
        if len(self._fatal_at) >= FATAL_ERRORS_MAX:
            self.fail(repr(error))

    def fail(self, reason: str) -> None:
        """Report the failure, unless a consumer failed before."""
        if not self._failed.done():
            self._failed.set_exception(ConsumerFailed(f"the consumer {self._name}: {reason}"))


class _ProcessingErrors(BaseMiddleware[Any, Any]):
    """Sees one batch being processed.  A nack, which FastStream ignores, is no failure."""

    def __init__(self, msg: Any, /, *, context: Any, failures: FailureDetector) -> None:  # noqa: ANN401 - FastStream's signature
        super().__init__(msg, context=context)
        self._failures = failures

    async def after_processed(
        self,
        exc_type: type[BaseException] | None = None,  # noqa: ARG002 - FastStream's signature
        exc_val: BaseException | None = None,
        exc_tb: TracebackType | None = None,  # noqa: ARG002 - likewise
    ) -> bool:
        """Record the error without handling it."""
        if isinstance(exc_val, Exception) and not isinstance(exc_val, IgnoredException):
            self._failures.record(exc_val)
        return False


class FrameworkLog:
    """FastStream's logger: writes its errors to our log, and drops the rest."""

    def __init__(self, name: str) -> None:
        self._name = name

    def log(
        self,
        level: int,
        msg: Any,  # noqa: ANN401 - FastStream's protocol
        /,
        *,
        exc_info: Any = None,  # noqa: ANN401 - likewise
        extra: Mapping[str, Any] | None = None,  # noqa: ARG002 - likewise
    ) -> None:
        """Log an error.  Work that we cancelled ourselves is logged where it was cancelled."""
        if level >= logging.ERROR and not isinstance(exc_info, asyncio.CancelledError):
            log.error("consumer_error", consumer=self._name, message=str(msg), exc_info=exc_info)
