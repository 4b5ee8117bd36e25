"""Sends records of a few kilobytes that are 90 MB each when decompressed.

python tests/attacks/bombs.py
"""

from pathlib import Path

from aiokafka import AIOKafkaProducer
from outsider import Outsider, example, repeat, until

TOPIC = "organizations.changes"
BOMBS = 5
BOMB_BYTES = 90_000_000
MEMORY_KIB_MAX = 512 * 1024


async def attack(outsider: Outsider) -> None:
    """Bombs with each codec, followed by a valid message in the same partition."""
    for codec in ("gzip", "lz4", "snappy", "zstd"):
        async with AIOKafkaProducer(
            bootstrap_servers=outsider.kafka, compression_type=codec, max_request_size=2**30
        ) as producer:
            for _ in range(BOMBS if codec == "zstd" else 1):
                try:
                    await producer.send_and_wait(TOPIC, bytes(BOMB_BYTES), key=b"org-1")
                except Exception as refusal:  # noqa: BLE001 - Kafka refuses what stays too large
                    print(f"{codec}: {refusal}")
    await outsider.send(TOPIC, example("organization.created", "org-1"), key=b"org-1")
    async with outsider.worker() as worker:
        await until(
            lambda: any(each["outcomes"] for each in worker.lines("batch_ingested")),
            within_s=120,
        )
        memory = _memory_kib(worker.process.pid)
        print(f"peak memory {memory} kB")
        outsider.require(memory < MEMORY_KIB_MAX, "memory is bounded")
        letters = await outsider.rows("SELECT value FROM dead_letters")
        print(f"{len(letters)} dead letters")
        outsider.require(len(letters) >= BOMBS, "each bomb is a dead letter")
        outsider.require({each["value"] for each in letters} == {None}, "stored without its value")
        shown = await outsider.succeed("org", "show", "org-1")
        outsider.require("active" in shown, "the message behind them is applied")


def _memory_kib(pid: int) -> int:
    """The peak memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1])


if __name__ == "__main__":
    repeat(attack)
