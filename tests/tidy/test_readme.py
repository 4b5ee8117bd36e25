"""README.md is short, and what it shows is what the commands print."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pages import ROOT, every_page

from command_line import every_command, run
from marketplace_worker.lifecycle.events import EventKind

README = (ROOT / "README.md").read_text(encoding="utf-8")
LINES_MAX = 120

_TARGET = re.compile(r"`make ([a-z-]+)")
_SHELL = re.compile(r"```\n(\$ .*?)```", re.DOTALL)


def commands() -> Iterator[str]:
    """Every command, `org show` and the like, and every group."""
    for name in every_command():
        yield name
        yield name.split()[0]


def test_the_page_can_be_read_in_a_few_minutes() -> None:
    """What is longer belongs on a page of its own."""
    assert len(README.splitlines()) <= LINES_MAX


def test_the_demo_prints_events_that_exist() -> None:
    """Of what `make demo` prints, the events' names."""
    (demo,) = (block for block in _SHELL.findall(README) if block.startswith("$ make demo"))
    named = re.findall(r"^ *[\d.]+  \w+ +(\S+)", demo, re.MULTILINE)
    assert len(named) >= 5
    assert set(named) <= set(EventKind)


def test_the_commands_of_the_table_exist() -> None:
    """`org show`, `history`: two commands of one group."""
    table = README.partition("| command | what it does |")[2].partition("\n\n")[0]
    known = set(commands())
    for row in table.splitlines()[2:]:
        group = ""
        for command in re.findall(r"`([^`]+)`", row.split("|")[1]):
            words = [word for word in command.split() if word.islower()]
            group = words[0] if len(words) > 1 else group
            name = " ".join(words if len(words) > 1 or not group else [group, *words])
            assert name in known or words[0] in known, name


def test_the_scenario_publishes_what_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The first events of it, as `jq` prints them."""
    (shown,) = (block for block in _SHELL.findall(README) if block.startswith("$ cat plan.jsonl"))
    _, scenario, printed = re.split(r"^\$ .*\n", shown, flags=re.MULTILINE)
    file = tmp_path / "plan.jsonl"
    file.write_text(scenario, encoding="utf-8")
    _, out, _ = run(["simulate", str(file)], monkeypatch, capfd)
    events = [json.loads(line) for line in out.splitlines()]
    lines = [f"{event['time']}\t{event['type']}" for event in events]
    expected = printed.splitlines()
    assert len(expected) > 3
    assert expected[-1] == "…"
    assert lines[: len(expected) - 1] == expected[:-1]


@pytest.mark.parametrize("page", every_page(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_make_target_that_a_page_names_exists(page: Path) -> None:
    """What is typed from a page works."""
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(_TARGET.findall(page.read_text(encoding="utf-8"))) <= set(targets)
