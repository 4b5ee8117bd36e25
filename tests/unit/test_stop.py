"""A stop that is over ends no process any more: others live in it."""

import asyncio
import subprocess
import sys

import pytest

from marketplace_worker.operations import shutdown
from marketplace_worker.operations.shutdown import GOODBYE_S, Shutdown


def test_the_time_runs_from_the_order_and_is_one_for_all() -> None:
    """Whoever asks first; what is kept for saying goodbye is not for work."""
    requested = asyncio.Event()
    with Shutdown(requested, within_s=60.0) as stopping:
        left = stopping.work_left_s()
        assert requested.is_set()
        assert left <= 60.0 - GOODBYE_S
        assert stopping.work_left_s() <= left


def outlive(code: str) -> subprocess.CompletedProcess[str]:
    """What becomes of a process that does this, with a stop of no time at all."""
    script = (
        "import asyncio, time\n"
        "from marketplace_worker.operations import shutdown\n"
        "shutdown.GRACE_S = 0.1\n"
        "stopping = shutdown.Shutdown(asyncio.Event(), within_s=0.1)\n" + code
    )
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize(
    "code",
    [
        "with stopping: pass\nstopping.request(); time.sleep(1)",
        "with stopping: stopping.request()\ntime.sleep(1)",
    ],
)
def test_a_stop_that_is_over_ends_nothing(code: str) -> None:
    """Also where what was given up orders it once more on its way out."""
    assert outlive(code).returncode == 0


def test_a_stop_that_is_not_over_in_time_ends_the_process_and_logs_the_stacks() -> None:
    """The last resort: it is as safe as SIGKILL, and says more."""
    ended = outlive(
        "def stuck(): time.sleep(50)\nwith stopping:\n    stopping.request()\n    stuck()"
    )
    assert ended.returncode == 1
    assert "in stuck" in ended.stderr
    assert shutdown.GRACE_S == 1.0
