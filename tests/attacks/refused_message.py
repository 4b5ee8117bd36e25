"""Makes Kafka refuse one message of the worker permanently: no other message may wait.

python tests/attacks/refused_message.py
"""

import asyncio

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from outsider import Outsider, example, repeat, until

CHANGES = "organizations.changes"
STATE = "organizations.state"


async def attack(outsider: Outsider) -> None:
    """The topic accepts at most 1,000 bytes per message; one organization has a long name."""
    long = "long-" + "n" * 900
    await _limit(outsider, {"max.message.bytes": "1000"})
    async with outsider.worker(MARKETPLACE_WORKER_RELAY__COMPRESSION="none") as worker:
        for name in (long, "short"):
            await outsider.send(CHANGES, example("organization.created", name), key=name.encode())
        line = await worker.logged("message_refused")
        print(line)
        outsider.require(line and line["key"].startswith("long-"), "a log line names the message")
        await until(lambda: len(worker.lines("message_refused")) >= 3)
        keys = {key for key, _ in await outsider.records(STATE)}
        outsider.require(keys == {b"short"}, "the other organization's snapshot is in Kafka")
        (row,) = await outsider.rows("SELECT count(*) FROM outbox")
        outsider.require(row["count"] == 1, "the refused message stays in the outbox")
        await _limit(outsider, {})
        await worker.logged("refused_message_sent")
        await asyncio.sleep(1)
        keys = {key for key, _ in await outsider.records(STATE)}
        outsider.require(keys == {b"short", long.encode()}, "it is sent once the topic accepts it")


async def _limit(outsider: Outsider, configuration: dict[str, str]) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=outsider.kafka)
    await admin.start()
    await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, STATE, configuration)])
    await admin.close()


if __name__ == "__main__":
    repeat(attack)
