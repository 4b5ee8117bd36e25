"""A failed start prints one sentence and exits with a status other than 0, for every cause."""

import asyncio
import socket
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor

from acceptance.stage import command
from faults.workers import FaultStage, lines
from marketplace_worker import app
from marketplace_worker.errors import Misconfigured
from marketplace_worker.policy_reading import read_policy
from marketplace_worker.settings import Settings
from marketplace_worker.store import policies
from marketplace_worker.store.database import transaction

pytestmark = pytest.mark.faults


async def failed_start(settings: Settings, log: Path, *, status: int) -> str:
    """Run a worker that cannot start; returns its last log line."""
    with log.open("ab") as output:
        async with command("run", settings=settings, output=output) as process:
            assert await asyncio.wait_for(process.wait(), timeout=60) == status
    assert not lines(log, "worker_stopped", "worker_started")
    return sentence(log)


def sentence(log: Path) -> str:
    """The last line."""
    last = log.read_text().splitlines()[-1]
    assert last.startswith("marketplace-worker: ")
    return last


async def test_a_group_with_another_assignor_is_reported(stage: FaultStage, tmp_path: Path) -> None:
    """Another program is in the worker's group."""
    kafka = stage.settings.kafka
    stranger = AIOKafkaConsumer(
        stage.settings.topics.logins,
        bootstrap_servers=kafka.bootstrap_servers,
        group_id=kafka.activity_group,
        partition_assignment_strategy=(RangePartitionAssignor,),
    )
    await stranger.start()
    try:
        printed = await failed_start(stage.settings, tmp_path / "log", status=2)
    finally:
        await stranger.stop()
    assert f"the group {kafka.activity_group}" in printed
    assert "assignor" in printed


async def test_a_session_timeout_that_the_broker_refuses_is_reported(stage: FaultStage) -> None:
    """Its bounds are settings of the broker."""
    kafka = stage.settings.kafka.model_copy(update={"session_timeout_ms": 500})
    with pytest.raises(Misconfigured, match=r"sessions of 500 ms: set kafka\.session_timeout_ms"):
        await app.run(stage.settings.model_copy(update={"kafka": kafka}))


async def test_a_group_whose_rebalance_never_ends_is_reported(
    stage: FaultStage, tmp_path: Path
) -> None:
    """A member that keeps its partitions blocks the group; the start has a time limit."""
    kafka = stage.settings.kafka
    entered, over = asyncio.Event(), asyncio.Event()

    class Keeps(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
        async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
            if revoked:
                entered.set()
                await over.wait()

        async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
            pass

    member = AIOKafkaConsumer(
        bootstrap_servers=kafka.bootstrap_servers,
        group_id=kafka.facts_group,
        rebalance_timeout_ms=60_000,
        heartbeat_interval_ms=200,
    )
    member.subscribe([stage.settings.topics.support_requests], listener=Keeps())
    await member.start()
    hurried = kafka.model_copy(update={"rebalance_timeout_ms": 1_000, "request_timeout_ms": 3_000})
    settings = stage.settings.model_copy(
        update={
            "kafka": hurried,
            "postgres": stage.settings.postgres.model_copy(update={"statement_timeout_ms": 500}),
        }
    )
    try:
        printed = await failed_start(settings, tmp_path / "log", status=1)
        assert entered.is_set()
    finally:
        over.set()
        await member.stop()
    assert f"no assignment in the group {kafka.facts_group} within 4 s" in printed


async def test_a_policy_with_a_used_version_and_other_content_is_reported(
    stage: FaultStage, tmp_path: Path
) -> None:
    """Organizations are pinned to the policy that was registered first."""
    registered = read_policy(stage.settings.policy_file)
    async with transaction(stage.pool) as conn:
        await policies.register(conn, registered, now=stage.clock_file.now)
    policy = tmp_path / "other.toml"
    policy.write_text(f'version = "{registered.version}"\n[guard]\nminimum = 999999\n')
    settings = stage.settings.model_copy(update={"policy_file": policy})
    assert registered.version in await failed_start(settings, tmp_path / "log", status=2)


async def test_a_port_in_use_is_reported(stage: FaultStage, tmp_path: Path) -> None:
    """Two workers on one machine need different ports."""
    with socket.create_server(("", 0)) as occupied:
        port = occupied.getsockname()[1]
        settings = stage.settings.model_copy(update={"http_port": port})
        assert f"http_port: {port}" in await failed_start(settings, tmp_path / "log", status=2)


async def test_a_missing_right_to_write_is_reported(stage: FaultStage, tmp_path: Path) -> None:
    """A revoked grant may be restored, so the exit status is 1, as for an unavailable server."""
    await stage.pool.execute("RESET ROLE; REVOKE INSERT ON policies FROM marketplace_worker_app")
    printed = await failed_start(stage.settings, tmp_path / "log", status=1)
    assert "permission denied for table policies" in printed
