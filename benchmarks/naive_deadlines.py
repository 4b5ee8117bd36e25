"""The naive `deadlines`: claims one due organization at a time, updates it, writes its history and
publishes.  It publishes as many events as `ours`.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from benchmarks import naive
from benchmarks.floor import Job, main

SUSPENDED = (
    "organization.suspended",
    "api_keys.revoked",
    "data_plane.access_revoked",
    "organization.state",
)


async def measure(job: Job) -> dict[str, Any]:
    """Process the job's number of due organizations."""
    finish, broker = naive.Finish(job["count"]), naive.broker(job)
    async with naive.pooled(job) as pool, broker:
        await broker.start()
        while finish.clock.done < job["count"]:
            finish.clock.begin()
            now = datetime.now(UTC)
            async with pool.acquire() as connection, connection.transaction():
                row = await connection.fetchrow(
                    "SELECT * FROM customers WHERE due_at <= $1 ORDER BY due_at LIMIT 1"
                    " FOR UPDATE SKIP LOCKED",
                    now,
                )
                if row is None:
                    break
                organization = row["organization_id"]
                await connection.execute(
                    "UPDATE customers SET state = 'suspended', due_at = $2,"
                    " sequence = sequence + 4 WHERE organization_id = $1",
                    organization,
                    now + timedelta(days=30),
                )
                await connection.execute(
                    "INSERT INTO history (organization_id, state_before, state, happened_at)"
                    " VALUES ($1, $2, 'suspended', $3)",
                    organization,
                    row["state"],
                    now,
                )
            after = {**dict(row), "state": "suspended", "previous_state": row["state"]}
            for event in naive.events(SUSPENDED, organization, now, after):
                await broker.publish(event, job["outbound"], key=organization.encode())
            finish.step()
        return finish.clock.result()


if __name__ == "__main__":
    main(measure)
