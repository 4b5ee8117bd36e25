"""Whether the worker is alive and ready, from the heartbeats and reports of its parts.

The event loop writes plain values and other threads read them, so that a blocked event loop is
reported too.  Nothing here waits or sends a request.
"""

import time
from collections.abc import Callable, Mapping, Sequence

SEEN_WITHIN_S = 10.0
"""A report that is older counts as missing: the part is not ready."""

FAILURES_MAX = 2
"""Failures in a row that still count as ready: a deadlock, a lost connection."""


class Heartbeat:
    """The heartbeat of a loop: the loop beats at each iteration, and reports how long it will rest
    then.
    """

    def __init__(self) -> None:
        self.failures = 0
        self.reason = ""
        self._due_at = time.monotonic()

    def fail(self, reason: str) -> None:
        """Count one more failure in a row, and keep why."""
        self.failures += 1
        self.reason = reason

    def beat(self, *, rest_s: float = 0.0) -> None:
        """Record an iteration of the loop, which will rest for `rest_s` seconds."""
        self._due_at = time.monotonic() + rest_s

    @property
    def silent_s(self) -> float:
        """Seconds since the last beat, without the rest; 0 while it rests."""
        return max(0.0, time.monotonic() - self._due_at)


class Health:
    """The health of one worker.

    Args:
        silence_max_s: the maximum duration of one iteration of a loop.
        stopping: whether the worker was asked to stop; called from other threads.
    """

    def __init__(self, *, silence_max_s: float, stopping: Callable[[], bool]) -> None:
        self.silence_max_s = silence_max_s
        self.started = False
        self._stopping = stopping
        self._heartbeats: dict[str, Heartbeat] = {}
        self._reports: dict[str, tuple[float, str]] = {}

    def heartbeat(self, loop: str) -> Heartbeat:
        """The sign of a loop, which is expected from now on."""
        return self._heartbeats.setdefault(loop, Heartbeat())

    def report(self, part: str, *, not_ready_reason: str = "") -> None:
        """Record the state of a part now.  The reason is a sentence without its
        subject; empty if ready.
        """
        self._reports[part] = (time.monotonic(), not_ready_reason)

    def silences(self) -> Mapping[str, float]:
        """How long each loop has been silent, in seconds."""
        return {loop: sign.silent_s for loop, sign in list(self._heartbeats.items())}

    def hanging(self) -> Sequence[str]:
        """A sentence for each loop that has been silent for too long; empty: the worker is
        alive.

        A loop that waits for Kafka or Postgres still beats, because a restart would not help.
        During a stop, which has its own time limit, loops fall silent as intended.
        """
        if self._stopping():
            return []
        return [
            f"{loop}: no heartbeat for {silent_s:.1f} s (limit {self.silence_max_s:.1f} s)"
            for loop, silent_s in self.silences().items()
            if silent_s > self.silence_max_s
        ]

    def not_ready_reasons(self) -> Sequence[str]:
        """A sentence for each thing without which no work is done; none: the worker is ready."""
        return [*self._whole(), *self._seen(), *self._failing(), *self.hanging()]

    def _whole(self) -> Sequence[str]:
        if self._stopping():
            return ["the worker is stopping"]
        return [] if self.started else ["the worker is starting"]

    def _seen(self) -> Sequence[str]:
        now = time.monotonic()
        sentences = []
        for part, (seen_at, lacks) in list(self._reports.items()):
            if lacks:
                sentences.append(f"{part}: {lacks}")
            elif now - seen_at > SEEN_WITHIN_S:
                sentences.append(f"{part}: has not answered for {now - seen_at:.0f} s")
        return sentences

    def _failing(self) -> Sequence[str]:
        return [
            f"{loop}: failed {sign.failures} times in a row: {sign.reason}"
            for loop, sign in list(self._heartbeats.items())
            if sign.failures > FAILURES_MAX
        ]
