"""Writes garbage to a topic: it becomes a dead letter, and the next message is applied.

python tests/attacks/unreadable_record.py
"""

from outsider import Outsider, example, repeat, until

TOPIC = "organizations.changes"


async def attack(outsider: Outsider) -> None:
    """Garbage, followed by a valid message in the same partition."""
    async with outsider.worker() as worker:
        await outsider.send(TOPIC, b"\xff" * 1_000, key=b"org-1")
        await outsider.send(TOPIC, example("organization.created", "org-1"), key=b"org-1")
        await until(lambda: sum(each["records"] for each in worker.lines("batch_ingested")) == 2)
        print(await outsider.succeed("dead-letters", "list"))
        print(shown := await outsider.succeed("org", "show", "org-1"))
        outsider.require("active" in shown, "the next message was applied")
        letters = await outsider.records("marketplace-worker.dead-letters")
        outsider.require(len(letters) == 1, "the dead-letter topic has the unreadable record")


if __name__ == "__main__":
    repeat(attack)
