"""Unknown clients on the worker's port delay neither probes nor messages."""

import asyncio
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from acceptance.probed_worker import ProbedStage
from acceptance.scenario import created
from acceptance.stage import PATIENCE_S, until, worker_process
from marketplace_worker.operations.serving import CONNECTIONS_MAX
from steps.story_beginnings import records

pytestmark = pytest.mark.faults

SPARE_FILES = 24
"""How many files the worker may open beside its previous ones and `CONNECTIONS_MAX` connections."""

STRANGERS = 400


@asynccontextmanager
async def strangers(port: int) -> AsyncIterator[None]:
    """Connections that each send a byte now and then, and reconnect when closed.  Yields when all
    have been connected once.
    """
    came = asyncio.Semaphore(0)

    async def drip() -> None:
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.5)
                continue
            came.release()
            try:
                for byte in b"GET /livez HTTP/1.1\r\n" * 9:
                    writer.write(bytes([byte]))
                    await asyncio.sleep(0.5)
                    await writer.drain()
            except OSError:
                pass
            finally:
                writer.transport.abort()
                writer.close()

    dripping = [asyncio.create_task(drip()) for _ in range(STRANGERS)]
    try:
        async with asyncio.timeout(PATIENCE_S):
            for _ in range(STRANGERS):
                await came.acquire()
        yield
    finally:
        for each in dripping:
            each.cancel()
        await asyncio.wait(dripping)
        await asyncio.sleep(0)  # so that the connections close before the event loop does


def open_files(pid: int) -> int:
    """How many files a process has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


async def test_slow_connections_delay_neither_probes_nor_messages(
    probed: ProbedStage, tmp_path: Path
) -> None:
    """Without a limit they use all file descriptors of the process: it could not connect to
    servers, and would park valid records.
    """
    port, log = probed.settings.http_port, tmp_path / "log"
    assert port is not None
    async with worker_process(probed.settings, log) as worker:
        await until(probed.ready)
        most = open_files(worker.pid) + CONNECTIONS_MAX + SPARE_FILES
        resource.prlimit(worker.pid, resource.RLIMIT_NOFILE, (most, most))
        async with strangers(port):
            for day in range(5):
                assert await probed.answered("/livez") == 200
                await until(probed.ready)
                # Connections are opened again, for which files are needed.
                probed.postgres.cut()
                (record,) = records(created(day, f"org-{day}"))
                await probed.stage.send(record)
                assert open_files(worker.pid) < most

    assert await probed.stage.pool.fetchval("SELECT count(*) FROM dead_letters") == 0
    assert len(await probed.stage.states()) == 5
    assert "Traceback" not in log.read_text()
