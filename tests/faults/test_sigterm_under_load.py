"""SIGTERM under load: during the start, a batch or a rebalance."""

import asyncio
import random
from http import HTTPStatus
from itertools import dropwhile
from pathlib import Path

import pytest

from acceptance.probed_worker import ask
from faults.fork_server import Child, ForkServer
from faults.worker_cluster import chance_of_this_run, require_as_simulated
from faults.worker_group import SMALL_STEPS, WorkerGroup, session_of
from faults.workers import FaultStage
from faults.workload import workload
from faults.workload_sender import advance, send_in_pieces, until_settled
from marketplace_worker.embedded.process import free_port

pytestmark = pytest.mark.faults

STOPS = 6
START_S = 0.7
"""About the duration of a start."""

STOPPING = "the worker is stopping"

UNFORGETTING = session_of(200) | SMALL_STEPS
"""A member that did not leave its group would keep its partitions for longer than the test
waits.
"""


async def test_after_sigterm_at_any_moment_a_worker_exits_and_others_continue(
    stage: FaultStage, fork_server: ForkServer, tmp_path: Path
) -> None:
    """
    Exit status 0 in less than ten seconds; no longer ready; the batch in flight is finished, so no
    record is ingested twice; the group is left, so the others get the partitions without waiting
    for a session to expire.
    """
    chance = chance_of_this_run()
    workload_ = workload(chance, 96)
    story = send_in_pieces(stage, workload_, of=150)
    async with WorkerGroup.of(stage, tmp_path, fork_server) as group:
        await group.joined(await group.add(UNFORGETTING))
        for moment in _moments(chance):
            await advance(story, 1)
            port = free_port()
            probed = await group.add(UNFORGETTING | {"MARKETPLACE_WORKER_HTTP_PORT": str(port)})
            print(f"SIGTERM {moment}")
            match moment:
                case "while starting":
                    await asyncio.sleep(chance.random() * START_S)
                case "while partitions change hands":
                    await group.joined(probed)
                    await group.add(UNFORGETTING)
                    await group.loses_partitions(probed)
                case _:
                    await group.joined(probed)
                    before = await group.written()
                    await advance(story, 1)
                    await group.writes(since=before)
            asked = asyncio.create_task(_answers(probed, port))
            await group.stop(probed)
            answers = await asked
            since_stopping = dropwhile(lambda answer: STOPPING not in answer[1], answers)
            assert not any(map(_is_ready, since_stopping)), "it does not become ready again"
            assert not any(map(_is_ready, answers[-1:])), (
                "it ended while reporting that it was ready"
            )
            await advance(story, 1)
            await until_settled(stage)
        assert group.lines("batch_given_up", "step_given_up", "consumer_cut_off") == []
        assert group.records() == stage.sent, "finished work was committed"
        await advance(story)
        await require_as_simulated(stage, workload_)


def _moments(chance: random.Random) -> list[str]:
    """Each kind of moment equally often, in any order."""
    kinds = ["while starting", "while partitions change hands", "in a batch"]
    return chance.sample(kinds * (STOPS // len(kinds)), STOPS)


async def _answers(probed: Child, port: int) -> list[tuple[int, str]]:
    """All answers of its readiness probe until its end.

    It may become ready before the signal arrives.
    """
    answers = []
    while probed.returncode is None:
        answers.append(await asyncio.to_thread(ask, port, "/readyz"))
    return answers


def _is_ready(answer: tuple[int, str]) -> bool:
    return answer[0] == HTTPStatus.OK
