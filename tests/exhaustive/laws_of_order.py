"""Tests the laws of order for the given time, in rounds with a fresh seed each.

    python tests/exhaustive/laws_of_order.py MINUTES [arguments of pytest]

Prints the seed of each round.  Exits with 1 after the first round that fails; the failure is
printed as a story, and `--hypothesis-profile=long --hypothesis-seed=SEED` reproduces it.
"""

import secrets
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
LAWS = [
    "tests/unit/test_laws_linked_stories.py",
    "tests/unit/test_laws_order.py",
    "tests/unit/test_laws_sign_ins.py",
    "tests/acceptance/test_any_order.py",
]


def holds(seed: int, arguments: Sequence[str]) -> bool:
    """Whether all laws hold in one round, which takes a few minutes."""
    options = ["-q", "-n", "auto", "--hypothesis-profile=long", f"--hypothesis-seed={seed}"]
    command = [sys.executable, "-m", "pytest", *options, *arguments, *LAWS]
    return subprocess.run(command, cwd=ROOT, check=False).returncode == 0


def main() -> int:
    """Run rounds until the time is over or one fails."""
    minutes, *arguments = sys.argv[1:] or ["10"]
    until, number = time.monotonic() + float(minutes) * 60, 0
    while not number or time.monotonic() < until:
        number, seed = number + 1, secrets.randbits(32)
        print(f"round {number}, --hypothesis-seed={seed}", flush=True)
        if not holds(seed, arguments):
            return 1
    print(f"{number} rounds: all laws held")
    return 0


if __name__ == "__main__":
    sys.exit(main())
