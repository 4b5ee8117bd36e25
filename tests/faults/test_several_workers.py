"""Workers of one group are stopped, killed and added repeatedly under load."""

import asyncio
from pathlib import Path

import pytest

from faults.conftest import Figures
from faults.expected_outcome import actual_outcome, require_equal, simulated_outcome
from faults.fork_server import ForkServer
from faults.worker_cluster import chance_of_this_run, require_as_simulated
from faults.worker_group import SMALL_STEPS, WorkerGroup, session_of
from faults.workers import FaultStage
from faults.workload import of_one_account, workload
from faults.workload_sender import advance, send_in_pieces, until_settled
from marketplace_worker.lifecycle.holders import HOLDERS_MAX

pytestmark = pytest.mark.faults

ROUNDS = 3
AT_WORK = 3
KILLS = 30
APART_S = 0.05

TO_BE_KILLED = session_of(6) | SMALL_STEPS
"""The group must notice the end of a worker soon."""

TO_BE_STOPPED = session_of(200) | SMALL_STEPS
"""If a worker did not leave the group, its partitions would be unowned for longer than the test
waits.
"""

BUSY = session_of(2) | SMALL_STEPS
"""The session timeout of a worker that is killed at random."""


async def test_no_partition_stays_unowned_when_workers_come_and_go(
    stage: FaultStage, fork_server: ForkServer, tmp_path: Path
) -> None:
    """After a clean stop, no record is ingested twice.  Deadlines and the relay continue."""
    workload_ = workload(chance_of_this_run(), 96)
    story = send_in_pieces(stage, workload_, of=100)
    async with WorkerGroup.of(stage, tmp_path, fork_server) as group:
        stopped = await group.add(TO_BE_STOPPED)
        killed = await group.add(TO_BE_KILLED)
        await group.joined(await group.add(TO_BE_STOPPED), stopped, killed)
        for _ in range(ROUNDS):
            await until_settled(stage)
            again, before = group.records() - stage.sent, await group.written()
            await advance(story, 1)
            await group.writes(since=before)
            await group.stop(stopped)
            await advance(story, 1)
            stopped = await group.add(TO_BE_STOPPED)
            await advance(story, 1)
            await group.joined(stopped)
            await until_settled(stage)
            await group.owns_all()
            assert group.records() - stage.sent == again, "a clean stop repeats no work"

            await advance(story, 1)
            await group.kill(killed)
            killed = await group.add(TO_BE_KILLED)
            await advance(story, 1)
            await group.joined(killed)
            await until_settled(stage)
            await group.owns_all()
        await advance(story)
        await require_as_simulated(stage, workload_)


async def test_two_workers_ingest_one_account_of_many_organizations(
    stage: FaultStage, fork_server: ForkServer, tmp_path: Path
) -> None:
    """
    All purchases come before the first sign-up, so that the account is not crowded yet and each
    sign-up concerns all purchases until it is.
    """
    workload_ = of_one_account(3 * HOLDERS_MAX)
    async with WorkerGroup.of(stage, tmp_path, fork_server) as group:
        both = [await group.add(), await group.add()]
        await group.joined(*both)
        await advance(send_in_pieces(stage, workload_, of=400))
        await require_as_simulated(stage, workload_)
        assert group.records() == stage.sent, "no partition moved, so each record is ingested once"
        (line,) = group.lines("billing_account_crowded")
    assert line["billing_account"] == "one account"


async def test_thirty_kills_at_random_under_load_lose_nothing(
    stage: FaultStage, fork_server: ForkServer, tmp_path: Path, figures: Figures
) -> None:
    """Each running worker is killed in turn while it writes: offsets are committed after the work,
    the journal recognizes repeated records, and the outbox keeps messages until Kafka has them.
    """
    chance = chance_of_this_run()
    workload_ = workload(chance, 160)
    story = send_in_pieces(stage, workload_, of=400)
    async with WorkerGroup.of(stage, tmp_path, fork_server) as group:
        while group.killed < KILLS:
            for _ in range(AT_WORK):
                await group.add(BUSY)
            await group.joined(*group.at_work)
            before = await group.written()
            await advance(story, 1)
            await group.writes(since=before)
            for victim in group.at_work[:]:
                await asyncio.sleep(chance.random() * APART_S)  # a random moment
                await group.kill(victim)
        await group.add()
        await advance(story)
        came = await actual_outcome(stage)
        require_equal(simulated_outcome(workload_, stage.settings), came)
    again = group.duplicates() - len(workload_.messages) + len(set(workload_.messages))
    figures.append(
        f"{KILLS} kills under load: {again} records were taken in again, {came.duplicates} events "
        "published again"
    )
