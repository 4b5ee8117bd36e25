"""Every fault of `make test-mutation` can be planted, and the tests that must find it exist."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "mutation"))

from plant import PACKAGE, TESTS, TESTS_OF_READERS, Fault, read_faults  # noqa: E402 - found by the line above

FAULTS = list(read_faults())


def test_each_fault_stands_at_one_place() -> None:
    """A fault whose lines were changed would be planted nowhere, and found by nobody."""
    lost = [each.name for each in FAULTS if _count(each) != 1]
    assert not lost, "change the lines of these in tests/mutation/*.txt as the source was changed"


def _count(fault: Fault) -> int:
    file = ROOT / "src" / PACKAGE / fault.file
    return file.read_text().count(fault.old) if file.is_file() else 0


NAMED = {*TESTS, *TESTS_OF_READERS, *(test for fault in FAULTS for test in fault.tests)}


@pytest.mark.parametrize("named", sorted(NAMED))
def test_the_tests_that_must_find_a_fault_exist(named: str) -> None:
    """A file, or one test of it."""
    pattern, _, test = named.partition("::")
    files = list((ROOT / "tests").glob(pattern))
    assert files
    assert not test or f"def {test}(" in files[0].read_text()


def test_names_of_faults_are_unique() -> None:
    """`--only` chooses by them."""
    names = [(each.file, each.name) for each in FAULTS]
    assert len(names) == len(set(names))
