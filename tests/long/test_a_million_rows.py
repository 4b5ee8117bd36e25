"""`replay --verify` over a million rows: constant memory, and a moving progress bar."""

import asyncio
import os
import pty
import sys
import time

import asyncpg
import pytest
from pydantic import SecretStr

from acceptance.stage import MovableClock, environment
from long.many_rows import copy, one_history
from marketplace_worker.settings import UNKEYED_EMAIL_KEY, Kafka, Postgres, Settings
from steps.conftest import working_on

pytestmark = pytest.mark.long

ROWS_EACH = 100
SMALL, LARGE = 500, 10_700
"""Numbers of organizations with 94 rows each: 47,000 rows, and a million."""

MORE_KIB_MAX = 24 * 1024
"""How much more memory twenty times as many rows may use: what the allocator keeps."""


async def test_a_million_rows_are_verified_in_constant_memory(postgres_dsn: str) -> None:
    """Memory holds one page and its replay groups, whatever the length of the journal."""
    clock = MovableClock()
    async with working_on(postgres_dsn, clock) as worker:
        await one_history(worker, clock, rows=ROWS_EACH)
        connection = await asyncpg.connect(postgres_dsn)
        rows = await copy(worker, connection, 1, SMALL)
        few = await _verified(postgres_dsn, rows)
        rows += await copy(worker, connection, SMALL, LARGE)
        await connection.execute("ANALYZE")
        await connection.close()
        many = await _verified(postgres_dsn, rows)

    print(f"{few} KiB for the smaller journal, {many} KiB for {rows} rows")
    assert rows >= 1_000_000
    assert many < few + MORE_KIB_MAX


async def _verified(dsn: str, rows: int) -> int:
    """The peak memory of the command in KiB; checks that it found no difference and that the bar
    moved.
    """
    settings = Settings(
        kafka=Kafka(bootstrap_servers="localhost:1"),
        postgres=Postgres(dsn=SecretStr(dsn)),
        email_key=SecretStr(UNKEYED_EMAIL_KEY),
    )
    return await asyncio.to_thread(_run, settings, rows)


def _run(settings: Settings, rows: int) -> int:
    parent, terminal = pty.openpty()
    read, output = os.pipe()
    began = time.monotonic()
    pid = os.fork()
    if pid == 0:
        os.dup2(output, 1)
        os.dup2(terminal, 2)
        command = [sys.executable, "-m", "marketplace_worker", "replay", "--verify"]
        variables = {**os.environ, **environment(settings), "TERM": "xterm", "COLUMNS": "80"}
        os.execve(sys.executable, command, variables)
    os.close(terminal)
    os.close(output)
    bar = _drained(parent)
    drained = _drained(read)
    _, status, usage = os.wait4(pid, 0)
    print(f"{rows} rows in {time.monotonic() - began:.0f} s: {drained}")
    assert os.waitstatus_to_exitcode(status) == 0, drained
    assert drained.startswith("0 differences")
    assert "journal rows" in bar
    return int(usage.ru_maxrss)


def _drained(descriptor: int) -> str:
    parts = []
    while True:
        try:
            part = os.read(descriptor, 65536)
        except OSError:  # raised by Linux at the end of a terminal
            break
        if not part:
            break
        parts.append(part)
    os.close(descriptor)
    return b"".join(parts).decode(errors="replace")
