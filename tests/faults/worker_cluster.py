"""Runs several workers on a test's own servers, and checks in their logs how they wait."""

import asyncio
import random
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import servers
from acceptance.scenario import at
from faults.conftest import NO_LIMIT, PARTITIONS
from faults.expected_outcome import actual_outcome, require_equal, simulated_outcome
from faults.workers import ClockFile, FaultStage, eventually, lines, worker
from faults.workload import Workload, workload
from marketplace_worker.settings import Deadlines, Ingest, Relay, Settings
from marketplace_worker.store.database import connecting
from marketplace_worker.store.migrations import migrate
from marketplace_worker.streams.topics import create_topics

STATEMENT_MS = 1_500
"""The statement timeout in these tests.  A stalled statement is detected after this time; a missing
answer five seconds later."""

POLL_MS = 50
"""Poll interval; longer than usual because several workers and servers share the machine."""

GROWN = 4
"""Consecutive failures needed to see growing pauses: each doubles, and jitter at most halves it."""


def settings_of(choice: servers.Choice, folder: Path, *, kafka: str, dsn: str) -> Settings:
    """Settings of a stage, with timeouts short enough for a test."""
    policy = folder / "policy.toml"
    policy.write_text(NO_LIMIT)
    made = servers.settings(choice, kafka, dsn, f"t{uuid4().hex[:12]}.")
    update = {
        "policy_file": policy,
        "kafka": made.kafka.model_copy(
            update={"rebalance_timeout_ms": 8_000, "request_timeout_ms": 10_000}
        ),
        "postgres": made.postgres.model_copy(update={"statement_timeout_ms": STATEMENT_MS}),
        "ingest": Ingest(retry_pause_max_ms=2_000),
        "deadlines": Deadlines(poll_interval_ms=POLL_MS),
        "relay": Relay(poll_interval_ms=POLL_MS, acknowledge_timeout_ms=3_000),
    }
    return made.model_copy(update=update)


@asynccontextmanager
async def staging(settings: Settings, folder: Path) -> AsyncIterator[FaultStage]:
    """A stage on these servers, with the schema and the topics."""
    await create_topics(
        settings.kafka, settings.topics, partitions=PARTITIONS, replication_factor=1
    )
    async with connecting(settings.postgres) as pool:
        await migrate(pool)
        async with FaultStage.of(settings, pool) as stage:
            stage.clock_file = ClockFile(folder / "clock")
            yield stage


@dataclass(frozen=True)
class WorkerCluster:
    """Running workers and their logs."""

    processes: Collection[asyncio.subprocess.Process]
    logs: Collection[Path]

    def lines(self, *events: str) -> list[dict[str, Any]]:
        """The log lines of all workers, optionally of some events only."""
        return [line for log in self.logs for line in lines(log, *events)]

    async def waits(self, event: str, reason: str, *, times: int = 1, **fields: str) -> None:
        """Wait until a worker has logged that it waits for a reason, `times` times in a row.

        `fields`: prefixes of the line's other fields.
        """

        async def logged() -> bool:
            return any(
                reason in line["reason"]
                and line["failures"] >= times
                and all(line[name].startswith(value) for name, value in fields.items())
                for line in self.lines(event)
            )

        await eventually(logged, pause_s=0.1)

    async def ingest_waits(self, reason: str, *, times: int = 1) -> None:
        """Like `waits`, for the ingest loop."""
        await self.waits("ingest_waiting", reason, times=times)

    def require_alive(self) -> None:
        """Fail if a worker has ended or logged a bug."""
        assert [process.returncode for process in self.processes] == [None] * len(self.processes)
        bugs = self.lines("batch_failed", "loop_failed", "record_failed", "deadline_failed")
        assert bugs == []

    async def started(self) -> None:
        """Wait until all have started: a worker ends if a server is down during its start."""

        async def all_have() -> bool:
            self.require_alive()
            return len(self.lines("worker_started")) == len(self.processes)

        await eventually(all_have, pause_s=0.05)

    def require_growing_pauses(self) -> None:
        """Fail unless each pause is longer than the one two before it, up to the maximum."""
        for log in self.logs:
            before: list[dict[str, Any]] = []
            for line in lines(log, "ingest_waiting"):
                row = [each for each in before if each["consumer"] == line["consumer"]]
                if 2 < line["failures"] <= GROWN and len(row) >= 2:
                    assert line["pause_ms"] > row[-2]["pause_ms"], (row[-2:], line)
                before.append(line)


@asynccontextmanager
async def worker_cluster(
    stage: FaultStage, folder: Path, *, workers: int = 2, variables: Mapping[str, str] | None = None
) -> AsyncIterator[WorkerCluster]:
    """Start workers on a stage, with environment variables that override the stage's."""
    logs = [folder / f"worker-{number}.log" for number in range(workers)]
    async with AsyncExitStack() as stack:
        processes = [
            await stack.enter_async_context(worker(stage, log, variables=variables)) for log in logs
        ]
        workers_ = WorkerCluster(processes, logs)
        await workers_.started()
        yield workers_


def through(*, kafka: str | None = None, dsn: str | None = None) -> dict[str, str]:
    """The environment of workers that connect to the servers through a proxy."""
    variables = {}
    if kafka is not None:
        variables["MARKETPLACE_WORKER_KAFKA__BOOTSTRAP_SERVERS"] = kafka
    if dsn is not None:
        variables["MARKETPLACE_WORKER_POSTGRES__DSN"] = dsn
    return variables


def chance_of_this_run() -> random.Random:
    """A random source whose seed is printed."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    return random.Random(seed)


async def require_as_simulated(stage: FaultStage, workload: Workload) -> None:
    """Fail unless the worker's outcome is that of `simulate`."""
    require_equal(simulated_outcome(workload, stage.settings), await actual_outcome(stage))


def first_days(chance: random.Random, organizations: int) -> Workload:
    """A workload whose clock stops after the last message; other tests include all deadlines."""
    return replace(workload(chance, organizations), until=at(13))
