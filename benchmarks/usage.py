"""`usage`: usage events, from Kafka to committed activity, of 20,000 organizations."""

import random
from datetime import UTC, datetime
from functools import partial

from benchmarks import cloning, naive, workloads
from benchmarks.measuring import Options, Ours, Rival, compared, taking_turns
from benchmarks.results import Row
from benchmarks.stage import Connection, Stage
from marketplace_worker.settings import Settings

ORGANIZATIONS = 20_000
EVENTS = 40_000
NAIVE_EVENTS = 300
PREFIX = "usage."
WANTED = "0.6 of floor, 100 x naive"


async def measure(stage: Stage, options: Options) -> list[Row]:
    """Measure all contenders; returns one row."""
    organizations = options.size(ORGANIZATIONS, least=100)
    count = options.size(EVENTS, least=2_000)
    await stage.template("usage", partial(_build, organizations=organizations))
    await stage.template("usage_naive", partial(naive.fill, organizations=organizations))
    await stage.topics(PREFIX)
    now = datetime.now(UTC)
    events = workloads.usage(random.Random(1), organizations, now, count)
    await stage.send(PREFIX, events)

    ours = Ours(stage, "usage", PREFIX, "ingest", "batch_ingested", "records", count)
    rival = partial(Rival, ours, topics=lambda topics: [topics.api_requests])
    naive_count = options.size(NAIVE_EVENTS, least=100)
    rivals = {
        "floor": rival("benchmarks.floor_usage", count),
        "naive": rival("benchmarks.naive_usage", naive_count, template="usage_naive"),
    }
    runs = await taking_turns({"ours": ours, **rivals}, options.runs)
    size = round(sum(len(value) for _, _, value in events) / count)
    more = {"organizations": organizations, "message_bytes": size}
    return [compared(ours, runs, "messages/s", WANTED, rivals, **more)]


async def _build(connection: Connection, settings: Settings, *, organizations: int) -> None:
    now = datetime.now(UTC)
    (number,) = await cloning.seed(settings, [workloads.ACTIVE], now)
    tables = ("organizations", "activity")
    await cloning.clone(connection, number, range(organizations), tables=tables)
