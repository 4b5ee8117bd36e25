"""The commands that need no server: what they print, and what they refuse."""

import json
import re
import tomllib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from acceptance.scenario import created, eventbridge, linked
from command_line import run
from marketplace_worker.cli.printing import as_data
from marketplace_worker.contract.policy_file import load_policy, policy_to_toml
from marketplace_worker.lifecycle.policy import Policy
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.vocabulary import Marketplace, SubscriptionKey
from marketplace_worker.settings import Settings

CANCELED = (
    created(0, "a"),
    linked(0.5, "a", "aws", "agmt-1", "payg"),
    eventbridge(1, "Purchase Agreement Ended", {"id": "agmt-1", "status": "CANCELLED"}),
)

ROOT = Path(__file__).parents[2]

Type = Callable[..., tuple[int, str, str]]


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Type:
    """Run a command; returns exit status, standard output and standard error."""

    def type_(*arguments: str | Path) -> tuple[int, str, str]:
        return run([*map(str, arguments)], monkeypatch, capfd)

    return type_


@pytest.fixture
def scenario(tmp_path: Path) -> Callable[..., Path]:
    """Write a scenario file."""

    def write(*lines: Mapping[str, object] | bytes) -> Path:
        texts = (line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines)
        file = tmp_path / "scenario.jsonl"
        file.write_bytes(b"\n".join(texts))
        return file

    return write


def test_the_version_is_that_of_the_package(typed: Type) -> None:
    """It stands in pyproject.toml alone."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert typed("--version") == (0, f"{project['version']}\n", "")


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


def test_simulate_stops_its_clock_at_the_given_time_and_accepts_a_policy(
    typed: Type, scenario: Callable[..., Path], tmp_path: Path
) -> None:
    """Operators try policies with it."""
    policy = tmp_path / "policy.toml"
    policy.write_text('version = "slow"\n[timeline.payg]\ncontrol_plane_loss = "P2D"\n')
    until = ("--until", "2026-01-03T12:00:00Z")

    _, usual, _ = typed("simulate", scenario(*CANCELED), *until)
    _, slow, _ = typed("simulate", scenario(*CANCELED), *until, "--policy", policy)

    assert "organization.control_plane_lost" in usual
    assert "organization.control_plane_lost" not in slow
    assert json.loads(slow.splitlines()[0])["data"]["policy_version"] == "slow"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([b'{"at": "yesterday"}'], "line 1, at: "),
        ([b"", b'{"at": "2026-01-01T00:00:00Z", "topic": "x", "value": 1}'], "line 2, topic: "),
        ([b"nothing"], "line 1: "),
    ],
)
def test_an_unusable_scenario_is_named_by_line_and_field(
    typed: Type, scenario: Callable[..., Path], lines: list[bytes], message: str
) -> None:
    """Exit status 2, and nothing on standard output."""
    status, out, err = typed("simulate", scenario(*lines))

    assert (status, out) == (2, "")
    assert message in err


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


WITHOUT_KEY = {
    "MARKETPLACE_WORKER_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1",
    "MARKETPLACE_WORKER_POSTGRES__DSN": "postgresql://nobody@127.0.0.1:1/none",
}


@pytest.mark.parametrize(
    "arguments",
    [
        ("run",),
        ("guard", "trip", "--by", "Olga", "--reason", "x"),
        ("dead-letters", "redrive", "--all", "--dry-run"),
    ],
    ids=" ".join,
)
def test_the_key_of_the_email_hashes_has_no_default(
    typed: Type, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    """A default would be everybody's: hashes of addresses could be looked up."""
    for name, value in WITHOUT_KEY.items():
        monkeypatch.setenv(name, value)

    status, _, err = typed(*arguments)

    assert Settings.model_fields["email_key"].is_required()
    assert (status, "email_key is not set: set MARKETPLACE_WORKER_EMAIL_KEY" in err) == (2, True)


def test_an_absent_database_is_named(typed: Type, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit status 1, because the command itself is correct."""
    for name, value in {**WITHOUT_KEY, "MARKETPLACE_WORKER_EMAIL_KEY": "x" * 16}.items():
        monkeypatch.setenv(name, value)

    status, out, err = typed("guard", "status")

    assert (status, out) == (1, "")
    assert "Postgres" in err


# --- the policy -----------------------------------------------------------------------------------


def test_policy_show_prints_a_whole_file(
    typed: Type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that the settings name, or another; what the file leaves out is there too."""
    file = tmp_path / "policy.toml"
    file.write_text('version = "mine"\n[notice]\nsuspended = "P4D"\n')
    whole = policy_to_toml(load_policy(file.read_text()))

    assert typed("policy", "show", "--policy", file) == (0, whole, "")
    monkeypatch.setenv("MARKETPLACE_WORKER_POLICY_FILE", str(file))
    assert typed("policy", "show") == (0, whole, "")
    config = tmp_path / "worker.toml"
    config.write_text(f'policy_file = "{file}"\n')
    monkeypatch.delenv("MARKETPLACE_WORKER_POLICY_FILE")
    assert typed("policy", "show", "--config", config) == (0, whole, "")


def test_policy_show_reports_when_the_built_in_one_is_in_force(typed: Type) -> None:
    """It is a comment of the file, which may be the beginning of an own one."""
    status, out, _ = typed("policy", "show")

    first, rest = out.split("\n", 1)
    assert (status, rest) == (0, policy_to_toml(Policy()))
    assert first == "# The built-in policy.  A policy file needs its own version."


def test_policy_check_lists_what_a_file_changes(typed: Type, tmp_path: Path) -> None:
    """Field by field."""
    file = tmp_path / "policy.toml"
    file.write_text('version = "mine"\n[notice]\nsuspended = "P4D"\n[guard]\nminimum = 9\n')

    status, out, _ = typed("policy", "check", file)

    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert status == 0
    assert lines[0].endswith(": ok, policy mine")
    assert lines[1] == "field value built-in"
    assert lines[3:] == ["notice.suspended P4D P3D", "guard.minimum 9 50"]


def test_policy_check_reports_that_a_file_changes_nothing(typed: Type, tmp_path: Path) -> None:
    """Only the version differs."""
    file = tmp_path / "policy.toml"
    file.write_text('version = "mine"\n')
    assert "no difference from the built-in policy" in typed("policy", "check", file)[1]


def test_policy_check_names_line_and_field(typed: Type, tmp_path: Path) -> None:
    """Exit status 2."""
    file = tmp_path / "policy.toml"
    file.write_text('version = "mine"\n\n[notice]\nsuspended = "P4Y"\n')

    status, out, err = typed("policy", "check", file)

    assert (status, out) == (2, "")
    assert "line 4: notice.suspended must be an ISO 8601 duration" in err


# --- words and JSON -------------------------------------------------------------------------------


def test_json_has_times_durations_and_keys_as_text() -> None:
    """As everywhere on the wire."""
    expected_output = {
        "at": datetime(2026, 1, 1, tzinfo=UTC),
        "for": timedelta(days=1, hours=2),
        "earlier": -timedelta(hours=1),
        "key": SubscriptionKey(Marketplace.AWS, "a-1"),
        "state": State.ACTIVE,
        "may": State.SUSPENDED.capabilities,
        "none": (None, True, 1.5),
    }
    assert as_data(expected_output) == {
        "at": "2026-01-01T00:00:00Z",
        "for": "P1DT2H",
        "earlier": "-PT1H",
        "key": "aws:a-1",
        "state": "active",
        "may": {"manage": False, "data": False, "api_keys": False, "login": True},
        "none": [None, True, 1.5],
    }


# --- slips ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "--only", "ingest,everything"), "unknown loop everything"),
        (("run", "--folder", "x"), "--folder needs --embedded"),
        (("simulate", "no-such-file"), "no-such-file: No such file"),
        (("simulate", "x", "--until", "soon"), "--until: "),
        (("policy", "check", "no-such-file"), "no-such-file: "),
        (("guard", "trip", "--reason", "x"), "'--by'"),
        (("guard", "release", "--by", "x", "--reason", "x", "--steps", "0"), "--steps "),
        (
            ("guard", "release", "--by", "x", "--reason", "x", "--requests", "many"),
            "--requests must be a number from 1 to 1000000, or all",
        ),
        (("org", "show"), "'ORG'"),
    ],
)
def test_what_cannot_be_done_is_reported_in_a_sentence(
    typed: Type, arguments: tuple[str, ...], message: str
) -> None:
    """An operator's mistake prints no traceback."""
    status, _, err = typed(*arguments)

    assert status == 2
    assert message in err
    assert "Traceback" not in err


def test_a_bad_policy_stops_the_start_before_any_server_is_asked(
    typed: Type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Waiting for a server would hide an error that only a person can fix."""
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
