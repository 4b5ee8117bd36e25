"""`make bench-against` fails where it should: CI relies on it."""

import subprocess
import sys

import pytest
from pages import ROOT

from benchmarks.against import NOTHING_S, RATIO_MAX, Work
from benchmarks.versions import HERE, Version

BEFORE = Version("before")


async def _never(_: Version) -> float:
    raise AssertionError


def compared(before_s: float, here_s: float) -> list[str]:
    """The faults of a piece of work with these processor times."""
    spent = {BEFORE.name: [before_s + 1, before_s], HERE.name: [here_s, here_s + 1]}
    return Work("usage", "an event", 1_000, _never, spent).faults(BEFORE)


def test_a_work_fails_only_over_the_limit() -> None:
    """By the cheapest run of each version."""
    assert compared(2.0, 2.0 * RATIO_MAX * 0.99) == []
    assert compared(2.0, 2.0 * RATIO_MAX * 1.01) == ["OVER THE LIMIT"]


@pytest.mark.parametrize("spent_s", [(2.0, 0.0), (NOTHING_S / 2, NOTHING_S / 2)])
def test_a_work_that_was_not_measured_fails(spent_s: tuple[float, float]) -> None:
    """It would pass as a fast one otherwise."""
    assert "NOTHING MEASURED" in compared(*spent_s)


def test_a_commit_that_the_history_lacks_is_named() -> None:
    """As in a shallow clone."""
    lacking = "0" * 40
    command = [sys.executable, "-m", "benchmarks.against", lacking]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert f"no commit {lacking}" in ended.stderr
    assert "git fetch --unshallow" in ended.stderr
