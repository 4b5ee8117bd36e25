"""A hundred thousand dead letters are listed and redriven with the memory of a thousand."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import servers
from acceptance.stage import environment
from marketplace_worker.runtime.worker import Worker
from marketplace_worker.settings import Settings
from marketplace_worker.store.database import Pool

pytestmark = pytest.mark.long

LETTERS = 100_000

GROWTH_KIB_MAX = 60_000
"""Only ids and identities stay in memory."""

WRITTEN = """
INSERT INTO dead_letters
    (topic, partition, "offset", part, recorded_at, refused_at, reason, field, group_id, key, value,
     headers)
SELECT
    'organizations.changes', 0, n, 0, '2026-01-01', '2026-01-01', 'is missing', 'data.owner_email',
    'aaaaaaaa', convert_to('org-' || n, 'UTF8'),
    convert_to(json_build_object(
        'specversion', '1.0', 'id', 'e-' || n, 'source', '/long', 'subject', 'org-' || n,
        'time', '2026-01-01T00:00:00Z', 'type', 'io.marketplace-worker.organization.created.v1',
        'data', CASE n % 2
            WHEN 0 THEN json_build_object('tier', 'free', 'owner_email', n || '@example.com')
            ELSE json_build_object('tier', 'free')
        END
    )::text, 'UTF8'),
    '[]'
FROM generate_series($1::bigint, $2::bigint) AS n
"""
"""Every second one has become readable."""


def run_command(settings: Settings, output: Path, *arguments: str) -> int:
    """Run a command with its output in a file; return its peak memory in KiB."""
    began = time.monotonic()
    with output.open("wb") as out:
        command = subprocess.Popen(
            [sys.executable, "-m", "marketplace_worker", *arguments],
            env={**os.environ, **environment(settings)}, stdout=out, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        _, status, usage = os.wait4(command.pid, 0)
        command.returncode = os.waitstatus_to_exitcode(status)
    assert command.returncode == 0
    took_s = time.monotonic() - began
    print(f"{' '.join(arguments)}: {usage.ru_maxrss // 1024} MiB, {took_s:.0f} s")
    return usage.ru_maxrss


async def test_a_hundred_thousand_dead_letters_are_listed_and_redriven_in_bounded_memory(
    pytestconfig: pytest.Config, postgres_dsn: str, worker: Worker, owner: Pool, tmp_path: Path
) -> None:
    """Half of them have become readable; the others are refused again."""
    assert worker is not None, "the fixture creates the schema"
    settings = servers.settings(pytestconfig.stash[servers.CHOICE], "127.0.0.1:1", postgres_dsn, "")
    out = tmp_path / "out"
    redrive = ("dead-letters", "redrive", "--all", "--json")
    done = (*redrive, "--by", "Olga", "--reason", "mended", "--rate", "10000", "--yes")
    few = 1_000
    await owner.execute(WRITTEN, 1, few)
    dry_few = run_command(settings, out, *redrive, "--dry-run")
    done_few = run_command(settings, out, *done)
    await owner.execute(WRITTEN, few + 1, LETTERS)
    waiting = LETTERS - few // 2

    run_command(settings, out, "dead-letters", "groups", "--json")
    groups = json.loads(out.read_text())["groups"]
    assert sum(each["letters"] for each in groups) == waiting
    before, listed = LETTERS + 1, 0
    for _ in range(3):
        run_command(
            settings,
            out,
            "dead-letters",
            "list",
            "--json",
            "--limit",
            "1000",
            "--before",
            f"{before}",
        )
        heads = json.loads(out.read_text())["dead_letters"]
        before, listed = heads[-1]["id"], listed + len(heads)
    assert listed == 3_000

    assert run_command(settings, out, *redrive, "--dry-run") - dry_few < GROWTH_KIB_MAX
    assert len(json.loads(out.read_text())["would"]) == waiting
    assert run_command(settings, out, *done) - done_few < GROWTH_KIB_MAX
    printed = json.loads(out.read_text())
    assert (printed["redriven"], printed["refused"]) == ((LETTERS - few) // 2, LETTERS // 2)
    assert len(printed["results"]) == waiting
    assert await owner.fetchval("SELECT count(*) FROM organizations") == LETTERS // 2
