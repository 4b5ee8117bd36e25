"""Random stories with fresh seeds against the naive model (tests/unit/reference_model.py).

python tests/exhaustive/model.py [SECONDS] [FIRST_SEED]
"""

import sys
import time
from pathlib import Path
from random import SystemRandom

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

from reference_stories import report


def main(seconds: int = 60, first: int | None = None) -> int:
    """Compare random stories for this long; return 1 if any differs from the model."""
    first = SystemRandom().randrange(10**9) if first is None else first
    print(f"stories from seed {first} on", flush=True)
    ends_at, seed, differ = time.monotonic() + seconds, first, 0
    while time.monotonic() < ends_at:
        if found := report(seed):
            differ += 1
            print(found, "", sep="\n", flush=True)
        seed += 1
    print(f"{seed - first} stories, {differ} differ from the model")
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:3])))
