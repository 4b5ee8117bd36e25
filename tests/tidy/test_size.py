"""The code stays small: modules, functions, and no loose ends."""

import ast
import re
from collections.abc import Iterator
from math import ceil
from pathlib import Path

ROOT = Path(__file__).parents[2]
MODULE_LINES_MAX = 400
FUNCTION_LINES_MAX = {"src": 40, "benchmarks": 60}
FUNCTION_LINES_95TH_PERCENTILE_MAX = 40
LOOSE_END = re.compile(r"\bTO[D]O\b|\bFIX[M]E\b|# *type: *ignore(?!\[)")


def modules(*folders: str) -> Iterator[tuple[str, str]]:
    """The path and the text of each module."""
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield str(path.relative_to(ROOT)), path.read_text()


def functions() -> Iterator[tuple[str, int]]:
    """The place and the length of each function, decorators and all; the tests' may be longer."""
    for path, text in modules("src", "benchmarks"):
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
                assert node.end_lineno is not None
                yield f"{path}:{first} {node.name}", node.end_lineno - first + 1


def test_a_module_fits_in_a_head() -> None:
    """A longer one has two subjects: split it by subject."""
    lengths = {path: len(text.splitlines()) for path, text in modules("src", "benchmarks")}
    assert lengths
    assert not {path: n for path, n in lengths.items() if n > MODULE_LINES_MAX}


def test_a_function_fits_on_a_screen() -> None:
    """A longer one does two things: split it by what is done."""
    assert not {
        place: n for place, n in functions() if n > FUNCTION_LINES_MAX[place.partition("/")[0]]
    }


def test_most_functions_are_short() -> None:
    """The limit is for the exception, so the 95th percentile has a limit of its own."""
    by_length = sorted(functions(), key=lambda function: function[1])
    place, length = by_length[ceil(len(by_length) * 0.95) - 1]
    longer = [f for f in by_length if f[1] > FUNCTION_LINES_95TH_PERCENTILE_MAX]
    assert length <= FUNCTION_LINES_95TH_PERCENTILE_MAX, (place, longer)


def test_nothing_is_left_to_do_in_the_code() -> None:
    """Work to be done stands in an issue; a silenced type error names what it silences."""
    assert not [
        f"{path}:{number} {line.strip()}"
        for path, text in modules("src", "tests", "benchmarks")
        for number, line in enumerate(text.splitlines(), start=1)
        if LOOSE_END.search(line)
    ]
