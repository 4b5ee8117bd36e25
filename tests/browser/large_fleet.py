"""Some hundred organizations with sixty days of history, decided by the worker's own steps."""

from itertools import groupby
from random import Random

from acceptance.operator_scenario import UNREADABLE
from acceptance.scenario import (
    azure,
    committed,
    created,
    eventbridge,
    google,
    leaves_the_free_tier,
    linked,
    login,
    requested,
    support,
)
from acceptance.stage import MovableClock
from marketplace_worker.runtime.worker import Worker
from marketplace_worker.steps.ingest import ingest
from steps.story_beginnings import Line, day_of, ingest_lines, records, wait

ORGANIZATIONS = 400
TODAY = 60
SEED = 17

MARKETPLACES = ("aws", "aws", "aws", "azure", "azure", "gcp")

NAMES = (
    "acme", "aperture", "cyberdyne", "dunder", "globex", "hooli", "initech", "massive", "monarch",
    "oscorp", "soylent", "stark", "tyrell", "umbrella", "vandelay", "wayne", "wonka",
)  # fmt: skip


def lines() -> list[Line]:
    """All messages, in the order of their arrival; days are whole, so that steps fall together."""
    random = Random(SEED)
    found: list[Line] = []
    for n in range(ORGANIZATIONS):
        found += _story(random, f"{NAMES[n % len(NAMES)]}-{n:03}", n)
    found += eventful()
    found += [line for day in range(TODAY + 1) for line in _feeds(day)]
    return sorted((each for each in found if day_of(each) <= TODAY), key=day_of)


def eventful() -> list[Line]:
    """The story of `acme`, to which about everything happened."""
    name = "acme"
    return [
        created(0, name),
        leaves_the_free_tier(0.25, name),
        linked(0.5, name, "aws", "agmt-7k2", "payg"),
        _ends("aws", "agmt-7k2", 8, 845735284135),
        support(10, "extend_grace", name, days=3, ticket="T-1041"),
        linked(16, name, "azure", "sub-91", "payg"),
        azure(24, "Suspend", "sub-91"),
        support(26, "place_hold", name, kind="commercial", ticket="T-1107"),
        support(30, "release_hold", name, kind="commercial"),
        azure(33, "Reinstate", "sub-91"),
        azure(36, "Suspend", "sub-91"),
        committed(38, name, "c-2026", 39, 47),
        support(44, "place_hold", name, kind="legal", expires_at="2026-02-19T12:00:00Z"),
    ]


def _feeds(day: int) -> list[Line]:
    return [login(day, "acme-000"), requested(day, "acme-000")]


def _story(random: Random, organization: str, n: int) -> list[Line]:
    begins, marketplace = random.randrange(0, 40), MARKETPLACES[n % len(MARKETPLACES)]
    subscription = f"{marketplace}-{n:05}"
    story = [
        created(begins, organization),
        leaves_the_free_tier(begins, organization),
        linked(begins, organization, marketplace, subscription, "commit" if n % 4 == 0 else "payg"),
    ]
    if random.random() < 0.35:
        ends = begins + random.randrange(1, 50)
        story.append(_ends(marketplace, subscription, ends, n))
        if random.random() < 0.2:
            story.append(
                support(ends + 3, "extend_grace", organization, days=random.randrange(2, 9))
            )
        elif random.random() < 0.1:
            story.append(support(ends + 2, "place_hold", organization, kind="legal"))
    return story


def _ends(marketplace: str, subscription: str, day: int, n: int) -> Line:
    match marketplace:
        case "aws":
            agreement = {"id": subscription, "status": "CANCELLED"}
            return eventbridge(day, "Purchase Agreement Ended", agreement, account=f"{n:012}")
        case "azure":
            return azure(day, "Unsubscribe", subscription)
        case _:
            line = google(day, "ENTITLEMENT_CANCELLED", subscription)
            line["value"]["eventId"] = f"{subscription} {day}"
            return line


async def fill(worker: Worker, clock: MovableClock) -> None:
    """Bring the database to `TODAY`, day by day, with dead letters at the end."""
    for day, of_day in groupby(lines(), key=day_of):
        await wait(worker, clock, day)
        await ingest(records(*of_day), worker)
    await wait(worker, clock, TODAY)
    for _ in range(3):
        await ingest_lines(worker, clock, *UNREADABLE)
