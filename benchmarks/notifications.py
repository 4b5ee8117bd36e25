"""`notifications`: marketplace notifications, from Kafka to journal, state and outbox.

A third from each marketplace, each for a different organization.  Each changes its organization's
state and produces three outgoing messages (`workloads.NOTIFIED`).
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial

from benchmarks import cloning, naive, workloads
from benchmarks.capturing import written_of_each
from benchmarks.measuring import Options, Ours, Rival, alternate, capture, compared, naive_rival
from benchmarks.results import Row
from benchmarks.stage import Connection, Stage
from marketplace_worker.settings import Settings, Topics

NOTIFICATIONS = 48_000
"""The number that a floor processes in five seconds."""
OURS_FIRST = 12_000
"""How many `ours` processes in its first run."""
NAIVE_NOTIFICATIONS = 300
OUTGOING = 3
PREFIX = "notified."
WANTED = "0.40 of floor"


async def measure(stage: Stage, options: Options) -> list[Row]:
    """Measure all contenders; returns one row."""
    count = options.size(NOTIFICATIONS, least=600)
    kinds = workloads.NOTIFIED
    now = datetime.now(UTC)
    await stage.template("notifications", partial(_build, now=now, organizations=count))
    await stage.template("notifications_naive", partial(naive.fill, organizations=count))
    await stage.topics(PREFIX)
    messages = [
        kinds[number % len(kinds)].news(workloads.number_of(number), now) for number in range(count)
    ]
    await stage.send(PREFIX, messages)

    first = min(count, options.size(OURS_FIRST, least=600))
    ours = Ours(stage, "notifications", PREFIX, "ingest", "batch_ingested", "records", first, count)
    written = await capture(ours)
    for each in written.written.values():
        assert len(each.rows["outbox"]) == OUTGOING, "each notification has three messages"
    rivals = {
        "floor": Rival(
            ours,
            "benchmarks.floor_notifications",
            count,
            count,
            topics=_topics,
            captured=written.save(stage.folder),
        ),
        "naive": naive_rival(
            ours,
            "benchmarks.naive_notifications",
            options.size(NAIVE_NOTIFICATIONS, least=60),
            topics=_topics,
            template="notifications_naive",
        ),
    }
    runs = await alternate({"ours": ours, **rivals}, options)
    size = round(sum(len(value) for _, _, value in messages) / count)
    more = {"message_bytes": size, "written_of_each": written_of_each(written)}
    return [compared(ours, runs, "messages/s", WANTED, rivals, **more)]


def _topics(topics: Topics) -> Sequence[str]:
    return [topics.aws_notifications, topics.gcp_notifications, topics.azure_notifications]


async def _build(
    connection: Connection, settings: Settings, *, now: datetime, organizations: int
) -> None:
    kinds = workloads.NOTIFIED
    for place, number in enumerate(await cloning.seed(settings, kinds, now)):
        copies = range(place, organizations, len(kinds))
        await cloning.clone(connection, number, copies, tables=cloning.WITHOUT_HISTORY)
