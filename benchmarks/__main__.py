"""`python -m benchmarks [GROUP …]`: measures, prints the table, writes `benchmarks/results`."""

import argparse
import importlib
import logging
import sys
import traceback
from collections.abc import Sequence
from time import perf_counter

import uvloop

from benchmarks import results
from benchmarks.measuring import RUNS, Options
from benchmarks.stage import staging
from marketplace_worker.operations.logs import set_up_logs

EVERYDAY = (
    "usage",
    "notifications",
    "relay",
    "deadlines",
    "simulate",
    "parts",
    "neighbourhoods",
    "latency",
    "footprint",
)
LARGE = ("growth", "scale_out", "cost")


def main() -> None:
    """Run the benchmarks named on the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=", ".join(EVERYDAY + LARGE))
    parser.add_argument("--large", action="store_true", help="the big ones")
    parser.add_argument("--runs", type=int, default=RUNS, help="of each contender")
    parser.add_argument("--scale", type=float, default=1.0, help="of all sizes")
    parser.add_argument(
        "--no-fsync", action="store_true", help="Postgres does not wait for its disk"
    )
    parser.add_argument("--tansu", action="store_true", help="the embedded broker in any case")
    parser.add_argument("--dry", action="store_true", help="print the table, and write nothing")
    arguments = parser.parse_args()
    groups = tuple(arguments.groups) or (LARGE if arguments.large else EVERYDAY)
    if unknown := set(groups) - {*EVERYDAY, *LARGE}:
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    set_up_logs(sys.stderr, "warning")
    logging.getLogger("aiokafka").setLevel(logging.ERROR)  # new topics have no leader at first
    sys.exit(uvloop.run(_measure(groups, arguments)))


async def _measure(groups: Sequence[str], arguments: argparse.Namespace) -> int:
    """Measure group by group; returns how many failed.  A failure does not stop the others."""
    modules = {name: importlib.import_module(f"benchmarks.{name}") for name in groups}
    options = Options(arguments.runs, arguments.scale)
    rows: list[results.Row] = []
    plots = {name: each.plot for name, each in modules.items() if hasattr(each, "plot")}
    failed = 0
    began = perf_counter()
    async with staging(durable=not arguments.no_fsync, embedded=arguments.tansu) as stage:
        sys.stderr.write(f"{stage.ran_on}\n")
        for name, module in modules.items():
            sys.stderr.write(f"{name}\n")
            group_began = perf_counter()
            try:
                rows += await module.measure(stage, options)
            except Exception:  # noqa: BLE001 - shown, and counted
                traceback.print_exc()
                failed += 1
            sys.stderr.write(f"  {perf_counter() - group_began:.0f} s\n")
    results.show(rows)
    sys.stderr.write(f"{perf_counter() - began:.0f} s in all, on {stage.ran_on}\n")
    if rows and not arguments.dry:
        results.save(rows, plots)
    return failed


if __name__ == "__main__":
    main()
