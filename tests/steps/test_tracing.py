"""Events that a message causes have its trace; those of a deadline have none (events.md 3)."""

import json
from typing import Any

from acceptance.scenario import at, created
from acceptance.stage import MovableClock
from marketplace_worker.contract.emails import email_hasher
from marketplace_worker.contract.outbound import encode
from marketplace_worker.contract.topics import feeds
from marketplace_worker.inspection.fleet_view import Inspector
from marketplace_worker.lifecycle.policy import Policy
from marketplace_worker.runtime.worker import Worker
from marketplace_worker.settings import Topics
from marketplace_worker.simulate import Simulation
from marketplace_worker.steps.ingest import ingest
from steps.story_beginnings import (
    Line,
    day_of,
    ended,
    events_of,
    ingest_lines,
    linked,
    records,
    support,
    wait,
)
from steps.test_replaying import differences

PARENTS = [f"00-{number:032x}-{number:016x}-01" for number in range(1, 9)]


def story() -> list[Line]:
    """Created, linked, canceled, held, and reinstated by Support; each line but one traced."""
    lines = [
        created(0, "acme", tier="plus"),
        linked(0.5, "acme", "first"),
        ended(1, "first", "an account"),
        support(2.5, "place_hold", "acme", kind="legal"),
        support(3, "release_hold", "acme", kind="legal"),
        support(4, "reinstate_organization", "acme", grant_until="2026-02-01T00:00:00Z"),
    ]
    for parent, line in zip(PARENTS, lines, strict=False):
        line["headers"] = {"traceparent": parent}
    lines[3]["headers"] = {}
    lines[3]["value"] |= {"traceparent": PARENTS[3], "tracestate": "a=1"}
    del lines[4]["headers"]
    return lines


def test_what_simulate_prints_has_the_traces() -> None:
    """With the traces of published events."""
    published_events = events(story())
    assert [(name, each.get("traceparent")) for name, each in published_events] == EXPECTED


EXPECTED: list[tuple[str, str | None]] = [
    ("organization.canceled", PARENTS[2]),
    ("metering.final_report_due", PARENTS[2]),
    ("organization.control_plane_lost", None),
    ("control_plane.access_revoked", None),
    ("support_request.completed", PARENTS[3]),
    ("support_request.completed", None),
    ("organization.reinstated", PARENTS[5]),
    ("control_plane.access_restored", PARENTS[5]),
    ("support_request.completed", PARENTS[5]),
]


def events(lines: list[Line]) -> list[tuple[str, dict[str, Any]]]:
    """What `simulate` prints of a scenario, by name, up to the fifth day."""
    simulation = Simulation(
        Policy(), feeds(Topics()), email_hasher(b"sixteen characters"), lambda _, __: None
    )
    return [
        (str(event.kind), json.loads(encode(event, simulation.traces.get(event.id))))
        for event in simulation.run(records(*lines), until=at(5))
    ]


async def test_the_worker_publishes_them_as_simulate_prints_them(
    worker: Worker, clock: MovableClock, inspector: Inspector
) -> None:
    """Each event, and each snapshot with that of the message which it names as its cause."""
    for line in story():
        await wait(worker, clock, until=day_of(line) - 0.001)
        await ingest_lines(worker, clock, line)
    published = await events_of(worker, "acme")
    assert published == [each for _, each in events(story())]

    rows = await worker.pool.fetch(
        "SELECT value FROM outbox WHERE topic = $1 ORDER BY id", worker.topics.state
    )
    snapshots = [json.loads(row["value"]) for row in rows]
    traced = {each["causationid"]: each.get("traceparent") for each in published}
    shown = {each["causationid"]: each.get("traceparent") for each in snapshots}
    assert traced.items() <= shown.items()
    assert [each for each in shown.values() if each] == [
        *PARENTS[:4],
        PARENTS[5],
    ]
    assert await differences(inspector) == []


async def test_of_one_batch_each_event_has_the_trace_of_its_own_message(
    worker: Worker, clock: MovableClock
) -> None:
    """The snapshot has the trace of the last message."""
    lines = [created(0, "acme", tier="plus"), linked(0, "acme", "first"), ended(0, "first", "paid")]
    for parent, line in zip(PARENTS, lines, strict=False):
        line["headers"] = {"traceparent": parent}
    lines.append(support(0, "place_hold", "acme", kind="legal"))
    batch = records(*lines)
    clock.now = batch[-1].recorded_at
    await ingest(batch, worker)
    assert [each.get("traceparent") for each in await events_of(worker, "acme")] == [
        PARENTS[2],
        PARENTS[2],
        None,
    ]
    (newest,) = await worker.pool.fetch(
        "SELECT value FROM outbox WHERE topic = $1", worker.topics.state
    )
    assert "traceparent" not in json.loads(newest["value"])
