"""Deletes records in Kafka before a worker has read them, as a short retention does.

python tests/attacks/positions_that_jump.py
"""

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.records_to_delete import RecordsToDelete
from outsider import Outsider, example, repeat

TOPIC = "organizations.changes"
UNREAD = 505


async def attack(outsider: Outsider) -> None:
    """A worker processes one message, stops while 505 are written and deleted, and starts again."""
    async with outsider.worker() as worker:
        await outsider.send(TOPIC, example("organization.created", "first"), b"one key")
        await worker.logged("batch_ingested")
    async with AIOKafkaProducer(bootstrap_servers=outsider.kafka) as producer:
        for number in range(UNREAD):
            value = example("organization.created", f"org-{number}")
            await producer.send(TOPIC, value, key=b"one key")
        await producer.flush()
    await _delete_all(outsider)
    async with outsider.worker() as worker:
        line = await worker.logged("position_jumped")
        print(line)
        outsider.require(line is not None, "records deleted unread are logged")
        if line is not None:
            missed = line["to_offset"] - line["from_offset"]
            outsider.require(line["level"] == "error", "as an error")
            outsider.require(missed == UNREAD, f"with both positions: {missed} records")
        await outsider.send(TOPIC, example("organization.created", "last"), b"one key")
        await worker.logged("batch_ingested")
        rows = await outsider.rows("SELECT FROM journal")
        outsider.require(len(rows) == 2, "later records are processed")


async def _delete_all(outsider: Outsider) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=outsider.kafka)
    await admin.start()
    try:
        places = [TopicPartition(TOPIC, partition) for partition in range(3)]
        await admin.delete_records({each: RecordsToDelete(-1) for each in places})
    finally:
        await admin.close()


if __name__ == "__main__":
    repeat(attack)
