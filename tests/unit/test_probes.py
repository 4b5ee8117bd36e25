"""What the probes of consumers report: a heartbeat, readiness and the lag."""

from dataclasses import dataclass

import pytest
from prometheus_client import REGISTRY

from marketplace_worker.operations import health
from marketplace_worker.operations.health import Health
from marketplace_worker.runtime.probes import ingest_heartbeat, probe_consumer, probe_lag


@dataclass(frozen=True)
class Consumer:
    """A consumer that says what the test says."""

    not_ready_reason: str = ""
    waits_for_kafka: bool = False
    why: str = ""
    name: str = "facts"

    async def ask_why(self) -> str:
        """What Kafka answers."""
        return self.why


class Clock:
    """Stands in for the module `time`."""

    now = 1_000.0

    @classmethod
    def monotonic(cls) -> float:
        """Seconds."""
        return cls.now


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Health:
    """A worker whose consumer gave its last sign 40 s ago; 30 s are allowed."""
    monkeypatch.setattr(health, "time", Clock)
    monkeypatch.setattr(Clock, "now", 1_000.0)
    worker = Health(silence_max_s=30.0, stopping=lambda: False)
    worker.started = True
    ingest_heartbeat(worker, "facts").beat()
    Clock.now += 40.0
    return worker


HANGS = "ingest facts: no heartbeat for 40.0 s (limit 30.0 s)"


@pytest.mark.parametrize(
    ("consumer", "sentences"),
    [
        (Consumer(), [HANGS]),
        (Consumer(waits_for_kafka=True), []),
        (Consumer(waits_for_kafka=True, not_ready_reason="is not in its group"),
         ["consumer facts: is not in its group"]),
        (Consumer(not_ready_reason="does not reach the coordinator", why="Kafka is away"),
         ["consumer facts: does not reach the coordinator (Kafka is away)", HANGS]),
        (Consumer(why="never asked where nothing is missing"), [HANGS]),
    ],
)  # fmt: skip
async def test_a_consumer_that_waits_for_kafka_turns_and_any_other_must_itself(
    worker: Health, consumer: Consumer, sentences: list[str]
) -> None:
    """A client that waits for an unavailable Kafka does not cause a restart."""
    assert await probe_consumer(consumer, worker) == 0
    assert worker.not_ready_reasons() == sentences


async def test_the_lag_is_shown_by_group() -> None:
    """As it is now: it also goes down."""

    def shown() -> list[float | None]:
        name = "marketplace_worker_lag_records"
        return [
            REGISTRY.get_sample_value(name, {"consumer": each}) for each in ("facts", "activity")
        ]

    await probe_lag(lambda: {"facts": {"a": 2, "b": 3}, "activity": {"c": 12}})
    assert shown() == [5, 12]
    await probe_lag(lambda: {"facts": {}, "activity": {"c": 12}})
    assert shown() == [0, 12]
