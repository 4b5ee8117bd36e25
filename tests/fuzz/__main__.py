"""Fuzzes the readers of all topics, guided by coverage: `make fuzz`.

Atheris records which lines an input reaches, and mutates those that reach new ones.  An input that
breaks the invariant is written beside the corpus, and the run fails.
"""

import argparse
import sys
from binascii import crc32
from hashlib import sha256
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["marketplace_worker"]):
    from fuzz import inputs, invariant
    from marketplace_worker.errors import Malformed

SIMULATED_EVERY = 16
"""Simulating takes a hundred times as long as reading, so only some inputs are simulated."""

OPTIONS = (
    "-max_len=30000",
    "-timeout=10",  # seconds per input
    "-rss_limit_mb=1500",
    "-use_value_profile=1",
    "-print_final_stats=1",
)


def try_one(data: bytes) -> None:
    """Read one input; any exception is a finding."""
    given, feed = inputs.read(data)
    results = invariant.check(given, feed)
    if crc32(data) % SIMULATED_EVERY == 0:
        for fact in results[:3]:
            if not isinstance(fact, Malformed):
                invariant.simulate_fact(fact)


def main() -> None:
    """Start with the seeds and the corpus of earlier runs, and run for the given time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, required=True)
    parser.add_argument("--seed", type=int, help="0 or none: a random one")
    parser.add_argument("--folder", type=Path, required=True, help="where the corpus is kept")
    given = parser.parse_args()

    corpus = given.folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    seeds = list(inputs.seeds())
    for data in seeds:
        (corpus / sha256(data).hexdigest()[:16]).write_bytes(data)
    # `Fuzz` replaces `atheris.Mutate`, so it must be looked up at each call.
    mutator = inputs.Mutator(seeds, lambda data, size: atheris.Mutate(data, size))  # noqa: PLW0108
    found = f"-artifact_prefix={given.folder}/found-"
    time = (f"-max_total_time={given.seconds}", f"-seed={given.seed or 0}")
    atheris.Setup(
        [sys.argv[0], *OPTIONS, *time, found, str(corpus)], try_one, custom_mutator=mutator
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
