"""The grammar of the command line: the same options and exit statuses for every command."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup

from command_line import every_command, run
from marketplace_worker.cli import COMMANDS
from marketplace_worker.cli.grammar import CONNECTION, leaves, load
from marketplace_worker.cli.watching import watch

Type = Callable[..., tuple[int, str, str]]

NOBODY = "postgresql://nobody@127.0.0.1:1/none"
LOOKS = {
    "org list": ("--held",), "org show": ("acme",), "org history": ("acme",),
    "org explain": ("acme",), "due": (), "status": (), "guard status": (),
    "dead-letters groups": (), "dead-letters list": (), "dead-letters show": ("1",),
    "intake status": (), "replay": ("--verify",),
}  # fmt: skip
"""The commands that need the database alone, with what they must be given."""


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Type:
    """Run a command; returns exit status, standard output and standard error."""
    return lambda *words: run([*map(str, words)], monkeypatch, capfd)


def options(command: str) -> set[str]:
    """The options of a command."""
    return {each for param in every_command()[command].params for each in param.opts}


def test_the_help_lists_every_command_with_its_first_sentence(typed: Type) -> None:
    """The list is written by hand, so that no command must be imported for it."""
    for names, leaf in leaves(COMMANDS):
        command = load(names[-1], leaf)
        said = " ".join((command.help or "").split())
        assert said.startswith(leaf.help), " ".join(names)
        if not isinstance(command, TyperGroup):
            assert said in {leaf.help, f"{leaf.help} {said.removeprefix(leaf.help).strip()}"}
        assert leaf.help in " ".join(typed(*names[:-1], "--help")[1].split())


@pytest.mark.parametrize("command", sorted(every_command()))
def test_every_command_takes_the_options_of_its_kind(command: str) -> None:
    """`--config` and `--folder`; `--output` and `--json`."""
    given = options(command)
    assert ("--config" in given) is ("--folder" in given)
    assert ("--output" in given) is ("--json" in given) is ("-o" in given)
    assert command not in LOOKS or {"--config", "--output"} <= given


def test_what_shows_the_present_can_be_watched() -> None:
    """Not what pages through the past, nor what acts."""
    watched = {command for command in every_command() if "--watch" in options(command)}
    assert watched == {
        "org list", "org show", "org explain", "due", "status", "guard status",
        "dead-letters groups", "intake status",
    }  # fmt: skip


def test_a_watch_looks_again_until_ctrl_c(
    typed: Type, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A database that is away does not end it; each look has the options that were given."""
    (tmp_path / CONNECTION).write_text(f'postgres.dsn = "{NOBODY}"\n')
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", wait)
    status, out, err = typed("due", "--watch", "7", "--folder", tmp_path)
    assert (status, err, waits) == (130, "", [7, 7])
    assert out.count("Postgres at 127.0.0.1:1") == 2
    assert "\x1b" not in out


def test_a_watch_in_a_terminal_shows_the_newest_look_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Drawn at once when it is complete; the exit status of a look does not end it."""
    looks: list[bool] = []

    def look() -> None:
        looks.append(sys.stdout.isatty())
        assert capsys.readouterr().out.count("look") == (len(looks) > 1), "drawn when complete"
        print(f"look {len(looks)}")
        raise typer.Exit(3 if len(looks) < 3 else 0)

    def wait(_: float) -> None:
        if len(looks) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", wait)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    with pytest.raises(typer.Exit) as ended:
        watch(look, 2)
    assert ended.value.exit_code == 130
    screen = capsys.readouterr().out
    assert screen.startswith("\x1b[H\x1b[2J")
    assert screen.endswith("UTC, every 2 s until Ctrl-C\n\nlook 3\n")
    assert looks == [True] * 3


@pytest.mark.parametrize("command", LOOKS)
def test_looking_needs_the_database_alone(
    typed: Type, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """Neither Kafka's address nor the secret email key; the database that is away is named."""
    words = (*command.split(), *LOOKS[command])
    assert "postgres.dsn is not set" in typed(*words)[2]
    monkeypatch.setenv("MARKETPLACE_WORKER_POSTGRES__DSN", NOBODY)
    status, out, err = typed(*words)
    if command == "status":
        assert (status, err) == (3, ""), "there it is a finding"
        assert "Postgres at 127.0.0.1:1" in out
    else:
        assert (status, out) == (1, "")
        assert "Postgres at 127.0.0.1:1" in err


def test_a_folder_of_an_embedded_worker_stands_for_its_settings(
    typed: Type, tmp_path: Path
) -> None:
    """The file in it is read as `--config` reads it; both at once are refused."""
    (tmp_path / CONNECTION).write_text(f'postgres.dsn = "{NOBODY}"\n')
    assert "Postgres at 127.0.0.1:1" in typed("due", "--folder", tmp_path)[2]
    both = typed("due", "--folder", tmp_path, "--config", tmp_path / CONNECTION)
    assert (both[0], "--config or --folder" in both[2]) == (2, True)
    missing = typed("due", "--folder", tmp_path / "none")
    assert (missing[0], CONNECTION in missing[2]) == (2, True)


def test_an_unknown_command_or_option_is_wrong_input(typed: Type) -> None:
    """Exit status 2, with what was meant where it can be guessed."""
    for words in (("guards",), ("org", "shw"), ("due", "--with", "P1D")):
        status, out, err = typed(*words)
        assert (status, out) == (2, "")
        assert "No such" in err


HEAVY = {"aiokafka", "asyncpg", "faststream", "granian", "pydantic", "prometheus_client", "rich"}
"""Libraries whose import takes long."""


@pytest.mark.parametrize(
    ("words", "unused"),
    [
        ("--help", HEAVY),
        ("--version", HEAVY),
        ("org --help", HEAVY - {"pydantic"}),  # typer imports it for the options before `org`
        ("due", {"aiokafka", "faststream", "granian", "prometheus_client", "structlog"}),
        ("org list", {"aiokafka", "faststream", "granian", "prometheus_client", "structlog"}),
        ("org show x", {"aiokafka", "faststream", "granian", "prometheus_client", "structlog"}),
        ("guard status", {"aiokafka", "faststream", "granian", "prometheus_client", "structlog"}),
    ],
)
def test_a_command_imports_only_what_it_uses(words: str, unused: set[str]) -> None:
    """So that it starts fast."""
    script = (
        "import sys; from marketplace_worker.cli import main\n"
        "try: main()\n"
        "except SystemExit: print('\\n'.join(sys.modules), file=sys.stderr)"
    )
    process = subprocess.run(
        [sys.executable, "-c", script, *words.split()], capture_output=True, text=True, check=True
    )
    loaded = {line.partition(".")[0] for line in process.stderr.splitlines()}
    assert "marketplace_worker" in loaded
    assert loaded & unused == set()


@pytest.mark.parametrize("words", ["policy show", "--help", "dead-letters --help"])
def test_output_that_nobody_reads_ends_a_command_quietly(words: str) -> None:
    """As SIGPIPE ends other programs; a full disk is said."""
    program = [sys.executable, "-m", "marketplace_worker", *words.split()]
    reading, writing = os.pipe()
    os.close(reading)
    unread = subprocess.run(program, stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert (unread.returncode, unread.stderr) == (141, b"")

    with Path("/dev/full").open("wb") as full:
        process = subprocess.run(program, stdout=full, stderr=subprocess.PIPE, check=False)
    assert process.returncode == 1
    assert process.stderr == b"marketplace-worker: standard output: No space left on device\n"
