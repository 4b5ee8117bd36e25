"""Unreadable records of the activity feeds, in the worker (lifecycle.md section 5).

Each counts once as possible use, until it is redriven or declared no use.
"""

from collections.abc import Sequence

import pytest
from msgspec import structs

from acceptance.scenario import at, created
from acceptance.stage import MovableClock
from marketplace_worker.explain.forecast import BlockedBy
from marketplace_worker.explain.values import StepPostponed, UnreadRecords
from marketplace_worker.inspection.due import due_report
from marketplace_worker.inspection.fleet_view import Inspector
from marketplace_worker.inspection.organizations import report
from marketplace_worker.lifecycle.facts import Erased
from marketplace_worker.lifecycle.unreadable import DayCounts, PossibleUse
from marketplace_worker.lifecycle.vocabulary import ActivityFeed, Identity, OrganizationId
from marketplace_worker.record import Record
from marketplace_worker.runtime.worker import Worker
from marketplace_worker.settings import Retention
from marketplace_worker.steps.erasing import erase
from marketplace_worker.steps.ingest import ingest
from marketplace_worker.steps.redriving import Redrive, discard
from marketplace_worker.steps.retention import retain
from marketplace_worker.store import dead_letters, possible_use
from marketplace_worker.store.database import transaction
from marketplace_worker.store.dead_letters import DiscardMeaning, OperatorAction
from steps.story_beginnings import (
    events_of,
    ingest_lines,
    login,
    move_to_day,
    records,
    states,
    support,
    use,
    wait,
)
from steps.test_replaying import differences

ACME = OrganizationId("acme")
LOGINS = ActivityFeed.LOGINS
OLGA = OperatorAction("Olga", "looked at")
RATE = 10_000


def broken(day: float, key: bytes | None, *, offset: int = 0, value: bytes = b"?") -> Record:
    """An unreadable login, in its own partition."""
    (read,) = records(login(day, "acme"))
    return structs.replace(read, partition=7, offset=offset, key=key, value=value)


async def refuse(worker: Worker, clock: MovableClock, *given: Record) -> None:
    """Ingest records at the time of the last."""
    clock.now = max(clock.now, *(each.recorded_at for each in given))
    await ingest(given, worker)


async def unread(worker: Worker, *organizations: str) -> PossibleUse:
    """The possible use, as a decision reads it."""
    async with transaction(worker.pool) as conn:
        ids = [OrganizationId(each) for each in organizations]
        return await possible_use.read(conn, ids, since=at(0).date())


async def ids(worker: Worker) -> Sequence[int]:
    """The ids of all dead letters."""
    return [row["id"] for row in await worker.pool.fetch("SELECT id FROM dead_letters ORDER BY id")]


async def record_feeds_daily(worker: Worker, clock: MovableClock, since: int, until: int) -> None:
    """Both feeds have activity of other organizations."""
    lines = [line(day, "others") for day in range(since, until) for line in (login, use)]
    await ingest_lines(worker, clock, *lines)


# --- what counts ----------------------------------------------------------------------------------


async def test_a_record_counts_for_the_organization_of_its_key_and_else_for_its_day(
    worker: Worker, clock: MovableClock
) -> None:
    """By the record's own time; of the topic all records count, whatever is in them."""
    await ingest_lines(worker, clock, created(0, "acme"), login(1, "acme"), login(2, "acme"))
    await refuse(
        worker,
        clock,
        broken(2.5, b"acme"),
        broken(2.75, b'"acme"', offset=1),
        broken(2.25, None, offset=2),
        broken(2.25, b"nobody", offset=3),
        broken(2.25, b"\xff", offset=4),
    )

    found = await unread(worker, "acme", "nobody", "others")

    assert found.named == {(ACME, LOGINS): at(2.75), ("nobody", LOGINS): at(2.25)}
    assert found.days[LOGINS] == {at(2).date(): DayCounts(records=6, nameless=3)}


async def test_the_same_record_delivered_twice_is_one(worker: Worker, clock: MovableClock) -> None:
    """Also before and after other records, and in any batch."""
    first, second = broken(2, None), broken(2, None, offset=1)
    await refuse(worker, clock, first, first)
    await refuse(worker, clock, first, second)
    await refuse(worker, clock, second)

    assert (await unread(worker)).days[LOGINS] == {at(2).date(): DayCounts(2, 2)}


async def test_a_list_is_one_record_and_each_login_in_it_counts(
    worker: Worker, clock: MovableClock
) -> None:
    """Events.md section 1: a list of CloudEvents is read, each by itself."""
    values = [each.value for each in records(login(1, "acme"), login(2, "beta")) if each.value]
    value = b"[" + b",".join([values[0], b"{}", values[1], b"7"]) + b"]"
    batch = [broken(3, b"acme", value=value)]
    await refuse(worker, clock, *batch)
    await refuse(worker, clock, *batch)

    rows = await worker.pool.fetch("SELECT organization_id, logins FROM activity")
    assert {row["organization_id"]: row["logins"] for row in rows} == {"acme": 1, "beta": 1}
    found = await unread(worker, "acme")
    assert found.named == {(ACME, LOGINS): at(3)}
    assert found.days[LOGINS] == {at(3).date(): DayCounts(1, 1)}
    assert await worker.pool.fetchval("SELECT letters FROM possible_use") == 2


# --- what is done about it ------------------------------------------------------------------------


async def test_a_redriven_record_counts_by_its_content(worker: Worker, clock: MovableClock) -> None:
    """It is no longer possible use; a record that is refused again still is."""
    (mended,) = records(login(2, "acme"))
    await refuse(worker, clock, broken(2, b"acme"), broken(2.5, None, offset=1))
    first, _ = await ids(worker)
    await worker.pool.execute(
        "UPDATE dead_letters SET value = $1 WHERE id = $2", mended.value, first
    )

    for _ in range(2):
        await Redrive(worker, OLGA).redrive(await ids(worker), rate=RATE)

    found = await unread(worker, "acme")
    assert found.named == {}
    assert found.days[LOGINS] == {at(2).date(): DayCounts(2, 1)}
    assert await worker.pool.fetchval("SELECT last_login_at FROM activity") == at(2)


async def test_what_is_discarded_goes_on_counting_unless_it_was_no_use(
    worker: Worker, clock: MovableClock
) -> None:
    """Section 11: who said so and why is kept; it may be said of what was discarded before."""
    await refuse(worker, clock, broken(2, b"acme"), broken(2, None, offset=1))
    named, nameless = await ids(worker)

    assert await discard([named, nameless], OLGA, worker) == 2
    found = await unread(worker, "acme")
    assert found.named == {(ACME, LOGINS): at(2)}
    assert found.days[LOGINS] == {at(2).date(): DayCounts(2, 2)}

    by_hand = OperatorAction("Piet", "a load test")
    assert await discard([named, nameless], by_hand, worker, DiscardMeaning.NO_USE) == 2
    assert await discard([named], by_hand, worker, DiscardMeaning.NO_USE) == 1
    found = await unread(worker, "acme")
    assert found.named == {}
    assert found.days[LOGINS] == {}
    async with transaction(worker.pool) as conn:
        heads = await dead_letters.summaries(conn, [named, nameless])
    assert {(head.no_use, head.acted_by, head.acted_because) for head in heads} == {
        (True, "Piet", "a load test")
    }


@pytest.mark.parametrize("no_use_first", [True, False])
async def test_of_a_record_with_several_parts_all_must_be_dealt_with(
    worker: Worker, clock: MovableClock, *, no_use_first: bool
) -> None:
    """One that still waits may be use; in whichever order they are, and each only once."""
    await refuse(worker, clock, broken(2, None, value=b"[{}, 7]"))
    first, second = await ids(worker)
    given = [first, second] if no_use_first else [second, first]
    for each in given:
        assert (await unread(worker)).days[LOGINS] == {at(2).date(): DayCounts(1, 1)}
        await discard([each], OLGA, worker, DiscardMeaning.NO_USE)
        await discard([given[0]], OLGA, worker, DiscardMeaning.NO_USE)

    assert (await unread(worker)).days[LOGINS] == {}


async def test_possible_use_outlives_its_dead_letter_and_not_every_window(
    worker: Worker, clock: MovableClock
) -> None:
    """The bytes go by their own retention; what counts is a time and an id."""
    await refuse(worker, clock, broken(2, b"acme"), broken(50, b"acme", offset=1))
    await move_to_day(worker, clock, 60)
    retention = Retention(journal_days=45, dead_letters_days=1)

    await retain(worker, retention)

    assert await worker.pool.fetchval("SELECT count(*) FROM dead_letters") < 2
    assert (await unread(worker, "acme")).named == {(ACME, LOGINS): at(50)}
    await move_to_day(worker, clock, 120)
    while await retain(worker, retention):
        pass
    assert await worker.pool.fetchval("SELECT count(*) FROM possible_use") == 1
    await move_to_day(worker, clock, 300)
    while await retain(worker, retention):
        pass
    assert await worker.pool.fetchval("SELECT count(*) FROM possible_use") == 0
    assert await worker.pool.fetchval("SELECT array_agg(day) FROM topic_days") == [at(300).date()]


async def test_possible_use_of_who_is_erased_goes_too(worker: Worker, clock: MovableClock) -> None:
    """When somebody may have used it is its own, like when somebody did."""
    lines = (created(0, "acme"), support(1, "deactivate_organization", "acme"))
    await ingest_lines(worker, clock, *lines)
    quoted, others = broken(2, b'"acme"', offset=1), broken(2, b"beta", offset=2)
    await refuse(worker, clock, broken(2, b"acme"), quoted, others)

    await erase(Erased(Identity("operator", "e"), clock.now, ACME, "Olga", "asked to"), worker)

    for table in ("possible_use", "dead_letters"):
        assert await worker.pool.fetchval(f"SELECT count(*) FROM {table}") == 1


# --- what it does ---------------------------------------------------------------------------------


async def test_it_postpones_until_it_is_redriven_or_declared_no_use(
    worker: Worker, clock: MovableClock, inspector: Inspector
) -> None:
    """
    The notice goes out, the deactivation waits, `org explain` and `due` say why and until when; and
    the journal has what is needed to fold that again.
    """
    await ingest_lines(worker, clock, created(0, "acme"))
    await record_feeds_daily(worker, clock, 0, 24)
    await wait(worker, clock, until=23.5)
    await refuse(worker, clock, broken(25, b"acme"))
    for day in range(24, 32):
        await record_feeds_daily(worker, clock, day, day + 1)
        await wait(worker, clock, until=day + 0.5)

    assert (await states(worker))["acme"] == "active"
    reports = [each for each in await events_of(worker, "worker") if "unreadable" in each["type"]]
    assert [each["data"] for each in reports] == [
        {"feed": "logins", "day": f"{at(day):%Y-%m-%d}", "organization_id": "acme"}
        for day in (30, 31)
    ]
    looking = Inspector(worker.pool, worker.policies, clock.now)
    comes = (await report(looking, ACME)).explanation.next
    assert isinstance(comes, StepPostponed)
    assert comes.unread == (UnreadRecords(LOGINS, named=True, until=at(55)),)
    coming = (await due_report(looking, at(40))).coming
    assert [(each.stopped_by, each.stopped_until) for each in coming] == [
        (BlockedBy.UNREAD_RECORDS, at(55))
    ]
    assert await differences(inspector) == []

    await discard(await ids(worker), OLGA, worker, DiscardMeaning.NO_USE)
    await record_feeds_daily(worker, clock, 32, 33)
    await wait(worker, clock, until=32.5)

    assert (await states(worker))["acme"] == "deactivated"
    assert await differences(inspector) == []
