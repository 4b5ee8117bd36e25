"""Checks the expected outcome itself: without faults it is reached, whatever the order of
topics.
"""

import random
from dataclasses import replace
from pathlib import Path

import pytest

from faults.expected_outcome import actual_outcome, require_equal, simulated_outcome
from faults.workers import FaultStage, worker
from faults.workload import Wave, Workload, workload
from faults.workload_sender import advance, send_in_pieces
from marketplace_worker.settings import Settings

pytestmark = pytest.mark.faults


def topics_overtake(sent: Workload, chance: random.Random) -> Workload:
    """The same workload with the topics of each wave in another order."""
    waves = []
    for wave in sent.waves:
        topics = sorted({topic for topic, _, _ in wave.messages}, key=lambda _: chance.random())
        rank = {topic: number for number, topic in enumerate(topics)}
        waves.append(Wave(wave.at, sorted(wave.messages, key=lambda each: rank[each[0]])))
    return replace(sent, waves=waves)


def test_the_expected_outcome_does_not_depend_on_the_order_of_topics(settings: Settings) -> None:
    """Kafka guarantees no order between topics: a test that depended on it would fail at random."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    sent = workload(chance, 32)
    want = simulated_outcome(sent, settings)
    assert want.dead_letters == sent.refused
    assert len(set(want.states.values())) > 1
    for _ in range(5):
        require_equal(want, simulated_outcome(topics_overtake(sent, chance), settings))


async def test_without_a_fault_a_worker_has_the_same_result_as_simulate(
    stage: FaultStage, tmp_path: Path
) -> None:
    """Otherwise the effect of a fault could not be separated from a bug without faults."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    workload_ = workload(random.Random(seed), 32)
    async with worker(stage, tmp_path / "worker.log"):
        await advance(send_in_pieces(stage, workload_, of=1_000))
    require_equal(simulated_outcome(workload_, stage.settings), await actual_outcome(stage))
