"""The demo's story, its clock, and its check for missing events."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from marketplace_worker.contract.emails import email_hasher
from marketplace_worker.contract.topics import feeds
from marketplace_worker.demo.clock import FastClock
from marketplace_worker.demo.runner import Published, faults, unreadable
from marketplace_worker.errors import Malformed
from marketplace_worker.lifecycle.policy import Policy
from marketplace_worker.record import Record
from marketplace_worker.settings import Topics
from marketplace_worker.simulate import Simulation
from marketplace_worker.testing import Message, simulated
from marketplace_worker.testing.stories import RENEWS, STORIES, Reply, Story, everyday

DAY_0 = datetime(2026, 11, 22, tzinfo=UTC)
DAY = timedelta(days=1)
DAYS = 40

STORY = (
    Story(
        "leaves",
        "acme",
        "",
        lambda _who, _at: (),
        ("organization.canceled", "organization.suspended"),
    ),
    Story("stays", "elm", "", lambda _who, _at: (), ()),
)


def seen(*names: str, who: str = "acme", dead_letters: int = 1) -> Published:
    """What came, if it was that."""
    events: list[dict[str, Any]] = [{"type": f"io.marketplace-worker.{name}.v1"} for name in names]
    return Published({who: events}, dead_letters)


def test_the_story_comes_to_its_end_by_the_rules_alone() -> None:
    """Without servers, customers who answer a day later, and the default policy: what the demo
    expects is what the rules say, to the last event.
    """
    topics, story = Topics(), STORIES
    now = DAY_0
    came = Published()
    to_answer: list[tuple[str, Reply]] = []

    def story_records() -> Iterator[Record]:
        nonlocal now
        yield from records(unreadable(now))
        for customer in story:
            yield from records(*customer.begins(customer.organization, now))
        for day in range(1, DAYS):
            now = DAY_0 + timedelta(days=day)
            answers, to_answer[:] = to_answer[:], []
            for organization, reply in answers:
                yield from records(*reply.messages(organization, now))
            yield from records(*everyday(RENEWS.organization, now))

    def records(*messages: Message) -> Iterator[Record]:
        yield from (message.record() for message in messages)

    def refuse(_record: Record, _why: Malformed) -> None:
        came.dead_letters += 1

    simulation = Simulation(Policy(), feeds(topics), email_hasher(b"sixteen or more!"), refuse)
    for event in simulation.run(story_records(), until=DAY_0 + timedelta(days=DAYS)):
        published = {"type": f"io.marketplace-worker.{event.kind}.v1"}
        came.events.setdefault(event.subject, []).append(published)
        customer = next(each for each in story if each.organization == event.subject)
        if reply := customer.replies.get(event.kind):
            to_answer.append((event.subject, reply))

    assert list(faults(came, story)) == []


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_a_story_comes_to_the_same_end_by_its_days(story: Story) -> None:
    """As `send story` dates it, of any organization; others are active every day."""
    began = DAY_0.replace(microsecond=17)
    messages = [
        *story.messages("new", began),
        *(each for day in range(1, DAYS) for each in everyday("others", began + day * DAY)),
    ]
    messages.sort(key=lambda message: message.at)
    until = began + DAYS * DAY
    events = [each for each in simulated(messages, until=until) if each["subject"] == "new"]
    names = [each["type"].removeprefix("io.marketplace-worker.")[:-3] for each in events]
    assert names == list(story.expected)
    assert story.messages("new", began)[-1].at - began == story.length


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
