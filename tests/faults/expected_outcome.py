"""Compares the worker's results after a fault with those of `simulate`."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from acceptance.stage import Stage
from faults.workload import Workload
from marketplace_worker.contract.emails import email_hasher
from marketplace_worker.contract.outbound import encode
from marketplace_worker.contract.topics import feeds
from marketplace_worker.inspection.fleet_view import Inspector
from marketplace_worker.inspection.replaying import verify
from marketplace_worker.policy_reading import read_policy
from marketplace_worker.record import Record
from marketplace_worker.settings import Settings, Topics
from marketplace_worker.simulate import Simulation
from marketplace_worker.store.policies import PolicyBook

DIFFERENCES_MAX = 20
"""The maximum of differences shown."""

EventKey = tuple[int, str, str]
"""An event: its sequence, type and id."""


@dataclass(frozen=True)
class Outcome:
    """The final state of a run.

    `events`: by organization, in order of their sequence; an event that was published twice counts
    once.  `logins` and `requests`: sums over all organizations.  `misfolded`: differences between
    the stored state and a replay of the journal.
    """

    states: Mapping[str, str]
    events: Mapping[str, Sequence[EventKey]]
    logins: int
    requests: int
    dead_letters: int
    misfolded: Sequence[str] = ()
    duplicates: int = field(default=0, compare=False)
    """How many events were published more than once, which is allowed but worth knowing."""

    def differences(self, came: "Outcome") -> list[str]:
        """The differences, one line each: `-` expected, `+` actual."""
        lines = _between("state", self.states, came.states)
        lines += _between("events", self.events, came.events)
        for name in ("logins", "requests", "dead_letters"):
            want, got = getattr(self, name), getattr(came, name)
            lines += [f"{name}: - {want} + {got}"] if want != got else []
        return [*lines, *came.misfolded]


def require_equal(want: Outcome, came: Outcome) -> None:
    """Fail if the actual outcome differs, and show the first differences."""
    lines = want.differences(came)
    if lines:
        more = [f"… and {len(lines) - DIFFERENCES_MAX} more"][: len(lines) > DIFFERENCES_MAX]
        shown = [*lines[:DIFFERENCES_MAX], *more]
        raise AssertionError("\n".join(["- simulate, + worker", *shown]))


def simulated_outcome(workload: Workload, settings: Settings) -> Outcome:
    """The outcome of `simulate`, with the policy and the email key of the settings."""
    refused: list[str] = []
    simulation = Simulation(
        read_policy(settings.policy_file),
        feeds(Topics()),
        email_hasher(settings.email_key.get_secret_value().encode()),
        lambda record, _: refused.append(record.position),
    )
    events: dict[str, list[EventKey]] = defaultdict(list)
    for each in simulation.run(_records(workload), until=workload.until):
        event = json.loads(encode(each))
        events[event["subject"]].append(event_key(event))
    states: dict[str, str] = {
        id_: str(each.state) for id_, each in simulation.fleet.organizations.items()
    }
    return Outcome(states, dict(events), workload.logins, workload.requests, len(refused))


def _records(workload: Workload) -> list[Record]:
    stamped = [(wave.at, message) for wave in workload.waves for message in wave.messages]
    return [
        Record(topic, 0, offset, moment, key, value)
        for offset, (moment, (topic, key, value)) in enumerate(stamped)
    ]


async def actual_outcome(stage: Stage) -> Outcome:
    """The worker's outcome, from its tables and its topic.

    Fails if an organization's events are not in the order of their sequence, repetitions aside.
    """
    published: dict[str, list[EventKey]] = defaultdict(list)
    for event in map(json.loads, await stage.published(stage.settings.topics.lifecycle)):
        published[event["subject"]].append(event_key(event))
    events = {subject: list(dict.fromkeys(each)) for subject, each in published.items()}
    counted = await stage.pool.fetchrow(
        "SELECT coalesce(sum(logins), 0)::bigint AS logins,"
        " coalesce(sum(requests), 0)::bigint AS requests FROM activity"
    )
    assert counted is not None
    return Outcome(
        await stage.states(),
        events,
        counted["logins"],
        counted["requests"],
        await stage.pool.fetchval("SELECT count(*) FROM dead_letters"),
        await _misfolded(stage),
        sum(len(each) for each in published.values()) - sum(map(len, events.values())),
    )


async def _misfolded(stage: Stage) -> list[str]:
    """The differences that `replay --verify` finds."""
    now = await stage.pool.fetchval("SELECT max(decided_at) FROM journal")
    inspector = Inspector(stage.pool, PolicyBook(read_policy(stage.settings.policy_file)), now)
    return [str(each) async for page in verify(inspector) for each in page.differences]


def event_key(event: Mapping[str, str]) -> EventKey:
    """The parts of an event that must be equal."""
    return int(event["sequence"]), event["type"], event["id"]


def _between(what: str, want: Mapping[str, object], came: Mapping[str, object]) -> list[str]:
    return [
        f"{what} of {name}:\n  - {want.get(name)}\n  + {came.get(name)}"
        for name in sorted(want.keys() | came.keys())
        if want.get(name) != came.get(name)
    ]
