"""Redriving dead letters: in place, once, in order, with the operator's name.

A fixed translator is simulated by a worker that reads a topic differently; a bug by one that cannot
hash an email.
"""

import asyncio
import gc
import json
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from msgspec import structs
from structlog.testing import capture_logs
from tenacity import wait_none

from acceptance.scenario import at, created, eventbridge
from acceptance.stage import MovableClock
from marketplace_worker.contract.feeds import Feed
from marketplace_worker.errors import Malformed, Unavailable
from marketplace_worker.lifecycle.vocabulary import EmailHash
from marketplace_worker.record import Record
from marketplace_worker.runtime.worker import Worker
from marketplace_worker.settings import Topics
from marketplace_worker.steps import redriving
from marketplace_worker.steps.ingest import ingest
from marketplace_worker.steps.redriving import LETTERS_MAX, Redrive, RedriveResult, Result, discard
from marketplace_worker.store import dead_letters, outbox
from marketplace_worker.store.database import transaction
from marketplace_worker.store.dead_letters import LetterStatus, OperatorAction
from steps.story_beginnings import bought, ended, events_of, linked, login, records, states, use

TOPICS = Topics()
OLGA = OperatorAction("Olga", "mended in 0.3")
FAST = 10_000


def misreading(worker: Worker, *topics: str) -> Worker:
    """The same worker with a translator that cannot read these topics."""
    return replace(worker, feeds={**worker.feeds, **dict.fromkeys(topics, Feed.AZURE)})


def failing(worker: Worker) -> Worker:
    """The same worker with a bug: it fails on every message with an email."""

    def fail(_: str) -> EmailHash:
        raise ZeroDivisionError

    return replace(worker, hash_email=fail)


async def park(given: Sequence[Record], worker: Worker) -> None:
    """Ingest records on which the worker fails, without printing their tracebacks."""
    with capture_logs():
        await ingest(given, failing(worker))


async def waiting(worker: Worker, group: str | None = None) -> Sequence[int]:
    """The ids of the waiting dead letters."""
    async with transaction(worker.pool) as conn:
        return await dead_letters.waiting(conn, group)


@dataclass(slots=True)
class Noted(Redrive):
    """A redrive that records the result for each."""

    results: list[Result] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.report = self.results.append


async def redrive(worker: Worker, *ids: int, action: OperatorAction = OLGA) -> Noted:
    """Redrive these, or all waiting ones."""
    done = Noted(worker, action)
    await done.redrive(ids or await waiting(worker), rate=FAST)
    return done


async def rows(worker: Worker) -> list[dict[str, Any]]:
    """All dead letters, in the order of refusal."""
    return [dict(row) for row in await worker.pool.fetch("SELECT * FROM dead_letters ORDER BY id")]


def renumbered(given: Sequence[Record]) -> list[Record]:
    """The records with consecutive offsets in one partition of each topic."""
    return [structs.replace(each, offset=place) for place, each in enumerate(given)]


# --- facts ----------------------------------------------------------------------------------------


async def test_what_can_be_read_now_counts_as_if_it_had_been_read_at_once(
    worker: Worker, clock: MovableClock
) -> None:
    """Under its own identity, so that another delivery by Kafka is a duplicate."""
    clock.now = at(3)
    news = records(bought(1, "agmt-1", "7"), ended(2, "agmt-1", "7"))
    earlier = records(created(0, "a"), linked(0.5, "a", "agmt-1", "7"))
    await ingest([*earlier, *news], misreading(worker, TOPICS.aws_notifications))
    assert await states(worker) == {"a": "active"}
    clock.now = at(4)

    done = await redrive(worker)

    assert [each.became for each in done.results] == [RedriveResult.REDRIVEN] * 2
    assert await states(worker) == {"a": "canceled"}
    first, _ = await rows(worker)
    acted = {name: first[name] for name in ("status", "attempts", "acted_by", "acted_because")}
    assert acted == {
        "status": "redriven", "attempts": 2, "acted_by": "Olga", "acted_because": "mended in 0.3"
    }  # fmt: skip
    assert first["acted_at"] == at(4)
    journal = "SELECT position FROM journal WHERE marketplace = 'aws' ORDER BY id"
    positions = [row["position"] for row in await worker.pool.fetch(journal)]
    assert positions[-2:] == [each.position for each in news]

    spoken = await events_of(worker, "a")
    await ingest(news, worker)
    again = await redrive(worker, *(row["id"] for row in await rows(worker)))
    assert again.results == []
    assert await events_of(worker, "a") == spoken


async def test_a_redrive_reads_a_record_as_received_when_it_was_refused(
    worker: Worker, clock: MovableClock
) -> None:
    """A record from a clock that is far ahead happened by the time it came, not by today."""
    clock.now = at(2)
    (ahead,) = records(created(30, "a"))
    await park([ahead], worker)
    clock.now = at(90)

    await redrive(worker)

    happened = "SELECT occurred_at FROM journal WHERE organization_id = 'a'"
    assert await worker.pool.fetchval(happened) == at(2)


async def test_dead_letters_are_redriven_in_the_order_of_refusal(
    worker: Worker, clock: MovableClock
) -> None:
    """So an organization's messages are processed in order, whatever the order of the arguments."""
    clock.now = at(9)
    organizations = [f"org-{number}" for number in range(30)]
    await park(renumbered(records(*(created(1, each) for each in organizations))), worker)
    ids = list(await waiting(worker))

    done = await redrive(worker, *random.sample(ids, len(ids)))

    assert [each.id for each in done.results] == ids
    journal = await worker.pool.fetch("SELECT organization_id FROM journal ORDER BY id")
    assert [row["organization_id"] for row in journal] == organizations


async def test_what_still_cannot_be_read_waits_for_its_new_reason_and_is_published_again(
    worker: Worker, clock: MovableClock
) -> None:
    """Its row has the operator; the topic's second record says that it is the second attempt."""
    clock.now = at(3)
    value = json.dumps({"action": "subscribe-success"}).encode()
    broken = Record(TOPICS.aws_notifications, 3, 0, at(1), b"k", value)
    await ingest([broken], misreading(worker, TOPICS.aws_notifications))
    (before,) = await rows(worker)

    done = await redrive(worker)

    assert [each.became for each in done.results] == [RedriveResult.REFUSED]
    (after,) = await rows(worker)
    assert (after["status"], after["attempts"], after["acted_by"]) == ("waiting", 2, "Olga")
    assert (before["field"], after["field"]) == ("subscriptionId", "product-code")
    assert before["group_id"] != after["group_id"]
    sent = await worker.pool.fetch(
        "SELECT value, headers FROM outbox WHERE topic = $1 ORDER BY id", TOPICS.dead_letters
    )
    assert [row["value"] for row in sent] == [value, value]
    headers = [dict(outbox.headers_from_json(row["headers"])) for row in sent]
    assert [each["dead-letter-attempt"] for each in headers] == [b"1", b"2"]
    assert headers[1]["dead-letter-reason"] == b"product-code: is missing"


async def test_of_a_value_with_several_parts_each_counts_once(
    worker: Worker, clock: MovableClock
) -> None:
    """
    The readable parts were taken at once; where none could be read, each waited by itself; all of
    them are taken now, and the part that cannot be read waits on.
    """
    clock.now = at(3)
    earlier = records(created(0, "a"), linked(0.5, "a", "agmt-1", "7"))
    parts = [bought(1, "agmt-1", "7"), {"value": {"hello": "world"}}, ended(2, "agmt-1", "7")]
    bodies = [{"body": json.dumps(each["value"])} for each in parts]
    value = json.dumps({"Records": bodies}).encode()
    several = Record(TOPICS.aws_notifications, 0, 7, at(2), None, value)
    other = structs.replace(several, offset=8)
    await ingest(earlier, worker)
    await ingest([several], worker)
    await ingest([other], misreading(worker, TOPICS.aws_notifications))
    spoken = await events_of(worker, "a")

    done = await redrive(worker)

    assert [(each.id, each.became) for each in done.results] == [
        (1, RedriveResult.REFUSED),
        (2, RedriveResult.REDRIVEN),
        (3, RedriveResult.REFUSED),
        (4, RedriveResult.REDRIVEN),
    ]
    assert (done.duplicates, dict(done.applied)) == (4, {})
    assert await events_of(worker, "a") == spoken
    assert [(row["offset"], row["part"], row["status"]) for row in await rows(worker)] == [
        (7, 1, "waiting"),
        (8, 0, "redriven"),
        (8, 1, "waiting"),
        (8, 2, "redriven"),
    ]


async def test_a_record_with_two_dead_letters_is_ingested_once(
    worker: Worker, clock: MovableClock
) -> None:
    """Each of the parts that were refused has a dead letter, and the record is the same."""
    clock.now = at(3)
    edited = {"body": json.dumps(bought(1, "agmt-1", "7")["value"])}
    bodies = [{"body": "{}"}, edited, {"body": "{}"}]
    value = json.dumps({"Records": bodies}).encode()
    await ingest([Record(TOPICS.aws_notifications, 0, 7, at(2), None, value)], worker)

    done = await redrive(worker)

    assert [(each.id, each.became) for each in done.results] == [
        (1, RedriveResult.REFUSED),
        (2, RedriveResult.REFUSED),
    ]
    assert done.duplicates == 1
    assert [(row["part"], row["attempts"]) for row in await rows(worker)] == [(0, 2), (2, 2)]


# --- activity -------------------------------------------------------------------------------------


@pytest.mark.parametrize("delivered_again", ["before", "after", "both"])
@pytest.mark.parametrize("followed", [True, False])
async def test_activity_that_was_refused_is_counted_once(
    worker: Worker, clock: MovableClock, *, followed: bool, delivered_again: str
) -> None:
    """
    Activity is counted by how far its partition was read.  What was refused stands before that, or
    at its very end; only its dead letter reports that it was not counted.
    """
    clock.now = at(3)
    first, refused, last = renumbered(records(use(1, "a"), use(2, "a"), use(2.5, "a")))
    await ingest([first], worker)
    await ingest([refused], misreading(worker, TOPICS.api_requests))
    if followed:
        await ingest([last], worker)
    rest = [refused, last] if followed else [refused]

    if delivered_again != "after":
        await ingest(rest, worker)
    done = await redrive(worker)
    if delivered_again != "before":
        await ingest(rest, worker)
    await redrive(worker, *(row["id"] for row in await rows(worker)))

    assert done.activity == 1
    row = await worker.pool.fetchrow("SELECT requests, last_request_at FROM activity")
    assert row is not None
    assert tuple(row) == ((3, at(2.5)) if followed else (2, at(2)))


async def test_activity_that_was_counted_before_it_was_refused_is_not_counted_again(
    worker: Worker, clock: MovableClock
) -> None:
    """After a worse version and a reset of the group all records wait, and were counted before."""
    clock.now = at(3)
    uses = renumbered(records(use(1, "a"), use(2, "a")))
    await ingest(uses, worker)
    await ingest(uses, misreading(worker, TOPICS.api_requests))

    done = await redrive(worker)

    assert [each.became for each in done.results] == [RedriveResult.REDRIVEN] * 2
    assert (done.activity, done.duplicates) == (0, 2)
    assert await worker.pool.fetchval("SELECT requests FROM activity") == 2


async def test_refused_activity_of_an_odd_time_holds_up_no_count(
    worker: Worker, clock: MovableClock
) -> None:
    """The read progress moves past each in order, so its neighbours are counted exactly once."""
    clock.now = at(3)
    first, second, third, last = renumbered(records(*(use(1, "a") for _ in range(4))))
    broken = [
        structs.replace(second, recorded_at=at(1.5), value=b"?"),
        structs.replace(third, recorded_at=at(1.9), value=b"?"),
    ]
    batch = [first, *broken, last]

    await ingest(batch, worker)
    await ingest(batch, worker)

    assert await worker.pool.fetchval("SELECT requests FROM activity") == 2


async def test_a_login_that_was_refused_completes_what_waits_for_it(
    worker: Worker, clock: MovableClock
) -> None:
    """Redriven activity is decided on as any other."""
    clock.now = at(4)
    earlier = records(
        created(0, "a"),
        linked(0.5, "a", "agmt-1", "7"),
        bought(0.6, "agmt-1", "7"),
        ended(1, "agmt-1", "7"),
        bought(2, "agmt-2", "7"),
    )
    await ingest(earlier, worker)
    await ingest(records(login(3, "a")), misreading(worker, TOPICS.logins))
    assert await states(worker) == {"a": "canceled"}

    done = await redrive(worker)

    assert (done.activity, dict(done.applied)) == (1, {"applied": 1})
    assert await states(worker) == {"a": "active"}


# --- bugs and interruptions -----------------------------------------------------------------------


async def test_what_we_fail_on_again_stays_waiting_and_the_others_go_on(
    worker: Worker, clock: MovableClock
) -> None:
    """Two of thirty have an email; the log names them at `error`, without their content."""
    clock.now = at(9)
    broken = records(created(1, "a"), *(use(1, "b") for _ in range(28)), created(1, "c"))
    await park(renumbered(broken), misreading(worker, TOPICS.api_requests))

    with capture_logs() as lines:
        done = await redrive(failing(worker))

    assert done.became == {RedriveResult.REDRIVEN: 28, RedriveResult.FAILED: 2}
    assert await worker.pool.fetchval("SELECT requests FROM activity") == 28
    still = [row for row in await rows(worker) if row["status"] == "waiting"]
    assert [(row["attempts"], row["reason"]) for row in still] == [
        (2, "marketplace-worker failed on it: ZeroDivisionError")
    ] * 2
    errors = [line for line in lines if line["log_level"] == "error"]
    assert [line["event"] for line in errors] == ["record_failed"] * 2
    assert [each.became for each in (await redrive(worker)).results] == [RedriveResult.REDRIVEN] * 2


def refusing(worker: Worker, times: int) -> tuple[Worker, Counter[str]]:
    """The worker, failing `times` times for lack of file descriptors; and a counter of calls."""
    asked: Counter[str] = Counter()

    def hash_email(email: str) -> EmailHash:
        asked["times"] += 1
        if asked["times"] <= times:
            raise OSError(24, "Too many open files")
        return worker.hash_email(email)

    return replace(worker, hash_email=hash_email), asked


@pytest.mark.parametrize("times", [1, 4])
async def test_a_redrive_tries_again_what_the_machine_refused(
    worker: Worker, clock: MovableClock, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """Up to five times, because the error says nothing about the record."""
    monkeypatch.setattr(redriving, "wait_random_exponential", lambda **_: wait_none())
    clock.now = at(3)
    await park(records(created(1, "a")), worker)
    short, _ = refusing(worker, times)
    assert (await redrive(short)).became == {RedriveResult.REDRIVEN: 1}
    assert await states(worker) == {"a": "active"}


async def test_a_redrive_ends_where_the_machine_refuses_again_and_again(
    worker: Worker, clock: MovableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The dead letter waits as before."""
    monkeypatch.setattr(redriving, "wait_random_exponential", lambda **_: wait_none())
    clock.now = at(3)
    await park(records(created(1, "a")), worker)
    short, asked = refusing(worker, 1_000)
    with pytest.raises(Unavailable, match="Too many open files"):
        await redrive(short)
    assert asked["times"] == 5
    assert [(row["status"], row["attempts"]) for row in await rows(worker)] == [("waiting", 1)]


async def test_one_line_of_the_log_reports_the_result_and_names_nobody(
    worker: Worker, clock: MovableClock
) -> None:
    """Operator and reason are in the row."""
    clock.now = at(3)
    creation = created(1, "a")
    creation["value"]["id"] = "m-1"
    await park(records(creation), worker)
    with capture_logs() as lines:
        await redrive(worker)
        await discard([], OLGA, worker)

    (line,) = (line for line in lines if line["event"] == "dead_letters_redriven")
    assert (line["asked"], line["redriven"], line["refused"]) == (1, 1, 0)
    assert "dead_letters_discarded" in [line["event"] for line in lines]
    logged = json.dumps(lines, default=str)
    for word in ("Olga", "mended", "owner@"):
        assert word not in logged


async def test_a_topic_that_the_settings_do_not_name_is_left_as_it_is(
    worker: Worker, clock: MovableClock
) -> None:
    """A command with other settings than the workers' must do no damage."""
    clock.now = at(3)
    await park(records(created(1, "a")), worker)
    before = await rows(worker)
    elsewhere = replace(worker, feeds={"another": Feed.AWS})

    done = await redrive(elsewhere)

    assert [each.became for each in done.results] == [RedriveResult.LEFT]
    assert await rows(worker) == before


async def test_a_redriven_record_and_its_status_are_committed_together(
    worker: Worker, clock: MovableClock, postgres_dsn: str
) -> None:
    """Postgres fails at the last statement of the transaction; the next time all of it is done."""
    clock.now = at(3)
    await ingest(renumbered(records(use(1, "a"))), misreading(worker, TOPICS.api_requests))
    owner = await asyncpg.connect(postgres_dsn)
    await owner.execute("REVOKE UPDATE ON dead_letters FROM marketplace_worker_app")
    await owner.execute("GRANT UPDATE (part) ON dead_letters TO marketplace_worker_app")  # to lock
    ids = await waiting(worker)
    with pytest.raises(Unavailable):
        await redrive(worker, *ids)
    assert await worker.pool.fetchval("SELECT count(*) FROM activity") == 0

    await owner.execute("GRANT UPDATE ON dead_letters TO marketplace_worker_app")
    await owner.close()
    await redrive(worker, *ids)

    assert await worker.pool.fetchval("SELECT requests FROM activity") == 1


async def test_a_redrive_that_is_broken_off_anywhere_goes_on_when_it_is_run_again(
    worker: Worker, clock: MovableClock
) -> None:
    """Ctrl-C at any moment: what was redriven stays, what was not is taken the next time."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    clock.now = at(9)
    letters = renumbered(records(*(use(1 + n / 100, f"org-{n % 7}") for n in range(100))))
    await ingest(letters, misreading(worker, TOPICS.api_requests))
    broken_off = 0
    while ids := await waiting(worker):
        going = Noted(worker, OLGA)
        task = asyncio.create_task(going.redrive(ids, rate=FAST))
        until, turns = chance.randrange(40), chance.randrange(30)
        while not task.done() and (len(going.results) < until or turns):
            turns -= len(going.results) >= until
            await asyncio.sleep(0)
        broken_off += task.cancel()
        await asyncio.wait({task})

    assert broken_off, "each redrive came to its end"
    assert await worker.pool.fetchval("SELECT sum(requests) FROM activity") == 100
    assert {row["attempts"] for row in await rows(worker)} == {2}


async def test_operators_who_redrive_at_once_ingest_nothing_twice(
    worker: Worker, clock: MovableClock
) -> None:
    """The row of a dead letter is locked while it is taken; whoever waited for it finds it done."""
    clock.now = at(9)
    letters = renumbered(records(*(use(1 + n / 100, f"org-{n % 7}") for n in range(100))))
    await ingest(letters, misreading(worker, TOPICS.api_requests))
    ids = await waiting(worker)

    done = await asyncio.gather(*(redrive(worker, *ids) for _ in range(4)))

    assert sum(len(each.results) for each in done) == 100
    assert await worker.pool.fetchval("SELECT sum(requests) FROM activity") == 100


async def test_a_redrive_keeps_to_its_rate(worker: Worker, clock: MovableClock) -> None:
    """Never faster, to leave capacity for the workers and the subscribers."""
    clock.now = at(9)
    letters = renumbered(records(*(use(1 + n / 100, "a") for n in range(25))))
    await ingest(letters, misreading(worker, TOPICS.api_requests))
    now: Callable[[], float] = asyncio.get_running_loop().time
    began, done = now(), Noted(worker, OLGA)

    await done.redrive(await waiting(worker), rate=24)

    assert len(done.results) == 25
    assert now() - began >= 20 / 24


# --- discarding -----------------------------------------------------------------------------------


async def test_what_was_discarded_waits_no_more_and_can_be_fetched_back(
    worker: Worker, clock: MovableClock
) -> None:
    """It stays in the table, without effect until it is redriven by its id."""
    clock.now = at(3)
    await park(renumbered(records(created(1, "a"), created(1, "b"))), worker)
    first, second = await waiting(worker)

    assert await discard([first], OLGA, worker) == 1
    assert await discard([first], OperatorAction("Ivo", "again"), worker) == 0
    await redrive(worker)

    assert await states(worker) == {"b": "active"}
    row = (await rows(worker))[0]
    assert (row["status"], row["acted_by"], row["attempts"]) == ("discarded", "Olga", 1)
    assert await discard([second], OLGA, worker) == 0, "it was redriven"

    back = Noted(worker, OLGA, (LetterStatus.WAITING, LetterStatus.DISCARDED))
    await back.redrive([first, second], rate=FAST)
    assert [(each.id, each.became) for each in back.results] == [(first, RedriveResult.REDRIVEN)]
    assert set(await states(worker)) == {"a", "b"}


async def test_a_group_is_what_is_refused_for_the_same_reason(
    worker: Worker, clock: MovableClock
) -> None:
    """By topic, field and reason, without the number of a record within its value."""
    clock.now = at(3)
    value = json.dumps({"Records": [{"body": "{}"}, {"body": "no"}, {"body": "{}"}]}).encode()
    several = Record(TOPICS.aws_notifications, 0, 7, at(2), None, value)
    (news,) = records(eventbridge(1, "Purchase Agreement Ended", {"id": "x"}))
    await ingest([several, structs.replace(several, offset=8)], worker)
    await ingest([news], misreading(worker, TOPICS.aws_notifications))
    clock.now += timedelta(days=1)
    await redrive(worker, 1)

    async with transaction(worker.pool) as conn:
        groups = await dead_letters.groups(conn)

    assert [(g.field, g.letters, g.retried, g.last_at - g.first_at) for g in groups] == [
        ("Records.*.body", 4, 1, timedelta()),
        ("Records.*.body", 2, 0, timedelta()),
        ("value", 1, 0, timedelta()),
    ]
    ids = [await waiting(worker, group.id) for group in groups]
    assert ids == [[1, 3, 4, 6], [2, 5], [7]]


async def test_a_redrive_keeps_nothing_of_what_it_has_reported(
    worker: Worker, clock: MovableClock
) -> None:
    """Otherwise each refusal keeps its parsed record in memory: 586 MB for 100,000."""
    clock.now = at(1)
    topic = Topics().organization_changes
    await ingest(
        [Record(topic, 0, n, at(1), b"a", b'{"number": %d}' % n) for n in range(100)], worker
    )

    def refusals() -> int:
        gc.collect()
        return sum(isinstance(each, Malformed | Result) for each in gc.get_objects())

    before, kept = refusals(), 0

    def count(result: Result) -> None:
        nonlocal kept
        if result.id % LETTERS_MAX == 0:
            kept = max(kept, refusals() - before)

    redriven = Redrive(worker, OLGA, report=count)
    await redriven.redrive(await waiting(worker), rate=FAST)

    assert redriven.became == {RedriveResult.REFUSED: 100}
    assert 0 < kept <= 3 * LETTERS_MAX
