"""Plants faults in a copy of the source, one at a time, and runs the tests that must find each.

    python tests/mutation/plant.py [--only WORDS] [--tests GLOB ...]

`faults.txt` has faults of the core, which the unit tests must find; `shell_faults.txt` those of the
other packages, each with the tests that must find it.  Prints a table: which test found each fault,
or that none did.  Ends with 1 where a fault survived that matters, or one cannot be planted any
more.
"""

import argparse
import os
import posixpath
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = Path("marketplace_worker")
CORE, SHELL = "faults.txt", "shell_faults.txt"
TESTS = [
    "unit/test_deadlines.py",
    "unit/test_policy.py",
    "unit/test_plans_*.py",
    "unit/test_coverage.py",
    "unit/test_decide.py",
    "unit/test_cases.py",
    "unit/test_laws_steps.py",
    "unit/test_stories_*.py",
    "unit/test_simulate.py",
    "unit/test_snapshot.py",
    "unit/test_laws_guard.py",
    "unit/test_laws_inactivity.py",
    "unit/test_laws_pauses.py",
    "unit/test_laws_any_state.py",
    "unit/test_laws_order.py",
    "unit/test_laws_sign_ins.py",
    "unit/test_laws_linked_stories.py",
    "unit/test_laws_histories.py",
]
"""Those that look at the core, the quickest first; as seen from tests/."""

TESTS_OF_READERS = [
    "contract/test_inbound*.py",
    "contract/test_envelopes.py",
    "marketplaces/test_*.py",
    "unit/test_cases.py",
]
"""Those that look at what is read, for faults outside the core."""

PATIENCE_S = 600.0


@dataclass(frozen=True, slots=True)
class Fault:
    """In `file` (as seen from the package) it says `new` instead of `old`: whole lines.

    `tests`: the files or tests that must find it, as seen from tests/; none: all of the core's.
    One that does not matter says why: nobody outside could tell.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    harmless_because: str | None = None


def read_faults() -> Iterator[Fault]:
    """What both files describe: a name, a file, and lines taken away (-) and put there (+)."""
    for listing in (CORE, SHELL):
        text = (Path(__file__).parent / listing).read_text()
        for block in text.split("\n== ")[1:]:
            name, file, *lines = block.split("\n# ---")[0].splitlines()
            given = {sign: [line[1:] for line in lines if line[:1] == sign] for sign in "-+@!"}
            old, new = ("".join(f"{line}\n" for line in given[sign]) for sign in "-+")
            path = posixpath.normpath(f"lifecycle/{file}" if listing == CORE else file)
            tests = " ".join(given["@"]).split()
            if listing == CORE and not path.startswith("lifecycle/"):
                tests = TESTS_OF_READERS
            yield Fault(name, path, old, new, tuple(tests), " ".join(given["!"]).strip() or None)


@dataclass(frozen=True, slots=True)
class Found:
    """What the tests made of a fault: the first that failed, or None where all passed."""

    fault: Fault
    by: str | None
    seconds: float

    @property
    def survived(self) -> bool:
        """Whether no test saw it."""
        return self.by is None


def planted(fault: Fault, source: Path) -> bool:
    """Whether the fault could be planted: what it replaces stands there exactly once."""
    file = source / PACKAGE / fault.file
    text = file.read_text()
    if text.count(fault.old) != 1:
        return False
    file.write_text(text.replace(fault.old, fault.new))
    return True


def run_tests(source: Path, tests: Sequence[str]) -> str | None:
    """The first test that fails with this source; None where all pass."""
    folder = ROOT / "tests"
    files = [
        "::".join([str(path), *test])
        for pattern, *test in (each.split("::") for each in tests)
        for path in sorted(folder.glob(pattern))
    ]
    options = ["-x", "-q", "--tb=no", "-p", "no:cacheprovider", "-p", "quickly"]
    environment = os.environ | {
        "PYTHONPATH": f"{source}{os.pathsep}{Path(__file__).parent}",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *options, *files],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "they never ended"
    if done.returncode == 0:
        return None
    failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    if not failed:
        raise RuntimeError(f"the tests did not run:\n{done.stdout}\n{done.stderr}")
    return failed[0].split(" ")[1].removeprefix("tests/")


def plant_and_test(fault: Fault | None, tests: Sequence[str]) -> str | None:
    """Plant a fault in a copy of the source, or none, and run the tests on that."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "src"
        shutil.copytree(ROOT / "src", source, ignore=shutil.ignore_patterns("__pycache__"))
        if fault is not None and not planted(fault, source):
            return "cannot be planted"
        return run_tests(source, tests)


def find(tests: Sequence[str], fault: Fault) -> Found:
    """Look for one fault, and tell how it went."""
    began = time.monotonic()
    found = Found(fault, plant_and_test(fault, fault.tests or tests), time.monotonic() - began)
    outcome = found.by or "SURVIVED"
    if fault.harmless_because is not None:
        outcome = f"{outcome} (does not matter: {fault.harmless_because})"
    print(f"{fault.file:30} {fault.name:65} {found.seconds:4.0f} s  {outcome}", flush=True)
    return found


def main() -> int:
    """Plant them all, as many at a time as there are processors."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="faults whose name or file has these words")
    parser.add_argument(
        "--tests", nargs="*", default=TESTS, help="of the core's, as globs in tests/"
    )
    chosen = parser.parse_args()
    faults = [each for each in read_faults() if chosen.only in f"{each.file} {each.name}"]
    needed = sorted({test for each in faults for test in each.tests or chosen.tests})
    if (failed := plant_and_test(None, needed)) is not None:
        print(f"Without any fault {failed} fails: no fault was planted.")
        return 1
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(partial(find, chosen.tests), faults))
    survived = [each for each in found if each.survived]
    lost = [each for each in found if each.by == "cannot be planted"]
    matter = [each for each in survived if each.fault.harmless_because is None]
    killed = len(found) - len(survived) - len(lost)
    print(
        f"{len(found)} faults: {killed} killed, {len(survived)} survived "
        f"({len(matter)} of these matter), {len(lost)} could not be planted"
    )
    return 1 if matter or lost else 0


if __name__ == "__main__":
    sys.exit(main())
