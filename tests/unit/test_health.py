"""When a worker is ready and alive: each bound at its value, and one beyond it."""

import pytest

from marketplace_worker.operations import health
from marketplace_worker.operations.health import Health


class Clock:
    """Stands in for the module `time`."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        """Seconds."""
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of health, which the test moves."""
    clock = Clock()
    monkeypatch.setattr(health, "time", clock)
    return clock


@pytest.fixture
def worker(clock: Clock) -> Health:
    """A worker that has started; one turn of a loop may take 60 s."""
    assert clock.now == 1_000.0
    worker = Health(silence_max_s=60.0, stopping=lambda: False)
    worker.started = True
    return worker


@pytest.mark.parametrize(
    ("failures", "sentences"),
    [
        (0, []),
        (1, []),
        (2, []),
        (3, ["relay: failed 3 times in a row: reason 3"]),
        (4, ["relay: failed 4 times in a row: reason 4"]),
    ],
)
def test_a_worker_is_not_ready_once_a_loop_failed_three_times_in_a_row(
    worker: Health, failures: int, sentences: list[str]
) -> None:
    """Two failures in a row happen in a healthy worker: a deadlock, a lost connection."""
    for number in range(failures):
        worker.heartbeat("relay").fail(f"reason {number + 1}")
    assert worker.not_ready_reasons() == sentences
    worker.heartbeat("relay").failures = 0
    assert worker.not_ready_reasons() == []


@pytest.mark.parametrize(
    ("ago_s", "sentences"),
    [
        (0.0, []),
        (10.0, []),
        (10.5, ["Postgres: has not answered for 10 s"]),
        (95.0, ["Postgres: has not answered for 95 s"]),
    ],
)
def test_what_was_seen_within_ten_seconds_is_well(
    worker: Health, clock: Clock, ago_s: float, sentences: list[str]
) -> None:
    """Also where it was well when it was last seen."""
    worker.report("Postgres", not_ready_reason="does not answer")
    assert worker.not_ready_reasons() == ["Postgres: does not answer"]
    worker.report("Postgres")
    clock.now += ago_s
    assert worker.not_ready_reasons() == sentences


@pytest.mark.parametrize(
    ("silent_s", "sentences"),
    [
        (0.0, []),
        (60.0, []),
        (60.5, ["relay: no heartbeat for 60.5 s (limit 60.0 s)"]),
    ],
)
def test_a_loop_is_alive_for_as_long_as_one_turn_may_take(
    worker: Health, clock: Clock, silent_s: float, sentences: list[str]
) -> None:
    """Its rest is not counted; what hangs is not ready either."""
    worker.heartbeat("relay").beat(rest_s=5.0)
    clock.now += 5.0 + silent_s
    assert worker.silences() == {"relay": silent_s}
    assert worker.hanging() == sentences
    assert worker.not_ready_reasons() == sentences
