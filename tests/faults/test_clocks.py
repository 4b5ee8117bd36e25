"""The database's clock is used for decisions, also if it jumps or the workers' own clocks are
wrong.
"""

import asyncio
import json
import os
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import servers
from acceptance.scenario import at, created, google, linked
from acceptance.stage import environment
from faults.postgres_faults import PostgresServer, postgres_server
from faults.worker_cluster import chance_of_this_run, require_as_simulated, settings_of, staging
from faults.workers import ClockFile, FaultStage, eventually, lines, send
from faults.workload import Wave, Workload, workload
from faults.workload_sender import advance, send_in_pieces, until_settled
from marketplace_worker.clock import system_clock
from marketplace_worker.settings import Settings

pytestmark = pytest.mark.faults

ORGANIZATIONS = 32
PIECE = 60
JUMP = timedelta(minutes=10)
YEAR = timedelta(days=365)
OWN_CLOCKS = {"behind": -JUMP, "right": timedelta(0), "ahead": JUMP}

LIBFAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)

Event = dict[str, Any]


class RememberedClock(ClockFile):
    """A clock that records every time that it showed."""

    def __init__(self, path: Path) -> None:
        self.moments: set[datetime] = set()
        super().__init__(path)

    def move(self, moment: datetime) -> None:
        super().move(moment)
        self.moments.add(moment)


@pytest.fixture
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PostgresServer]:
    """A Postgres for each test."""
    async with postgres_server(tmp_path_factory.mktemp("own") / "postgres") as server:
        yield server


@pytest.fixture
async def stage(
    pytestconfig: pytest.Config, kafka_bootstrap: str, server: PostgresServer, tmp_path: Path
) -> AsyncIterator[FaultStage]:
    """A stage on this server."""
    choice = pytestconfig.stash[servers.CHOICE]
    settings = settings_of(choice, tmp_path, kafka=kafka_bootstrap, dsn=server.dsn)
    async with staging(settings, tmp_path) as stage:
        yield stage


async def test_workers_with_wrong_clocks_decide_by_the_databases_clock(
    stage: FaultStage, server: PostgresServer, tmp_path: Path
) -> None:
    """
    The clocks of three workers follow the database's with offsets of ten minutes.  The database's
    clock jumps back by ten minutes, and forward again, after each deadline and before every second
    piece.
    """
    workload_ = _with_returns_during_a_jump(workload(chance_of_this_run(), ORGANIZATIONS))
    clock = stage.clock_file = RememberedClock(server.folder / "clock")
    await server.read_clock_from(clock.path)
    story = send_in_pieces(stage, workload_, of=PIECE)
    async with AsyncExitStack() as stack:
        for name, wrong_by in OWN_CLOCKS.items():
            log = tmp_path / f"{name}.log"
            beside = _beside(clock.path, wrong_by)
            await stack.enter_async_context(_worker(stage.settings, log, wrong_by, beside))
        async for _ in story:
            await until_settled(stage)
            now = clock.now
            clock.move(now - JUMP)
            await advance(story, 1)
            await until_settled(stage)
            clock.move(max(now, clock.now))
            await until_settled(stage)
        for name, wrong_by in OWN_CLOCKS.items():
            assert _is_wrong_by(tmp_path / f"{name}.log", wrong_by)
    await require_as_simulated(stage, workload_)
    published_events = [
        json.loads(each) for each in await stage.published(stage.settings.topics.lifecycle)
    ]
    others = {event["time"] for event in published_events} - {
        _written(each) for each in clock.moments
    }
    assert not others, "every decision was made at a time of the database's clock"
    in_order = _in_order(published_events)
    assert [pair for pair in in_order if pair[1]["time"] < pair[0]["time"]] == []
    assert [pair for pair in in_order if _is_too_early(*pair)] == []


def _with_returns_during_a_jump(workload_: Workload) -> Workload:
    """The workload with a new first wave: some customers leave, and return later."""
    names = [f"jump-{number:02}" for number in range(PIECE // 4)]
    off = {"cancellationReason": "billing-disabled"}
    left = [
        line
        for name in names
        for line in (
            created(0, name, tier="plus"),
            linked(0.1, name, "gcp", f"ent-{name}"),
            google(0.2, "ENTITLEMENT_ACTIVE", f"ent-{name}", {"usageReportingId": "x"}),
            google(0.5, "ENTITLEMENT_CANCELLED", f"ent-{name}", off),
        )
    ]
    back = [linked(0.6, name, "gcp", f"ent-2-{name}", "commit") for name in names]
    assert len(left) == PIECE
    messages = [(line["topic"], b"", json.dumps(line["value"]).encode()) for line in left + back]
    return replace(workload_, waves=[Wave(at(0.9), messages), *workload_.waves])


async def test_a_database_clock_a_year_ahead_deactivates_nobody_and_deletes_nothing(
    stage: FaultStage, server: PostgresServer, tmp_path: Path
) -> None:
    """There is no limit on steps here. Neither a worker that sees the jump nor one that is started
    after it takes a step, and retention deletes no recent rows.
    """
    began = system_clock()
    clock = stage.clock_file = ClockFile(server.folder / "clock")
    clock.move(began)
    await server.read_clock_from(clock.path)
    names = [f"org-{number}" for number in range(PIECE)]
    off = {"cancellationReason": "billing-disabled"}
    lines_sent = [
        line
        for name in names
        for line in (
            created(0, name, tier="plus"),
            linked(0.1, name, "gcp", f"ent-{name}"),
            google(0.2, "ENTITLEMENT_ACTIVE", f"ent-{name}", {"usageReportingId": "x"}),
            google(0.5, "ENTITLEMENT_CANCELLED", f"ent-{name}", off),
        )
    ]
    messages = [(line["topic"], b"", json.dumps(line["value"]).encode()) for line in lines_sent]
    logs = [tmp_path / "before.log", tmp_path / "after.log"]
    kept = (
        "SELECT (SELECT count(*) FROM journal WHERE source <> 'clock') AS journal,"
        " (SELECT count(*) FROM dead_letters) AS dead_letters"
    )
    async with _worker(stage.settings, logs[0], timedelta(0), PRODUCT):
        await send(stage, [*messages, ("identity.logins", b"k", b"no JSON")], at=began)
        await eventually(stage.all_committed, pause_s=0.05)
        before = await stage.pool.fetchrow(kept)

        clock.move(began + YEAR)
        await eventually(partial(_logged, logs[0], "guard_tripped"), pause_s=0.05)
        async with _worker(stage.settings, logs[1], timedelta(0), PRODUCT):
            await eventually(partial(_logged, logs[1], "retention_stopped"), pause_s=0.05)

    assert set((await stage.states()).values()) == {"canceled"}
    (tripped,) = lines(logs[0], "guard_tripped")
    assert (tripped["guard"], tripped["by_clock"]) == ("steps", True)
    assert lines(logs[1], "guard_tripped") == []
    after = await stage.pool.fetchrow(kept)
    assert before is not None
    assert after is not None
    assert (before["journal"], before["dead_letters"]) == (len(messages), 1)
    assert after["journal"] >= before["journal"]  # there may be notices
    assert after["dead_letters"] == 1


async def _logged(log: Path, event: str) -> bool:
    return bool(lines(log, event))


PRODUCT = ("-m", "marketplace_worker", "run")
"""The unmodified worker."""


def _beside(clock_file: Path, wrong_by: timedelta) -> tuple[str, ...]:
    """The same stage with workers whose own clocks follow a file, with an offset."""
    script = f"""
import sys
from datetime import datetime, timedelta
from pathlib import Path
import uvloop
from marketplace_worker.app import run
from marketplace_worker.operations.logs import set_up_logs
from marketplace_worker.settings import load_settings

def local_clock():
    moment = datetime.fromisoformat(Path({str(clock_file)!r}).read_text())
    return moment + timedelta(seconds={wrong_by.total_seconds()})

set_up_logs(sys.stdout)
uvloop.run(run(load_settings(), local_clock=local_clock))
"""
    return ("-c", script)


@asynccontextmanager
async def _worker(
    settings: Settings, log: Path, wrong_by: timedelta, command: Sequence[str]
) -> AsyncIterator[None]:
    """A worker in a process with a wrong clock."""
    if LIBFAKETIME is None:
        pytest.fail("needs libfaketime: apt-get install faketime", pytrace=False)
    local_clock = {
        "LD_PRELOAD": str(LIBFAKETIME),
        "FAKETIME": f"{wrong_by.total_seconds():+.0f}",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable, *command,
            env={**os.environ, **environment(settings), **local_clock},
            stdout=output, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
    try:
        yield
        assert process.returncode is None
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def _is_wrong_by(log: Path, wrong_by: timedelta) -> bool:
    """Whether the time in a worker's last log line differs by so much from the time of writing."""
    failed_at = datetime.fromisoformat(lines(log)[-1]["ts"])
    written_at = datetime.fromtimestamp(log.stat().st_mtime, UTC)
    return abs(failed_at - written_at - wrong_by) < JUMP / 2


def _written(moment: datetime) -> str:
    """A moment as events write it."""
    return moment.isoformat().replace("+00:00", "Z")


def _in_order(events: Iterable[Event]) -> list[tuple[Event, Event]]:
    """Each event with the next of its organization."""
    by_subject: dict[str, dict[str, Event]] = defaultdict(dict)
    for event in events:
        by_subject[event["subject"]][event["sequence"]] = event
    return [
        pair
        for in_order in by_subject.values()
        for pair in pairwise(in_order[number] for number in sorted(in_order))
    ]


def _is_too_early(announced: Event, step: Event) -> bool:
    """Whether a step came before the moment announced for it."""
    next_step = announced["data"].get("next_step")
    return (
        next_step is not None
        and step["data"].get("state") == next_step["state"]
        and step["time"] < next_step["at"]
    )
