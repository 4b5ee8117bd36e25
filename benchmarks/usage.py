"""`usage`: usage events, from Kafka to committed activity, of 20,000 organizations."""

import random
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial

from benchmarks import cloning, naive, workloads
from benchmarks.measuring import Options, Ours, Rival, alternate, compared, naive_rival
from benchmarks.results import Row
from benchmarks.stage import Connection, Stage
from marketplace_worker.settings import Settings, Topics

ORGANIZATIONS = 20_000
EVENTS = 200_000
TIMES = 7
"""How often the events are in the topic: a floor reads more than a million in five seconds."""
OURS_FIRST = 400_000
"""How many `ours` reads in its first run."""
NAIVE_EVENTS = 600
PREFIX = "usage."
WANTED = "0.45 of floor"


async def measure(stage: Stage, options: Options) -> list[Row]:
    """Measure all contenders; returns one row."""
    organizations = options.size(ORGANIZATIONS, least=100)
    count = options.size(EVENTS, least=2_000)
    await stage.template("usage", partial(build, organizations=organizations))
    await stage.template("usage_naive", partial(naive.fill, organizations=organizations))
    await stage.topics(PREFIX)
    now = datetime.now(UTC)
    events = workloads.usage(random.Random(1), organizations, now, count)
    for _ in range(TIMES):
        await stage.send(PREFIX, events)

    available = TIMES * count
    first = min(available, options.size(OURS_FIRST))
    ours = Ours(stage, "usage", PREFIX, "ingest", "batch_ingested", "records", first, available)
    rivals = {
        "floor": Rival(ours, "benchmarks.floor_usage", available, available, topics=_topics),
        "naive": naive_rival(
            ours,
            "benchmarks.naive_usage",
            options.size(NAIVE_EVENTS, least=100),
            topics=_topics,
            template="usage_naive",
        ),
    }
    runs = await alternate({"ours": ours, **rivals}, options)
    size = round(sum(len(value) for _, _, value in events) / count)
    more = {"organizations": organizations, "message_bytes": size}
    return [compared(ours, runs, "messages/s", WANTED, rivals, **more)]


def _topics(topics: Topics) -> Sequence[str]:
    return [topics.api_requests]


async def build(connection: Connection, settings: Settings, *, organizations: int) -> None:
    """Fill a database with active organizations."""
    now = datetime.now(UTC)
    (number,) = await cloning.seed(settings, [workloads.ACTIVE], now)
    tables = ("organizations", "activity")
    await cloning.clone(connection, number, range(organizations), tables=tables)
