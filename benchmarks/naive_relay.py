"""The naive `relay`: for each message, read the oldest row, publish, wait, delete and commit."""

import json
from base64 import b64decode
from typing import Any

from benchmarks import naive
from benchmarks.floor import Job, main


async def measure(job: Job) -> dict[str, Any]:
    """Send the job's number of messages."""
    finish, broker = naive.Finish(job["count"]), naive.broker(job)
    async with naive.pooled(job) as pool, broker:
        await broker.start()
        while finish.clock.done < job["count"]:
            finish.clock.begin()
            async with pool.acquire() as connection, connection.transaction():
                row = await connection.fetchrow(
                    "SELECT id, topic, key, value, headers FROM outbox ORDER BY id LIMIT 1"
                    " FOR UPDATE"
                )
                if row is None:
                    break
                headers = {name: b64decode(text).decode() for name, text in json.loads(row[4])}
                await broker.publish(row[3], row[1], key=row[2], headers=headers)
                await connection.execute("DELETE FROM outbox WHERE id = $1", row[0])
            finish.step()
        return finish.clock.result()


if __name__ == "__main__":
    main(measure)
