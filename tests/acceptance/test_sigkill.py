"""A worker that is killed, over and over, in the middle of its work."""

import json
import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from acceptance.stage import Stage, until, worker_process
from marketplace_worker.app import feeds
from marketplace_worker.contract.emails import email_hasher
from marketplace_worker.lifecycle.policy import Policy
from marketplace_worker.record import Record
from marketplace_worker.settings import Topics
from marketplace_worker.simulate import Simulation

ORGANIZATIONS = 500
MESSAGES_EACH = 10
KILLS = 5

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
TOPICS = Topics()


@dataclass(frozen=True)
class Message:
    """One message of the stream."""

    topic: str
    key: str
    value: bytes


def stream(chance: random.Random) -> list[Message]:
    """5,000 messages: each organization's in its own order, all organizations mixed."""
    stories = [list(_story(number)) for number in range(ORGANIZATIONS)]
    turns = [story for story in stories for _ in story]
    chance.shuffle(turns)
    nexts = {id(story): iter(story) for story in stories}
    return [next(nexts[id(story)]) for story in turns]


def _story(number: int) -> Iterator[Message]:
    """Ten messages; every third organization loses its plan, and half of those have another: it is
    linked, or it matches by its billing account and a sign-in completes it.
    """
    name = f"org-{number:04}"
    status = "CANCELLED" if number % 3 == 0 else "ACTIVE"
    yield _event(name, 0, "organization.created", tier="plus", owner_email=f"{name}@x.example")
    yield _linked(name, 1, "aws", f"agmt-{name}")
    yield _aws(name, 2, "License Updated", "ACTIVE")
    for day in (3, 7):
        yield _event(name, day, "identity.user.logged_in", user_id="u-1")
        yield _event(name, day, "usage.api_requests", requests=day)
    yield Message(TOPICS.gcp_notifications, name, b"neither JSON nor anything")
    yield _aws(name, 5, "Purchase Agreement Ended", status)
    match number % 12:
        case 0:
            yield _linked(name, 6, "gcp", f"ent-{name}")
        case 6:
            yield _aws(name, 6, "License Updated", "ACTIVE", agreement=f"agmt-2-{name}")
        case _:
            yield _event(name, 6, "organization.tier_changed", tier="enterprise")


def _event(name: str, day: int, kind: str, **data: object) -> Message:
    topics = {"identity": TOPICS.logins, "usage": TOPICS.api_requests}
    event = {
        "specversion": "1.0",
        "id": f"{name}-{kind}-{day}",
        "source": "/tests",
        "type": f"io.marketplace-worker.{kind}.v1",
        "subject": name,
        "time": (BEGAN + timedelta(days=day)).isoformat(),
        "data": data,
    }
    topic = topics.get(kind.split(".", maxsplit=1)[0], TOPICS.organization_changes)
    return Message(topic, name, json.dumps(event).encode())


def _linked(name: str, day: int, marketplace: str, subscription: str) -> Message:
    data = {"marketplace": marketplace, "subscription_id": subscription, "plan_type": "payg"}
    return _event(name, day, "organization.subscription_linked", **data)


def _aws(
    name: str, day: int, detail_type: str, status: str, agreement: str | None = None
) -> Message:
    event = {
        "id": f"{name}-{detail_type}-{day}",
        "detail-type": f"{detail_type} - Proposer",
        "source": "aws.agreement-marketplace",
        "time": (BEGAN + timedelta(days=day)).isoformat(),
        "detail": {
            "agreement": {"id": agreement or f"agmt-{name}", "status": status},
            "acceptor": {"accountId": f"account-of-{name}"},
        },
    }
    return Message(TOPICS.aws_notifications, name, json.dumps(event).encode())


def simulated(messages: list[Message]) -> dict[str, str]:
    """The state in which each organization must be in the end."""
    simulation = Simulation(Policy(), feeds(TOPICS), email_hasher(b"x" * 16), lambda *_: None)
    now = datetime.now(UTC)  # noqa: TID251 - the worker has the system's clock
    records = (
        Record(message.topic, 0, offset, now, message.key.encode(), message.value)
        for offset, message in enumerate(messages)
    )
    for _ in simulation.run(records, until=now):
        pass
    return {id_: organization.state for id_, organization in simulation.fleet.organizations.items()}


@pytest.mark.broker
async def test_killing_the_worker_loses_nothing_and_gives_no_event_a_second_id(
    stage: Stage, tmp_path: Path
) -> None:
    """
    Killed after a random share of the stream, five times: offsets are committed after the work, the
    journal swallows what comes again, and a promise is kept until Kafka has it.
    """
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    messages = stream(chance)
    assert len(messages) == ORGANIZATIONS * MESSAGES_EACH
    await stage.send_all([(m.topic, m.key.encode(), m.value) for m in messages])
    facts = sum(m.topic in TOPICS.facts for m in messages) - ORGANIZATIONS  # less the unreadable

    for taken in sorted(chance.randrange(1, facts) for _ in range(KILLS)):
        async with worker_process(stage.settings, tmp_path / "worker.log") as process:
            await until(lambda taken=taken: stage.journalled(taken))  # type: ignore[misc]
            process.kill()
    async with worker_process(stage.settings, tmp_path / "worker.log"):
        await until(lambda: stage.journalled(facts))
        await until(stage.all_committed)
        await until(stage.everything_sent)

    assert await stage.states() == simulated(messages)
    assert await stage.pool.fetchval("SELECT sum(logins) FROM activity") == 2 * ORGANIZATIONS
    assert await stage.pool.fetchval("SELECT sum(requests) FROM activity") == 10 * ORGANIZATIONS
    assert await stage.pool.fetchval("SELECT count(*) FROM dead_letters") == ORGANIZATIONS
    await _every_event_has_one_id(stage)


async def _every_event_has_one_id(stage: Stage) -> None:
    """Per organization the sequence has no gap, and each number one event, however often sent."""
    ids: dict[str, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
    for event in map(json.loads, await stage.said(stage.settings.topics.lifecycle)):
        ids[event["subject"]][int(event["sequence"])].add(event["id"])
    wrong = {
        organization: numbers
        for organization, numbers in ids.items()
        if sorted(numbers) != list(range(1, len(numbers) + 1))
        or any(len(each) != 1 for each in numbers.values())
    }
    published = Counter({organization: len(numbers) for organization, numbers in ids.items()})
    decided = await stage.pool.fetch("SELECT organization_id, sequence FROM organizations")

    assert wrong == {}
    assert published == Counter({row["organization_id"]: row["sequence"] for row in decided})
