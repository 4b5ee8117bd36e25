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
from marketplace_worker.runtime.watchdog import silence_max_s, watch
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
            (line,) = logged
            assert (line["event"], line["log_level"]) == ("loop_hangs", "error")
            assert (line["loop"], line["silent_s"]) == ("relay", 120)
            assert any("watchdog.py" in place for place in line["tasks"]["watch"])
        else:
            assert logged == []
            assert worker.silences()["event loop"] == 0
            watching.cancel()
            await asyncio.wait({watching})


async def test_a_line_says_when_the_worker_is_ready_and_when_no_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With the reasons that `/readyz` gives; not while it starts, and once for each change."""
    monkeypatch.setattr(watchdog, "TICK_S", 0.01)
    worker = Health(silence_max_s=60.0, stopping=lambda: False)
    with Shutdown(asyncio.Event(), within_s=5.0) as stop, capture_logs() as logged:
        watching = asyncio.create_task(watch(worker, stop))

        async def lines_after(change: Callable[[], None]) -> list[tuple[str, Sequence[str] | None]]:
            logged.clear()
            change()
            await asyncio.sleep(0.1)
            return [(each["event"], each.get("reasons")) for each in logged]

        assert await lines_after(lambda: worker.report("Postgres", not_ready_reason="away")) == []
        worker.started = True
        assert await lines_after(lambda: None) == []
        assert await lines_after(lambda: worker.report("Postgres")) == [("worker_ready", None)]
        assert await lines_after(
            lambda: worker.report("Postgres", not_ready_reason="does not answer")
        ) == [("worker_not_ready", ["Postgres: does not answer"])]
        assert await lines_after(lambda: worker.report("Postgres")) == [("worker_ready", None)]
        watching.cancel()
        await asyncio.wait({watching})
