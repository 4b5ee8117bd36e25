"""The commands, run as an operator runs them."""

import asyncio
import contextlib
import json
import signal
from pathlib import Path

import pytest

import servers
from acceptance.stage import Stage, command, until, worker_process
from marketplace_worker.settings import Settings
from marketplace_worker.store.migrations import migrations


async def run(*arguments: str, settings: Settings) -> tuple[int | None, str]:
    """Run a command to its end; returns exit status and output."""
    async with command(*arguments, settings=settings) as process:
        output, _ = await process.communicate()
    return process.returncode, output.decode()


@pytest.mark.broker
@pytest.mark.parametrize("postgres_template", [servers.EMPTY])
async def test_error_messages_lead_an_operator_to_a_running_worker(settings: Settings) -> None:
    """Each refusal names the next command; repeated commands are harmless."""
    status, output = await run("run", settings=settings)
    assert (status, "marketplace-worker migrate" in output) == (2, True)

    applied = "".join(f"applied {each.name}\n" for each in migrations())
    assert await run("migrate", settings=settings) == (0, applied)
    assert await run("migrate", settings=settings) == (0, "the schema is current\n")

    status, output = await run("run", settings=settings)
    assert (status, "marketplace-worker topics create" in output) == (2, True)

    create = ("topics", "create", "--partitions", "2", "--replication-factor", "1")
    status, output = await run(*create, settings=settings)
    assert (status, output.count("created ")) == (0, 10)
    status, output = await run(*create, settings=settings)
    assert (status, output.count("existed ")) == (0, 10)


@pytest.mark.broker
async def test_sigterm_ends_the_worker_in_order_and_its_log_is_json(
    stage: Stage, tmp_path: Path
) -> None:
    """Exit status 0; without a terminal, every log line is one JSON object."""
    log = tmp_path / "log"

    async def started() -> bool:
        return "worker_started" in log.read_text()

    async with worker_process(stage.settings, log) as process:
        await until(started)
        process.send_signal(signal.SIGTERM)
        status = await asyncio.wait_for(process.wait(), timeout=30)

    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert status == 0
    assert lines[-1]["event"] == "worker_stopped"
    assert all({"event", "level", "ts"} <= line.keys() for line in lines)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_stopped_demo_leaves_nothing_behind(tmp_path: Path, number: signal.Signals) -> None:
    """No process, and no file but an empty cache. (`make demo` runs it to the end.)"""
    async with command("demo", folder=tmp_path) as process:
        assert process.stdout is not None
        async for line in process.stdout:
            if b"organization.canceled" in line:
                break
        assert len(processes_in(tmp_path)) > 1
        process.send_signal(number)
        await process.communicate()

    assert process.returncode not in {0, -signal.SIGKILL}
    assert [path.name for path in (tmp_path / ".cache").iterdir()] == []
    assert processes_in(tmp_path) == []


def processes_in(folder: Path) -> list[str]:
    """The processes whose working directory is there, by their command lines (Linux only)."""
    found = []
    for each in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (each / "cwd").readlink().is_relative_to(folder):
                found.append((each / "cmdline").read_text().replace("\0", " "))
    return found
