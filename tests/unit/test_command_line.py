"""The grammar of the command line: the same options and exit statuses for every command."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.core import TyperGroup

from command_line import every_command, run
from marketplace_worker.cli import COMMANDS
from marketplace_worker.cli.grammar import CONNECTION, leaves, load

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


@pytest.mark.parametrize("command", LOOKS)
def test_looking_needs_the_database_alone(
    typed: Type, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """Neither Kafka's address nor the secret email key; the database that is away is named."""
    words = (*command.split(), *LOOKS[command])
    assert "postgres.dsn is not set" in typed(*words)[2]
    monkeypatch.setenv("MARKETPLACE_WORKER_POSTGRES__DSN", NOBODY)
    status, out, err = typed(*words)
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
