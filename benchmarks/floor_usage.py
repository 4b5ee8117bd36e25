"""The floor of `usage`: `getmany`, `orjson.loads`, one statement a batch, commit.

Like `ours` it sums the requests of a batch by organization and writes one row of `activity` for
each, one of `feed_days` for each partition and day, and one of `activity_offsets` for each
partition.  It leaves out the validation of the envelope, deduplication, organizations that watch
their activity, stopped topics, dead letters and the log.
"""

from datetime import datetime
from typing import Any

import orjson
from aiokafka import ConsumerRecord

from benchmarks.floor import Job, connected, consume, main

WRITE = """
WITH seen AS (
    INSERT INTO feed_days AS known (feed, day, partition, first_at, last_at)
    SELECT 'api_requests', *
    FROM unnest($4::date[], $5::integer[], $6::timestamptz[], $7::timestamptz[])
    ON CONFLICT (feed, day, partition) DO UPDATE
    SET first_at = least(known.first_at, excluded.first_at),
        last_at = greatest(known.last_at, excluded.last_at)
),
moved AS (
    INSERT INTO activity_offsets AS known (topic, partition, next_offset, newest_at)
    SELECT * FROM unnest($8::text[], $9::integer[], $10::bigint[], $11::timestamptz[])
    ON CONFLICT (topic, partition) DO UPDATE
    SET next_offset = excluded.next_offset, newest_at = excluded.newest_at
)
INSERT INTO activity AS known (organization_id, last_request_at, logins, requests)
SELECT organization_id, last_request_at, 0, requests
FROM unnest($1::text[], $2::timestamptz[], $3::bigint[])
    AS new (organization_id, last_request_at, requests)
ON CONFLICT (organization_id) DO UPDATE
SET last_request_at = greatest(known.last_request_at, excluded.last_request_at),
    requests = known.requests + excluded.requests
"""


async def measure(job: Job) -> dict[str, Any]:
    """Process the job's number of usage events."""
    async with connected(job) as connection:
        write = await connection.prepare(WRITE)

        async def process(batch: list[ConsumerRecord]) -> None:
            async with connection.transaction():
                await write.fetch(*_totals(batch))

        return await consume(job, process)


def _totals(batch: list[ConsumerRecord]) -> list[list[Any]]:
    counted: dict[str, tuple[datetime, int]] = {}
    seen: dict[tuple[Any, int], tuple[datetime, datetime]] = {}
    ends: dict[tuple[str, int], tuple[int, datetime]] = {}
    for record in batch:
        event = orjson.loads(record.value)
        at = datetime.fromisoformat(event["time"])
        organization, requests = event["subject"], event["data"]["requests"]
        last, before = counted.get(organization, (at, 0))
        counted[organization] = (max(last, at), before + requests)
        day = (at.date(), record.partition)
        first, latest = seen.get(day, (at, at))
        seen[day] = (min(first, at), max(latest, at))
        ends[record.topic, record.partition] = (record.offset + 1, at)
    ids = sorted(counted)
    return [
        ids,
        [counted[each][0] for each in ids],
        [counted[each][1] for each in ids],
        [day for day, _ in seen],
        [partition for _, partition in seen],
        [first for first, _ in seen.values()],
        [last for _, last in seen.values()],
        [topic for topic, _ in ends],
        [partition for _, partition in ends],
        [offset for offset, _ in ends.values()],
        [newest for _, newest in ends.values()],
    ]


if __name__ == "__main__":
    main(measure)
