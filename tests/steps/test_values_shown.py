"""The values of log lines and metrics of the steps."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from prometheus_client import REGISTRY
from pydantic import SecretStr
from structlog.testing import capture_logs

from acceptance.scenario import at, created, eventbridge
from acceptance.stage import MovableClock
from marketplace_worker.errors import MessageRefused, Unavailable
from marketplace_worker.lifecycle.states import State
from marketplace_worker.operations.health import Health
from marketplace_worker.record import Outgoing, Record
from marketplace_worker.runtime.probes import probe_postgres, probe_states
from marketplace_worker.runtime.worker import Worker
from marketplace_worker.settings import Postgres, Retention, Topics
from marketplace_worker.steps.deadlines import fire_due
from marketplace_worker.steps.ingest import ingest
from marketplace_worker.steps.redriving import Redrive, discard
from marketplace_worker.steps.relay import relay
from marketplace_worker.steps.retention import retain
from marketplace_worker.store import dead_letters, outbox, state_counts
from marketplace_worker.store.database import Pool, connecting, transaction
from marketplace_worker.store.dead_letters import OperatorAction
from marketplace_worker.store.floors import Floors
from steps.story_beginnings import canceled, ingest_lines, linked, login, move_to_day, records, use

TOPICS = Topics()


def line(logged: Sequence[Any], event: str) -> dict[str, Any]:
    """The one line of this event, without how long it took."""
    (found,) = [dict(each) for each in logged if each["event"] == event]
    took_ms = found.pop("took_ms", None)
    assert took_ms is None or took_ms >= 0
    return found


def unreadable(offset: int) -> Record:
    """An unreadable record."""
    return Record(TOPICS.aws_notifications, 3, offset, at(2), None, b"no JSON")


# --- log lines ------------------------------------------------------------------------------------


async def test_a_batch_is_logged_with_what_became_of_its_records(
    worker: Worker, clock: MovableClock
) -> None:
    """`lag_ms` is how long ago its oldest record was written to Kafka."""
    clock.now = at(2) + timedelta(seconds=90)
    before = records(created(1, "a"), use(1.5, "a"))
    await ingest(before, worker)
    batch = [
        *records(
            linked(1, "a", "agmt-1"),
            eventbridge(2, "Purchase Agreement Ended", {"id": "agmt-1", "status": "CANCELLED"}),
        ),
        before[0],
        *records(login(2, "a"), login(2, "b")),
        unreadable(0),
        unreadable(1),
    ]
    with capture_logs() as logged:
        await ingest(batch, worker)
    assert line(logged, "batch_ingested") == {
        "event": "batch_ingested",
        "log_level": "info",
        "records": 7,
        "outcomes": {"applied": 2, "no_change": 1},
        "duplicates": 1,
        "activity": 2,
        "dead_letters": 2,
        "events": 2,
        "lag_ms": 86_490_000,
    }
    refused = [each for each in logged if each["event"] == "record_refused"]
    assert [each["position"] for each in refused] == [
        f"{TOPICS.aws_notifications}/3/{offset}" for offset in (0, 1)
    ]
    for each in refused:
        assert (each["log_level"], each["part"], each["field"]) == ("warning", 0, "value")
        assert each["reason"].startswith("is not JSON")


async def test_what_was_due_is_logged_with_how_many_organizations_and_events(
    worker: Worker, clock: MovableClock
) -> None:
    """Two lose the control plane: for each the transition and its effect."""
    for name in ("a", "b"):
        await ingest_lines(worker, clock, *canceled(name))
    clock.now = at(2)
    with capture_logs() as logged:
        assert await fire_due(worker, limit=10) == 2
    assert line(logged, "deadlines_fired") == {
        "event": "deadlines_fired",
        "log_level": "info",
        "organizations": 2,
        "events": 4,
    }


async def promise(worker: Worker, *messages: Outgoing, written_at: datetime | None = None) -> None:
    """Write messages to the outbox."""
    async with transaction(worker.pool) as conn:
        await outbox.append(conn, messages, written_at=written_at or at(0))


def message(key: str) -> Outgoing:
    """A message of a key."""
    return Outgoing("t", key.encode(), b"value")


async def refuse_and_fail(messages: Sequence[Outgoing]) -> Sequence[Exception | None]:
    """A Kafka that refuses keys `r` and `s`, does not answer for `f`, and accepts the others."""
    refused = MessageRefused("too large")
    answers = {b"r": refused, b"s": refused, b"f": TimeoutError()}
    return [answers.get(each.key or b"") for each in messages]


async def test_what_was_relayed_is_logged_with_how_many_messages_became_what(
    worker: Worker,
) -> None:
    """The numbers of acknowledged, unanswered and refused messages."""
    await promise(worker, *map(message, "abcfrs"), message("r"))
    with capture_logs() as logged, pytest.raises(Unavailable):
        await relay(worker.pool, refuse_and_fail, "t", Floors(), limit=100, publish_max_s=5)
    assert line(logged, "batch_relayed") == {
        "event": "batch_relayed",
        "log_level": "info",
        "topic": "t",
        "messages": 3,
        "failed": 1,
        "refused": 2,
    }
    refused, _ = ({**each} for each in logged if each["event"] == "message_refused")
    del refused["outbox_id"]
    assert refused == {
        "event": "message_refused",
        "log_level": "error",
        "topic": "t",
        "bytes": message("r").size_bytes,
        "key": "r",
        "reason": "too large",
        "refusals": 1,
        "pause_s": 1.0,
    }


@pytest.mark.parametrize(
    ("refusals", "pause_s"), [(0, 1.0), (1, 2.0), (8, 256.0), (9, 300.0), (5_000, 300.0)]
)
async def test_a_refused_message_is_held_for_a_pause_that_doubles_up_to_five_minutes(
    worker: Worker, refusals: int, pause_s: float
) -> None:
    """When the topic is fixed, it is sent within five minutes."""
    await promise(worker, message("r"))
    held = "UPDATE outbox SET refusals = $1::integer, held_until = now() WHERE $1::integer > 0"
    await worker.pool.execute(held, refusals)
    with capture_logs() as logged:
        await relay(worker.pool, refuse_and_fail, "t", Floors(), limit=100, publish_max_s=5)
    refused = line(logged, "message_refused")
    assert (refused["refusals"], refused["pause_s"]) == (refusals + 1, pause_s)
    rest = "SELECT extract(epoch FROM held_until - clock_timestamp())::float8 FROM outbox"
    assert pause_s - 20 < await worker.pool.fetchval(rest) <= pause_s


async def test_a_redrive_is_logged_with_what_became_of_the_letters(
    worker: Worker, clock: MovableClock
) -> None:
    """And what was discarded, with what was asked for and what that means."""
    clock.now = at(3)
    await ingest([unreadable(0), unreadable(1), unreadable(2)], worker)
    by = OperatorAction("Olga", "mended")
    with capture_logs() as logged:
        await Redrive(worker, by).redrive([1, 2, 99], rate=10_000)
        assert await discard([2, 3, 98, 99], by, worker) == 2
    assert line(logged, "dead_letters_redriven") == {
        "event": "dead_letters_redriven",
        "log_level": "info",
        "asked": 3,
        "redriven": 0,
        "refused": 2,
        "failed": 0,
        "left": 0,
        "outcomes": {},
        "duplicates": 0,
        "activity": 0,
    }
    discarded = line(logged, "dead_letters_discarded")
    assert (discarded["asked"], discarded["discarded"]) == (4, 2)
    assert discarded["meaning"] == "possible_use"


async def test_what_was_retired_is_logged_with_how_much_it_was(
    worker: Worker, clock: MovableClock
) -> None:
    """Rows of the journal, the organizations that they were about, and dead letters."""
    retention = Retention(journal_days=100, dead_letters_days=30)
    await ingest_lines(worker, clock, *canceled("acme"))
    await ingest([unreadable(0), unreadable(1)], worker)
    await move_to_day(worker, clock, 400)
    with capture_logs() as logged:
        await retain(worker, retention)
    assert line(logged, "batch_retired") == {
        "event": "batch_retired",
        "log_level": "info",
        "rows": 3,
        "organizations": 1,
        "dead_letters": 2,
    }


# --- metrics of the database ----------------------------------------------------------------------


def shown(name: str) -> float:
    """The value of a metric."""
    return REGISTRY.get_sample_value(f"marketplace_worker_{name}") or 0.0


async def test_the_age_of_the_oldest_promise_and_what_kafka_refused_are_shown(
    worker: Worker,
) -> None:
    """In seconds, by the database's clock; what is held does not make it older."""
    health = Health(silence_max_s=60.0, stopping=lambda: False)
    health.started = True
    floors = Floors(look_every_s=0)
    now = await worker.pool.fetchval("SELECT clock_timestamp()")

    async def probed() -> tuple[float, float]:
        assert await probe_postgres(worker.pool, health, floors) == 0
        assert health.not_ready_reasons() == []
        return shown("outbox_age_seconds"), shown("outbox_refused_messages")

    assert await probed() == (0, 0)
    await promise(worker, message("r"), written_at=now - timedelta(seconds=500))
    await promise(worker, message("r"), written_at=now - timedelta(seconds=400))
    await promise(worker, message("a"), written_at=now - timedelta(seconds=100))
    age_s, refused = await probed()
    assert (round(age_s, -2), refused) == (500, 0)
    with pytest.raises(Unavailable):
        await relay(worker.pool, refuse_all_but_a, "t", floors, limit=100, publish_max_s=5)
    age_s, refused = await probed()
    assert (round(age_s, -2), refused) == (100, 1)


async def test_organizations_by_state_and_waiting_dead_letters_are_shown(worker: Worker) -> None:
    """Of the whole database, whichever worker changed it; a state that is empty again is 0."""
    health = Health(silence_max_s=60.0, stopping=lambda: False)

    async def probed() -> dict[str, float]:
        await probe_postgres(worker.pool, health, Floors())
        await probe_states(worker.pool)
        labels = [{"state": state.value} for state in State]
        name = "marketplace_worker_organizations"
        return {each["state"]: REGISTRY.get_sample_value(name, each) or 0.0 for each in labels}

    async with transaction(worker.pool) as conn:
        await state_counts.append(conn, {State.ACTIVE: 3, State.SUSPENDED: 1}, day=at(0).date())
    assert (await probed())["active"] == 3
    async with transaction(worker.pool) as conn:
        await state_counts.append(conn, {State.ACTIVE: 1, State.SUSPENDED: -1}, day=at(1).date())
    found = await probed()
    assert (found["active"], found["suspended"], found["deactivated"]) == (4, 0, 0)

    assert shown("dead_letters_waiting") == 0
    await ingest([unreadable(0)], worker)
    await probed()
    assert shown("dead_letters_waiting") == 1


async def refuse_all_but_a(messages: Sequence[Outgoing]) -> Sequence[Exception | None]:
    """A Kafka that refuses the key `r` and does not answer for `a`."""
    return [
        MessageRefused("too large") if each.key == b"r" else TimeoutError() for each in messages
    ]


async def test_the_age_of_the_oldest_snapshot_is_shown_in_transactions(
    worker: Worker, owner: Pool
) -> None:
    """While it is held, it grows with each transaction that writes; then it is small again."""
    health = Health(silence_max_s=60.0, stopping=lambda: False)

    async def age() -> float:
        await probe_postgres(worker.pool, health, Floors())
        return shown("oldest_xmin_age_transactions")

    before = await age()
    async with owner.acquire() as conn, conn.transaction(isolation="repeatable_read"):
        await conn.fetchval("SELECT count(*) FROM journal")
        for _ in range(50):
            await owner.execute("SELECT pg_current_xact_id()")
        assert await age() >= before + 50


async def test_postgres_and_the_schema_are_ready_or_the_reason_is_reported(
    worker: Worker, owner: Pool, postgres_dsn: str
) -> None:
    """Each by itself: a schema that is not ours does not mean that Postgres is away."""
    health = Health(silence_max_s=60.0, stopping=lambda: False)
    health.started = True
    await probe_postgres(worker.pool, health, Floors())
    assert health.not_ready_reasons() == []
    await owner.execute(
        "INSERT INTO schema_migrations (version, name, checksum) VALUES (9999, '9999_new', 'x')"
    )
    await probe_postgres(worker.pool, health, Floors())
    (reason,) = health.not_ready_reasons()
    assert reason.startswith("schema: ")
    assert "9999_new" in reason
    await owner.execute("DELETE FROM schema_migrations WHERE version = 9999")
    async with connecting(Postgres(dsn=SecretStr(postgres_dsn))) as closed:
        pass
    await probe_postgres(closed, health, Floors())
    reasons = health.not_ready_reasons()
    assert any(reason.startswith("Postgres: does not answer") for reason in reasons)
    await probe_postgres(worker.pool, health, Floors())
    assert health.not_ready_reasons() == []


async def test_a_group_of_dead_letters_shows_how_many_wait_and_from_when_to_when(
    worker: Worker, clock: MovableClock
) -> None:
    """`retried` are those that were refused again."""
    for day in (2, 5, 9):
        clock.now = at(day)
        await ingest([unreadable(day)], worker)
    clock.now = at(11)
    await Redrive(worker, OperatorAction("Olga", "mended")).redrive([1], rate=10_000)
    async with transaction(worker.pool) as conn:
        (group,) = await dead_letters.groups(conn)
    assert (group.letters, group.retried) == (3, 1)
    assert (group.first_at, group.last_at) == (at(2), at(9))
    assert (group.topic, group.field) == (TOPICS.aws_notifications, "value")
