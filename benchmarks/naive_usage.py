"""The naive `usage`: a subscriber that adds one event at a time to its organization's row."""

from datetime import datetime
from typing import Any

from faststream import AckPolicy
from faststream.kafka import KafkaMessage
from pydantic import BaseModel

from benchmarks import naive
from benchmarks.floor import Job, main


class Data(BaseModel):
    """The data of a usage event."""

    requests: int = 1


class UsageEvent(BaseModel):
    """A usage event, as a CloudEvent."""

    id: str
    source: str
    type: str
    subject: str
    time: datetime
    data: Data


async def measure(job: Job) -> dict[str, Any]:
    """Process the job's number of usage events."""
    finish, broker = naive.Finish(job["count"]), naive.broker(job)
    async with naive.pooled(job) as pool:

        @broker.subscriber(*job["topics"], ack_policy=AckPolicy.MANUAL, **naive.subscription(job))
        async def used(event: UsageEvent, message: KafkaMessage) -> None:
            finish.clock.begin()
            async with pool.acquire() as connection, connection.transaction():
                row = await connection.fetchrow(
                    "SELECT last_request_at FROM usage WHERE organization_id = $1 FOR UPDATE",
                    event.subject,
                )
                last = row["last_request_at"] if row else None
                await connection.execute(
                    "UPDATE usage SET last_request_at = $2, requests = requests + $3"
                    " WHERE organization_id = $1",
                    event.subject,
                    max(last or event.time, event.time),
                    event.data.requests,
                )
            await message.ack()
            finish.step()

        async with broker:
            await broker.start()
            return await finish.reached()


if __name__ == "__main__":
    main(measure)
