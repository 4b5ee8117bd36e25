"""The floor of `relay`: read a batch, `send` all of it and gather, delete it, commit.

It reads, sends and deletes the same rows as `ours`, with the same producer: idempotent if the
broker supports that, `acks=all`, the same compression at the same level.  It leaves out shards and
their leaders, the handling of unacknowledged messages, parsing each row's headers (it knows them)
and the log.
"""

import asyncio
from typing import Any

from aiokafka import AIOKafkaProducer

from benchmarks.floor import Job, Stopwatch, connected, main
from marketplace_worker.streams.mends import compression

HEADERS = [("content-type", b"application/cloudevents+json")]

READ = "SELECT id, topic, key, value, headers FROM outbox ORDER BY id LIMIT $1"
FORGET = "DELETE FROM outbox WHERE id = ANY($1::bigint[])"


async def measure(job: Job) -> dict[str, Any]:
    """Send all messages of the outbox."""
    compression.install()
    producer = AIOKafkaProducer(
        bootstrap_servers=job["kafka"],
        acks="all",
        enable_idempotence=job["idempotent"],
        linger_ms=5,
        compression_type=job["compression"],
        max_batch_size=256 * 1024,
    )
    await producer.start()
    clock = Stopwatch()
    try:
        async with connected(job) as connection:
            read, forget = await connection.prepare(READ), await connection.prepare(FORGET)
            while clock.done < job["count"]:
                clock.begin()
                async with connection.transaction():
                    rows = await read.fetch(job["batch"])
                    sent = [
                        await producer.send(topic, value, key=key, headers=HEADERS)
                        for _, topic, key, value, _ in rows
                    ]
                    await asyncio.gather(*sent)
                    await forget.fetch([row[0] for row in rows])
                clock.done += len(rows)
            return clock.result()
    finally:
        await producer.stop()


if __name__ == "__main__":
    main(measure)
