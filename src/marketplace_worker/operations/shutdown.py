"""The shutdown of a worker: one deadline for everything that has to end."""

import asyncio
import faulthandler
import os
import signal
import time
from functools import cache
from types import TracebackType
from typing import Self

GOODBYE_S = 2.0
"""The part of the shutdown's time that is kept for leaving groups and closing connections."""

GRACE_S = 1.0
"""How much longer than its time limit a shutdown may take before the process is killed."""

STANDARD_ERROR = 2

UNWRITTEN_S = 2.0
"""How long the end of the process may take to write the stacks if standard error is not read."""


class Shutdown:
    """A request to stop, made by setting `requested`, and the time that remains.

    Use as a context around everything that must end: after leaving it, nothing kills the process.

    Args:
        requested: set when the worker is to stop.
        within_s: the time limit for all of it.
    """

    def __init__(self, requested: asyncio.Event, *, within_s: float) -> None:
        self.requested = requested
        self._within_s = within_s
        self._began_at: float | None = None
        self._over = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over = True
        faulthandler.cancel_dump_traceback_later()
        signal.setitimer(signal.ITIMER_REAL, 0)

    def request(self) -> None:
        """Request the shutdown, if it was not requested before; the time runs from here.

        All that has to end is bounded by itself; should it not be, the process ends all the same.
        """
        self.requested.set()
        if self._began_at is None:
            self._began_at = time.monotonic()
            self.end_process_unless_postponed(within_s=self._within_s + GRACE_S)

    def work_left_s(self) -> float:
        """How long current work may continue, in seconds, before it is cancelled."""
        self.request()
        assert self._began_at is not None
        return max(0.0, self._began_at + self._within_s - GOODBYE_S - time.monotonic())

    def end_process_unless_postponed(self, *, within_s: float) -> None:
        """Kill the process after `within_s` seconds, unless called again before that.

        All stacks are written to standard error, and the exit status is 1.

        This uses a timer of the interpreter, which needs neither the event loop nor the
        interpreter's lock.  The stacks name files, lines and functions, and no values.  It is as
        safe as SIGKILL.

        If standard error is not read, what does not fit is not written.  If it cannot be made
        non-blocking, the system ends the process two seconds later, by SIGALRM.
        """
        if not self._over:
            faulthandler.dump_traceback_later(within_s, exit=True, file=_unwaiting())
            signal.setitimer(signal.ITIMER_REAL, within_s + UNWRITTEN_S)


@cache
def _unwaiting() -> int:
    """Standard error, opened again as non-blocking, without affecting other users of the
    descriptor.

    Some descriptors cannot be opened again; then this is standard error itself.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY
    try:
        return os.open(f"/proc/self/fd/{STANDARD_ERROR}", flags)
    except OSError:
        return STANDARD_ERROR
