"""The commands, typed as an operator types them."""

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from acceptance.scenario import created, eventbridge, linked
from acceptance.stage import Stage, until
from acceptance.test_sigkill import environment
from marketplace_worker.settings import Settings


async def typed(
    *arguments: str, settings: Settings | None = None, text: bytes = b""
) -> tuple[int | None, str, str]:
    """Run a command to its end: exit status, standard output, standard error."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "marketplace_worker", *arguments,
        env={**os.environ, **(environment(settings) if settings else {})},
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate(text)
    return process.returncode, out.decode(), err.decode()


def lines(*scenario: Mapping[str, object]) -> bytes:
    """A scenario, as JSON Lines."""
    return b"".join(json.dumps(line).encode() + b"\n" for line in scenario)


CANCELED = (
    created(0, "a"),
    linked(0.5, "a", "aws", "agmt-1", "payg"),
    eventbridge(1, "Purchase Agreement Ended", {"id": "agmt-1", "status": "CANCELLED"}),
)


async def test_simulate_prints_events_and_nothing_else() -> None:
    """One CloudEvent a line on standard output; refused messages on standard error."""
    bad = {"at": "2026-01-01T00:00:00Z", "topic": "organizations.changes", "value": "?"}

    status, out, err = await typed("simulate", "-", text=lines(bad, *CANCELED))

    events = [json.loads(line) for line in out.splitlines()]
    assert status == 0
    assert [event["type"].split(".", 1)[1] for event in events[:2]] == [
        "marketplace-worker.organization.canceled.v1",
        "marketplace-worker.metering.final_report_due.v1",
    ]
    assert events[-1]["data"]["state"] == "deactivated"
    assert [event["sequence"] for event in events] == [
        f"{number:020}" for number in range(1, len(events) + 1)
    ]
    assert re.fullmatch(r"dead letter: organizations\.changes/0/0: .*\n", err)


async def test_simulate_stops_its_clock_where_it_is_told(tmp_path: Path) -> None:
    """And takes the policy of a file."""
    scenario, policy = tmp_path / "scenario.jsonl", tmp_path / "policy.toml"
    scenario.write_bytes(lines(*CANCELED))
    policy.write_text('version = "slow"\n[timeline.payg]\ncontrol_plane_loss = "P2D"\n')

    _, one_day, _ = await typed("simulate", str(scenario), "--until", "2026-01-03T12:00:00Z")
    _, slow, _ = await typed(
        "simulate", str(scenario), "--until", "2026-01-03T12:00:00Z", "--policy", str(policy)
    )

    assert "organization.control_plane_lost" in one_day
    assert "organization.control_plane_lost" not in slow
    assert json.loads(slow.splitlines()[0])["data"]["policy_version"] == "slow"


@pytest.mark.parametrize(
    ("scenario", "said"),
    [
        (b'{"at": "yesterday"}\n', "line 1, at: "),
        (b'\n{"at": "2026-01-01T00:00:00Z", "topic": "x", "value": 1}\n', "line 2, topic: "),
        (b"nothing\n", "line 1: "),
    ],
)
async def test_an_unusable_scenario_is_named_by_line_and_field(scenario: bytes, said: str) -> None:
    """Exit status 2."""
    status, out, err = await typed("simulate", "-", text=scenario)

    assert (status, out) == (2, "")
    assert said in err


async def test_an_unusable_policy_is_named_by_line_and_field(tmp_path: Path) -> None:
    """Exit status 2."""
    policy = tmp_path / "policy.toml"
    policy.write_text('version = "x"\n[timeline.payg]\nsuspended = "soon"\n')

    status, _, err = await typed("simulate", "-", "--policy", str(policy), text=lines(*CANCELED))

    assert status == 2
    assert "timeline.payg.suspended" in err
    assert "3" in err


async def test_missing_settings_stop_the_start_and_are_named() -> None:
    """Exit status 2, and no trace of the interpreter."""
    status, _, err = await typed("run")

    assert status == 2
    for name in ("KAFKA__BOOTSTRAP_SERVERS", "POSTGRES__DSN", "EMAIL_KEY"):
        assert f"MARKETPLACE_WORKER_{name}" in err or "kafka" in err
    assert "Traceback" not in err


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
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "marketplace_worker", "run",
            env={**os.environ, **environment(stage.settings)}, stdout=output, stderr=output,
        )  # fmt: skip

    async def started() -> bool:
        return "worker_started" in log.read_text()

    await until(started)
    process.send_signal(signal.SIGTERM)
    status = await asyncio.wait_for(process.wait(), timeout=30)

    told = [json.loads(line) for line in log.read_text().splitlines()]
    assert status == 0
    assert told[-1]["event"] == "worker_stopped"
    assert all({"event", "level", "ts"} <= line.keys() for line in told)
