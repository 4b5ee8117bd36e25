"""After a restore, published decisions stay in force, although the database has lost them."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from uuid import uuid4

import pytest

import servers
from acceptance.scenario import at, created
from acceptance.stage import MovableClock
from marketplace_worker.errors import Unavailable
from marketplace_worker.inspection.fleet_view import Inspector
from marketplace_worker.inspection.replaying import Difference, verify
from marketplace_worker.lifecycle.decide import Outcome
from marketplace_worker.lifecycle.facts import ClosureJudged, GuardReleased, GuardTripped
from marketplace_worker.lifecycle.organization import Organization
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.vocabulary import DeactivationCause, Identity, OrganizationId
from marketplace_worker.record import Record
from marketplace_worker.runtime.worker import Worker
from marketplace_worker.steps import recovering
from marketplace_worker.steps.deadlines import fire_due
from marketplace_worker.steps.guard_operations import operate
from marketplace_worker.steps.recovering import Operator
from marketplace_worker.steps.restore_detection import Comparison
from marketplace_worker.store import organizations, safeguards
from marketplace_worker.store.database import transaction
from marketplace_worker.store.published import Gap
from steps.conftest import working_on
from steps.story_beginnings import (
    canceled,
    events_of,
    ingest_lines,
    kinds,
    linked,
    states,
    support,
    wait,
)

BACKUP = 5
LOST = 45
"""Days: what was decided between them is only on the topics."""

OPERATOR = Operator("typed", "olga", "restored")


@dataclass
class Restored:
    """A worker on a database that was set back, its clock, and what was published before that."""

    worker: Worker
    clock: MovableClock
    records: Sequence[Record]

    async def read_back(self, newest: int | None) -> AsyncIterator[Sequence[Record]]:
        """What the topics hold: as `ReadBack`, in batches of three."""
        records = self.records[-newest:] if newest else self.records
        for first in range(0, len(records), 3):
            yield records[first : first + 3]

    async def compare(self) -> None:
        """Compare, as a worker does after its start."""
        await Comparison(self.worker, self.read_back).compare()

    async def recover(self) -> list[Gap]:
        """Recover, as the command does; returns those that differ from what was published."""
        otherwise = []
        await recovering.withhold(self.worker)
        await recovering.gather(self.worker, self.read_back)
        await recovering.begin(self.worker, OPERATOR)
        async for page in recovering.pages(self.worker):
            otherwise += [each for each in page if each.stands_otherwise]
            behind = [each for each in page if each.is_behind]
            if behind:
                await recovering.raise_numbers(self.worker, behind, OPERATOR.id)
        await recovering.complete(self.worker, OPERATOR)
        return otherwise

    async def release(self) -> Outcome:
        """An operator releases the guard."""
        identity = Identity("operator", uuid4().hex)
        fact = GuardReleased(identity, self.clock.now, "olga", "looked at")
        return (await operate(fact, self.worker)).outcome

    async def judge(self, organization: str, *, stands: bool) -> Outcome:
        """An operator decides whether an organization was closed."""
        identity, id_ = Identity("operator", uuid4().hex), OrganizationId(organization)
        fact = ClosureJudged(identity, self.clock.now, id_, stands, "olga", "asked the customer")
        return await recovering.judge(self.worker, fact)

    async def organization(self, organization: str) -> Organization:
        """The stored organization."""
        async with transaction(self.worker.pool) as conn:
            found = await organizations.read(conn, [OrganizationId(organization)])
        return found[0]

    async def differences(self) -> list[Difference]:
        """What `replay --verify` finds."""
        inspector = Inspector(self.worker.pool, self.worker.policies, self.clock.now)
        return [each async for page in verify(inspector) for each in page.differences]


async def published(worker: Worker) -> list[Record]:
    """All messages of the outbox, as the relay sends them, on one partition of each topic."""
    rows = await worker.pool.fetch("SELECT id, topic, key, value FROM outbox ORDER BY id")
    return [
        Record(row["topic"], 0, offset, at(0), row["key"], row["value"])
        for offset, row in enumerate(rows)
    ]


async def before_the_backup(worker: Worker, clock: MovableClock) -> None:
    """Four are canceled, and have lost their control plane."""
    for organization in ("acme", "globex", "initech", "umbrella"):
        await ingest_lines(worker, clock, *canceled(organization))
    await wait(worker, clock, BACKUP)


async def after_the_backup(worker: Worker, clock: MovableClock) -> None:
    """Acme is closed by its cancellation, umbrella by Support; initech is back; hooli is new."""
    await ingest_lines(
        worker,
        clock,
        linked(BACKUP + 0.1, "initech", "second of initech"),
        created(BACKUP + 0.2, "hooli"),
        support(BACKUP + 0.3, "deactivate_organization", "umbrella"),
        support(BACKUP + 0.4, "place_hold", "globex", kind="legal"),
    )
    await wait(worker, clock, LOST)
    identity = Identity("operator", "kill switch")
    await operate(GuardTripped(identity, clock.now, "olga", "something is wrong"), worker)


@dataclass(frozen=True)
class Databases:
    """The names of two databases, to be copied; and where the clock stands after the loss."""

    backup: str
    lost: str
    clock: MovableClock


@pytest.fixture(scope="module")
async def databases(postgres_server: str, schema_template: str) -> AsyncIterator[Databases]:
    """A backup, and the database that went on from it and was lost."""
    clock, name = MovableClock(), uuid4().hex
    backup, lost = f"backup_{name}", f"lost_{name}"
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        dsn = await enter(servers.fresh_database(postgres_server, backup, schema_template))
        async with working_on(dsn, clock) as worker:
            await before_the_backup(worker, clock)
        dsn = await enter(servers.fresh_database(postgres_server, lost, backup))
        async with working_on(dsn, clock) as worker:
            await after_the_backup(worker, clock)
        yield Databases(backup, lost, clock)


@pytest.fixture
async def both(
    postgres_server: str, databases: Databases, clock: MovableClock
) -> AsyncIterator[tuple[Restored, Worker]]:
    """A worker on the restored backup, and one on what was lost."""
    clock.now, name = databases.clock.now, uuid4().hex
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        lost = servers.fresh_database(postgres_server, f"test_lost_{name}", databases.lost)
        worker = await enter(working_on(await enter(lost), clock))
        copy = servers.fresh_database(postgres_server, f"test_restored_{name}", databases.backup)
        restored = await enter(working_on(await enter(copy), clock))
        yield Restored(restored, clock, await published(worker)), worker


@pytest.fixture
def restored(both: tuple[Restored, Worker]) -> Restored:
    """A worker on the restored database."""
    return both[0]


async def test_a_number_that_was_published_is_never_used_again(
    both: tuple[Restored, Worker],
) -> None:
    """Otherwise subscribers drop new events as duplicates; also for the worker's own events."""
    restored, lost = both
    subjects = ("acme", "globex", "initech", "umbrella", "worker")
    before = {each: (await events_of(lost, each))[-1]["sequence"] for each in subjects}
    old = {each: len(await events_of(restored.worker, each)) for each in subjects}

    await restored.recover()
    await restored.judge("umbrella", stands=True)
    lines = (
        linked(LOST + 1, "initech", "third of initech"),
        support(LOST + 1, "place_hold", "globex", kind="legal"),
    )
    await ingest_lines(restored.worker, restored.clock, *lines)

    for each in ("globex", "initech", "umbrella", "worker"):
        new = (await events_of(restored.worker, each))[old[each] :]
        assert new, each
        assert min(event["sequence"] for event in new) > before[each], each
    assert (await restored.organization("acme")).sequence == int(before["acme"])


async def test_the_journal_still_folds_to_what_is_stored(restored: Restored) -> None:
    """The decisions of a recovery are in the journal."""
    await restored.recover()
    await restored.judge("acme", stands=True)
    await restored.judge("umbrella", stands=False)
    await ingest_lines(
        restored.worker, restored.clock, linked(LOST + 1, "initech", "third of initech")
    )
    await restored.release()
    await wait(restored.worker, restored.clock, LOST + 60)

    assert await restored.differences() == []


async def test_everyone_who_stands_otherwise_than_published_is_listed(restored: Restored) -> None:
    """For a check by a person; also organizations that the database does not have."""
    otherwise = await restored.recover()

    assert {each.summary.organization: (each.summary.state, each.state) for each in otherwise} == {
        "acme": (State.DEACTIVATED, State.CONTROL_PLANE_LOSS),
        "umbrella": (State.DEACTIVATED, State.CONTROL_PLANE_LOSS),
        "initech": (State.ACTIVE, State.CONTROL_PLANE_LOSS),
        "hooli": (State.ACTIVE, None),
    }
    assert {each.summary.organization for each in otherwise if each.lost} == {"acme", "umbrella"}


async def test_who_was_published_as_deactivated_waits_for_a_person(restored: Restored) -> None:
    """Its data may be gone: no step is taken, and no reinstatement accepted."""
    await restored.recover()
    await restored.release()
    worker, clock = restored.worker, restored.clock
    await ingest_lines(
        worker,
        clock,
        linked(LOST + 1, "acme", "second of acme"),
        support(LOST + 1.1, "reinstate_organization", "acme"),
    )
    await wait(worker, clock, LOST + 100)

    assert (await states(worker))["acme"] == State.CONTROL_PLANE_LOSS
    assert (await kinds(worker, "acme"))[-1] == "support_request.rejected"
    assert (await events_of(worker, "acme"))[-1]["data"]["code"] == "not_reinstatable"


async def test_a_person_who_judges_that_it_was_closed_has_it_closed(restored: Restored) -> None:
    """It gets the published state."""
    await restored.recover()

    assert await restored.judge("acme", stands=True) is Outcome.APPLIED
    assert await restored.judge("umbrella", stands=True) is Outcome.APPLIED
    assert await restored.judge("acme", stands=True) is Outcome.REFUSED

    acme, umbrella = [await restored.organization(each) for each in ("acme", "umbrella")]
    assert acme.deactivation_cause is DeactivationCause.MARKETPLACE_CANCELLATION
    assert umbrella.deactivation_cause is DeactivationCause.SUPPORT_REQUEST
    assert "organization.deactivated" in await kinds(restored.worker, "acme")


async def test_a_person_who_judges_that_it_was_not_lets_it_go_on(restored: Restored) -> None:
    """With a new dwell and a new notice, so that nothing fires at once."""
    await restored.recover()
    await restored.release()

    assert await restored.judge("acme", stands=False) is Outcome.APPLIED
    await wait(restored.worker, restored.clock, LOST + 0.9)
    assert (await states(restored.worker))["acme"] == State.CONTROL_PLANE_LOSS
    await wait(restored.worker, restored.clock, LOST + 4)
    assert (await states(restored.worker))["acme"] == State.SUSPENDED


async def test_recovery_trips_the_guard_and_a_release_waits_for_it(restored: Restored) -> None:
    """A kill switch that was on was forgotten by the database; nobody knows but the topics."""
    await recovering.withhold(restored.worker)
    assert await restored.release() is Outcome.REFUSED

    await restored.recover()
    await wait(restored.worker, restored.clock, LOST + 10)
    assert (await states(restored.worker))["globex"] == State.CONTROL_PLANE_LOSS
    assert "guard.tripped" in await kinds(restored.worker, "worker")
    assert await restored.release() is Outcome.APPLIED
    await wait(restored.worker, restored.clock, LOST + 15)
    assert (await states(restored.worker))["globex"] == State.SUSPENDED


async def test_a_recovery_that_was_broken_off_goes_on(restored: Restored) -> None:
    """The sequence numbers are raised once, with one epoch, whatever was done before."""
    worker = restored.worker
    await recovering.withhold(worker)
    await recovering.gather(worker, restored.read_back)
    await recovering.begin(worker, OPERATOR)
    async for page in recovering.pages(worker):
        first = next(each for each in page if each.is_behind)
        await recovering.raise_numbers(worker, [first], OPERATOR.id)
    numbers = (await restored.organization(first.summary.organization)).sequence
    assert await restored.release() is Outcome.REFUSED

    again = Operator("typed again", "olga", "restored")
    await recovering.gather(worker, restored.read_back)
    await recovering.begin(worker, again)
    async for page in recovering.pages(worker):
        behind = [each for each in page if each.is_behind]
        assert first.summary.organization not in {each.summary.organization for each in behind}
        await recovering.raise_numbers(worker, behind, again.id)
    await recovering.complete(worker, again)

    assert (await restored.organization(first.summary.organization)).sequence == numbers
    async with transaction(worker.pool) as conn:
        assert (await safeguards.read(conn)).epoch == 1
    assert await worker.pool.fetchval("SELECT count(*) FROM published") == 0
    assert await restored.release() is Outcome.APPLIED
    assert await restored.differences() == []


async def test_a_deactivation_is_seen_behind_numbers_that_were_used_again(
    restored: Restored,
) -> None:
    """A worker went on for a while before anybody noticed, and published over it."""
    worker, clock = restored.worker, restored.clock
    published_after = len(restored.records)
    lines = (support(LOST + n / 100, "place_hold", "umbrella", kind="legal") for n in range(60))
    await ingest_lines(worker, clock, *lines)
    restored.records = [*restored.records, *(await published(worker))[-120:]]
    assert len(restored.records) > published_after

    otherwise = await restored.recover()

    assert "umbrella" in {each.summary.organization for each in otherwise if each.lost}
    assert (await restored.organization("umbrella")).published_closed is not None


async def test_a_worker_notices_by_itself_and_does_no_harm(restored: Restored) -> None:
    """No step, no requested deactivation, no release, until the recovery; all else goes on."""
    worker, clock = restored.worker, restored.clock
    await restored.compare()
    await wait(worker, clock, LOST + 10)
    await ingest_lines(worker, clock, support(LOST + 10, "deactivate_organization", "initech"))

    assert (await states(worker))["globex"] == State.CONTROL_PLANE_LOSS
    assert (await events_of(worker, "initech"))[-1]["data"]["code"] == "guard_tripped"
    assert "organization.notice_given" in await kinds(worker, "globex")
    assert await restored.release() is Outcome.REFUSED


async def test_what_goes_on_once_it_was_noticed_has_numbers_of_its_own(
    both: tuple[Restored, Worker],
) -> None:
    """A reinstatement of that hour is not taken for what subscribers know."""
    restored, lost = both
    before = {each: (await events_of(lost, each))[-1]["sequence"] for each in ("globex", "initech")}
    old = {each: len(await events_of(restored.worker, each)) for each in before}
    await restored.compare()
    await wait(restored.worker, restored.clock, LOST + 10)
    lines = (
        linked(LOST + 10, "initech", "a third"),
        support(LOST + 10, "place_hold", "globex", kind="legal"),
    )
    await ingest_lines(restored.worker, restored.clock, *lines)

    for each, newest in before.items():
        new = (await events_of(restored.worker, each))[old[each] :]
        assert new
        assert min(event["sequence"] for event in new) > newest
    assert (await restored.organization("acme")).published_closed is not None
    assert await restored.differences() == []


async def test_a_database_that_holds_what_was_published_is_left_alone(
    both: tuple[Restored, Worker],
) -> None:
    """Repeated or waiting records are no loss."""
    restored, lost = both
    whole = Restored(lost, restored.clock, restored.records)

    await whole.compare()

    async with transaction(lost.pool) as conn:
        assert (await safeguards.read(conn)).set_back_at is None


async def test_no_harm_is_done_by_a_server_that_nobody_has_compared(restored: Restored) -> None:
    """It may have been promoted a moment ago; who asks in that moment waits."""
    worker, clock = restored.worker, restored.clock
    await worker.pool.execute("UPDATE comparison SET server_started_at = '2000-01-01'")
    clock.now = at(LOST + 10)

    with pytest.raises(Unavailable, match="compare"):
        await fire_due(worker, limit=100)
    with pytest.raises(Unavailable, match="compare"):
        await ingest_lines(worker, clock, support(LOST + 10, "deactivate_organization", "initech"))
    await ingest_lines(worker, clock, created(LOST + 10, "soylent"))

    await restored.compare()
    await fire_due(worker, limit=100)


async def test_a_worker_compares_once_a_life_of_the_server(restored: Restored) -> None:
    """The comparison reads topics."""
    reads = 0

    async def read_back(newest: int | None) -> AsyncIterator[Sequence[Record]]:
        nonlocal reads
        reads += 1
        async for records in restored.read_back(newest):
            yield records

    compare = Comparison(restored.worker, read_back).compare
    await compare()
    await compare()

    assert reads == 1
