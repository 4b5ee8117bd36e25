"""Workers that share the topics: stopped, killed and added, over and over, under load."""

import asyncio
from pathlib import Path

import pytest

from faults.conftest import Figures
from faults.crew import SMALL_STEPS, Crew, session_of
from faults.fleet import chance_of_this_run, require_as_simulated
from faults.nursery import Nursery
from faults.telling import pieces, settled, told
from faults.workers import FaultStage
from faults.workload import of_one_account, workload
from faults.yardstick import expected, measured, require_equal
from marketplace_worker.lifecycle.holders import HOLDERS_MAX

pytestmark = pytest.mark.faults

ROUNDS = 3
AT_WORK = 3
KILLS = 30
APART_S = 0.05

TO_BE_KILLED = session_of(6) | SMALL_STEPS
"""The group must notice its end soon."""

TO_BE_STOPPED = session_of(200) | SMALL_STEPS
"""If it did not leave the group, its partitions would be nobody's for longer than a test waits."""

BUSY = session_of(2) | SMALL_STEPS
"""Of one that is killed at random."""


async def test_workers_come_and_go_and_no_partition_stays_unowned(
    stage: FaultStage, nursery: Nursery, tmp_path: Path
) -> None:
    """
    Where the stop was clean, no record is taken in twice.  Deadlines and relay go on while the
    group is busy with itself.
    """
    workload_ = workload(chance_of_this_run(), 96)
    story = pieces(stage, workload_, of=100)
    async with Crew.of(stage, tmp_path, nursery) as crew:
        stopped = await crew.add(TO_BE_STOPPED)
        killed = await crew.add(TO_BE_KILLED)
        await crew.joined(await crew.add(TO_BE_STOPPED), stopped, killed)
        for _ in range(ROUNDS):
            await settled(stage)
            again, before = crew.records() - stage.sent, await crew.written()
            await told(story, 1)
            await crew.writes(since=before)
            await crew.stop(stopped)
            await told(story, 1)
            stopped = await crew.add(TO_BE_STOPPED)
            await told(story, 1)
            await crew.joined(stopped)
            await settled(stage)
            await crew.owns_all()
            assert crew.records() - stage.sent == again, "a clean stop repeats no work"

            await told(story, 1)
            await crew.kill(killed)
            killed = await crew.add(TO_BE_KILLED)
            await told(story, 1)
            await crew.joined(killed)
            await settled(stage)
            await crew.owns_all()
        await told(story)
        await require_as_simulated(stage, workload_)


async def test_two_workers_take_in_one_account_of_many_organizations(
    stage: FaultStage, nursery: Nursery, tmp_path: Path
) -> None:
    """
    All is bought before anybody signs up, so that nobody can say yet that the account is a
    reseller's, and each sign-up concerns all purchases until it is known to be one.
    """
    workload_ = of_one_account(3 * HOLDERS_MAX)
    async with Crew.of(stage, tmp_path, nursery) as crew:
        both = [await crew.add(), await crew.add()]
        await crew.joined(*both)
        await told(pieces(stage, workload_, of=400))
        await require_as_simulated(stage, workload_)
        assert crew.records() == stage.sent, "no partition moved: what is taken in comes once"
        (said,) = crew.lines("billing_account_crowded")
    assert said["billing_account"] == "one account"


async def test_thirty_kills_at_random_under_load_lose_nothing(
    stage: FaultStage, nursery: Nursery, tmp_path: Path, figures: Figures
) -> None:
    """
    All that are at work, one after another, while something is being written: offsets are committed
    after the work, the journal swallows what comes again, and a promise is kept until Kafka has it.
    """
    chance = chance_of_this_run()
    workload_ = workload(chance, 160)
    story = pieces(stage, workload_, of=400)
    async with Crew.of(stage, tmp_path, nursery) as crew:
        while crew.killed < KILLS:
            for _ in range(AT_WORK):
                await crew.add(BUSY)
            await crew.joined(*crew.at_work)
            before = await crew.written()
            await told(story, 1)
            await crew.writes(since=before)
            for victim in crew.at_work[:]:
                await asyncio.sleep(chance.random() * APART_S)  # a moment of chance
                await crew.kill(victim)
        await crew.add()
        await told(story)
        came = await measured(stage)
        require_equal(expected(workload_, stage.settings), came)
    again = crew.duplicates() - len(workload_.messages) + len(set(workload_.messages))
    figures.append(
        f"{KILLS} kills under load: {again} records were taken in again, {came.duplicates} events "
        "published again"
    )
