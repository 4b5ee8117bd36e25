"""Measures how the cost of a decision grows with the related subscriptions and organizations.

Also how the cost of reading a value grows with its parts.  Processor time of the worker's own
functions, in one process and without I/O, on the same inputs for which `tests/unit/test_growth.py`
counts instructions (lifecycle.md section 10, invariant 12).
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from time import process_time

from benchmarks.measuring import Options
from benchmarks.parts import FEEDS, HASH, NOW
from benchmarks.results import Row, row
from benchmarks.stage import Stage
from marketplace_worker.app import rare_garbage_collection
from marketplace_worker.lifecycle.holders import HOLDERS_MAX
from marketplace_worker.record import Record
from marketplace_worker.translate import translate

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/unit"))

from growth_scenarios import GROWING, VALUES, Grown

FEW = 200
PARTS = 1_000
TRIES = 3
WANTED = "at most 2.4"

AT_MOST_HOLDERS = ("organizations_of_an_account", "former_organizations_of_an_account")
"""These have at most `HOLDERS_MAX` organizations: beyond it no more are read, so no cost grows."""

Work = Callable[[int], Callable[[], object]]


async def measure(stage: Stage, options: Options) -> list[Row]:
    """Measure each input; returns a row for each.  The servers are not used."""
    works: dict[str, tuple[Work, int]] = {
        name.replace("_", " "): (
            _deciding(make),
            HOLDERS_MAX // 2 if name in AT_MOST_HOLDERS else FEW,
        )
        for name, make in GROWING.items()
    }
    works |= {f"a value: {name}": (_reading(make), PARTS) for name, make in VALUES.items()}
    with rare_garbage_collection():
        return [_row(name, work, few, stage, options) for name, (work, few) in works.items()]


def _row(name: str, work: Work, few: int, stage: Stage, options: Options) -> Row:
    first = [_ms(work, few) for _ in range(options.runs)]
    twice = [_ms(work, 2 * few) for _ in range(options.runs)]
    return row(
        "neighbourhoods",
        f"{name}, {few} and {2 * few}",
        "times the cost",
        {"ours": [large / small for small, large in zip(first, twice, strict=True)]},
        wanted=WANTED,
        details={"ms": [round(min(first), 2), round(min(twice), 2)]},
        ran_on=stage.ran_on,
    )


def _deciding(make: Callable[[int], Grown]) -> Work:
    return lambda count: make(count).decide


def _reading(make: Callable[[int], object]) -> Work:
    topic = next(iter(FEEDS))

    def work(count: int) -> Callable[[], object]:
        record = Record(topic, 0, 0, NOW, None, json.dumps(make(count)).encode())
        return lambda: translate(record, FEEDS[topic], HASH)

    return work


def _ms(work: Work, count: int) -> float:
    """The shortest of several tries in ms, each with new inputs."""
    return min(_once(work(count)) for _ in range(TRIES))


def _once(do: Callable[[], object]) -> float:
    began = process_time()
    do()
    return 1_000 * (process_time() - began)
