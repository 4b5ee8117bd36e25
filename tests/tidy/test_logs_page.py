"""docs/logs.md and the catalogue have every line that the code writes, and no other."""

import re

from logs_page import page, written
from pages import ROOT

from marketplace_worker.operations.log_catalogue import FIELDS, LINES

RUNBOOK = (ROOT / "docs/runbook.md").read_text(encoding="utf-8")


def test_the_page_is_what_the_code_says() -> None:
    """`make docs` writes it."""
    assert (ROOT / "docs/logs.md").read_text(encoding="utf-8") == page()


def test_the_catalogue_has_every_line_and_field_and_no_other() -> None:
    """Who searches for a line of the log finds what it means."""
    lines = written()
    assert lines.keys() == LINES.keys()
    others = {name for line in LINES.values() for name in line.others}
    assert set().union(others, *(each.fields for each in lines.values())) == FIELDS.keys()
    assert {name for name in lines if lines[name].has_others} == {
        name for name, line in LINES.items() if line.others
    }


def test_warnings_and_errors_are_in_the_chapter_of_the_runbook_that_they_name() -> None:
    """Who searches for a line there finds it; its heading may be that of the remedy."""
    chapters = _chapters(RUNBOOK)
    lines = written()
    severe = {name for name in lines if lines[name].levels & {"warning", "error"}}
    assert severe <= {name for name, line in LINES.items() if line.runbook}
    lost = {
        name: line.runbook
        for name, line in LINES.items()
        if line.runbook and f"`{name}`" not in chapters.get(line.runbook, "")
    }
    assert lost == {}


def _chapters(page: str) -> dict[str, str]:
    """The text of the chapter in which each heading stands, by heading."""
    return {
        heading: chapter
        for chapter in re.split(r"^(?=## )", page, flags=re.MULTILINE)
        for heading in re.findall(r"^#+ (.+)$", chapter, re.MULTILINE)
    }
