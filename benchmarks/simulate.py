"""`simulate`: messages per second of `marketplace_worker.simulate`, without I/O.

From lines in memory to events as bytes, as in the command; again and again, each time from the
beginning.  The floor is `json.loads` of the same lines.
"""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from time import perf_counter

from benchmarks import workloads
from benchmarks.measuring import (
    EXTRA_RUNS_MAX,
    RUN_S_AIM,
    RUN_S_MIN,
    RUNS,
    Options,
    Run,
    alternate,
    process,
    too_short,
)
from benchmarks.results import Row, row
from benchmarks.stage import EMAIL_KEY, POLICY, Stage
from benchmarks.workloads import number_of
from marketplace_worker.contract.emails import email_hasher
from marketplace_worker.contract.outbound import encode
from marketplace_worker.contract.policy_file import load_policy
from marketplace_worker.contract.scenario import read_scenario
from marketplace_worker.contract.topics import feeds
from marketplace_worker.settings import Topics
from marketplace_worker.simulate import Simulation

ORGANIZATIONS = 1_200
WARM_UP = 60
"""Organizations of a first pass that is not measured: it builds what is built once in a process."""


async def measure(stage: Stage, options: Options) -> list[Row]:
    """Measure both contenders; returns one row.  The servers are not used."""
    organizations = options.size(ORGANIZATIONS, least=60)
    contenders = {
        what: _Process(what, organizations, options.run_s(RUN_S_AIM)) for what in ("ours", "floor")
    }
    runs = await alternate(contenders, options)
    details = {"organizations": organizations, "messages": len(scenario(organizations))}
    return [
        row(
            "simulate",
            "simulate (floor: json.loads)",
            "messages/s",
            {name: [run.rate for run in each] for name, each in runs.items()},
            wanted="8,000/s",
            short=too_short(runs),
            details=details,
            ran_on=stage.ran_on,
        )
    ]


@dataclass(slots=True)
class _Process:
    """A contender in its own process, which repeats the scenario for some seconds."""

    what: str
    organizations: int
    seconds: float
    count: int = 1
    available: int = 1
    runs_max: int = RUNS + EXTRA_RUNS_MAX
    run_s_min: float = RUN_S_MIN

    async def run(self) -> Run:
        """Repeat the scenario until the time is over."""
        job = {
            "what": self.what,
            "organizations": self.organizations,
            "seconds": self.seconds,
        }
        measured = await process("benchmarks.simulate", job)
        return Run(measured["rate"], measured["seconds"])


def scenario(organizations: int) -> list[bytes]:
    """The lines of a scenario: all messages of the fleet of `notifications`."""
    now = datetime(2026, 11, 1, tzinfo=UTC)
    messages = []
    for number in range(organizations):
        kind = workloads.NOTIFIED[number % len(workloads.NOTIFIED)]
        messages += [
            *kind.history(number_of(number), now),
            (now, kind.news(number_of(number), now)),
        ]
    return [
        json.dumps(
            {
                "at": at.isoformat().replace("+00:00", "Z"),
                "topic": topic,
                "key": key.decode(),
                "value": json.loads(value),
            }
        ).encode()
        for at, (topic, key, value) in sorted(messages, key=lambda each: each[0])
    ]


def _ours(lines: list[bytes]) -> int:
    topics = feeds(Topics())
    simulation = Simulation(
        load_policy(POLICY), topics, email_hasher(EMAIL_KEY.encode()), lambda *_: None
    )
    until = datetime(2026, 11, 2, tzinfo=UTC)
    events = simulation.run(read_scenario(lines, topics), until=until)
    return sum(len(encode(event)) for event in events)


def _floor(lines: list[bytes]) -> int:
    return sum(len(json.loads(line)) for line in lines)


CONTENDERS: Mapping[str, Callable[[list[bytes]], int]] = {"ours": _ours, "floor": _floor}


def _contend(what: str, organizations: int, seconds: float) -> dict[str, float]:
    lines, do = scenario(organizations), CONTENDERS[what]
    do(scenario(WARM_UP))
    began, done, took = perf_counter(), 0, 0.0
    while took < seconds:
        assert do(lines)
        done += len(lines)
        took = perf_counter() - began
    return {"rate": done / took, "seconds": took}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_contend(**json.loads(sys.argv[1]))) + "\n")
