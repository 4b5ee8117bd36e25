"""The floor of `deadlines`: one statement that claims, one that reads, and one write per table.

Like `ours` it claims a batch of due organizations, locks their activity, reads their links,
subscriptions and the newest rows of their chains, and locks the safeguards.  It writes the rows
captured for each organization (journal, history, outbox, the organization's document) and the
safeguards' row.  It leaves out all rules, the guard's counts, hashing, encoding and the log.
"""

from typing import Any

from benchmarks.capturing import Captured
from benchmarks.floor import Job, Stopwatch, connected, main

CLAIM = """
SELECT organization_id, document
FROM organizations
WHERE next_due_at <= now()
ORDER BY next_due_at, organization_id
LIMIT $1
FOR UPDATE SKIP LOCKED
"""

READ = """
SELECT s.document, a.last_login_at, a.last_request_at, head.hash
FROM unnest($1::text[]) AS claimed (organization_id)
JOIN links USING (organization_id)
JOIN subscriptions AS s USING (marketplace, subscription_id)
JOIN activity AS a USING (organization_id)
LEFT JOIN LATERAL (
    SELECT hash FROM journal WHERE journal.organization_id = claimed.organization_id
    ORDER BY id DESC LIMIT 1
) AS head ON true
FOR UPDATE OF a
"""


async def measure(job: Job) -> dict[str, Any]:
    """Process the job's number of due organizations."""
    captured = Captured.load(job["captured"])
    clock = Stopwatch()
    async with connected(job) as connection:
        claim, read = await connection.prepare(CLAIM), await connection.prepare(READ)
        write = await captured.writer(connection)
        while clock.done < job["count"]:
            clock.begin()
            async with connection.transaction():
                limit = min(job["batch"], job["count"] - clock.done)
                claimed = [row[0] for row in await claim.fetch(limit)]
                await read.fetch(claimed)
                await connection.fetch("SELECT document FROM safeguards FOR UPDATE")
                subjects = [captured.written[each] for each in claimed]
                await write(subjects)
                await connection.execute(
                    "UPDATE safeguards SET document = $1::text::jsonb", captured.safeguards
                )
            clock.done += len(claimed)
        return clock.result()


if __name__ == "__main__":
    main(measure)
