"""No message causes a crash, a stopped partition or the loss of another record.

The results of the readers for each wrong value are tested in tests/contract and tests/marketplaces
(`*_generated.py`), and by `make fuzz`; here it goes through a broker, the worker and Postgres.
"""

import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import asyncpg
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from acceptance.scenario import (
    at,
    azure,
    created,
    eventbridge,
    google,
    login,
    requested,
    sns,
    support,
)
from faults.conftest import PARTITIONS
from faults.expected_outcome import actual_outcome, require_equal, simulated_outcome
from faults.invalid_messages import MARKETPLACES, NO_OBJECTS, draw_invalid_messages, good_megabyte
from faults.worker_cluster import WorkerCluster, chance_of_this_run, worker_cluster
from faults.workers import FaultStage, eventually
from faults.workload import Line, Message, Wave, Workload, workload
from faults.workload_sender import advance, send_in_pieces, until_settled
from marketplace_worker.contract.emails import email_hasher
from marketplace_worker.contract.topics import feeds
from marketplace_worker.errors import Malformed
from marketplace_worker.lifecycle.facts import ApiRequested, Fact, LoggedIn
from marketplace_worker.record import EPOCH, Headers, Record
from marketplace_worker.settings import Topics
from marketplace_worker.translate import translate

pytestmark = pytest.mark.faults

ORGANIZATIONS = 48
WRONG = 1_500

NO_TOPIC_IS_STOPPED = {"MARKETPLACE_WORKER_INGEST__REFUSED_SHARE_MAX": "1"}
"""Almost everything is unreadable here; stopping a topic is tested elsewhere."""


# --- wrong values in every field ------------------------------------------------------------------


async def test_wrong_values_in_any_field_change_nothing_else(
    stage: FaultStage, tmp_path: Path
) -> None:
    """The worker has the same result as `simulate`; each message is in the journal,
    counted, or in the dead letters with the field at fault.
    """
    chance = chance_of_this_run()
    all_messages = _mixed(workload(chance, ORGANIZATIONS), chance)
    async with worker_cluster(stage, tmp_path, variables=NO_TOPIC_IS_STOPPED) as workers:
        await advance(send_in_pieces(stage, all_messages, of=1_000))
        workers.require_alive()
    read = [each for message in all_messages.messages for each in _translated(message)]
    want = replace(
        simulated_outcome(all_messages, stage.settings),
        logins=sum(isinstance(each, LoggedIn) for each in read),
        requests=sum(each.requests for each in read if isinstance(each, ApiRequested)),
    )
    came = await actual_outcome(stage)
    # A row is created, to be locked, for every organization that a message names.
    states = {id_: state for id_, state in came.states.items() if id_ in want.states}
    require_equal(want, replace(came, states=states))
    await _require_each_accounted_for(stage, all_messages)


def _mixed(good: Workload, chance: random.Random) -> Workload:
    """The valid messages with the invalid ones among them, in the same partitions."""
    first, *others = good.waves
    keys = [key for _, key, _ in first.messages]
    mixed = [*draw_invalid_messages(chance, WRONG, keys), *_good_megabytes(first.messages, chance)]
    # The valid ones keep their order.
    turns = [True] * len(mixed) + [False] * len(first.messages)
    chance.shuffle(turns)
    wrong, right = iter(mixed), iter(first.messages)
    wave = Wave(first.at, [next(wrong if turn else right) for turn in turns])
    return replace(good, waves=[wave, *others])


def _good_megabytes(messages: Sequence[Message], chance: random.Random) -> list[Message]:
    """More activity of the organizations, with a megabyte in an unknown field."""
    keys = sorted({key for _, key, _ in messages})
    lines = [
        make_line(0.9, key.decode())
        for key in chance.sample(keys, 5)
        for make_line in (login, requested)
    ]
    return [good_megabyte(line, line["key"].encode()) for line in lines]


def _translated(message: Message, offset: int = 0) -> Sequence[Fact | Malformed]:
    topic, key, value = message
    record = Record(topic, 0, offset, at(1), key, value)
    return translate(record, feeds(Topics())[topic], email_hasher(b"any"))


async def _require_each_accounted_for(stage: FaultStage, all_messages: Workload) -> None:
    """Check the refusals with reason and count, and that the rest is in the journal, each once."""
    refused: Counter[tuple[str, bytes, str, str]] = Counter()
    accepted = set()
    for offset, message in enumerate(all_messages.messages):
        topic, _, value = message
        for each in _translated(message, offset):
            if isinstance(each, Malformed):
                refused[stage.prefix + topic, value, each.field, each.reason] += 1
            elif not isinstance(each, LoggedIn | ApiRequested):
                accepted.add(each.identity)
    rows = await stage.pool.fetch("SELECT topic, value, field, reason FROM dead_letters")
    kept = Counter((row["topic"], row["value"], row["field"], row["reason"]) for row in rows)
    assert kept == refused
    journalled = await stage.pool.fetchval(
        "SELECT count(*) FROM journal WHERE source <> 'deadline' AND kind NOT IN ($1, $2)",
        "identity.user.logged_in",
        "usage.api_requests",
    )
    assert journalled == len(accepted)
    assert len(refused) > WRONG / 3  # most of the drawn messages are really invalid
    published = await stage.published(stage.settings.topics.dead_letters)
    assert len(published) >= sum(refused.values())


# --- odd records: keys, headers, times ------------------------------------------------------------


@dataclass(frozen=True)
class Odd:
    """An unreadable record, by its value or by its key, headers or time.

    `time` is the number that Kafka keeps.  `field` is what a reader of CloudEvents must name; of
    headers a reader of notifications needs only the format of the value.
    """

    value: bytes | None = b"not JSON"
    key: bytes | None = None
    headers: Headers = ()
    time: int | None = None
    field: str = "value"


BINARY = (("ce_specversion", b"1.0"), ("ce_id", b"i"), ("ce_source", b"/s"), ("ce_type", b"t"))
ODD = (
    Odd(headers=(("trace", None), ("trace", b"\x00\xff"), ("", b""), ("nu\0l", None))),
    Odd(headers=(("content-type", None),)),
    Odd(headers=(("content-type", b"\xff"),)),
    Odd(headers=(("content-type", b"application/cloudevents+avro"),), field="content-type"),
    Odd(headers=(*BINARY, ("ce_subject", None)), field="ce_subject"),
    Odd(headers=(*BINARY, ("ce_subject", b"\xff")), field="ce_subject"),
    Odd(headers=(*BINARY, ("ce_id", b"again")), field="ce_id"),
    Odd(headers=(*BINARY, ("ce_nu\0l", b"\xff")), field="headers"),
    Odd(headers=tuple((f"header-{number}", b"x" * 100) for number in range(2_000))),
    Odd(None, key=b"tombstone"),
    *(Odd(value) for value in NO_OBJECTS),
    *(Odd(key=key) for key in (b"", b"\x00", b"\xff" * 1_000)),
    *(Odd(time=time) for time in (-1, 0, 1, 253_402_300_799_999, 2**62)),
)

TIMES: Mapping[int, datetime] = {
    -1: at(1),
    0: at(1),
    1: EPOCH + timedelta(milliseconds=1),
    round(at(0).timestamp() * 1000): at(0),
    round(at(2).timestamp() * 1000): at(1),
    253_402_300_799_999: at(1),
    2**62: at(1),
}
"""The event time of a notification without a time that is received on day 1: the record's time."""


async def test_odd_records_are_parked_with_their_reasons_and_others_are_ingested(
    stage: FaultStage, tmp_path: Path
) -> None:
    """Null and binary headers, null values, megabytes, bytes that are no text, times from 1970 to
    9999 and beyond.  All of it delivered again, to a group that lost its offsets, changes nothing.
    """
    await _let_any_time_be_written(stage)
    stage.clock_file.move(at(1))
    for number, odd in enumerate(ODD):
        for topic, line in zip(feeds(Topics()), _neighbours(number), strict=True):
            await _send(stage, topic, odd, number)
            await _send(stage, line["topic"], Odd(json.dumps(line["value"]).encode()), number)
    for number, time in enumerate(TIMES):
        line = sns(0.5, "subscribe-success", f"customer-{number}", bare=True)
        await _send(
            stage, line["topic"], Odd(json.dumps(line["value"]).encode(), time=time), number
        )
    await stage.producer.flush()

    async with worker_cluster(stage, tmp_path, variables=NO_TOPIC_IS_STOPPED) as workers:
        await until_settled(stage)
        workers.require_alive()
    kept = await _all_kept(stage)
    again = {"MARKETPLACE_WORKER_KAFKA__GROUP_PREFIX": f"{stage.prefix}again"}
    (tmp_path / "again").mkdir()
    async with worker_cluster(
        stage, tmp_path / "again", variables=NO_TOPIC_IS_STOPPED | again
    ) as workers:
        await eventually(lambda: _all_ingested(workers, sum(stage.ends.values())))
        workers.require_alive()

    assert await _all_kept(stage) == kept
    letters = Counter((row["topic"], row["field"]) for row in kept["dead_letters"])
    assert letters == _expected_fields(stage)
    assert len(kept["journal"]) == len(ODD) * 5 + len(TIMES)
    assert [(row["logins"], row["requests"]) for row in kept["activity"]] == [(1, 3)] * len(ODD)
    without_time = [row for row in kept["journal"] if row["message_id"].startswith(stage.prefix)]
    when = [row["occurred_at"] for row in without_time]
    assert sorted(when) == sorted(TIMES.values())


def _neighbours(number: int) -> list[Line]:
    """One valid message for each topic, of an organization without other messages."""
    name = f"org-{number}"
    return [
        login(0.5, name),
        requested(0.5, name),
        created(0.5, name, tier="plus"),
        support(0.5, "release_hold", name, kind="legal"),
        eventbridge(0.5, "License Updated", {"id": f"agmt-{name}"}),
        google(0.5, "ENTITLEMENT_ACTIVE", f"ent-{name}"),
        azure(0.5, "Subscribe", f"sub-{name}"),
    ]


async def _send(stage: FaultStage, topic: str, odd: Odd, number: int) -> None:
    """Send one record to that partition; the caller flushes the producer."""
    place = (stage.prefix + topic, number % PARTITIONS)
    await stage.producer.send(
        place[0],
        odd.value,
        key=odd.key,
        partition=place[1],
        timestamp_ms=round(at(1).timestamp() * 1000) if odd.time is None else odd.time,
        headers=list(odd.headers),
    )
    stage.ends[place] = stage.ends.get(place, 0) + 1


async def _let_any_time_be_written(stage: FaultStage) -> None:
    """By default Kafka 4 refuses times that are more than an hour ahead."""
    admin = AIOKafkaAdminClient(bootstrap_servers=stage.settings.kafka.bootstrap_servers)
    await admin.start()
    try:
        await admin.alter_configs(
            [
                ConfigResource(
                    ConfigResourceType.TOPIC,
                    stage.prefix + topic,
                    {"message.timestamp.after.max.ms": str(2**63 - 1)},
                )
                for topic in feeds(Topics())
            ]
        )
    finally:
        await admin.close()


async def _all_kept(stage: FaultStage) -> dict[str, list[asyncpg.Record]]:
    """All rows that the records caused."""
    asked = {
        "journal": "SELECT source, message_id, occurred_at, outcome FROM journal ORDER BY id",
        "dead_letters": """SELECT topic, partition, "offset", part, recorded_at, field, reason
            FROM dead_letters ORDER BY id""",
        "activity": "SELECT * FROM activity ORDER BY organization_id",
    }
    return {name: await stage.pool.fetch(query) for name, query in asked.items()}


async def _all_ingested(workers: WorkerCluster, records: int) -> bool:
    ingested: int = sum(line["records"] for line in workers.lines("batch_ingested"))
    return ingested >= records


def _expected_fields(stage: FaultStage) -> Counter[tuple[str, str]]:
    of_marketplaces = set(MARKETPLACES.values())

    def field(topic: str, odd: Odd) -> str:
        known = topic not in of_marketplaces or odd.field == "content-type"
        return odd.field if known else "value"

    return Counter(
        (stage.prefix + topic, field(topic, odd)) for topic in feeds(Topics()) for odd in ODD
    )
