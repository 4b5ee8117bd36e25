"""Leaves the pipe that the worker logs to unread: it must keep working, and stop on SIGTERM.

python tests/attacks/unread_log.py
"""

import asyncio
import fcntl
import os
import sys
import time

from outsider import Outsider, example, repeat

CHANGES = "organizations.changes"


async def attack(outsider: Outsider) -> None:
    """A pipe of one page, full from the start."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4_096)
    os.write(writing, b"." * 4_096)
    worker = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "marketplace_worker", "run",
        env=outsider.environment, stdout=writing, stderr=writing,
    )  # fmt: skip
    await outsider.send(CHANGES, example("organization.created", "acme"), key=b"acme")
    ingested = False
    for _ in range(200):
        (row,) = await outsider.rows("SELECT count(*) FROM journal")
        ingested = row["count"] > 0
        if ingested:
            break
        await asyncio.sleep(0.1)
    outsider.require(ingested, "it ingests messages")
    began = time.monotonic()
    worker.terminate()
    try:
        status: int | None = await asyncio.wait_for(worker.wait(), timeout=30)
    except TimeoutError:
        status = None
        worker.kill()
        await worker.wait()
    print(f"exit status {status} after {time.monotonic() - began:.1f} s")
    outsider.require(status == 0, "SIGTERM ends it with status 0")
    os.close(writing)
    os.close(reading)


if __name__ == "__main__":
    repeat(attack)
