"""The relay sends messages in order, and deletes them only when Kafka has acknowledged them."""

import asyncio
import json
from collections.abc import Sequence
from functools import partial
from string import ascii_letters
from zlib import crc32

import pytest
from structlog.testing import capture_logs

from acceptance.scenario import at
from marketplace_worker.errors import MessageRefused, Unavailable
from marketplace_worker.record import Outgoing
from marketplace_worker.runtime.worker import Worker
from marketplace_worker.steps.relay import FROZEN_AFTER_S, SHARDS_OF_MANY, relay
from marketplace_worker.store import outbox
from marketplace_worker.store.database import Pool, transaction
from marketplace_worker.store.floors import Floors
from marketplace_worker.store.queries import queries


async def promise(worker: Worker, *messages: Outgoing) -> None:
    """Write messages to the outbox."""
    async with transaction(worker.pool) as conn:
        await outbox.append(conn, messages, written_at=at(0))


def message(key: str, number: int) -> Outgoing:
    """The `number`-th message of a key."""
    return Outgoing("t", key.encode(), f"{key}{number}".encode(), (("h", b"\x00"), ("n", None)))


async def test_only_what_was_acknowledged_is_forgotten(worker: Worker) -> None:
    """A message that Kafka did not acknowledge is sent again, after a pause of the loop."""
    await promise(worker, *(message("a", number) for number in range(4)))

    async def accepts_two(messages: Sequence[Outgoing]) -> Sequence[Exception | None]:
        return [None, None, TimeoutError(), TimeoutError()][: len(messages)]

    with pytest.raises(Unavailable, match="did not acknowledge 2 messages"):
        await relay(worker.pool, accepts_two, "t", Floors(), limit=100, publish_max_s=5)

    left = await worker.pool.fetch("SELECT value FROM outbox ORDER BY id")
    assert [row["value"] for row in left] == [b"a2", b"a3"]


async def test_several_relays_send_each_message_once_and_each_key_in_order(worker: Worker) -> None:
    """A shard has one leader at a time; no message is skipped or overtaken."""
    messages = [message(key, number) for number in range(20) for key in "abcdefgh"]
    await promise(worker, *messages)
    sent: list[Outgoing] = []

    async def accepts_all(batch: Sequence[Outgoing]) -> Sequence[Exception | None]:
        await asyncio.sleep(0)
        sent.extend(batch)
        return [None for _ in batch]

    async def until_empty() -> None:
        while await worker.pool.fetchval("SELECT EXISTS (SELECT FROM outbox)"):
            await relay(worker.pool, accepts_all, "t", Floors(), limit=7, publish_max_s=5)

    await asyncio.gather(*(until_empty() for _ in range(3)))

    assert len(sent) == len(messages)
    for key in "abcdefgh":
        of_key = [each for each in sent if each.key == key.encode()]
        assert of_key == [message(key, number) for number in range(20)]


async def test_a_kafka_that_fails_altogether_leaves_everything_promised(worker: Worker) -> None:
    """The transaction that leads the shard rolls back."""
    await promise(worker, message("a", 0))

    async def away(_: Sequence[Outgoing]) -> Sequence[Exception | None]:
        raise Unavailable("Kafka is away")

    with pytest.raises(Unavailable):
        await relay(worker.pool, away, "t", Floors(), limit=10, publish_max_s=5)

    assert await worker.pool.fetchval("SELECT count(*) FROM outbox") == 1


async def test_the_first_promise_of_a_new_database_is_sent_however_long_it_was_watched(
    worker: Worker,
) -> None:
    """Postgres reports an unused sequence's first value as its last one."""
    floors = Floors(look_every_s=0)
    for _ in range(3):
        assert (
            await relay(worker.pool, partial(accepts, []), "t", floors, limit=9, publish_max_s=5)
            == 0
        )
    await promise(worker, message("a", 0))
    assert (
        await relay(worker.pool, partial(accepts, []), "t", floors, limit=9, publish_max_s=5) == 1
    )


async def accepts(
    batches: list[set[int]], messages: Sequence[Outgoing]
) -> Sequence[Exception | None]:
    """A Kafka that acknowledges everything, and records the shards of each batch."""
    batches.append({crc32(each.key or b"") % outbox.SHARDS for each in messages})
    return [None for _ in messages]


async def test_a_few_messages_are_sent_at_once_whichever_their_shards(worker: Worker) -> None:
    """Each transaction waits for the disk and for Kafka, so few transactions are faster."""
    await promise(worker, *(message(key, 0) for key in ascii_letters))
    batches: list[set[int]] = []
    count = await relay(
        worker.pool, partial(accepts, batches), "t", Floors(), limit=52, publish_max_s=5
    )
    assert count == 52
    assert batches == [set(range(outbox.SHARDS))]


async def test_of_many_messages_each_relay_leads_a_few_shards_at_a_time(worker: Worker) -> None:
    """So that other relays share the work."""
    await promise(worker, *(message(key, 0) for key in ascii_letters))
    batches: list[set[int]] = []
    await relay(worker.pool, partial(accepts, batches), "t", Floors(), limit=51, publish_max_s=5)
    assert [len(shards) for shards in batches] == [SHARDS_OF_MANY] * 4
    assert set().union(*batches) == set(range(outbox.SHARDS))


async def test_a_relay_that_is_frozen_amid_a_transaction_loses_its_shards(worker: Worker) -> None:
    """Other relays send its messages; those that it had sent are sent again, with the same id."""
    await promise(worker, message("a", 0))

    async def freezes(messages: Sequence[Outgoing]) -> Sequence[Exception | None]:
        await asyncio.sleep(1)
        return [None for _ in messages]

    with pytest.raises(Unavailable):
        await relay(
            worker.pool, freezes, "t", Floors(), limit=10, publish_max_s=0.2 - FROZEN_AFTER_S
        )
    sent = await relay(worker.pool, partial(accepts, []), "t", Floors(), limit=10, publish_max_s=5)
    assert sent == 1
    timeout = await worker.pool.fetchval("SHOW idle_in_transaction_session_timeout")
    assert timeout == "5min", "only the relay's transactions end so soon"


async def test_a_message_that_kafka_never_accepts_keeps_no_other_shard_waiting(
    worker: Worker,
) -> None:
    """Its own shard waits, because order within an organization is promised."""
    await promise(worker, *(message(key, 0) for key in "abcdefgh"))

    async def never_accepts_a(messages: Sequence[Outgoing]) -> Sequence[Exception | None]:
        return [ValueError("too large") if each.key == b"a" else None for each in messages]

    with pytest.raises(Unavailable, match="too large"):
        await relay(worker.pool, never_accepts_a, "t", Floors(), limit=10, publish_max_s=5)

    assert [row["key"] for row in await worker.pool.fetch("SELECT key FROM outbox")] == [b"a"]


class Refusing:
    """A Kafka that refuses some messages permanently and acknowledges all others."""

    def __init__(self, *refused: Outgoing) -> None:
        self.refused = set(refused)
        self.taken: list[Outgoing] = []

    async def publish(self, messages: Sequence[Outgoing]) -> Sequence[Exception | None]:
        """As the producer does: what is behind a refused one of its key counts as refused."""
        results: list[Exception | None] = []
        keys: set[bytes] = set()
        for each in messages:
            if each in self.refused or (each.key in keys and each.key is not None):
                keys.add(each.key or b"")
                results.append(MessageRefused("too large"))
            else:
                self.taken.append(each)
                results.append(None)
        return results


async def due_now(worker: Worker) -> None:
    """End the pause of every refused message."""
    await worker.pool.execute(
        "UPDATE outbox SET held_until = now() WHERE held_until < 'infinity' AND refusals > 0"
    )


async def test_a_message_that_kafka_refuses_holds_back_its_key_alone(worker: Worker) -> None:
    """Messages of other keys in its shard are sent."""
    first, behind = message("a", 0), message("a", 1)
    others = [message("b", number) for number in range(3)]
    await promise(worker, first, behind, *others)
    kafka = Refusing(first)

    with capture_logs() as logs:
        sent = await relay(worker.pool, kafka.publish, "t", Floors(), limit=100, publish_max_s=5)
    assert (sent, kafka.taken) == (3, others)
    (line,) = [line for line in logs if line["event"] == "message_refused"]
    assert (line["log_level"], line["key"], line["pause_s"]) == ("error", "a", 1.0)

    later = message("a", 2)
    await promise(worker, later, message("b", 3))
    await relay(worker.pool, kafka.publish, "t", Floors(), limit=100, publish_max_s=5)
    assert kafka.taken[3:] == [message("b", 3)], "what comes later waits behind it"

    await due_now(worker)
    with capture_logs() as logs:
        await relay(worker.pool, kafka.publish, "t", Floors(), limit=100, publish_max_s=5)
    (line,) = [line for line in logs if line["event"] == "message_refused"]
    assert (line["refusals"], line["pause_s"]) == (2, 2.0), "the pause grows"

    kafka.refused.clear()
    await due_now(worker)
    while await relay(worker.pool, kafka.publish, "t", Floors(), limit=100, publish_max_s=5):
        pass
    assert [each for each in kafka.taken if each.key == b"a"] == [first, behind, later]
    assert await worker.pool.fetchval("SELECT count(*) FROM outbox") == 0


async def test_a_refused_message_without_a_key_holds_back_nothing(worker: Worker) -> None:
    """Dead letters may have none, and no order among them is promised."""
    refused, other = Outgoing("t", None, b"1"), Outgoing("t", None, b"2")
    await promise(worker, refused, other)
    kafka = Refusing(refused)
    await relay(worker.pool, kafka.publish, "t", Floors(), limit=100, publish_max_s=5)
    assert kafka.taken == [other]


async def test_what_is_held_makes_no_room_scarce(worker: Worker) -> None:
    """However much waits behind a refused message, the next batch is full of what can be sent."""
    refused = message("a", 0)
    await promise(worker, refused, *(message("a", number) for number in range(1, 30)))
    kafka = Refusing(refused)
    for _ in range(8):
        await relay(worker.pool, kafka.publish, "t", Floors(), limit=5, publish_max_s=5)
    await promise(worker, message("b", 0))
    await relay(worker.pool, kafka.publish, "t", Floors(), limit=5, publish_max_s=5)
    assert kafka.taken == [message("b", 0)]


async def test_a_clock_that_went_back_does_not_hold_a_refused_message_for_a_year(
    worker: Worker,
) -> None:
    """It was a year ahead when Kafka refused it."""
    await promise(worker, message("a", 0))
    kafka = Refusing(message("a", 0))
    await relay(worker.pool, kafka.publish, "t", Floors(), limit=5, publish_max_s=5)
    await worker.pool.execute("UPDATE outbox SET held_until = held_until + interval '1 year'")
    kafka.refused.clear()
    assert await relay(worker.pool, kafka.publish, "t", Floors(), limit=5, publish_max_s=5) == 1


async def test_relays_of_different_topics_do_not_wait_for_one_another(worker: Worker) -> None:
    """One that cannot be written to holds its shards for as long as Kafka may take to answer."""
    here, there = message("a", 0), Outgoing("elsewhere", b"a", b"v")
    await promise(worker, here, there)
    waits, goes_on = asyncio.Event(), asyncio.Event()

    async def slow(messages: Sequence[Outgoing]) -> Sequence[Exception | None]:
        waits.set()
        await goes_on.wait()
        return [None for _ in messages]

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(relay(worker.pool, slow, "t", Floors(), limit=5, publish_max_s=5))
        await waits.wait()
        kafka = Refusing()
        await relay(worker.pool, kafka.publish, "elsewhere", Floors(), limit=5, publish_max_s=5)
        goes_on.set()
    assert kafka.taken == [there]


# --- a snapshot that is held elsewhere ------------------------------------------------------------


async def send_all(worker: Worker, kafka: Refusing, floors: Floors) -> None:
    """Turn until nothing is left, and twice more: only then is it known what is settled."""
    for _ in range(3):
        while await relay(worker.pool, kafka.publish, "t", floors, limit=1_000, publish_max_s=5):
            pass


async def pages_read(pool: Pool, floors: Floors, name: str) -> int:
    """How many pages a query of the outbox reads."""
    async with pool.acquire() as conn:
        seen = await floors.observe(conn)
        bounds = [floors.of(seen, "t", shard) for shard in range(outbox.SHARDS)]
        values = {
            "waiting": f"'t', '{{{','.join(map(str, bounds))}}}', 1000",
            "oldest": f"{floors.of(seen, '', outbox.WHOLE)}",
        }[name]
        # Of so few rows Postgres would read all.
        await conn.execute("SET enable_seqscan = off; SET enable_bitmapscan = off")
        await conn.execute(f"PREPARE asked AS {queries('outbox')[name]}")
        try:
            plan = json.loads(
                await conn.fetchval(
                    f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE asked({values})"
                )
            )
        finally:
            await conn.execute("DEALLOCATE asked")
            await conn.execute("RESET enable_seqscan; RESET enable_bitmapscan")
    return int(plan[0]["Plan"]["Shared Hit Blocks"] + plan[0]["Plan"]["Shared Read Blocks"])


async def test_what_was_sent_while_a_snapshot_is_held_is_passed_over(
    worker: Worker, owner: Pool
) -> None:
    """A backup runs, or somebody forgot a transaction: what is deleted stays in the indexes."""
    floors, kafka = Floors(look_every_s=0), Refusing()
    async with owner.acquire() as conn, conn.transaction(isolation="repeatable_read"):
        await conn.fetchval("SELECT count(*) FROM outbox")
        for number in range(4):
            await promise(worker, *(message(f"{number} {key}", 0) for key in range(1_000)))
            await send_all(worker, kafka, floors)
        for name in ("waiting", "oldest"):
            for _ in range(3):
                async with transaction(worker.pool) as other:
                    await outbox.oldest_s(other, floors)
            without = await pages_read(worker.pool, Floors(), name)
            assert without > 60, "it is all of the table"
            assert await pages_read(worker.pool, floors, name) < without / 4
    assert len(kafka.taken) == 4_000


async def test_a_message_that_commits_after_higher_ids_were_sent_is_still_sent(
    worker: Worker,
) -> None:
    """Ids are assigned before the commit: the bound stays below ids that may still be written."""
    floors, kafka = Floors(look_every_s=0), Refusing()
    late = message("a", 0)
    async with transaction(worker.pool) as conn:
        await outbox.append(conn, [late], written_at=at(0))
        await promise(worker, *(message(key, 0) for key in "bcdefgh" * 5))
        await send_all(worker, kafka, floors)
        await send_all(worker, kafka, floors)
        assert late not in kafka.taken
    await send_all(worker, kafka, floors)
    assert kafka.taken[-1] == late


async def test_ids_that_are_handed_out_again_are_not_passed_over(
    worker: Worker, owner: Pool
) -> None:
    """As after a restore, or a failover to a standby that lagged behind."""
    floors, kafka = Floors(look_every_s=0), Refusing()
    await promise(worker, *(message(key, 0) for key in ascii_letters))
    await send_all(worker, kafka, floors)
    await send_all(worker, kafka, floors)
    await owner.execute("ALTER SEQUENCE outbox_id_seq RESTART WITH 1")
    again = message("a", 1)
    await promise(worker, again)
    await send_all(worker, kafka, floors)
    assert kafka.taken[-1] == again
