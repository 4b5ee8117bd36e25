"""Joins our consumer group with another program and another assignor: the worker cannot start.

python tests/attacks/stranger_in_the_group.py
"""

from aiokafka import AIOKafkaConsumer
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from outsider import Outsider, repeat


async def attack(outsider: Outsider) -> None:
    """It must end with an explanation and a status other than 0."""
    async with AIOKafkaConsumer(
        "identity.logins",
        bootstrap_servers=outsider.kafka,
        group_id="marketplace-worker.activity",
        partition_assignment_strategy=(RangePartitionAssignor,),
    ):
        status, printed = await outsider.command("run")
    print(printed.splitlines()[-1])
    outsider.require(status == 2, "the exit status is 2: an operator must act")
    outsider.require(
        "marketplace-worker.activity" in printed.splitlines()[-1], "it names the group"
    )


if __name__ == "__main__":
    repeat(attack)
