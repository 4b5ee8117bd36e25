"""Runs both embedded servers in a folder, prints their process ids, and waits until it is
stopped.
"""

import asyncio
import sys
from pathlib import Path

from marketplace_worker.embedded.kafka import broker
from marketplace_worker.embedded.postgres import Durability, postgres


async def main(folder: Path) -> None:
    """Run until stopped."""
    async with postgres(folder / "postgres", Durability.NONE), broker(folder / "kafka"):
        pids = [(folder / name / "pid").read_text().strip() for name in ("postgres", "kafka")]
        print(*pids, flush=True)
        await asyncio.sleep(60)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
