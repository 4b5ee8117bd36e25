"""One word a concept, and each word one concept: docs/glossary.md, and the names in the source."""

import ast
import re
from collections import defaultdict
from functools import cache

import pytest
from pages import ROOT

GLOSSARY = (ROOT / "docs/glossary.md").read_text(encoding="utf-8")
SOURCE = ROOT / "src/marketplace_worker"
VAGUE_VERBS = {"give", "given", "hear", "heard", "look", "looked", "said", "say", "take", "taken"}
VAGUE_VERBS |= {"tell", "told"}
IDIOMS = ("give_up",)


Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@cache
def definitions() -> list[tuple[str, Definition]]:
    """Every class and function of the source, with its module."""
    return [
        (str(path.relative_to(SOURCE)), node)
        for path in sorted(SOURCE.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, Definition)
    ]


@cache
def classes() -> dict[str, list[str]]:
    """The modules that define a public class, by its name."""
    found = defaultdict(list)
    for module, node in definitions():
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            found[node.name].append(module)
    return found


def test_a_class_name_means_one_thing() -> None:
    """Who searches for it finds it; where two must share it, the glossary says why."""
    explained = GLOSSARY.partition("## One name in two modules")[2]
    assert {
        name: modules
        for name, modules in classes().items()
        if len(modules) > 1 and f"`{name}`" not in explained
    } == {}


def test_functions_are_named_by_the_fields_verbs() -> None:
    """Read, parse, load, lock, decide, apply, emit, record, publish, retry, report."""
    names = [
        (module, node.name)
        for module, node in definitions()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    assert len(names) > 1_000
    assert [
        each
        for each in names
        if (name := each[1].strip("_")).split("_")[0] in VAGUE_VERBS and not name.startswith(IDIOMS)
    ] == []


def rows() -> list[tuple[str, str]]:
    """Each word of the glossary, and its names in the code."""
    cells = [line.split(" | ") for line in GLOSSARY.splitlines() if line.startswith("| ")]
    return [(each[0].removeprefix("| "), each[2]) for each in cells if len(each) == 3][1:]


@pytest.mark.parametrize(("word", "names"), rows(), ids=lambda cell: cell.strip("`") or "none")
def test_the_names_of_the_glossary_exist(word: str, names: str) -> None:
    """Classes, or modules."""
    assert word
    for name in re.findall(r"`([^`]+)`", names):
        assert name in classes() or (SOURCE / name).exists(), name


def test_each_word_stands_in_the_glossary_once_in_order() -> None:
    """So that it is found."""
    words = [word for word, _ in rows()]
    assert len(words) > 40
    assert words == sorted(set(words))
