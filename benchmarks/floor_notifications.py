"""The floor of `notifications`: `getmany`, `orjson.loads`, one read, and one write per table.

Like `ours` it reads and locks each message's organization, subscription and activity, and reads its
link and the newest row of the journal's chain.  It writes the rows captured for the message at that
position: journal, history, outbox, the documents of organization and subscription.  It leaves out
validation, translation, families of subscriptions and their accounts, deduplication, all rules,
hashing, encoding and the log.
"""

from typing import Any

import orjson
from aiokafka import ConsumerRecord

from benchmarks.capturing import Captured
from benchmarks.floor import Job, connected, consume, main

READ = """
SELECT o.document, s.document AS plan, a.last_login_at, a.last_request_at, head.hash
FROM unnest($1::text[], $2::text[], $3::text[])
    AS named (organization_id, marketplace, subscription_id)
JOIN organizations AS o USING (organization_id)
JOIN subscriptions AS s USING (marketplace, subscription_id)
JOIN links USING (organization_id, marketplace, subscription_id)
JOIN activity AS a USING (organization_id)
LEFT JOIN LATERAL (
    SELECT hash FROM journal
    WHERE journal.marketplace = named.marketplace
      AND marketplace_id(journal.subscription_id) = named.subscription_id  -- its index
      AND journal.subscription_id = named.subscription_id AND journal.organization_id IS NULL
    ORDER BY id DESC LIMIT 1
) AS head ON true
FOR UPDATE OF o, s, a
"""


async def measure(job: Job) -> dict[str, Any]:
    """Process the job's number of notifications."""
    captured = Captured.load(job["captured"])
    plan = list(captured.columns["subscriptions"].types)
    marketplace, subscription = plan.index("marketplace"), plan.index("subscription_id")
    async with connected(job) as connection:
        read, write = await connection.prepare(READ), await captured.writer(connection)

        async def process(batch: list[ConsumerRecord]) -> None:
            for record in batch:
                orjson.loads(record.value)
            subjects = [captured.written[f"{r.topic}/{r.partition}/{r.offset}"] for r in batch]
            plans = [each.rows["subscriptions"][0] for each in subjects]
            async with connection.transaction():
                rows = await read.fetch(
                    [each.organization for each in subjects],
                    [each[marketplace] for each in plans],
                    [each[subscription] for each in plans],
                )
                assert len(rows) == len(batch)
                await write(subjects)

        return await consume(job, process)


if __name__ == "__main__":
    main(measure)
