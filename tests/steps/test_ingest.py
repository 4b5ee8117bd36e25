"""Ingest: facts, activity and dead letters of a batch are written in one transaction."""

import asyncio
import json
import random
from datetime import timedelta

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from acceptance.scenario import at, azure, created, event, eventbridge, lines_in_any_order, linked
from acceptance.stage import MovableClock
from marketplace_worker.errors import Unavailable
from marketplace_worker.record import Record
from marketplace_worker.runtime.worker import Worker
from marketplace_worker.settings import Topics
from marketplace_worker.steps.ingest import ingest
from marketplace_worker.store.database import transaction
from steps import story_beginnings
from steps.story_beginnings import canceled, records, states

ODD_HEADERS = (("trace", None), ("blob", b"\x00\xff"), ("nu\0l", b""))


def unreadable(offset: int = 0) -> Record:
    """A record that cannot be read."""
    topic = Topics().aws_notifications
    return Record(topic, 3, offset, at(1), b"\x00key", b"\xffnot JSON", ODD_HEADERS)


async def test_an_unreadable_record_is_parked_with_its_bytes_and_its_neighbours_are_ingested(
    worker: Worker, clock: MovableClock
) -> None:
    """The table and the topic get key, value and headers as they came, and the reason."""
    clock.now = at(1)
    good = records(created(0, "a"), linked(0.5, "a", "aws", "agmt-1"))

    await ingest([good[0], unreadable(), good[1]], worker)

    row = await worker.pool.fetchrow("SELECT * FROM dead_letters")
    promise = await worker.pool.fetchrow(
        "SELECT * FROM outbox WHERE topic = $1", worker.topics.dead_letters
    )
    assert row is not None
    assert promise is not None
    assert (row["key"], row["value"], row["offset"]) == (b"\x00key", b"\xffnot JSON", 0)
    assert row["reason"] == "is not JSON" or "UTF-8" in row["reason"]
    assert (promise["key"], promise["value"]) == (b"\x00key", b"\xffnot JSON")
    names = [name for name, _ in json.loads(promise["headers"])]
    assert names[:3] == ["trace", "blob", "nu\0l"]
    assert {"dead-letter-reason", "dead-letter-topic", "dead-letter-offset"} <= set(names)
    assert await worker.pool.fetchval("SELECT count(*) FROM journal") == 2


async def test_a_batch_delivered_again_changes_nothing(worker: Worker, clock: MovableClock) -> None:
    """Offsets are committed after the transaction; after a crash in between a batch comes again."""
    clock.now = at(3)
    batch = [
        *records(
            created(0, "a"),
            linked(0.5, "a", "aws", "agmt-1"),
            event(1, "usage.api_requests", "a", {"requests": 5}),
            event(1, "identity.user.logged_in", "a", {"user_id": "u"}),
            eventbridge(2, "Purchase Agreement Ended", {"id": "agmt-1", "status": "CANCELLED"}),
        ),
        unreadable(),
    ]
    await ingest(batch, worker)
    before = await _everything_stored(worker)

    await ingest(batch, worker)

    assert await _everything_stored(worker) == before
    assert await worker.pool.fetchval("SELECT requests FROM activity") == 5


async def test_a_topic_that_was_made_anew_is_read_from_its_beginning(
    worker: Worker, clock: MovableClock
) -> None:
    """Its offsets start at 0 again; the records' timestamps show that they are new."""
    clock.now = at(3)
    (use,) = records(event(1, "usage.api_requests", "a", {"requests": 5}))
    anew = replace(use, recorded_at=use.recorded_at + timedelta(seconds=1))

    await ingest([use, unreadable()], worker)
    await ingest([anew, replace(unreadable(), recorded_at=at(2))], worker)

    assert await worker.pool.fetchval("SELECT requests FROM activity") == 10
    assert await worker.pool.fetchval("SELECT count(*) FROM dead_letters") == 2


async def test_activity_is_a_maximum_whatever_the_order(
    worker: Worker, clock: MovableClock
) -> None:
    """There is no order between partitions."""
    clock.now = at(9)
    late, early = records(
        event(5, "identity.user.logged_in", "a", {"user_id": "u"}),
        event(6, "identity.user.logged_in", "a", {"user_id": "u"}, happened=2),
    )
    await ingest([late], worker)
    await ingest([early], worker)

    row = await worker.pool.fetchrow("SELECT last_login_at, logins FROM activity")
    assert row is not None
    assert (row["last_login_at"], row["logins"]) == (at(5), 2)


async def test_a_feeds_last_event_time_is_kept_for_each_partition(
    worker: Worker, clock: MovableClock
) -> None:
    """
    A late record belongs to the day of its event.  Consumers of two partitions write different
    rows, so that they never wait for one another.
    """
    clock.now = at(9)
    lines = (
        event(5.25, "identity.user.logged_in", "a", {"user_id": "u"}),
        event(6, "identity.user.logged_in", "b", {"user_id": "u"}, happened=5.75),
        event(6, "usage.api_requests", "a", {"requests": 5}),
    )
    batch = records(*lines)
    elsewhere = [replace(each, partition=7) for each in records(lines[0])]

    await ingest(batch, worker)
    await ingest(batch, worker)
    await ingest(elsewhere, worker)

    rows = await worker.pool.fetch(
        "SELECT feed, partition, day, first_at, last_at FROM feed_days ORDER BY feed, partition"
    )
    assert [tuple(row) for row in rows] == [
        ("api_requests", 0, at(6).date(), at(6), at(6)),
        ("logins", 0, at(5).date(), at(5.25), at(5.75)),
        ("logins", 7, at(5).date(), at(5.25), at(5.25)),
    ]


async def test_a_record_that_meets_a_bug_of_ours_is_parked_and_its_neighbours_are_ingested(
    worker: Worker, clock: MovableClock
) -> None:
    """A bug must not stop a partition; the record can be redriven when the bug is fixed."""
    clock.now = at(1)
    good = records(created(0, "a"), created(0, "b"), created(0, "c"))
    nobodys = Record("a.topic.that.we.never.subscribed.to", 0, 7, at(1), None, b"{}")

    with capture_logs() as lines:
        await ingest([good[0], good[1], nobodys, good[2]], worker)

    assert await worker.pool.fetchval("SELECT count(*) FROM journal") == 3
    assert await worker.pool.fetchval('SELECT "offset" FROM dead_letters') == 7
    failed = [line for line in lines if line["event"] == "record_failed"]
    assert [line["log_level"] for line in failed] == ["error"]


async def test_a_database_that_is_not_as_we_need_it_is_waited_for(
    worker: Worker, clock: MovableClock
) -> None:
    """A missing column or grant must not make records dead letters."""
    clock.now = at(1)
    await worker.pool.execute(
        "SET LOCAL ROLE NONE; ALTER TABLE journal RENAME COLUMN outcome TO result"
    )

    with pytest.raises(Unavailable):
        await ingest(records(created(0, "a"), created(0, "b")), worker)

    await worker.pool.execute(
        "SET LOCAL ROLE NONE; ALTER TABLE journal RENAME COLUMN result TO outcome"
    )
    await ingest(records(created(0, "a"), created(0, "b")), worker)
    assert await worker.pool.fetchval("SELECT count(*) FROM dead_letters") == 0
    assert await worker.pool.fetchval("SELECT count(*) FROM journal") == 2


@pytest.mark.parametrize(
    "large",
    [
        replace(unreadable(), value=b"\xff" * 1_000_000),
        replace(unreadable(), key=b"\xff" * 1_000_000),
        replace(unreadable(), headers=(("h", b"\xff" * 1_000_000),)),
        replace(unreadable(), headers=(("h", None),) * 200_000),
        replace(unreadable(), headers=(("\udcff" * 300_000, None),)),
    ],
    ids=["value", "key", "header", "headers", "header that grows when it is written out"],
)
async def test_a_record_that_is_too_large_for_the_topic_is_kept_in_the_table(
    worker: Worker, clock: MovableClock, large: Record
) -> None:
    """One at the broker's limit would be over it with our headers, and block its shard for good:
    whoever may write any topic could stop all that is published."""
    clock.now = at(1)

    await ingest([large], worker)

    kept = await worker.pool.fetchrow("SELECT key, value FROM dead_letters")
    assert kept is not None
    assert (kept["key"], kept["value"]) == (large.key, large.value)
    promise = await worker.pool.fetchrow("SELECT key, value, headers FROM outbox")
    assert promise is not None
    assert promise["value"] == b""
    assert promise["key"] == (large.key if len(large.key or b"") < 1_000 else None)
    assert len(promise["headers"]) < 1_000
    assert "dead-letter-value" in promise["headers"]


async def test_a_records_own_headers_do_not_pass_for_ours(
    worker: Worker, clock: MovableClock
) -> None:
    """Also if a record of the dead letters topic is sent again to its first topic."""
    clock.now = at(1)
    forged = (("dead-letter-topic", b"another"), ("h", b"v"), ("dead-letter-any", None))

    await ingest([replace(unreadable(), headers=forged)], worker)

    promise = await worker.pool.fetchval("SELECT headers FROM outbox")
    names = [name for name, _ in json.loads(promise)]
    assert names[0] == "h"
    assert names.count("dead-letter-topic") == 1
    assert "dead-letter-any" not in names
    assert "dead-letter-any" in await worker.pool.fetchval("SELECT headers::text FROM dead_letters")


async def test_every_change_of_an_organization_is_in_its_snapshot(
    worker: Worker, clock: MovableClock
) -> None:
    """Also a second plan, which moves no state; one snapshot a batch, numbered without a gap."""
    clock.now = at(9)
    await ingest(records(created(0, "a"), linked(1, "a", "aws", "agmt-1")), worker)
    await ingest(records(linked(2, "a", "gcp", "ent-1")), worker)
    await ingest(records(azure(3, "Subscribe", "of nobody")), worker)

    rows = await worker.pool.fetch(
        "SELECT value FROM outbox WHERE topic = $1 ORDER BY id", worker.topics.state
    )
    snapshots = [json.loads(row["value"]) for row in rows]
    assert [int(each["sequence"]) for each in snapshots] == [1, 2]
    assert [len(each["data"]["plans"]) for each in snapshots] == [1, 2]


async def test_a_batch_logs_a_line_for_each_fact_and_event_and_one_for_itself(
    worker: Worker, clock: MovableClock
) -> None:
    """The canonical lines; no email, token or payload is in any of them."""
    clock.now = at(3)
    creation = created(0, "a")
    creation["value"]["id"] = "m-1"
    batch = records(
        creation,
        linked(0.5, "a", "aws", "agmt-1"),
        eventbridge(2, "Purchase Agreement Ended", {"id": "agmt-1", "status": "CANCELLED"}),
    )
    with capture_logs() as lines:
        await ingest(batch, worker)

    assert [(line["event"], line.get("kind") or line.get("type")) for line in lines] == [
        ("fact_decided", "organization.created"),
        ("fact_decided", "organization.subscription_linked"),
        ("fact_decided", "notified"),
        ("organization_moved", "organization.canceled"),
        ("event_decided", "metering.final_report_due"),
        ("batch_ingested", None),
    ]
    assert {line["organization"] for line in lines[:-1]} == {"a"}
    *_, moved, _, ingested = lines
    assert (moved["organization"], moved["state_before"], moved["state"]) == (
        "a",
        "active",
        "canceled",
    )
    assert ingested["outcomes"] == {"applied": 3}
    assert "owner@" not in json.dumps(lines, default=str)


async def test_workers_that_meet_at_the_same_organizations_lose_nothing(
    worker: Worker, clock: MovableClock
) -> None:
    """
    Marketplace topics are keyed by anything, so the news of one subscription, its successor and its
    link can be in the hands of several workers at the same moment.
    """
    clock.now = at(70)
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    alone = [replace(each, recorded_at=at(70)) for each in records(*lines_in_any_order())]
    shuffled = chance.sample(alone, len(alone))

    async def ingest_all(share: list[Record]) -> None:
        for record in share:
            while True:
                try:
                    await ingest([record], worker)
                    break
                except Unavailable:
                    continue  # a deadlock that Postgres resolved: the consumer would redeliver it

    await asyncio.gather(*(ingest_all(shuffled[part::6]) for part in range(6)))
    together = await states(worker)
    async with transaction(worker.pool) as conn:
        await conn.execute(
            "SET LOCAL ROLE NONE; TRUNCATE organizations, subscriptions, links, "
            "billing_accounts, journal, decisions, outbox"
        )
    await ingest(alone, worker)

    assert together == await states(worker)


async def test_a_subscription_moved_to_another_organization_is_logged(
    worker: Worker, clock: MovableClock
) -> None:
    """The former organization loses it; an operator should know."""
    clock.now = at(9)
    batch = records(
        created(0, "from"),
        created(0, "to"),
        linked(1, "from", "azure", "s"),
        azure(2, "Subscribe", "s"),
        linked(8, "to", "azure", "s"),
    )
    with capture_logs() as lines:
        await ingest(batch, worker)

    warned = [line for line in lines if line["log_level"] == "warning"]
    assert sorted((line["event"] for line in warned), reverse=True) == [
        "subscription_moved",
        "organization_moved",
    ]
    assert await states(worker) == {"from": "canceled", "to": "active"}


async def test_a_link_that_names_another_billing_account_than_was_known_needs_attention(
    worker: Worker, clock: MovableClock
) -> None:
    """The link may name another customer's subscription by mistake."""
    clock.now = at(9)
    batch = records(
        created(0, "other"),
        *canceled("acme"),
        story_beginnings.linked(8, "other", "first of acme", account="account of other"),
    )
    with capture_logs() as lines:
        await ingest(batch, worker)

    (line,) = (line for line in lines if line["event"] == "link_needs_attention")
    assert (line["log_level"], line["attention"]) == ("warning", "billing_account_contradicts")
    assert (line["organization"], line["taken_from"]) == ("other", "acme")


async def test_ids_of_the_greatest_length_fit_the_indexes(
    worker: Worker, clock: MovableClock
) -> None:
    """An index entry has two ids; records that exceed its size could never be ingested."""
    clock.now = at(9)
    chance = random.Random(1)
    organization, agreement, account = (
        "".join(chr(chance.randrange(0x20000, 0x2A000)) for _ in range(256)) for _ in range(3)
    )
    batch = records(
        linked(1, organization, "aws", agreement),
        eventbridge(2, "License Updated", {"id": agreement}, account=account),
    )
    await ingest([_with_short_ids(each) for each in batch], worker)

    assert await worker.pool.fetchval("SELECT count(*) FROM dead_letters") == 0
    assert await worker.pool.fetchval("SELECT billing_account FROM billing_accounts") == account


def _with_short_ids(record: Record) -> Record:
    """The scenario names a message by what it is about, which leaves it no room."""
    assert record.value is not None
    value = {**json.loads(record.value), "id": f"{record.topic}/{record.offset}"}
    return replace(record, value=json.dumps(value).encode())


async def _everything_stored(worker: Worker) -> dict[str, list[str]]:
    tables = ("organizations", "subscriptions", "links", "billing_accounts", "journal",
              "decisions", "outbox", "dead_letters", "activity", "activity_offsets", "feed_days",
              "safeguards")  # fmt: skip
    return {
        table: sorted(str(row) for row in await worker.pool.fetch(f"SELECT * FROM {table}"))
        for table in tables
    }
