"""docs/architecture.md names every package, every module of the core, and the layers."""

import re
import tomllib

from pages import ROOT

PAGE = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
LAYOUT = PAGE.partition("## Layout")[2].partition("\n## ")[0]
SOURCE = ROOT / "src/marketplace_worker"


def test_every_package_and_module_at_the_top_stands_in_the_layout() -> None:
    """So that a newcomer finds everything from one table."""
    named = set(re.findall(r"`([\w./]+)`", LAYOUT))
    packages = {f"{path.parent.name}/" for path in SOURCE.glob("*/__init__.py")}
    modules = {path.name for path in SOURCE.glob("*.py") if not path.name.startswith("__")}
    assert packages | modules <= named


def test_every_module_of_the_core_stands_in_the_layout() -> None:
    """By its subject."""
    core = LAYOUT.partition("The core, `lifecycle/`:")[2]
    named = set(re.findall(r"`([\w/]+\.py)`", core))
    modules = {
        str(path.relative_to(SOURCE / "lifecycle"))
        for path in (SOURCE / "lifecycle").rglob("*.py")
        if path.name != "__init__.py"
    }
    assert named == modules


def test_every_file_that_the_page_names_exists() -> None:
    """Of the project, of the source, or of the core."""
    named = re.findall(r"`((?:[\w-]+/)*[\w-]+\.(?:py|sql|md))`", PAGE)
    roots = (ROOT, SOURCE, SOURCE / "lifecycle")
    assert {each for each in named if not any((root / each).exists() for root in roots)} == set()


def test_the_layers_are_those_that_are_enforced() -> None:
    """import-linter has them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (enforced,) = (
        each["layers"]
        for each in project["tool"]["importlinter"]["contracts"]
        if each["type"] == "layers"
    )
    (shown,) = re.findall(r"```\n(__main__\n.*?)\n```", PAGE, re.DOTALL)
    assert shown.splitlines() == enforced
