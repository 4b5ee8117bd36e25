"""docs/tour.md names what exists, and the files that a change touches."""

import ast
import re
from collections.abc import Iterable
from pathlib import Path

import pytest
from pages import ROOT

from marketplace_worker.lifecycle.events import EventKind
from marketplace_worker.lifecycle.vocabulary import SupportRequestKind

PAGE = (ROOT / "docs/tour.md").read_text(encoding="utf-8")
WALK, _, HOW_TO = PAGE.partition("\n# How to\n")
SOURCE = ROOT / "src/marketplace_worker"

_STATION = re.compile(r"^\| `(?P<path>[\w/]+\.py)` \| (?P<names>.+?) \| .+ \|$", re.MULTILINE)
_FILE = re.compile(r"^\| `(?P<path>[\w/.]+)` \| (?P<when>\*if\*)?", re.MULTILINE)
_LISTED = re.compile(r"^\| `(?P<path>[\w/.]+)` \| (?P<what>.+) \|$", re.MULTILINE)
_STATEMENT = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


def text(path: str) -> str:
    """A file of the project."""
    return (ROOT / path).read_text(encoding="utf-8")


def files(change: str, *, always: bool = False) -> set[str]:
    """The files that a section of "How to" names; `always`: without the rows that begin with if."""
    section = HOW_TO.partition(f"## {change}\n")[2].partition("\n## ")[0]
    return {row["path"] for row in _FILE.finditer(section) if not (always and row["when"])}


def mentioning(*words: str) -> set[str]:
    """The source files in which any of these stands as a whole word."""
    pattern = re.compile("|".join(rf"\b{re.escape(word)}\b" for word in words))
    return {
        str(path.relative_to(ROOT))
        for path in SOURCE.rglob("*.py")
        if pattern.search(path.read_text(encoding="utf-8"))
    }


def sources(paths: Iterable[str]) -> set[str]:
    """Those of these that are source files."""
    return {path for path in paths if path.startswith("src/") and path.endswith(".py")}


@pytest.mark.parametrize("station", list(_STATION.finditer(WALK)), ids=lambda found: found["path"])
def test_every_name_of_the_walk_is_defined_in_its_file(station: re.Match[str]) -> None:
    """Who reads along finds it with a search."""
    tree = ast.parse((SOURCE / station["path"]).read_text(encoding="utf-8"))
    definitions = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    defined = {node.name for node in ast.walk(tree) if isinstance(node, definitions)}
    names = set(re.findall(r"`(\w+)`", station["names"]))
    assert names
    assert names <= defined


def test_every_row_of_the_walk_is_checked() -> None:
    """A row in another form would pass unseen."""
    rows = [row for row in WALK.splitlines() if row.startswith("| `")]
    assert len(rows) > 25
    assert len(_STATION.findall(WALK)) == len(rows)


def test_every_file_to_touch_exists() -> None:
    """Of all changes."""
    named = {row["path"] for row in _FILE.finditer(HOW_TO)}
    assert len(named) > 25
    assert {path for path in named if not Path(ROOT / path).is_file()} == set()


def test_every_name_of_the_lists_stands_in_its_file() -> None:
    """A renamed function must not leave its old name there."""
    rows = [row for row in _LISTED.finditer(HOW_TO) if row["path"].endswith(".py")]
    assert len(rows) > 25
    missing = {
        (row["path"], name)
        for row in rows
        for name in re.findall(r"`(\w+)`", row["what"])
        if not re.search(rf"\b{name}\b", text(row["path"]))
    }
    assert missing == set()


@pytest.mark.parametrize("kind", SupportRequestKind)
def test_every_support_request_stands_in_the_files_to_touch(kind: SupportRequestKind) -> None:
    """The stories and their language have words of their own."""
    stories = {"tests/unit/story_language.py", "tests/unit/test_stories_support.py"}
    for path in files("Add a Support request", always=True) - stories:
        assert kind in text(path) or kind.name in text(path), path


def test_a_support_request_stands_in_no_other_source_file() -> None:
    """The example that the page names."""
    assert mentioning("extend_grace", "EXTEND_GRACE") <= files("Add a Support request")


@pytest.mark.parametrize("kind", EventKind)
def test_every_event_stands_in_the_files_to_touch(kind: EventKind) -> None:
    """By its name or by its kind."""
    for path in files("Add an event", always=True):
        assert kind in text(path) or kind.name in text(path), path


def test_an_event_stands_in_no_other_source_file() -> None:
    """The example that the page names."""
    named = ("organization.reinstatement_lapsed", "REINSTATEMENT_LAPSED")
    assert mentioning(*named) <= files("Add an event")


def test_a_notification_kind_stands_in_no_other_source_file() -> None:
    """The example that the page names."""
    always = sources(files("Add a marketplace's notification kind", always=True))
    assert mentioning("ENTITLEMENT_RENEWED") == always


def test_a_setting_stands_in_no_other_source_file() -> None:
    """The example that the page names; that every setting has its row is tested with the pages."""
    assert mentioning("retry_pause_min_ms") == sources(files("Add a setting"))


@pytest.mark.parametrize("path", sorted(SOURCE.glob("store/*.sql")), ids=lambda path: path.stem)
def test_every_query_is_executed_by_a_module_of_the_store(path: Path) -> None:
    """Nearly always by that of its name; a statement that nobody executes goes."""
    modules = "".join(each.read_text(encoding="utf-8") for each in path.parent.glob("*.py"))
    for name in _STATEMENT.findall(path.read_text(encoding="utf-8")):
        assert f'["{name}"]' in modules, name


def test_the_list_for_a_metric_is_whole() -> None:
    """By an example."""
    assert mentioning("MASS_CANCELLATIONS") == sources(files("Add a metric"))
