"""The commands, as tests find and run them without a process of their own."""

from collections.abc import Sequence
from typing import Any

import pytest
from typer.core import TyperGroup

from marketplace_worker.cli import COMMANDS, main
from marketplace_worker.cli.grammar import leaves, load


def every_command() -> dict[str, Any]:
    """Every command by its name, such as `org show`; those of `send` too, but not the groups."""
    found: dict[str, Any] = {}
    for names, leaf in leaves(COMMANDS):
        command = load(names[-1], leaf)
        within = command.commands if isinstance(command, TyperGroup) else {}
        found |= {" ".join((*names, name)): each for name, each in within.items()}
        if not within:
            found[" ".join(names)] = command
    return found


def takes(words: Sequence[str], option: str) -> bool:
    """Whether the command of a command line has an option."""
    commands = every_command()
    command = commands.get(" ".join(words[:2])) or commands[words[0]]
    return any(option in each.opts for each in command.params)


def parse(words: Sequence[str]) -> None:
    """Read a command line as the command would; raises what it would say of a wrong one."""
    commands = every_command()
    length = 2 if " ".join(words[:2]) in commands else 1
    command = commands[" ".join(words[:length])]
    command.make_context(" ".join(words[:length]), list(words[length:])).close()


def run(
    words: Sequence[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> tuple[int, str, str]:
    """Run a command; returns exit status, standard output and standard error."""
    monkeypatch.setattr("sys.argv", ["marketplace-worker", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    out, err = capfd.readouterr()
    return int(ended.value.code or 0), out, err
