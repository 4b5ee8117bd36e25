"""The commands that need no server: what they print, and what they refuse."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from acceptance.scenario import created, eventbridge, linked
from marketplace_worker.cli import main

CANCELED = (
    created(0, "a"),
    linked(0.5, "a", "aws", "agmt-1", "payg"),
    eventbridge(1, "Purchase Agreement Ended", {"id": "agmt-1", "status": "CANCELLED"}),
)

Type = Callable[..., tuple[int, str, str]]


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Type:
    """Type a command: exit status, standard output, standard error."""

    def type_(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["marketplace-worker", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return type_


@pytest.fixture
def scenario(tmp_path: Path) -> Callable[..., Path]:
    """Write a scenario down."""

    def write(*lines: Mapping[str, object] | bytes) -> Path:
        texts = (line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines)
        file = tmp_path / "scenario.jsonl"
        file.write_bytes(b"\n".join(texts))
        return file

    return write


def test_simulate_prints_events_and_nothing_else(
    typed: Type, scenario: Callable[..., Path]
) -> None:
    """One CloudEvent a line on standard output; refused messages on standard error."""
    bad = {"at": "2026-01-01T00:00:00Z", "topic": "organizations.changes", "value": "?"}

    status, out, err = typed("simulate", scenario(bad, *CANCELED))

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


def test_simulate_stops_its_clock_where_it_is_told_and_takes_a_policy(
    typed: Type, scenario: Callable[..., Path], tmp_path: Path
) -> None:
    """What operators use to try a policy."""
    policy = tmp_path / "policy.toml"
    policy.write_text('version = "slow"\n[timeline.payg]\ncontrol_plane_loss = "P2D"\n')
    until = ("--until", "2026-01-03T12:00:00Z")

    _, usual, _ = typed("simulate", scenario(*CANCELED), *until)
    _, slow, _ = typed("simulate", scenario(*CANCELED), *until, "--policy", policy)

    assert "organization.control_plane_lost" in usual
    assert "organization.control_plane_lost" not in slow
    assert json.loads(slow.splitlines()[0])["data"]["policy_version"] == "slow"


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([b'{"at": "yesterday"}'], "line 1, at: "),
        ([b"", b'{"at": "2026-01-01T00:00:00Z", "topic": "x", "value": 1}'], "line 2, topic: "),
        ([b"nothing"], "line 1: "),
    ],
)
def test_an_unusable_scenario_is_named_by_line_and_field(
    typed: Type, scenario: Callable[..., Path], lines: list[bytes], said: str
) -> None:
    """Exit status 2, and nothing on standard output."""
    status, out, err = typed("simulate", scenario(*lines))

    assert (status, out) == (2, "")
    assert said in err


def test_an_unusable_policy_is_named_by_line_and_field(
    typed: Type, scenario: Callable[..., Path], tmp_path: Path
) -> None:
    """Exit status 2."""
    policy = tmp_path / "policy.toml"
    policy.write_text('version = "x"\n[timeline.payg]\nsuspended = "soon"\n')

    status, _, err = typed("simulate", scenario(*CANCELED), "--policy", policy)

    assert status == 2
    assert re.search(r"line 3.*timeline\.payg\.suspended", err)


def test_missing_settings_stop_the_start_and_are_named(typed: Type) -> None:
    """Exit status 2, and one sentence."""
    status, _, err = typed("run")

    assert status == 2
    assert "MARKETPLACE_WORKER_KAFKA" in err
    assert "MARKETPLACE_WORKER_POSTGRES" in err
    assert "MARKETPLACE_WORKER_EMAIL_KEY" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "--only", "ingest,everything"), "everything: there is no such loop"),
        (("run", "--folder", "x"), "--folder is of no use without --embedded"),
        (("simulate", "no-such-file"), "no-such-file: No such file"),
        (("simulate", "x", "--until", "soon"), "--until: "),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(
    typed: Type, arguments: tuple[str, ...], said: str
) -> None:
    """No trace of the interpreter for a slip of the fingers."""
    status, _, err = typed(*arguments)

    assert status == 2
    assert said in err
    assert "Traceback" not in err


def test_a_bad_policy_stops_the_start_before_any_server_is_asked(
    typed: Type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Waiting for a server would hide what only a person can mend."""
    policy = tmp_path / "policy.toml"
    policy.write_text('version = "x"\n[minimum_dwell]\ncanceled = "PT0S"\n')
    for name, value in {
        "KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "POSTGRES__DSN": "postgresql://nobody@127.0.0.1:1/none",
        "EMAIL_KEY": "sixteen characters",
        "POLICY_FILE": str(policy),
    }.items():
        monkeypatch.setenv(f"MARKETPLACE_WORKER_{name}", value)

    status, _, err = typed("run")

    assert status == 2
    assert "minimum_dwell.canceled" in err
