"""docs/sources.md names rules, modules and tests that exist."""

import ast
import re

import pytest
from pages import ROOT, named_tests

PAGE = (ROOT / "docs/sources.md").read_text(encoding="utf-8")
RULES = (ROOT / "docs/rules/lifecycle.md").read_text(encoding="utf-8")

_ROW = re.compile(r"^\| (?P<sentence>.+) \| (?P<rules>.+) \| (?P<modules>.+) \| (?P<tests>.+) \|$")
_SECTION = re.compile(r"\[(\d+)\]")
_MODULE = re.compile(r"`((?:[a-z_]+/)+[a-z_]+\.py)`")
_REFERENCE = re.compile(r"^\[(\d+)\]: rules/lifecycle\.md#(\S+)$", re.MULTILINE)


def sentences() -> list[re.Match[str]]:
    """The rows of the tables that end in a test, heads aside."""
    documents = PAGE[: PAGE.index("## Where the documents differ")]
    rows = (_ROW.match(line) for line in documents.splitlines())
    return [row for row in rows if row and row["sentence"] not in {"sentence", "---"}]


def anchor(heading: str) -> str:
    """How code hosts name a heading in an address."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def defined(path: str) -> set[str]:
    """The functions of a file."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("row", sentences(), ids=lambda row: row["sentence"][:40])
def test_every_sentence_names_its_rule_its_module_and_a_test(row: re.Match[str]) -> None:
    """So that a reader who knows the documents can follow each sentence into the code."""
    assert set(_SECTION.findall(row["rules"])) <= {str(number) for number in range(1, 12)}
    modules = _MODULE.findall(row["modules"])
    assert modules
    assert [
        each for each in modules if not (ROOT / "src/marketplace_worker" / each).is_file()
    ] == []
    tests = named_tests(row["tests"])
    assert tests
    for path, _, name in (test.partition("::") for test in tests):
        assert name in defined(path), name


def test_every_section_that_is_named_leads_to_its_heading() -> None:
    """Reference links, as each is used many times."""
    headings = {anchor(line[3:]) for line in RULES.splitlines() if line.startswith("## ")}
    references = dict(_REFERENCE.findall(PAGE))
    assert set(references.values()) <= headings
    assert set(_SECTION.findall(PAGE)) == references.keys()
