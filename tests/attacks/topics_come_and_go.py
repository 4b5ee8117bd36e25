"""Adds partitions, deletes a topic, and creates it again while a worker runs.

python tests/attacks/topics_come_and_go.py
"""

import time
import urllib.error
import urllib.request

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from outsider import Outsider, Worker, example, repeat, until

TOPIC, OTHER = "organizations.changes", "marketplace.gcp.notifications"
PORT = 18_417
WITHIN_S = 45.0


def ready() -> tuple[int, str]:
    """The answer of `/readyz`."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/readyz", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refusal:
        return refusal.code, refusal.read().decode()


def ingested(worker: Worker) -> int:
    """How many records it has ingested."""
    return sum(each["records"] for each in worker.lines("batch_ingested"))


async def read_from(outsider: Outsider, worker: Worker, organization: str, partition: int) -> None:
    """Write to a partition, and check that the record is read."""
    before, began = ingested(worker), time.monotonic()
    async with AIOKafkaProducer(bootstrap_servers=outsider.kafka) as producer:
        event = example("organization.created", organization)
        await producer.send_and_wait(TOPIC, event, partition=partition)
    read = await until(lambda: ingested(worker) > before, WITHIN_S)
    seconds = time.monotonic() - began
    outsider.require(read, f"{TOPIC}/{partition} is read, after {seconds:.0f} s")


async def attack(outsider: Outsider) -> None:
    """Each change must be noticed within about half a minute."""
    admin = AIOKafkaAdminClient(bootstrap_servers=outsider.kafka)
    await admin.start()
    async with outsider.worker(MARKETPLACE_WORKER_HTTP_PORT=str(PORT)) as worker:
        await admin.create_partitions({TOPIC: NewPartitions(total_count=6)})
        await read_from(outsider, worker, "in-a-new-partition", 5)

        await admin.delete_topics([TOPIC])
        await until(lambda: TOPIC in ready()[1], WITHIN_S)
        print(*ready())
        outsider.require(ready()[0] == 503, "/readyz names the missing topic")
        await outsider.send(OTHER, b"rubbish")
        letters = "SELECT count(*) FROM dead_letters"
        outsider.require(
            await until(lambda: worker.lines("batch_ingested")) and await outsider.rows(letters),
            "other topics are still read",
        )
        topics = await admin.list_topics()
        outsider.require(
            TOPIC not in topics, "the worker has not created the topic by asking for it"
        )

        await admin.create_topics([NewTopic(TOPIC, num_partitions=3, replication_factor=1)])
        await read_from(outsider, worker, "made-anew", 1)
        outsider.require(await until(lambda: ready()[0] == 200, WITHIN_S), "it is ready again")
    await admin.close()


if __name__ == "__main__":
    repeat(attack)
