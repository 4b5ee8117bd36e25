"""The demo's story, its clock, and its check for missing events."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from marketplace_worker.app import feeds
from marketplace_worker.contract.emails import email_hasher
from marketplace_worker.demo.clock import FastClock
from marketplace_worker.demo.messages import Message, MessageWriter, unreadable
from marketplace_worker.demo.runner import Published, faults
from marketplace_worker.demo.story import Customer, Script, customers
from marketplace_worker.errors import Malformed
from marketplace_worker.lifecycle.policy import Policy
from marketplace_worker.record import Record
from marketplace_worker.settings import Topics
from marketplace_worker.simulate import Simulation

DAY_0 = datetime(2026, 11, 22, tzinfo=UTC)
DAYS = 40

STORY = (
    Customer("acme", "leaves", lambda _: (), ("organization.canceled", "organization.suspended")),
    Customer("elm", "stays", lambda _: (), ()),
)


def seen(*names: str, who: str = "acme", dead_letters: int = 1) -> Published:
    """What came, if it was that."""
    events: list[dict[str, Any]] = [{"type": f"io.marketplace-worker.{name}.v1"} for name in names]
    return Published({who: events}, dead_letters)


def test_the_story_comes_to_its_end_by_the_rules_alone() -> None:
    """Without servers, customers who answer a day later, and the default policy: what the demo
    expects is what the rules say, to the last event.
    """
    topics, story = Topics(), customers()
    now = DAY_0
    writer = MessageWriter(topics, lambda: now)
    came = Published()
    to_answer: list[Script] = []

    def story_records() -> Iterator[Record]:
        nonlocal now
        beginning = [message for customer in story for message in customer.begins(writer)]
        yield from records(unreadable(topics), *beginning)
        for day in range(1, DAYS):
            now = DAY_0 + timedelta(days=day)
            answers, to_answer[:] = to_answer[:], []
            for answer in answers:
                yield from records(*answer(writer))
            yield from records(*writer.everyday("elm"))

    def records(*messages: Message) -> Iterator[Record]:
        for message in messages:
            yield Record(message.topic, 0, 0, now, message.key.encode(), message.value)

    def refuse(_record: Record, _why: Malformed) -> None:
        came.dead_letters += 1

    simulation = Simulation(Policy(), feeds(topics), email_hasher(b"sixteen or more!"), refuse)
    for event in simulation.run(story_records(), until=DAY_0 + timedelta(days=DAYS)):
        published = {"type": f"io.marketplace-worker.{event.kind}.v1"}
        came.events.setdefault(event.subject, []).append(published)
        customer = next(each for each in story if each.name == event.subject)
        if answer := customer.then.get(event.kind):
            to_answer.append(answer)

    assert list(faults(came, story)) == []


async def test_the_clock_stands_still_until_it_is_started() -> None:
    """The worker may take as long as it likes to start."""
    clock = FastClock(DAY_0)
    await asyncio.sleep(0.03)
    assert clock() == DAY_0

    running = asyncio.create_task(clock.run())
    await clock.later(timedelta(days=1))
    running.cancel()
    assert clock.day(clock()) >= 1


async def test_what_comes_later_comes_at_another_moment() -> None:
    """A sign-in counts only when it is later than what it completes (lifecycle.md section 4)."""
    clock = FastClock(DAY_0)
    running = asyncio.create_task(clock.run())
    for _ in range(5):
        before = clock()
        await clock.later()
        assert clock() > before
    running.cancel()


def test_the_demo_finds_no_fault_with_exactly_what_was_expected() -> None:
    """All events in order, and the dead letter."""
    assert not list(faults(seen("organization.canceled", "organization.suspended"), STORY))


@pytest.mark.parametrize(
    ("came", "fault"),
    [
        (seen(), "acme: organization.canceled (received nothing)"),
        (
            seen("organization.suspended", "organization.canceled"),
            "acme: organization.canceled (received organization.suspended)",
        ),
        (
            seen("organization.canceled", "organization.suspended", "roles.removed"),
            "acme: no further event (received roles.removed)",
        ),
        (
            seen("organization.canceled", "organization.suspended", dead_letters=0),
            "one dead letter, of the unreadable message (received 0)",
        ),
        (
            seen("organization.canceled", "organization.suspended", dead_letters=2),
            "one dead letter, of the unreadable message (received 2)",
        ),
        (
            seen("organization.canceled", who="elm"),
            "elm: no further event (received organization.canceled)",
        ),
        (seen("guard.tripped", who="worker"), "worker: no further event (received guard.tripped)"),
    ],
)
def test_the_demo_fails_for_whatever_else_came(came: Published, fault: str) -> None:
    """Too little, too much, another order, or of somebody whom the story does not know."""
    assert fault in list(faults(came, STORY))
