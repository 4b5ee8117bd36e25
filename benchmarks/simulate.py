"""`simulate`: messages per second of `marketplace_worker.simulate`, without I/O.

From lines in memory to events as bytes, as in the command.  The floor is `json.loads` of the same
lines.
"""

import json
import sys
from datetime import UTC, datetime
from functools import partial
from time import perf_counter

from benchmarks import workloads
from benchmarks.measuring import Options, process, taking_turns
from benchmarks.results import Row, row
from benchmarks.stage import EMAIL_KEY, POLICY, Stage
from benchmarks.workloads import number_of
from marketplace_worker.app import feeds
from marketplace_worker.contract.emails import email_hasher
from marketplace_worker.contract.outbound import encode
from marketplace_worker.contract.policy_file import load_policy
from marketplace_worker.contract.scenario import read_scenario
from marketplace_worker.settings import Topics
from marketplace_worker.simulate import Simulation

ORGANIZATIONS = 120


async def measure(stage: Stage, options: Options) -> list[Row]:
    """Measure both contenders; returns one row.  The servers are not used."""
    organizations = options.size(ORGANIZATIONS, least=60)

    async def contender(what: str) -> float:
        told = {"what": what, "organizations": organizations}
        return float((await process("benchmarks.simulate", told))["rate"])

    runs = await taking_turns(
        {"ours": partial(contender, "ours"), "floor": partial(contender, "floor")}, options.runs
    )
    details = {"organizations": organizations, "messages": len(_lines(organizations))}
    return [
        row(
            "simulate",
            "simulate (floor: json.loads)",
            "messages/s",
            runs,
            wanted="report",
            details=details,
            ran_on=stage.ran_on,
        )
    ]


def _lines(organizations: int) -> list[bytes]:
    """A scenario: all messages of the fleet of `notifications`."""
    now = datetime(2026, 11, 1, tzinfo=UTC)
    told = []
    for number in range(organizations):
        kind = workloads.NOTIFIED[number % len(workloads.NOTIFIED)]
        told += [*kind.told(number_of(number), now), (now, kind.news(number_of(number), now))]
    return [
        json.dumps(
            {
                "at": at.isoformat().replace("+00:00", "Z"),
                "topic": topic,
                "key": key.decode(),
                "value": json.loads(value),
            }
        ).encode()
        for at, (topic, key, value) in sorted(told, key=lambda each: each[0])
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


def _contend(told: dict[str, object]) -> dict[str, float]:
    lines = _lines(int(str(told["organizations"])))
    began = perf_counter()
    made = _ours(lines) if told["what"] == "ours" else _floor(lines)
    assert made
    return {"rate": len(lines) / (perf_counter() - began)}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_contend(json.loads(sys.argv[1]))) + "\n")
