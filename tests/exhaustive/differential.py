"""Compares the output of `simulate` with that of another commit, byte by byte.

    python tests/exhaustive/differential.py --against REF [--scenarios 1000] [--first-seed 0]

Runs the scenarios of `scenarios.py` and all files of tests/cases with both, and compares standard
output, standard error (the refused messages) and the exit status, and for each generated policy the
output of `policy show`.  Prints the first difference and the number of scenarios that differ; exits
with 1 if any does.
"""

import argparse
import json
import os
import runpy
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from difflib import unified_diff
from itertools import islice
from pathlib import Path

from scenarios import scenario

ROOT = Path(__file__).parents[2]
RUN_HERE = "--run-here"
"""Argument with which this script calls itself: run all scenarios of a folder with the source on
the path.
"""
LINES_OF_A_DIFFERENCE_MAX = 20


# --- running a folder of scenarios ----------------------------------------------------------------


def write_scenarios(folder: Path, seeds: Sequence[int]) -> None:
    """Write each scenario and its arguments, and the cases, into a folder."""
    for seed in seeds:
        drawn, name = scenario(seed), f"seed-{seed:05}"
        (folder / f"{name}.jsonl").write_bytes(drawn.lines)
        arguments = ["simulate", f"{name}.jsonl"]
        if drawn.until is not None:
            arguments += ["--until", drawn.until]
        if drawn.policy is not None:
            (folder / f"{name}.toml").write_text(drawn.policy)
            arguments += ["--policy", f"{name}.toml"]
            show = ["policy", "show", "--policy", f"{name}.toml"]
            (folder / f"{name}-policy.run").write_text(json.dumps(show))
        (folder / f"{name}.run").write_text(json.dumps(arguments))
    for case in (ROOT / "tests" / "cases").glob("*.jsonl"):
        (folder / case.name).write_bytes(case.read_bytes())
        (folder / f"{case.stem}.run").write_text(json.dumps(["simulate", case.name]))


def run_here(scenarios: Path, results: Path) -> None:
    """Run each `.run` of a folder in a fork of this process, and write its output.

    The command is run as `python -m marketplace_worker`, so this uses no name of the source. One
    command runs first without a fork, so that every fork finds the modules loaded.
    """
    os.chdir(scenarios)
    with (results / "warm-up").open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
        _run(["simulate", os.devnull])
    for run in sorted(scenarios.glob("*.run")):
        child = os.fork()
        if child == 0:
            _run_forked(json.loads(run.read_text()), results / run.stem)
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        (results / f"{run.stem}.status").write_text(f"{code}\n")


def _run(arguments: Sequence[str]) -> int:
    sys.argv = ["marketplace-worker", *arguments]
    try:
        runpy.run_module("marketplace_worker", run_name="__main__")
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return 0


def _run_forked(arguments: Sequence[str], result: Path) -> None:
    with result.with_suffix(".out").open("w") as out, result.with_suffix(".err").open("w") as err:
        os.dup2(out.fileno(), 1)
        os.dup2(err.fileno(), 2)
        code = 99
        try:
            code = _run(arguments)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)


# --- comparing two sources ------------------------------------------------------------------------


def extract(reference: str, folder: Path) -> None:
    """Write the source of a commit into a folder."""
    archive = ["git", "-C", str(ROOT), "archive", reference, "src"]
    packed = subprocess.run(archive, check=True, stdout=subprocess.PIPE).stdout
    folder.mkdir()
    subprocess.run(["tar", "-x", "-C", str(folder)], input=packed, check=True)


def run_source(source: Path, scenarios: Path, results: Path) -> None:
    """Run all scenarios with the source of a checkout and this environment's libraries."""
    results.mkdir()
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MARKETPLACE_WORKER")}
    environment |= {"PYTHONPATH": str(source), "PYTHONHASHSEED": "0"}
    where = "import marketplace_worker; print(marketplace_worker.__file__)"
    used = subprocess.run(
        [sys.executable, "-c", where], env=environment, check=True, stdout=subprocess.PIPE
    )
    assert used.stdout.startswith(os.fsencode(source)), used.stdout
    command = [sys.executable, __file__, RUN_HERE, str(scenarios), str(results)]
    subprocess.run(command, env=environment, check=True)


def differing(scenarios: Path, theirs: Path, ours: Path) -> list[str]:
    """The names of results that differ or that only one of the two has."""
    names = {file.name for folder in (theirs, ours) for file in folder.iterdir()} - {"warm-up"}
    runs = len(list(scenarios.glob("*.run")))
    assert len(names) == 3 * runs, f"{runs} runs, {len(names)} results"
    return sorted(
        name for name in names if (theirs / name).read_bytes() != (ours / name).read_bytes()
    )


def report(results: Path) -> None:
    """Print how much was compared, so that an empty comparison is noticed."""
    kinds: Counter[str] = Counter()
    for file in results.glob("*.out"):
        for line in file.read_text().splitlines():
            if line.startswith("{"):
                kinds[json.loads(line)["type"]] += 1
    refused = sum(len(file.read_text().splitlines()) for file in results.glob("*.err"))
    statuses = Counter(file.read_text().strip() for file in results.glob("*.status"))
    print(f"{sum(kinds.values())} events of {len(kinds)} types, {refused} lines on standard error")
    print(f"exit statuses: {dict(sorted(statuses.items()))}")
    for kind, count in kinds.most_common():
        print(f"  {count:7} {kind}")


def compare(reference: str, seeds: Sequence[int]) -> int:
    """Compare this checkout with another commit; return the exit status."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        other, here, scenarios = (folder / part for part in ("other", "here", "scenarios"))
        # Both are copies, because this checkout may change while they run.
        shutil.copytree(ROOT / "src", here / "src", ignore=shutil.ignore_patterns("__pycache__"))
        extract(reference, other)
        scenarios.mkdir()
        write_scenarios(scenarios, seeds)
        theirs, ours = folder / "theirs", folder / "ours"
        with ThreadPoolExecutor() as pool:
            jobs = [
                pool.submit(run_source, other / "src", scenarios, theirs),
                pool.submit(run_source, here / "src", scenarios, ours),
            ]
            for job in jobs:
                job.result()
        report(ours)
        differ = differing(scenarios, theirs, ours)
        runs = len(list(scenarios.glob("*.run")))
        print(f"{runs} runs ({len(seeds)} random scenarios), {len(differ)} results differ")
        if differ:
            first = differ[0]
            before = (theirs / first).read_text().splitlines()
            after = (ours / first).read_text().splitlines()
            lines = unified_diff(before, after, f"{reference}:{first}", first, n=0, lineterm="")
            print("\n".join(islice(lines, LINES_OF_A_DIFFERENCE_MAX)))
        return 1 if differ else 0


def main() -> int:
    """Parse the arguments."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--against", required=True, metavar="REF", help="the commit to compare")
    parser.add_argument("--scenarios", type=int, default=1_000)
    parser.add_argument("--first-seed", type=int, default=0)
    chosen = parser.parse_args()
    seeds = range(chosen.first_seed, chosen.first_seed + chosen.scenarios)
    return compare(chosen.against, seeds)


if __name__ == "__main__":
    if sys.argv[1:2] == [RUN_HERE]:
        run_here(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        sys.exit(main())
