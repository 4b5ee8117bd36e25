"""Runs a command against its own Apache Kafka, with `KAFKA=host:port` in the environment.

    python tests/kafka/with_kafka.py COMMAND ARGUMENT...

The jars must have been fetched (`make test-kafka`).  Exits with the command's code.
"""

import asyncio
import os
import sys
import tempfile
from pathlib import Path

from marketplace_worker.embedded import apache_kafka

CACHE = Path(__file__).parents[2] / ".cache"


async def main(command: list[str]) -> int:
    """Start the broker, run the command, stop the broker."""
    with tempfile.TemporaryDirectory(prefix="broker-", dir=CACHE) as folder:
        async with apache_kafka.broker(CACHE / "kafka", Path(folder)) as address:
            child = await asyncio.create_subprocess_exec(
                *command, env={**os.environ, "KAFKA": address}
            )
            try:
                return await child.wait()
            except asyncio.CancelledError:
                # Ctrl-C reached the command, too; let it clean up.
                await child.wait()
                raise


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
