"""The worker on Kafka and Postgres says what `simulate` says, in every field."""

import json
from collections import defaultdict
from datetime import timedelta

import pytest

from acceptance.scenario import everything
from acceptance.stage import MovableClock, Stage, until, working
from marketplace_worker.app import Loop, feeds
from marketplace_worker.contract.emails import email_hasher
from marketplace_worker.contract.outbound import encode
from marketplace_worker.contract.scenario import read_scenario
from marketplace_worker.errors import Malformed
from marketplace_worker.lifecycle.policy import Policy
from marketplace_worker.record import Record
from marketplace_worker.settings import Topics, load_email_key
from marketplace_worker.simulate import HORIZON, Simulation


def scenario() -> list[Record]:
    """Every line, as a record."""
    text = (json.dumps(line).encode() for line in everything())
    return list(read_scenario(text, feeds(Topics())))


def simulated(records: list[Record]) -> tuple[list[bytes], list[str]]:
    """What `simulate` publishes and refuses."""
    refused: list[str] = []

    def refuse(record: Record, refusal: Malformed) -> None:
        refused.append(f"{record.position}: {refusal}")

    key = load_email_key(environment={}).get_secret_value().encode()
    simulation = Simulation(Policy(), feeds(Topics()), email_hasher(key), refuse)
    return [encode(event) for event in simulation.run(records)], refused


def by_organization(events: list[bytes]) -> dict[str, list[dict[str, object]]]:
    """The events of each organization, in the order of the topic."""
    told: dict[str, list[dict[str, object]]] = defaultdict(list)
    for event in map(json.loads, events):
        told[event["subject"]].append(event)
    return told


@pytest.mark.broker
async def test_the_worker_publishes_exactly_what_simulate_prints(stage: Stage) -> None:
    """
    The same parsing, rules and writing: ids, times, order and all.  Ingest and deadlines have a
    clock each, so that at one instant messages come before deadlines, as `simulate` promises.
    """
    records = scenario()
    want, refused = simulated(records)
    deadlines = MovableClock()
    async with (
        working(stage.settings, [Loop.INGEST], stage.clock),
        working(stage.settings, [Loop.DEADLINES], deadlines),
        working(stage.settings, [Loop.RELAY], stage.clock),
    ):
        for record in records:
            await stage.pass_time(record.recorded_at, deadlines)
            stage.clock.now = record.recorded_at
            await stage.send(record)
        await stage.pass_time(records[-1].recorded_at + HORIZON + timedelta(seconds=1), deadlines)
        await until(stage.everything_sent)

    got = await stage.said(stage.settings.topics.lifecycle)
    dead_letters = await stage.said(stage.settings.topics.dead_letters)

    prefix = stage.settings.topics.lifecycle.removesuffix("organizations.lifecycle").encode()
    assert by_organization([e.replace(prefix, b"") for e in got]) == by_organization(want)
    assert len(dead_letters) == len(refused) == 3
