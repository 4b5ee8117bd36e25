"""A worker is killed during its work; `make test-faults` does so far more often."""

import asyncio
from pathlib import Path

import pytest

import servers
from faults.fork_server import ForkServer
from faults.worker_cluster import chance_of_this_run, require_as_simulated, settings_of, staging
from faults.worker_group import WorkerGroup
from faults.workload import workload
from faults.workload_sender import send_in_pieces

KILLS = 3


@pytest.mark.broker
async def test_killing_the_worker_loses_nothing_and_publishes_no_event_under_a_second_id(
    pytestconfig: pytest.Config, kafka_bootstrap: str, postgres_dsn: str, tmp_path: Path
) -> None:
    """
    Killed at a random moment and restarted: offsets are committed after the work, the journal
    recognizes repeated records, and the outbox keeps messages until Kafka has them.
    """
    chance = chance_of_this_run()
    messages = workload(chance, 32)
    choice = pytestconfig.stash[servers.CHOICE]
    settings = settings_of(choice, tmp_path, kafka=kafka_bootstrap, dsn=postgres_dsn)
    async with (
        staging(settings, tmp_path) as stage,
        ForkServer.opened() as fork_server,
        WorkerGroup.of(stage, tmp_path, fork_server) as group,
    ):
        await group.joined(await group.add())
        async for _ in send_in_pieces(stage, messages, of=80):
            if group.killed < KILLS:
                await asyncio.sleep(chance.random() * 0.3)  # a random moment
                await group.kill(group.at_work[0])
                await group.joined(await group.add())
        assert group.killed == KILLS
        await require_as_simulated(stage, messages)
