"""`relay`: sends messages from the outbox until Kafka has acknowledged them and they are deleted.

SQL fills the outbox with copies of the messages that the product wrote for one notification of each
kind, each copy with the number of another organization.
"""

from datetime import UTC, datetime
from functools import partial

from benchmarks import cloning
from benchmarks.measuring import Options, Ours, Rival, alternate, compared, naive_rival
from benchmarks.results import Row
from benchmarks.stage import Connection, Stage
from benchmarks.workloads import NOTIFIED, number_of
from marketplace_worker.settings import Settings
from marketplace_worker.store.outbox import SHARDS

MESSAGES = 300_000
"""More than a floor sends in five seconds."""
OURS_FIRST = 200_000
"""How many `ours` sends in its first run."""
NAIVE_MESSAGES = 900
OUTGOING = 3
PREFIX = "out."
WANTED = "0.8 of floor"

COPY = f"""
WITH samples AS MATERIALIZED (
    SELECT id, topic, convert_from(key, 'UTF8') AS key, convert_from(value, 'UTF8') AS value,
        headers, written_at
    FROM outbox
    WHERE convert_from(key, 'UTF8') LIKE '%' || $1
),
copies AS (
    SELECT n, id, '{PREFIX}' || topic AS topic, convert_to(replace(key, $1, number), 'UTF8') AS key,
        convert_to(replace(value, $1, number), 'UTF8') AS value, headers, written_at
    FROM samples, (
        SELECT n, lpad(n::text, 8, '0') AS number FROM generate_series($2::int, $3, $4) AS n
    ) AS new
)
INSERT INTO outbox (shard, topic, key, value, headers, written_at)
SELECT crc32(key) % {SHARDS}, topic, key, value, headers, written_at
FROM copies
ORDER BY n, id
"""


async def measure(stage: Stage, options: Options) -> list[Row]:
    """Measure all contenders; returns one row."""
    organizations = options.size(MESSAGES // OUTGOING, least=600)
    count = organizations * OUTGOING
    await stage.template("relay", partial(_build, organizations=organizations))
    await stage.topics(PREFIX)
    first = min(count, options.size(OURS_FIRST))
    ours = Ours(stage, "relay", PREFIX, "relay", "batch_relayed", "messages", first, count)
    naive_count = options.size(NAIVE_MESSAGES, least=100)
    rivals = {
        "floor": Rival(ours, "benchmarks.floor_relay", count, count),
        "naive": naive_rival(ours, "benchmarks.naive_relay", naive_count),
    }
    runs = await alternate({"ours": ours, **rivals}, options)
    return [compared(ours, runs, "messages/s", WANTED, rivals)]


async def _build(connection: Connection, settings: Settings, *, organizations: int) -> None:
    now = datetime.now(UTC)
    numbers = await cloning.seed(settings, NOTIFIED, now, news=True)
    for place, number in enumerate(numbers):
        await connection.execute(COPY, number_of(number), place, organizations - 1, len(numbers))
    # The original messages have topics without the prefix.
    await connection.execute("DELETE FROM outbox WHERE NOT starts_with(topic, $1)", PREFIX)
