"""The guard over all workers: one limit of each kind, and an operator who trips and releases."""

import asyncio
from collections import Counter
from dataclasses import replace

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from acceptance.scenario import at, created
from acceptance.stage import MovableClock
from marketplace_worker.inspection.fleet_view import Inspector
from marketplace_worker.inspection.replaying import verify
from marketplace_worker.lifecycle.decide import Outcome
from marketplace_worker.lifecycle.facts import GuardReleased, GuardTripped
from marketplace_worker.lifecycle.policy import Guard, Policy
from marketplace_worker.lifecycle.vocabulary import GuardSide, Identity
from marketplace_worker.runtime.worker import Worker
from marketplace_worker.steps.deadlines import fire_due
from marketplace_worker.steps.guard_operations import operate
from marketplace_worker.steps.ingest import ingest
from marketplace_worker.store import organizations, safeguards
from marketplace_worker.store.database import transaction
from marketplace_worker.store.policies import PolicyBook
from steps.story_beginnings import (
    canceled,
    events_of,
    ingest_lines,
    kinds,
    records,
    states,
    support,
    wait,
)
from store.locks import waits

NAMES = [f"org-{number:02}" for number in range(16)]
LIMIT = 5


@pytest.fixture
async def due(worker: Worker, clock: MovableClock) -> Worker:
    """A worker whose policy allows five destructive steps per hour, with sixteen due."""
    allows_few = PolicyBook(
        replace(Policy(), guard=Guard(minimum=LIMIT, fraction=0.1, control_plane_fraction=1))
    )
    worker = replace(worker, policies=allows_few)
    for name in NAMES:
        await ingest_lines(worker, clock, *canceled(name))
    await wait(worker, clock, until=7.9)
    clock.now = at(8)
    return worker


async def fire_all(worker: Worker, workers: int = 1) -> None:
    """Run several workers concurrently, until none of them finds anything due."""

    async def until_idle() -> None:
        async with asyncio.timeout(30):
            while await fire_due(worker, limit=3):
                pass

    await asyncio.gather(*(until_idle() for _ in range(workers)))


async def suspended(worker: Worker) -> int:
    """How many were suspended."""
    return Counter((await states(worker)).values())["suspended"]


def tripped(number: int = 1) -> GuardTripped:
    """An operator trips the guard (the kill switch)."""
    return GuardTripped(Identity("/operator", f"trip {number}"), at(8), "Jo Doe", "looks wrong")


def released(
    steps: int | None = None, number: int = 1, guard: GuardSide = GuardSide.STEPS
) -> GuardReleased:
    """An operator releases the guard; by default the one for steps."""
    identity = Identity("/operator", f"release {number}")
    return GuardReleased(identity, at(8), "Jo Doe", "was right", steps, guard=guard)


async def test_workers_share_one_limit_and_never_go_past_it(due: Worker) -> None:
    """However many workers run concurrently, the sixth step trips the guard."""
    await fire_all(due, workers=4)

    assert await suspended(due) == LIMIT
    assert await kinds(due, "worker") == ["guard.tripped"]
    withheld = await due.pool.fetchval("SELECT count(*) FROM organizations WHERE withheld")
    assert withheld == len(NAMES) - LIMIT


async def test_a_withheld_step_is_not_rechecked_over_and_over(due: Worker) -> None:
    """It waits for the release and not for a time, and is listed as due."""
    await fire_all(due)

    assert await fire_due(due, limit=100) == 0
    async with transaction(due.pool) as conn:
        assert len(await organizations.due_until(conn, at(8), limit=100)) == len(NAMES) - LIMIT


async def test_the_limit_holds_over_a_restart(due: Worker, clock: MovableClock) -> None:
    """The counts and the trip are in the database, not in the worker."""
    await fire_all(due)
    clock.now = at(9)
    await due.pool.execute("UPDATE organizations SET next_due_at = $1 WHERE withheld", at(9))

    await fire_all(replace(due, policies=PolicyBook(due.policies.current)))

    assert await suspended(due) == LIMIT
    assert await kinds(due, "worker") == ["guard.tripped"]


async def test_a_release_for_some_steps_lets_so_many_through_and_withholds_the_rest(
    due: Worker,
) -> None:
    """The first that were due go first, by id."""
    await fire_all(due)
    decision = await operate(released(3), due)
    await fire_all(due, workers=4)

    assert decision.outcome is Outcome.APPLIED
    assert await suspended(due) == LIMIT + 3
    assert await fire_due(due, limit=100) == 0


async def test_a_release_altogether_begins_to_count_anew(due: Worker) -> None:
    """Sixteen in all, five before: five more, and it trips again."""
    await fire_all(due)
    await operate(released(), due)
    await fire_all(due, workers=4)

    assert await suspended(due) == 2 * LIMIT
    assert await kinds(due, "worker") == ["guard.tripped", "guard.released", "guard.tripped"]
    assert [int(each["sequence"]) for each in await events_of(due, "worker")] == [1, 2, 3]


async def test_the_kill_switch_stops_every_worker_at_once(due: Worker) -> None:
    """Nothing was counted yet, and nothing is taken."""
    await operate(tripped(), due)
    await fire_all(due, workers=4)

    assert await suspended(due) == 0
    assert await kinds(due, "worker") == ["guard.tripped"]
    outcome = "SELECT outcome FROM journal WHERE kind = 'guard_tripped'"
    assert await due.pool.fetchval(outcome) == "applied"


async def test_a_release_of_a_guard_that_is_not_tripped_is_refused(due: Worker) -> None:
    """The refused release makes no organization due."""
    decision = await operate(released(), due)

    assert decision.outcome is Outcome.REFUSED
    assert await kinds(due, "worker") == []
    async with transaction(due.pool) as conn:
        assert (await safeguards.read(conn)).sequence == 0


async def test_a_release_waits_for_the_batch_that_is_being_withheld(due: Worker) -> None:
    """Otherwise the batch would be withheld after the release, and never become due again."""
    await operate(tripped(), due)
    async with transaction(due.pool) as conn:
        await safeguards.lock(conn)
        batch = asyncio.create_task(fire_due(due, limit=100))
        assert await waits(due.pool, batch)
        release = asyncio.create_task(operate(released(3), due))
        assert await waits(due.pool, release, among=2)
    await batch
    await release
    await fire_all(due)

    assert await suspended(due) == 3


async def test_a_release_locks_in_the_order_of_everybody(due: Worker) -> None:
    """Another transaction may lock a withheld organization and then the safeguards: no deadlock."""
    await fire_all(due)
    withheld = await due.pool.fetchval(
        "SELECT max(organization_id) FROM organizations WHERE withheld"
    )

    async with transaction(due.pool) as conn:
        await organizations.lock(conn, [withheld])
        release = asyncio.create_task(operate(released(), due))
        assert await waits(due.pool, release)
        await safeguards.lock(conn)

    assert (await release).outcome is Outcome.APPLIED


async def test_trip_and_release_are_log_lines_without_a_name(due: Worker) -> None:
    """Name and reason are in the event; the log must not have an operator's name."""
    with capture_logs() as lines:
        await fire_all(due)
        await operate(released(1), due)
        await operate(tripped(2), due)

    of_the_guard = [line for line in lines if line["event"].startswith("guard_")]
    assert [(line["event"], line["log_level"]) for line in of_the_guard] == [
        ("guard_tripped", "error"),
        ("guard_released", "info"),
        ("guard_tripped", "error"),
    ]
    assert [line["guard"] for line in of_the_guard] == ["steps", "steps", "both"]
    assert [line.get("by_operator") for line in of_the_guard] == [False, None, True]
    assert "Doe" not in str(of_the_guard)


# --- entries into control_plane_loss, and requests ------------------------------------------------


async def test_workers_share_the_limit_of_losses_of_the_control_plane(
    worker: Worker, clock: MovableClock
) -> None:
    """It is the same guard, and the same row, with a count of its own."""
    few = PolicyBook(replace(Policy(), guard=Guard(minimum=LIMIT, control_plane_fraction=0.5)))
    worker = replace(worker, policies=few)
    for name in NAMES:
        await ingest_lines(worker, clock, *canceled(name))
    clock.now = at(3)

    await fire_all(worker, workers=4)

    lost = Counter((await states(worker)).values())["control_plane_loss"]
    assert lost == len(NAMES) // 2
    assert await kinds(worker, "worker") == ["guard.tripped"]
    await operate(released(2), worker)
    await fire_all(worker, workers=4)
    assert Counter((await states(worker)).values())["control_plane_loss"] == lost + 2


async def deactivate(worker: Worker, *names: str, day: float = 1) -> None:
    """Support requests deactivations, each in its own batch, concurrently."""
    lines = [support(day, "deactivate_organization", name) for name in names]
    await asyncio.gather(*(ingest(records(line), worker) for line in lines))


async def deactivated(worker: Worker) -> int:
    """How many were deactivated."""
    return Counter((await states(worker)).values())["deactivated"]


@pytest.fixture
async def asked(worker: Worker, clock: MovableClock) -> Worker:
    """A worker with sixteen organizations; one person may deactivate three in an hour."""
    three = PolicyBook(replace(Policy(), guard=Guard(requested_per_person=3)))
    worker = replace(worker, policies=three)
    for name in NAMES:
        await ingest_lines(worker, clock, created(0, name))
    clock.now = at(1)
    return worker


async def test_workers_share_the_limit_of_requests_and_never_go_past_it(asked: Worker) -> None:
    """Eight at once; the fourth trips the guard, and all that follow are refused."""
    await deactivate(asked, *NAMES[:8])

    assert await deactivated(asked) == 3
    assert await kinds(asked, "worker") == ["guard.tripped"]
    (trip,) = await events_of(asked, "worker")
    refused = await asked.pool.fetchval("SELECT count(*) FROM journal WHERE outcome = 'refused'")
    assert (trip["data"]["guard"], trip["data"]["which"]) == ("requests", "per_person")
    assert "Jo Doe" not in str(trip)
    assert refused == 5


async def test_the_limit_of_requests_holds_over_a_restart(asked: Worker) -> None:
    """The count of the last hour and the trip are in the database, not in the worker."""
    await deactivate(asked, *NAMES[:2])
    anew = replace(asked, policies=PolicyBook(asked.policies.current))
    await deactivate(anew, *NAMES[2:5])
    assert await deactivated(anew) == 3

    again = replace(asked, policies=PolicyBook(asked.policies.current))
    await deactivate(again, NAMES[6])
    assert await deactivated(again) == 3
    async with transaction(asked.pool) as conn:
        stored = await safeguards.read(conn)
    assert stored.requests_trip is not None
    assert "jo doe" not in str(stored).casefold()


async def test_refused_and_granted_requests_fold_to_the_same_again(
    asked: Worker, inspector: Inspector
) -> None:
    """Invariant 8: the journal has the guard's answers, because replay has no guard."""
    await deactivate(asked, *NAMES[:6])
    await operate(tripped(), asked)
    await operate(released(number=2, guard=GuardSide.REQUESTS), asked)
    await deactivate(asked, *NAMES[6:8], day=1.01)

    assert await deactivated(asked) == 5
    found = [each async for page in verify(inspector) for each in page.differences]
    assert found == []


async def test_a_release_of_requests_wakes_no_step(due: Worker) -> None:
    """The guard for steps is still tripped."""
    await operate(tripped(), due)
    await fire_all(due)
    await operate(released(number=2, guard=GuardSide.REQUESTS), due)

    assert await fire_due(due, limit=100) == 0
    assert await suspended(due) == 0


async def test_each_side_of_the_guard_has_its_metric(asked: Worker) -> None:
    """A release of one must not end an alert about the other."""

    def shown() -> list[float | None]:
        name = "marketplace_worker_guard_tripped"
        return [REGISTRY.get_sample_value(name, {"guard": side}) for side in ("steps", "requests")]

    await operate(tripped(), asked)
    assert shown() == [1, 1]
    await operate(released(), asked)
    assert shown() == [0, 1]
    await operate(released(number=2, guard=GuardSide.BOTH), asked)
    assert shown() == [0, 0]
    await deactivate(asked, *NAMES[:4])
    assert shown() == [0, 1]
