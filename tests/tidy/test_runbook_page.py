"""docs/runbook.md names commands, settings, metrics and log events that exist."""

import re
import shlex
from collections.abc import Iterator

import pytest
from pages import ROOT, named_settings, settings_rows

from command_line import parse

PAGE = (ROOT / "docs/runbook.md").read_text(encoding="utf-8")
SOURCES = "\n".join(
    path.read_text(encoding="utf-8") for path in sorted((ROOT / "src").rglob("*.py"))
)
FAILED = "marketplace-worker failed on it"
"""The reason of a dead letter, which looks like a command."""

_BLOCK = re.compile(r"^ *```\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
_SPAN = re.compile(r"`([^`\n]+)`")


def commands() -> list[str]:
    """Every command of the worker on the page, from blocks and from running text."""
    lines = [line.strip() for block in _BLOCK.findall(PAGE) for line in block.splitlines()]
    typed = {*lines, *_SPAN.findall(_BLOCK.sub("", PAGE))} - {FAILED}
    return sorted(each for each in typed if each.startswith("marketplace-worker "))


def symptoms() -> Iterator[str]:
    """What stands in the first column of the tables in code style."""
    for line in PAGE.splitlines():
        if line.startswith("| "):
            yield from _SPAN.findall(line.split(" | ")[0])


@pytest.mark.parametrize("typed", commands())
def test_every_command_is_accepted(typed: str) -> None:
    """With its options: a pasted command does not end with a usage message."""
    parse(shlex.split(typed.replace(" ID", " 1"))[1:])


def test_the_page_has_its_commands() -> None:
    """Otherwise another form of the page would leave the test above without cases."""
    assert len(commands()) > 20


def test_every_setting_exists() -> None:
    """`…_FILE` stands for several."""
    whole = re.sub(r"MARKETPLACE_WORKER_\w*…\w*", "", PAGE)
    assert named_settings(whole) <= settings_rows().keys()


def test_every_symptom_is_logged_or_measured() -> None:
    """Log events, their fields and values, and metrics: each is written somewhere in the code."""
    named = {each for each in symptoms() if re.fullmatch(r"[a-z]+(_[a-z]+)+(\{.*\})?", each)}
    assert len(named) > 40
    bare = {each.partition("{")[0].removesuffix("_total") for each in named}
    assert {each for each in bare if not re.search(rf'"{each}"|\b{each}=', SOURCES)} == set()
