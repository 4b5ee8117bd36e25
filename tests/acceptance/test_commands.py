"""The commands, typed as an operator types them."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from acceptance.stage import Stage, environment, until, worker_process
from marketplace_worker.settings import Settings


async def typed(*arguments: str, settings: Settings) -> tuple[int | None, str, str]:
    """Run a command to its end: exit status, standard output, standard error."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "marketplace_worker", *arguments,
        env={**os.environ, **environment(settings)},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


@pytest.mark.broker
async def test_an_operator_is_led_from_nothing_to_a_running_worker(settings: Settings) -> None:
    """Each refusal says what to type next; what is typed twice is harmless."""
    status, _, err = await typed("run", settings=settings)
    assert (status, "marketplace-worker migrate" in err) == (2, True)

    assert (await typed("migrate", settings=settings))[:2] == (0, "applied 0001_first.sql\n")
    assert (await typed("migrate", settings=settings))[:2] == (0, "the schema is current\n")

    status, _, err = await typed("run", settings=settings)
    assert (status, "marketplace-worker topics create" in err) == (2, True)

    create = ("topics", "create", "--partitions", "2", "--replication-factor", "1")
    status, out, _ = await typed(*create, settings=settings)
    assert (status, out.count("created ")) == (0, 10)
    status, out, _ = await typed(*create, settings=settings)
    assert (status, out.count("existed ")) == (0, 10)


@pytest.mark.broker
async def test_sigterm_ends_the_worker_in_order_and_its_log_is_json(
    stage: Stage, tmp_path: Path
) -> None:
    """Exit status 0; every line of a log that is no terminal is one JSON object."""
    log = tmp_path / "log"

    async def started() -> bool:
        return "worker_started" in log.read_text()

    async with worker_process(stage.settings, log) as process:
        await until(started)
        process.send_signal(signal.SIGTERM)
        status = await asyncio.wait_for(process.wait(), timeout=30)

    told = [json.loads(line) for line in log.read_text().splitlines()]
    assert status == 0
    assert told[-1]["event"] == "worker_stopped"
    assert all({"event", "level", "ts"} <= line.keys() for line in told)


async def test_a_demo_that_is_told_to_end_leaves_nothing_behind(tmp_path: Path) -> None:
    """No file in its folder but an empty cache.  (`make demo` is what runs it to its end.)"""
    async with demo(tmp_path) as process:
        assert process.stdout is not None
        while b"organization.canceled" not in await process.stdout.readline():
            pass
        process.send_signal(signal.SIGTERM)
        await process.communicate()

    assert process.returncode != 0
    assert [path.name for path in (tmp_path / ".cache").iterdir()] == []


@asynccontextmanager
async def demo(folder: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """`marketplace-worker demo`, in that folder."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "marketplace_worker", "demo",
        cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
