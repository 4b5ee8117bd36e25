"""Support's requests are answered once, within their organization's sequence of events."""

import asyncio

from structlog.testing import capture_logs

from acceptance.scenario import at, created, event
from acceptance.stage import MovableClock
from marketplace_worker.runtime.worker import Worker
from marketplace_worker.steps.ingest import ingest
from steps.story_beginnings import (
    canceled,
    events_of,
    ingest_lines,
    kinds,
    linked,
    login,
    records,
    states,
    support,
)


def sequences(events: list[dict[str, object]]) -> list[int]:
    """The sequence numbers of events."""
    return [int(str(each["sequence"])) for each in events]


async def test_the_same_request_twice_is_answered_once(worker: Worker, clock: MovableClock) -> None:
    """A retry after a timeout must not place two holds."""
    request = support(2, "place_hold", "acme", kind="legal")
    await ingest_lines(worker, clock, *canceled("acme"), request, request)

    answers = [kind for kind in await kinds(worker, "acme") if kind.startswith("support_request")]
    assert answers == ["support_request.completed"]


async def test_a_request_for_nobody_is_refused_in_a_sequence_of_its_own(
    worker: Worker, clock: MovableClock
) -> None:
    """The sequence continues when the organization is created."""
    await ingest_lines(
        worker,
        clock,
        support(1, "deactivate_organization", "acme"),
        support(2, "place_hold", "acme", kind="legal"),
        created(3, "acme"),
        support(4, "place_hold", "acme", kind="legal"),
    )

    answers = await events_of(worker, "acme")
    assert sequences(answers) == [1, 2, 3]
    assert [each["data"]["code"] for each in answers] == ["unknown_organization"] * 2 + [None]


async def test_unlocking_what_nobody_locked_is_answered_by_the_worker(
    worker: Worker, clock: MovableClock
) -> None:
    """Its sequence is in the database, so two workers that refuse at once do not share a number."""
    clock.now = at(1)
    requests = [
        support(1, "unlock_email", f"nobody-{number}", email="free@acme.example")
        for number in range(6)
    ]
    await asyncio.gather(*(ingest(records(each), worker) for each in requests))

    assert sequences(await events_of(worker, "worker")) == [1, 2, 3, 4, 5, 6]
    assert await states(worker) == {f"nobody-{number}": "active" for number in range(6)}


async def test_an_email_is_locked_until_it_is_unlocked(worker: Worker, clock: MovableClock) -> None:
    """The event goes to the organization that had the lock, in its sequence, whoever caused it."""
    data = {"tier": "free", "owner_email": "owner@acme.example"}
    await ingest_lines(
        worker,
        clock,
        created(0, "acme"),
        support(1, "deactivate_organization", "acme"),
        event(2, "organization.created", "beta", data),
        support(3, "unlock_email", "nobody", email="OWNER@acme.example "),
        event(4, "organization.created", "gamma", data),
    )

    assert (await kinds(worker, "acme"))[-4:] == [
        "support_request.completed",
        "email.lock_violated",
        "email.unlocked",
        "support_request.completed",
    ]
    of_acme = await events_of(worker, "acme")
    assert sequences(of_acme) == list(range(1, len(of_acme) + 1))
    assert await worker.pool.fetchval("SELECT count(locked_email) FROM organizations") == 0


async def test_of_two_reactivations_with_one_email_one_is_refused(
    worker: Worker, clock: MovableClock
) -> None:
    """Also where two workers process them concurrently."""
    data = {"tier": "free", "owner_email": "owner@acme.example"}
    for name in ("acme", "beta"):
        await ingest_lines(worker, clock, event(0, "organization.created", name, data))
        await ingest_lines(worker, clock, support(1, "deactivate_organization", name))

    both = [records(support(2, "reactivate_organization", name)) for name in ("acme", "beta")]
    await asyncio.gather(*(ingest(each, worker) for each in both))

    assert sorted((await states(worker)).values()) == ["active", "deactivated"]
    last = [(await kinds(worker, name))[-1] for name in ("acme", "beta")]
    assert sorted(last) == ["support_request.completed", "support_request.rejected"]


async def test_a_reactivated_organization_has_no_plan_of_before(
    worker: Worker, clock: MovableClock
) -> None:
    """Its links are still in the table; the deactivation took what they stand for."""
    await ingest_lines(
        worker,
        clock,
        created(0, "acme"),
        linked(1, "acme", "first"),
        support(2, "deactivate_organization", "acme"),
        support(3, "reactivate_organization", "acme"),
        login(4, "acme"),
    )

    assert await states(worker) == {"acme": "active"}
    snapshot = await worker.pool.fetchval(
        "SELECT convert_from(value, 'UTF8')::jsonb #>> '{data,plans}' FROM outbox "
        "WHERE topic = $1 ORDER BY id DESC LIMIT 1",
        worker.topics.state,
    )
    assert snapshot == "[]"


async def test_a_request_is_one_log_line_without_a_person(
    worker: Worker, clock: MovableClock
) -> None:
    """The ticket identifies the request; a transition has its own line."""
    await ingest_lines(worker, clock, created(0, "acme"))
    with capture_logs() as lines:
        await ingest_lines(worker, clock, support(1, "deactivate_organization", "acme"))
        await ingest_lines(worker, clock, support(2, "reactivate_organization", "acme"))
        await ingest_lines(worker, clock, support(3, "unlock_email", "acme", email="x@y.example"))

    answered = [line for line in lines if line["event"] == "support_request_answered"]
    assert [(line["organization"], line["request"], line["code"]) for line in answered] == [
        ("acme", "deactivate_organization", None),
        ("acme", "reactivate_organization", None),
        ("acme", "unlock_email", "email_not_locked"),
    ]
    assert {line["ticket"] for line in answered} == {"T-1"}
    moved = [line for line in lines if line["event"] == "organization_moved"]
    assert [line["state"] for line in moved] == ["deactivated", "active"]
    assert "Doe" not in str(lines)
    assert "because" not in str(lines)
    assert "@" not in str(lines)
