"""When a worker that hangs is ended, and how long one turn of a loop may take."""

import asyncio
from collections.abc import Callable, Sequence

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from marketplace_worker.errors import CannotGoOn
from marketplace_worker.operations import health
from marketplace_worker.operations.health import Health
from marketplace_worker.operations.shutdown import Shutdown
from marketplace_worker.runtime import watchdog
from marketplace_worker.runtime.watchdog import ReadinessLog, silence_max_s, watch
from marketplace_worker.settings import Kafka, Postgres, Relay, Settings


def test_one_turn_may_take_as_long_as_all_its_waits_one_after_another() -> None:
    """As docs/operating.md adds them up; acknowledgements twice."""
    settings = Settings(
        kafka=Kafka(
            bootstrap_servers="kafka:9092", request_timeout_ms=9_000, rebalance_timeout_ms=5_000
        ),
        postgres=Postgres(dsn=SecretStr("postgresql://db"), statement_timeout_ms=3_000),
        relay=Relay(acknowledge_timeout_ms=20_000),
        email_key=SecretStr("x" * 16),
    )
    assert silence_max_s(settings) == 9 + 5 + 2 * 20 + 3


class Clock:
    """Stands in for the module `time`."""

    now = 1_000.0

    @classmethod
    def monotonic(cls) -> float:
        """Seconds."""
        return cls.now


@pytest.mark.parametrize(("silent_s", "ends"), [(60.0, False), (119.0, False), (120.5, True)])
async def test_a_worker_ends_when_a_loop_hung_for_twice_what_is_allowed(
    monkeypatch: pytest.MonkeyPatch, silent_s: float, ends: bool
) -> None:
    """Not before: whoever probes it may judge otherwise.  The log says where each task stands."""
    monkeypatch.setattr(health, "time", Clock)
    monkeypatch.setattr(Clock, "now", 1_000.0)
    worker = Health(silence_max_s=60.0, stopping=lambda: False)
    worker.heartbeat("relay").beat()
    Clock.now += silent_s
    with Shutdown(asyncio.Event(), within_s=5.0) as stop, capture_logs() as logged:
        watching = asyncio.create_task(watch(worker, stop), name="watch")
        done, _ = await asyncio.wait({watching}, timeout=0.2)
        assert bool(done) is ends
        if ends:
            with pytest.raises(CannotGoOn, match="the loop relay had no heartbeat for 120 s"):
                watching.result()
            (line,) = (each for each in logged if each["event"] != "worker_not_ready")
            assert (line["event"], line["log_level"]) == ("loop_hangs", "error")
            assert (line["loop"], line["silent_s"]) == ("relay", 120)
            assert any("watchdog.py" in place for place in line["tasks"]["watch"])
        else:
            assert {each["event"] for each in logged} == {"worker_not_ready"}
            assert worker.silences()["event loop"] == 0
            watching.cancel()
            await asyncio.wait({watching})


def test_each_change_of_readiness_is_a_line_with_the_reasons(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Those that `/readyz` gives; what a worker waits for while it starts is no warning."""
    monkeypatch.setattr(health, "time", Clock)
    worker = Health(silence_max_s=60.0, stopping=lambda: False)
    readiness = ReadinessLog(worker)

    def lines_after(change: Callable[[], None]) -> list[tuple[str, str, Sequence[str] | None]]:
        change()
        with capture_logs() as logged:
            readiness.log_change()
            readiness.log_change()
        return [(each["event"], each["log_level"], each.get("reasons")) for each in logged]

    def start() -> None:
        worker.started = True

    def silence(seconds: float) -> None:
        Clock.now += seconds

    not_ready = "worker_not_ready"
    starting = "the worker is starting"
    assert lines_after(lambda: None) == [(not_ready, "info", [starting])]
    assert lines_after(lambda: worker.report("Postgres", not_ready_reason="away")) == [
        (not_ready, "info", [starting, "Postgres: away"])
    ]
    assert lines_after(start) == [(not_ready, "info", ["Postgres: away"])]
    assert lines_after(lambda: worker.report("Postgres")) == [("worker_ready", "info", None)]
    assert lines_after(lambda: silence(11)) == [
        (not_ready, "warning", ["Postgres: has not answered for 11 s"])
    ]
    assert lines_after(lambda: silence(1)) == []
    assert lines_after(lambda: worker.report("Postgres", not_ready_reason="full")) == [
        (not_ready, "warning", ["Postgres: full"])
    ]
    assert lines_after(lambda: worker.report("Postgres")) == [("worker_ready", "info", None)]


async def test_the_watch_logs_readiness_as_it_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """At each of its turns."""
    monkeypatch.setattr(watchdog, "TICK_S", 0.0)
    worker = Health(silence_max_s=60.0, stopping=lambda: False)
    with Shutdown(asyncio.Event(), within_s=5.0) as stop, capture_logs() as logged:
        watching = asyncio.create_task(watch(worker, stop))
        async with asyncio.timeout(60):
            while not logged:  # noqa: ASYNC110 - a line of the log is no event
                await asyncio.sleep(0)
            worker.started = True
            while len(logged) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0)
        watching.cancel()
        await asyncio.wait({watching})
    assert [line["event"] for line in logged] == ["worker_not_ready", "worker_ready"]
