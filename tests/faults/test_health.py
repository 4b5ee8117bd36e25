"""A waiting worker reports that it is not ready and keeps running; a hanging one exits."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO

import pytest

import servers
from acceptance.probed_worker import ProbedStage
from acceptance.stage import environment, until, worker_process
from faults.workers import CONSUMERS

pytestmark = pytest.mark.faults

HURRIED = {
    "MARKETPLACE_WORKER_KAFKA__REQUEST_TIMEOUT_MS": "2500",
    "MARKETPLACE_WORKER_KAFKA__REBALANCE_TIMEOUT_MS": "1000",
    "MARKETPLACE_WORKER_RELAY__ACKNOWLEDGE_TIMEOUT_MS": "1000",
    "MARKETPLACE_WORKER_POSTGRES__STATEMENT_TIMEOUT_MS": "500",
}
"""/livez fails after 6 s of silence, and the worker exits after 12 s."""


async def test_while_postgres_is_silent_a_worker_is_alive_but_not_ready(
    probed: ProbedStage, tmp_path: Path
) -> None:
    """A restart would not help; it becomes ready again by itself."""
    async with worker_process(probed.settings, tmp_path / "log"):
        await until(probed.ready)
        with probed.silent_postgres():
            await until(lambda: probed.replies("/readyz", "Postgres: "))
            assert await probed.answered("/livez") == 200
        await until(probed.ready)


async def test_while_kafka_is_silent_a_worker_is_alive_but_not_ready(
    pytestconfig: pytest.Config, probed: ProbedStage, tmp_path: Path
) -> None:
    """Aiokafka hides it: it returns neither records nor an error until its session has expired."""
    kafka, missing = probed.settings.kafka, [f"consumer {each}: " for each in CONSUMERS]
    if pytestconfig.stash[servers.CHOICE].broker is servers.Broker.APACHE:
        kafka = kafka.model_copy(update={"session_timeout_ms": 45_000})
        missing = [words + "has received nothing from Kafka for" for words in missing]
    settings = probed.settings.model_copy(update={"kafka": kafka})
    async with worker_process(settings, tmp_path / "log"):
        await until(probed.ready)
        with probed.silent_broker():
            await until(lambda: probed.replies("/readyz", *missing))
            assert await probed.answered("/livez") == 200
        await until(probed.ready)


@asynccontextmanager
async def worker_with_a_clock(
    probed: ProbedStage, clock: str, output: IO[bytes]
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A worker whose clock misbehaves as soon as the worker has started."""
    script = f"""
import asyncio, sys, time
import uvloop
from marketplace_worker.app import Loop, run
from marketplace_worker.operations.line_writer import never_waiting
from marketplace_worker.operations.logs import set_up_logs
from marketplace_worker.settings import load_settings
from marketplace_worker.store.database import database_clock

asked = 0

async def clock(conn):
    global asked
    asked += 1
    if asked > 1:  # the first is asked at the start
        {clock}
    return await database_clock(conn)

with never_waiting(sys.stdout) as lines:
    set_up_logs(lines)
    uvloop.run(run(load_settings(), [Loop.INGEST], clock=clock))
"""
    worker = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script,
        env={**os.environ, **environment(probed.settings), **HURRIED},
        stdout=output, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        yield worker
    finally:
        if worker.returncode is None:
            worker.kill()
        await worker.wait()
        output.close()


async def send_something(probed: ProbedStage) -> None:
    """Make the worker use its clock."""
    topic = probed.settings.topics.organization_changes
    await probed.stage.producer.send_and_wait(topic, b"unreadable")


async def test_a_worker_with_a_blocked_event_loop_logs_it_and_exits(
    probed: ProbedStage, tmp_path: Path
) -> None:
    """The port and the watchdog have their own threads, as a blocked event loop cannot react."""
    log = tmp_path / "log"
    async with worker_with_a_clock(probed, "time.sleep(3600)", log.open("ab")) as worker:
        await until(probed.ready)
        await send_something(probed)
        await until(lambda: probed.replies("/livez", "event loop: no heartbeat for"))
        assert await probed.answered("/readyz") == 503
        status = await asyncio.wait_for(worker.wait(), timeout=60)
    assert status == 1
    assert "in clock" in log.read_text()


async def test_a_worker_with_a_hanging_loop_logs_it_and_exits(
    probed: ProbedStage, tmp_path: Path
) -> None:
    """The event loop and all other loops run, but no records would ever be ingested again."""
    log = tmp_path / "log"
    clock = "await asyncio.Event().wait()"
    async with worker_with_a_clock(probed, clock, log.open("ab")) as worker:
        await until(probed.ready)
        await send_something(probed)
        await until(lambda: probed.replies("/livez", "ingest facts-", ": no heartbeat for"))
        status = await asyncio.wait_for(worker.wait(), timeout=60)
    assert status == 1
    hangs = [line for line in log.read_text().splitlines() if '"loop_hangs"' in line]
    assert len(hangs) == 1
    assert json.loads(hangs[0])["loop"] in {"ingest facts-1", "ingest facts-2"}
    assert "clock" in hangs[0]
