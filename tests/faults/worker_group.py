"""Adds, stops and kills workers of a consumer group, and tracks their partitions."""

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from faults.conftest import PARTITIONS
from faults.fork_server import Child, ForkServer
from faults.worker_under_test import work
from faults.workers import CONSUMERS, FaultStage, environment_of, eventually, lines
from marketplace_worker.app import Loop

STOP_S = 10.0
"""How long a stop may take (issue 4)."""


SMALL_STEPS = {
    "MARKETPLACE_WORKER_INGEST__BATCH_ROWS_MAX": "10",
    "MARKETPLACE_WORKER_DEADLINES__BATCH_ROWS_MAX": "3",
    "MARKETPLACE_WORKER_RELAY__BATCH_ROWS_MAX": "5",
}
"""Environment for many small transactions, so that there are many points to interrupt."""

WRITTEN = """
SELECT (SELECT coalesce(max(id), 0) FROM journal) + (SELECT coalesce(max(id), 0) FROM dead_letters)
    + (SELECT coalesce(sum(logins + requests), 0) FROM activity)
"""


def session_of(seconds: float) -> dict[str, str]:
    """Environment of a worker with this session timeout in its consumer groups."""
    return {"MARKETPLACE_WORKER_KAFKA__SESSION_TIMEOUT_MS": str(round(seconds * 1000))}


@dataclass
class WorkerGroup:
    """The running workers of a stage, in the order of their start; ended ones are kept too."""

    stage: FaultStage
    folder: Path
    fork_server: ForkServer
    at_work: list[Child] = field(default_factory=list)
    logs: dict[int, Path] = field(default_factory=dict)
    killed: int = 0
    stopped: int = 0

    @classmethod
    @asynccontextmanager
    async def of(
        cls, stage: FaultStage, folder: Path, fork_server: ForkServer
    ) -> AsyncIterator["WorkerGroup"]:
        """An empty group; workers still running at the end are killed."""
        group = cls(stage, folder, fork_server)
        try:
            yield group
        finally:
            for process in group.at_work:
                process.kill()
                await process.wait()

    async def add(self, variables: Mapping[str, str] | None = None) -> Child:
        """Start a worker, with environment variables that override the stage's."""
        log = self.folder / f"worker-{len(self.logs)}.log"
        environment = environment_of(self.stage, variables)
        clock = self.stage.clock_file.path
        process = await self.fork_server.start(partial(work, clock, tuple(Loop), environment, log))
        self.at_work.append(process)
        self.logs[process.pid] = log
        return process

    async def kill(self, process: Child) -> None:
        """SIGKILL."""
        self.at_work.remove(process)
        process.kill()
        assert await process.wait() == -signal.SIGKILL, f"it ended by itself: {self.logs}"
        self.killed += 1

    async def stop(self, process: Child) -> None:
        """Send SIGTERM; the worker must end cleanly and in time.

        If the worker's own code had not started yet, Python ends the process at once.
        """
        self.at_work.remove(process)
        process.terminate()
        try:
            async with asyncio.timeout(STOP_S):
                status = await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
        begun = bool(lines(self.logs[process.pid]))
        assert status == 0 or (status == -signal.SIGTERM and not begun), (
            f"ended with {status}: {self.logs[process.pid]}"
        )
        self.stopped += 1

    async def joined(self, *processes: Child) -> None:
        """Wait until each member of theirs has its assignment, which may be empty."""

        async def have() -> bool:
            return all(
                {line["consumer"] for line in lines(self.logs[each.pid], "partitions_assigned")}
                == CONSUMERS
                for each in processes
            )

        await eventually(have, pause_s=0.1)

    async def loses_partitions(self, process: Child) -> None:
        """Wait until it loses partitions in a rebalance."""

        async def lost() -> bool:
            return bool(lines(self.logs[process.pid], "partitions_revoked"))

        await eventually(lost, pause_s=0.01)

    async def written(self) -> int:
        """A number that grows with everything the workers write."""
        return int(await self.stage.pool.fetchval(WRITTEN))

    async def writes(self, *, since: int) -> None:
        """Wait until a worker has written anything after `since`."""

        async def more() -> bool:
            return await self.written() > since

        await eventually(more, pause_s=0.002)

    async def owns_all(self) -> None:
        """Wait until every partition is assigned to exactly one worker."""
        topics = self.stage.settings.topics
        every = Counter(
            f"{topic}/{number}"
            for topic in (*topics.facts, *topics.activity)
            for number in range(PARTITIONS)
        )

        async def own() -> bool:
            return sum(map(self._partitions, self.at_work), Counter()) == every

        await eventually(own, pause_s=0.1)

    def _partitions(self, process: Child) -> Counter[str]:
        """The last assignments of a worker's members."""
        last = {
            line["consumer"]: line["partitions"]
            for line in lines(self.logs[process.pid], "partitions_assigned")
        }
        return Counter(each for partitions in last.values() for each in partitions)

    def duplicates(self) -> int:
        """How many of the ingested records were duplicates."""
        return sum(line["duplicates"] for line in self.lines("batch_ingested"))

    def records(self) -> int:
        """How many records all workers, also ended ones, have logged as ingested."""
        return sum(line["records"] for line in self.lines("batch_ingested"))

    def lines(self, *events: str) -> list[dict[str, Any]]:
        """The log lines of all workers, optionally of some events only."""
        return [line for log in self.logs.values() for line in lines(log, *events)]
