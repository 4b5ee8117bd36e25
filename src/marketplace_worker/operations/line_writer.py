"""Writes lines without waiting for their reader.

An unread pipe accepts a few kilobytes and then blocks: a process that writes to it directly would
stop, and not even handle signals.  Here a separate thread writes.
"""

import os
import select
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from marketplace_worker.operations import metrics

WAITING_BYTES_MAX = 4 * 1024 * 1024
"""The maximum of bytes waiting to be written; later lines are dropped, and counted."""

LAST_WORDS_S = 1.0
"""How long the end of a process waits until its last lines are written."""


class LineWriter:
    """A stream for lines, whose `write` never waits; made by `never_waiting`."""

    def __init__(
        self, descriptor: int, *, at_terminal: bool, waiting_bytes_max: int = WAITING_BYTES_MAX
    ) -> None:
        self._descriptor = descriptor
        self._at_terminal = at_terminal
        self._waiting_bytes_max = waiting_bytes_max
        self._lines: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._dropped = 0
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="log", daemon=True)
        self._thread.start()

    def isatty(self) -> bool:
        """Whether a person watches."""
        return self._at_terminal

    def write(self, line: str) -> int:
        """Have a line written; it is dropped where too much waits already."""
        written = line.encode(errors="backslashreplace")
        with self._changed:
            if self._waiting_bytes + len(written) > self._waiting_bytes_max:
                self._dropped += 1
                metrics.LOG_LINES_DROPPED.inc()
            else:
                if not self._lines:
                    self._changed.notify()
                self._lines.append(written)
                self._waiting_bytes += len(written)
        return len(line)

    def flush(self) -> None:
        """Nothing: lines are written as soon as they can be."""

    @property
    def lacks_lines(self) -> bool:
        """Whether some were dropped that are not reported yet."""
        return self._dropped > 0

    def dropped_before(self) -> int:
        """The number of dropped lines not reported yet; 0 while there is no room to report them."""
        with self._changed:
            if self._waiting_bytes > self._waiting_bytes_max // 2:
                return 0
            dropped, self._dropped = self._dropped, 0
            return dropped

    def close(self) -> None:
        """Wait until all is written, but not for long."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(LAST_WORDS_S)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._lines or self._closed)
                lines = b"".join(self._lines)
                self._lines.clear()
            if not lines:
                return
            self._write(lines)
            with self._changed:
                self._waiting_bytes -= len(lines)

    def _write(self, lines: bytes) -> None:
        left = memoryview(lines)
        while left:
            try:
                left = left[os.write(self._descriptor, left) :]
            except BlockingIOError:  # another process made the shared descriptor non-blocking
                select.select([], [self._descriptor], [])
            except OSError:  # the reader is gone
                return


@contextmanager
def never_waiting(stream: TextIO) -> Iterator[LineWriter]:
    """While inside, lines for a stream, written without waiting for its reader."""
    stream.flush()
    lines = LineWriter(stream.fileno(), at_terminal=stream.isatty())
    try:
        yield lines
    finally:
        lines.close()
