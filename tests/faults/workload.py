"""The messages of fault tests: stories whose outcome does not depend on the order of topics.

Kafka keeps the order of one organization's messages only within a topic.  So each story consists of
waves: within a wave the order of topics is irrelevant; a wave starts when the previous one has been
ingested and the clock is at its time.  `simulate` gives the expected outcome (expected_outcome.py).
"""

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from acceptance.scenario import (
    at,
    azure,
    committed,
    created,
    event,
    eventbridge,
    google,
    linked,
    login,
    requested,
    sns,
    support,
)
from marketplace_worker.settings import Topics

WAVES = (1.0, 3.0, 3.5, 11.0, 12.0)
"""The days on which messages come."""

UNTIL = at(85)
"""Every deadline has passed by then, and no dead letter is old enough to be deleted."""

Message = tuple[str, bytes, bytes]
"""Topic (by its default name), key, value."""

Line = dict[str, Any]
TimedLine = tuple[int, Line]
"""A line of a scenario and the number of its wave."""


@dataclass(frozen=True)
class Wave:
    """Messages sent at one moment, with the topics in any order."""

    at: datetime
    messages: Sequence[Message]


@dataclass(frozen=True)
class Workload:
    """All messages up to a moment; `refused` of them become dead letters."""

    waves: Sequence[Wave]
    refused: int
    until: datetime = UNTIL

    @property
    def messages(self) -> list[Message]:
        """The messages of all waves."""
        return [message for wave in self.waves for message in wave.messages]

    @property
    def logins(self) -> int:
        """The number of logins; none is sent twice."""
        return self._messages_to(Topics().logins)

    @property
    def requests(self) -> int:
        """The number of API requests, three per event; no event is sent twice."""
        return 3 * self._messages_to(Topics().api_requests)

    def _messages_to(self, wanted: str) -> int:
        return sum(topic == wanted for topic, _, _ in self.messages)


def workload(chance: random.Random, organizations: int) -> Workload:
    """About ten messages for each organization, randomly interleaved."""
    waves: list[list[list[Message]]] = [[] for _ in WAVES]
    refused = 0
    for number in range(organizations):
        name = f"org-{number:05}"
        story = STORIES[number % len(STORIES)]
        lines = [*_beginning(name), *story(name, _hour(chance)), *_use(name, chance)]
        for wave in range(len(WAVES)):
            waves[wave].append([_message(line, name) for each, line in lines if each == wave])
        if chance.random() < 0.2:
            waves[0][-1].append((Topics().gcp_notifications, name.encode(), b"no \xff JSON"))
            refused += 1
    return Workload(
        [Wave(at(day), _mixed(each, chance)) for day, each in zip(WAVES, waves, strict=True)],
        refused,
    )


def of_one_account(organizations: int) -> Workload:
    """All organizations buy with one billing account before any signs up; every tenth cancels."""
    bought, signed_up, ended = list[Message](), list[Message](), list[Message]()
    for number in range(organizations):
        name = f"org-{number:05}"
        agreed = {"id": f"agmt-{name}"}
        line = eventbridge(0.2, "License Updated", agreed, account="one account")
        bought.append(_message(line, name))
        for each in (created(0, name, tier="plus"), linked(0.1, name, "aws", agreed["id"], "payg")):
            signed_up.append(_message(each, name))
        if number % 10 == 0:
            line = eventbridge(
                3.2,
                "Purchase Agreement Ended",
                agreed | {"status": "CANCELLED"},
                account="one account",
            )
            ended.append(_message(line, name))
    waves = zip((1.0, 3.0, 3.5), (bought, signed_up, ended), strict=True)
    return Workload([Wave(at(day), each) for day, each in waves], refused=0, until=at(5))


def _mixed(stories: Sequence[Sequence[Message]], chance: random.Random) -> list[Message]:
    """The messages of all organizations interleaved, each organization's in order."""
    turns = [number for number, story in enumerate(stories) for _ in story]
    chance.shuffle(turns)
    nexts = [iter(story) for story in stories]
    return [next(nexts[number]) for number in turns]


def _message(line: Line, name: str) -> Message:
    return line["topic"], name.encode(), json.dumps(line["value"]).encode()


def _hour(chance: random.Random) -> float:
    """A time of an end, within half a day; one of few, because the clock stops at each."""
    return 0.25 + chance.randrange(2) / 4


def _beginning(name: str) -> list[TimedLine]:
    return [(0, created(0, name, tier="plus"))]


def _use(name: str, chance: random.Random) -> list[TimedLine]:
    days = [chance.random() for _ in range(chance.randrange(1, 4))]
    return [(0, make_line(day, name)) for day in days for make_line in (login, requested)]


# --- the stories ----------------------------------------------------------------------------------


def _bought(name: str, agreement: str, day: float) -> Line:
    agreed = {"id": f"{agreement}-{name}"}
    return eventbridge(day, "License Updated", agreed, account=f"account-{name}")


def _ended(name: str, agreement: str, day: float) -> Line:
    agreed = {"id": f"{agreement}-{name}", "status": "CANCELLED"}
    return eventbridge(day, "Purchase Agreement Ended", agreed, account=f"account-{name}")


def _stays(name: str, hour: float) -> list[TimedLine]:
    """The organization keeps its plan."""
    return [
        (0, linked(0.1, name, "aws", f"agmt-{name}", "payg")),
        (0, _bought(name, "agmt", 0.2)),
        (0, event(hour, "organization.tier_changed", name, {"tier": "enterprise"})),
        (1, event(2.5, "organization.owner_changed", name, {"owner_email": f"new@{name}.example"})),
    ]


def _goes(name: str, hour: float) -> list[TimedLine]:
    """The customer cancels on AWS and never returns; every message is sent twice."""
    ended = _ended(name, "agmt", hour)
    return [
        (0, linked(0.1, name, "aws", f"agmt-{name}", "payg")),
        (0, _bought(name, "agmt", 0.2)),
        (0, ended),
        (0, ended),
        (2, ended),
    ]


def _returns_by_a_link(name: str, hour: float) -> list[TimedLine]:
    """Google's billing is switched off; another entitlement is linked."""
    off = {"cancellationReason": "billing-disabled"}
    return [
        (0, linked(0.1, name, "gcp", f"ent-{name}")),
        (0, google(0.2, "ENTITLEMENT_ACTIVE", f"ent-{name}", {"usageReportingId": "x"})),
        (0, google(hour, "ENTITLEMENT_CANCELLED", f"ent-{name}", off)),
        (1, linked(2.8, name, "gcp", f"ent-2-{name}", "commit")),
    ]


def _returns_by_a_sign_in(name: str, hour: float) -> list[TimedLine]:
    """Its billing account buys again; a sign-in proves that it is the same organization."""
    return [
        (0, linked(0.1, name, "aws", f"agmt-{name}", "payg")),
        (0, _bought(name, "agmt", 0.2)),
        (0, _ended(name, "agmt", hour)),
        (1, _bought(name, "agmt-2", 2.9)),
        (2, login(3.4, name)),
    ]


def _returns_by_support(name: str, hour: float) -> list[TimedLine]:
    """Azure suspends it; Support reinstates it, and then Azure does."""
    return [
        (0, linked(0.1, name, "azure", f"sub-{name}")),
        (0, azure(0.2, "Subscribe", f"sub-{name}", snapshot={"term": {"termUnit": "P1M"}})),
        (0, azure(hour, "Suspend", f"sub-{name}")),
        (3, azure(10.5, "Reinstate", f"sub-{name}")),
        (4, support(11.9, "reinstate_organization", name)),
    ]


def _subscribes_again(name: str, hour: float) -> list[TimedLine]:
    """Unsubscribes by SNS, and subscribes again."""
    return [
        (0, linked(0.1, name, "aws", f"prod-1/{name}", "payg")),
        (0, sns(0.2, "subscribe-success", name)),
        (0, sns(hour, "unsubscribe-pending", name)),
        (0, sns(hour + 0.1, "unsubscribe-success", name)),
        (1, sns(2.7, "subscribe-success", name)),
    ]


def _runs_out(name: str, hour: float) -> list[TimedLine]:
    """Its commitment ends, and no other follows."""
    return [
        (0, committed(0.1, name, "c-1", 0.15, 4 + hour)),
        (0, event(0.3, "organization.tier_changed", name, {"tier": "enterprise"})),
    ]


STORIES: tuple[Callable[[str, float], list[TimedLine]], ...] = (
    _stays,
    _goes,
    _returns_by_a_link,
    _returns_by_a_sign_in,
    _returns_by_support,
    _subscribes_again,
    _runs_out,
    _stays,
)
