"""The pages are true: of the settings, the tests, the files and the dependencies that they name."""

import ast
import re
import tomllib
from pathlib import Path

import pytest
from pages import (
    ROOT,
    anchors,
    every_page,
    links,
    named_settings,
    named_tests,
    settings_rows,
)

DEPLOY = [path for path in sorted(ROOT.glob("deploy/*")) if path.suffix != ".lock"]
_REQUIREMENT = re.compile(r"[A-Za-z0-9._-]+")


def text(path: str) -> str:
    """A file of the project."""
    return (ROOT / path).read_text(encoding="utf-8")


def test_every_setting_stands_in_the_page_as_it_is_in_the_code() -> None:
    """Name, default, bounds and sentence; the rows that are missing are to be pasted into it."""
    rows = settings_rows()
    assert len(rows) > 40
    page = text("docs/settings.md").splitlines()
    assert [row for row in rows.values() if row not in page] == []


def test_the_page_has_no_setting_that_the_code_has_not() -> None:
    """What was renamed or removed goes from the page too."""
    assert named_settings(text("docs/settings.md")) <= settings_rows().keys()


@pytest.mark.parametrize("path", [ROOT / "README.md", *DEPLOY], ids=lambda path: path.name)
def test_what_an_operator_copies_names_only_settings_that_exist(path: Path) -> None:
    """The worker refuses an unknown one, but only when it starts."""
    assert named_settings(path.read_text(encoding="utf-8")) <= settings_rows().keys()


@pytest.mark.parametrize("page", every_page(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    """A page that moved takes its links along, and so does a heading."""
    for target, heading in links(page):
        assert target.exists(), target
        if heading and target.suffix == ".md":
            assert heading in anchors(target), f"{target.name}#{heading}"


def test_every_page_is_reached_from_the_readme() -> None:
    """The table of pages is whole."""
    reached = {target.resolve() for target, _ in links(ROOT / "README.md")}
    assert {page for page in every_page() if page.name != "README.md"} <= reached


@pytest.mark.parametrize("page", every_page(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_test_that_a_page_names_exists(page: Path) -> None:
    """What is promised is shown by a test, or the page must say that it is not."""
    for name in named_tests(page.read_text(encoding="utf-8")):
        path, _, function = name.partition("::")
        assert (ROOT / path).is_file(), name
        if function:
            defined = {getattr(node, "name", None) for node in ast.walk(ast.parse(text(path)))}
            assert function in defined, name


def test_delivery_names_a_test_for_what_it_promises() -> None:
    """The page would be worth little without them."""
    assert len({name for name in named_tests(text("docs/delivery.md")) if "::" in name}) > 20


def test_every_dependency_is_explained() -> None:
    """Who adds one says why."""
    project = tomllib.loads(text("pyproject.toml"))
    wanted = [
        *project["project"]["dependencies"],
        *(each for extra in project["project"]["optional-dependencies"].values() for each in extra),
        *(each for group in project["dependency-groups"].values() for each in group),
    ]
    names = {found[0] for each in wanted if (found := _REQUIREMENT.match(each))}
    explained = set(re.findall(r"`([A-Za-z0-9._-]+)(?:\[\w+\])?`", text("docs/dependencies.md")))
    assert names - explained == set()
