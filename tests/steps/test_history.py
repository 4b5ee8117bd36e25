"""The history of an organization: every fact that concerns it, and the decisions on it."""

from acceptance.scenario import at, created, eventbridge
from acceptance.stage import MovableClock
from marketplace_worker.lifecycle.inactivity import LastSeen
from marketplace_worker.lifecycle.matching import attached_to
from marketplace_worker.lifecycle.policy import Policy
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.vocabulary import OrganizationId
from marketplace_worker.runtime.worker import Worker
from marketplace_worker.store import journal, organizations, working_set
from marketplace_worker.store.database import one_moment
from marketplace_worker.store.journal import HistoryEntry
from steps.story_beginnings import (
    bought,
    canceled,
    ended,
    ingest_lines,
    linked,
    login,
    support,
    wait,
)

ACME = OrganizationId("acme")


async def history(worker: Worker, *, page: int = 100) -> list[HistoryEntry]:
    """The whole history of acme, read in pages."""
    chapters: list[HistoryEntry] = []
    async with one_moment(worker.pool) as conn:
        fleet = await working_set.read(conn, [ACME], Policy(), now=await worker.clock(conn))
        held = [each.key for each in attached_to(fleet, ACME)]
        while True:
            after = chapters[-1].id if chapters else 0
            read = await journal.history(conn, ACME, held, after=after, limit=page)
            if not read:
                return chapters
            chapters += read


def kinds_of(chapter: HistoryEntry) -> tuple[str, list[str]]:
    """The kind of a fact, and the kinds of its events."""
    return chapter.kind, [event["kind"] for event in chapter.events]


async def test_a_history_has_every_fact_with_what_it_made(
    worker: Worker, clock: MovableClock
) -> None:
    """Also facts about its subscription from before the link, and deadlines."""
    await ingest_lines(
        worker,
        clock,
        bought(0.2, "first of acme", "account of acme"),
        *canceled("acme")[1:],
        created(1.5, "acme", happened=0),
    )
    await ingest_lines(worker, clock, *canceled("another"))
    await wait(worker, clock, until=3)

    assert [kinds_of(each) for each in await history(worker)] == [
        ("notified", []),
        ("organization.subscription_linked", []),
        ("notified", []),
        (
            "organization.created",
            ["organization.canceled", "metering.final_report_due"],
        ),
        (
            "deadline_came",
            ["organization.control_plane_lost", "control_plane.access_revoked"],
        ),
    ]


async def test_a_chapter_records_both_states_the_policy_and_what_was_looked_up(
    worker: Worker, clock: MovableClock
) -> None:
    """An operator can explain it months later, when all of this has changed."""
    await ingest_lines(worker, clock, *canceled("acme"), bought(2, "second", "account of acme"))
    await ingest_lines(worker, clock, login(2.5, "acme"))

    *_, canceled_by, pending, reinstated = await history(worker)

    assert (canceled_by.state_before, canceled_by.state) == (State.ACTIVE, State.CANCELED)
    assert canceled_by.decided_by == "default"
    assert pending.state is pending.state_before is State.CANCELED
    assert pending.readings.seen == {}
    assert (reinstated.state_before, reinstated.state) == (State.CANCELED, State.ACTIVE)
    assert reinstated.readings.seen == {ACME: LastSeen(login_at=at(2.5))}
    assert reinstated.occurred_at == clock.now


async def test_what_another_fact_does_to_an_organization_is_in_its_history(
    worker: Worker, clock: MovableClock
) -> None:
    """Such as an unlocked email or the renewal of its plan, which do not name the organization."""
    renewal = {"id": "renewed", "intent": "RENEW", "previousAgreementId": "first of acme"}
    await ingest_lines(
        worker,
        clock,
        created(0, "acme"),
        linked(0.5, "acme", "first of acme"),
        eventbridge(1, "Purchase Agreement Created", renewal),
        ended(2, "renewed", "845735284135"),
        support(3, "deactivate_organization", "acme"),
        support(4, "unlock_email", "nobody", email="owner@acme.example"),
    )

    assert [kinds_of(each)[0] for each in await history(worker)] == [
        "organization.created",
        "organization.subscription_linked",
        "notified",
        "notified",
        "support_requested",
        "support_requested",
    ]
    assert kinds_of((await history(worker))[-1])[1] == [
        "email.unlocked",
        "support_request.completed",
    ]


async def test_a_hold_is_in_the_history_though_it_moves_no_state(
    worker: Worker, clock: MovableClock
) -> None:
    """It prevents steps.  Its expiry publishes no event, but it is a decision."""
    hold = support(1.5, "place_hold", "acme", kind="legal", expires_at="2026-01-04T00:00:00Z")
    await ingest_lines(worker, clock, *canceled("acme"), hold)
    await wait(worker, clock, until=3)

    *_, placed, expired = await history(worker)
    assert placed.state is placed.state_before is State.CANCELED
    assert kinds_of(placed)[1] == ["support_request.completed"]
    assert expired.state is expired.state_before is State.CANCELED
    assert kinds_of(expired) == ("deadline_came", [])


async def test_a_history_and_a_fleet_are_read_in_pages_without_a_gap(
    worker: Worker, clock: MovableClock
) -> None:
    """Both may be too long to read at once."""
    names = ["acme", "beta", "gamma"]
    for name in names:
        await ingest_lines(worker, clock, *canceled(name))

    assert await history(worker, page=1) == await history(worker)
    found: list[OrganizationId] = []
    async with one_moment(worker.pool) as conn:
        while read := await organizations.page(conn, after=found[-1] if found else None, limit=2):
            found += read
    assert found == names
