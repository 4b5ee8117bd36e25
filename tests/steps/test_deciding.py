"""Deciding on a batch yields to other tasks; when the batch is written, the relay is woken."""

import asyncio

from acceptance.scenario import at
from marketplace_worker.lifecycle.facts import Fact, GuardTripped, Unrecognized
from marketplace_worker.lifecycle.policy import Policies
from marketplace_worker.lifecycle.vocabulary import Identity
from marketplace_worker.runtime.unit_of_work import UnitOfWork
from marketplace_worker.store.working_set import WorkingSet


def unit() -> UnitOfWork:
    """The unit of work of a batch that may trip the guard."""
    return UnitOfWork(WorkingSet(safeguards_locked=True), Policies(), at(0), [asyncio.Event()])


def unheard_of(number: int) -> Fact:
    """A fact that changes nothing."""
    return Unrecognized(Identity("test", str(number)), at(0), "com.example.other")


async def test_after_each_decision_others_have_their_turn() -> None:
    """The relay and the heartbeats run between two decisions."""
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    turning, batch = asyncio.create_task(other()), unit()
    for number in range(20):
        await batch.decide(unheard_of(number), position="here")
    turning.cancel()
    assert turns >= 20


async def test_the_relay_is_woken_where_anything_was_promised() -> None:
    """A batch that changes nothing does not wake it."""
    batch = unit()
    await batch.decide(unheard_of(1), position="here")
    batch.report()
    assert not batch.relay_wakeups[0].is_set()

    await batch.decide(GuardTripped(Identity("test", "2"), at(0), "grace", "Not now."), "here")
    batch.report()
    assert batch.relay_wakeups[0].is_set()
