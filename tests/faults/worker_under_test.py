"""Runs the worker in its own process with the test's clock; everything else is unchanged.

    python -m faults.worker_under_test CLOCK_FILE LOOP,LOOP...

The settings are those of the environment.
"""

import os
import sys
from collections.abc import Collection, Mapping
from datetime import datetime
from pathlib import Path

import uvloop

from marketplace_worker.app import Loop, run
from marketplace_worker.operations.logs import set_up_logs
from marketplace_worker.settings import load_settings
from marketplace_worker.store.database import Connection


def main(clock_file: Path, loops: Collection[Loop]) -> None:
    """Run until SIGTERM, with the clock in the file."""

    def local_clock() -> datetime:
        return datetime.fromisoformat(clock_file.read_text())

    async def clock(_: Connection) -> datetime:
        return local_clock()

    settings = load_settings()
    set_up_logs(sys.stdout, settings.log_level)
    uvloop.run(run(settings, loops, clock=clock, local_clock=local_clock))


def work(
    clock_file: Path, loops: Collection[Loop], environment: Mapping[str, str], log: Path
) -> None:
    """Run it as a job of the fork server, with the output appended to a file."""
    os.environ.clear()
    os.environ.update(environment)
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for stream in (1, 2):
        os.dup2(output, stream)
    main(clock_file, loops)


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Loop(name) for name in sys.argv[2].split(",")])
