"""The worker on Kafka and Postgres publishes the same as `simulate`, in every field."""

import json
from datetime import timedelta

import pytest

from acceptance.comparison import by_subject, differing_events
from acceptance.scenario import lines_in_order
from acceptance.stage import MovableClock, Stage, until, working
from marketplace_worker.app import Loop
from marketplace_worker.contract.emails import email_hasher
from marketplace_worker.contract.outbound import encode
from marketplace_worker.contract.scenario import read_scenario
from marketplace_worker.contract.topics import feeds
from marketplace_worker.errors import Malformed
from marketplace_worker.lifecycle.policy import Policy
from marketplace_worker.record import Record
from marketplace_worker.settings import Topics, load_email_key
from marketplace_worker.simulate import HORIZON, Simulation


def scenario() -> list[Record]:
    """Every line, as a record."""
    text = (json.dumps(line).encode() for line in lines_in_order())
    return list(read_scenario(text, feeds(Topics())))


def simulated(records: list[Record]) -> tuple[list[bytes], list[str]]:
    """What `simulate` publishes and refuses."""
    refused: list[str] = []

    def refuse(record: Record, refusal: Malformed) -> None:
        refused.append(f"{record.position}: {refusal}")

    key = load_email_key(environment={}).get_secret_value().encode()
    simulation = Simulation(Policy(), feeds(Topics()), email_hasher(key), refuse)
    return [encode(event) for event in simulation.run(records)], refused


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

    got = await stage.published(stage.settings.topics.lifecycle)
    dead_letters = await stage.published(stage.settings.topics.dead_letters)

    prefix = stage.settings.topics.lifecycle.removesuffix("organizations.lifecycle").encode()
    came = by_subject(event.replace(prefix, b"") for event in got)
    assert not differing_events(by_subject(want), came)
    assert len(dead_letters) == len(refused) == 3
