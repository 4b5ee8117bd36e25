"""Some workers on servers of a test's own, and what their logs say of waiting."""

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
"""How long a statement may take here: what stands still is noticed after so long, and five seconds
more where no answer comes at all."""

POLL_MS = 50
"""Not more often: several workers poll, and the machine has servers to run as well."""

GROWN = 4
"""So many failures in a row show that the pauses grow: jitter halves at most what has doubled."""


def settings_of(choice: servers.Choice, folder: Path, *, kafka: str, dsn: str) -> Settings:
    """Settings of a stage, with time-outs in which a test can wait."""
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
    """Workers that run, and their logs."""

    processes: Collection[asyncio.subprocess.Process]
    logs: Collection[Path]

    def lines(self, *events: str) -> list[dict[str, Any]]:
        """What all of them logged."""
        return [line for log in self.logs for line in lines(log, *events)]

    async def waits(self, event: str, reason: str, *, times: int = 1, **fields: str) -> None:
        """Wait until a worker has said that it waits for this reason, `times` times in a row.

        `fields`: what others of the line begin with.
        """

        async def said() -> bool:
            return any(
                reason in line["reason"]
                and line["failures"] >= times
                and all(line[name].startswith(value) for name, value in fields.items())
                for line in self.lines(event)
            )

        await eventually(said, pause_s=0.1)

    async def ingest_waits(self, reason: str, *, times: int = 1) -> None:
        """The same of taking in."""
        await self.waits("ingest_waiting", reason, times=times)

    def require_alive(self) -> None:
        """Nobody had to be started anew, and nobody met a bug."""
        assert [process.returncode for process in self.processes] == [None] * len(self.processes)
        bugs = self.lines("batch_failed", "loop_failed", "record_failed", "deadline_failed")
        assert bugs == []

    async def started(self) -> None:
        """Wait until all have: a start that finds a server away ends, and survives nothing."""

        async def all_have() -> bool:
            self.require_alive()
            return len(self.lines("worker_started")) == len(self.processes)

        await eventually(all_have, pause_s=0.05)

    def require_growing_pauses(self) -> None:
        """Each pause of a row is longer than the one two before it, as long as it may grow."""
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
    """Workers on a stage that have started, with these environment variables instead of its own."""
    logs = [folder / f"worker-{number}.log" for number in range(workers)]
    async with AsyncExitStack() as stack:
        processes = [
            await stack.enter_async_context(worker(stage, log, variables=variables)) for log in logs
        ]
        workers_ = WorkerCluster(processes, logs)
        await workers_.started()
        yield workers_


def through(*, kafka: str | None = None, dsn: str | None = None) -> dict[str, str]:
    """The environment of workers that come to their servers another way than the test."""
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
    """The yardstick."""
    require_equal(simulated_outcome(workload, stage.settings), await actual_outcome(stage))


def first_days(chance: random.Random, organizations: int) -> Workload:
    """A workload whose clock stops when all messages were told: the lives to their ends are told in
    the other tests.
    """
    return replace(workload(chance, organizations), until=at(13))
