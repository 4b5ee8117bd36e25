"""A replay of the journal gives the stored state, and detects manipulated rows."""

import pytest

from acceptance.scenario import at, created, event
from acceptance.stage import MovableClock
from marketplace_worker.inspection.fleet_view import Inspector
from marketplace_worker.inspection.replaying import Difference, as_of, verify
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.vocabulary import OrganizationId
from marketplace_worker.runtime.worker import Worker
from marketplace_worker.store.database import Pool
from steps.story_beginnings import bought, canceled, day_of, ingest_lines, login, support, use, wait

ACME = OrganizationId("acme")


async def differences(inspector: Inspector, only: OrganizationId | None = None) -> list[Difference]:
    """All differences between the journal and the stored state."""
    return [each async for page in verify(inspector, only) for each in page.differences]


async def lives(worker: Worker, clock: MovableClock) -> None:
    """Several organizations with all that a decision may read; some to their end."""
    lines = (
        *canceled("acme"),
        created(0, "idle"),
        created(0, "gone"),
        event(0, "organization.owner_changed", "gone", {"owner_email": "gone@x.example"}),
        login(1, "acme"),
        use(1, "idle"),
        *canceled("globex"),
        bought(1.5, "second", "account of acme"),
        login(2.5, "acme"),
        support(3, "deactivate_organization", "gone"),
        event(
            3.1,
            "organization.created",
            "heir",
            {"tier": "free", "owner_email": "gone@x.example"},
        ),
        support(3.2, "reactivate_organization", "gone"),
        support(3.3, "unlock_email", "gone", email="gone@x.example"),
        event(3.4, "organization.not_ours_yet", "acme", {}),
    )
    await ingest_lines(worker, clock, *sorted(lines, key=day_of))
    for day in range(4, 90):
        await wait(worker, clock, until=day)
        await ingest_lines(worker, clock, login(day, "busy"), use(day, "busy"))


async def test_replaying_the_journal_gives_what_is_stored(
    worker: Worker, clock: MovableClock, inspector: Inspector
) -> None:
    """Invariant 8, over lives with notices, logins, silent feeds, matches, locks and ends."""
    await lives(worker, clock)

    found = [page async for page in verify(inspector)]

    assert [each for page in found for each in page.differences] == []
    assert sum(page.organizations for page in found) == 5
    assert sum(page.rows for page in found) > 20
    states = {each["state"] for each in await worker.pool.fetch("SELECT state FROM organizations")}
    assert "deactivated" in states


DAMAGE = {
    "a fact is another": "UPDATE journal SET fact = replace(fact::text, 'free', 'plus')::json"
    " WHERE message_id LIKE 'organization.created-acme%'",
    "an outcome is another": "UPDATE journal SET outcome = 'stale' WHERE kind = 'notified'"
    " AND marketplace = 'aws' AND outcome = 'applied'",
    "what a decision was told is another": "UPDATE journal SET readings = '{}'"
    " WHERE organization_id = 'acme' AND kind = 'identity.user.logged_in'",
    "a row is gone": "DELETE FROM journal WHERE id = (SELECT min(id) FROM journal"
    " WHERE organization_id = 'acme')",
    "the last row is gone": "DELETE FROM journal WHERE id = (SELECT max(id) FROM journal"
    " WHERE organization_id = 'acme')",
    "a row is another organization's": "UPDATE journal SET organization_id = 'globex'"
    " WHERE message_id LIKE 'organization.created-acme%'",
    "a fact was emptied": "UPDATE journal SET fact = NULL, salt = NULL"
    " WHERE organization_id = 'acme'",
    "a row that names nobody is another": "UPDATE journal SET occurred_at = now()"
    " WHERE kind = 'unrecognized'",
    "a state is another": "UPDATE organizations SET document = jsonb_set(document, '{state}',"
    " '\"suspended\"') WHERE organization_id = 'globex'",
    "a column is another": "UPDATE organizations SET owner_email = 'x'"
    " WHERE organization_id = 'acme'",
    "a deadline is gone": "UPDATE organizations SET next_due_at = NULL"
    " WHERE organization_id = 'globex'",
    "a subscription is another": "UPDATE subscriptions SET document = jsonb_set(document,"
    " '{notes}', '[]') WHERE subscription_id = 'first of acme'",
    "a link is gone": "DELETE FROM links WHERE organization_id = 'acme'",
    "what was said is another": "UPDATE decisions SET events = '[]' WHERE organization_id = 'acme'",
    "a line of the history is gone": "DELETE FROM decisions WHERE organization_id = 'acme'",
}


@pytest.mark.parametrize("damage", DAMAGE)
async def test_whatever_was_tampered_with_is_found(
    worker: Worker, clock: MovableClock, inspector: Inspector, owner: Pool, damage: str
) -> None:
    """Each manipulation alone, made by the database's owner."""
    lines = [
        *canceled("acme"),
        *canceled("globex"),
        bought(1.5, "second", "account of acme"),
        event(2, "organization.not_ours_yet", "acme", {}),
        login(2.5, "acme"),
    ]
    await ingest_lines(worker, clock, *sorted(lines, key=day_of))
    assert await differences(inspector) == []
    before = await owner.fetchval("SELECT count(*) FROM journal")

    changed = await owner.execute(DAMAGE[damage])

    assert changed.split()[-1] != "0", "nothing was damaged"
    assert before
    found = await differences(inspector)
    assert found, damage


async def test_an_organization_is_shown_as_it_was_known_at_a_time(
    worker: Worker, clock: MovableClock, inspector: Inspector
) -> None:
    """Facts received later are not included, even if they happened before."""
    late = event(9, "organization.tier_changed", "acme", {"tier": "plus"}, happened=0.7)
    await ingest_lines(worker, clock, *canceled("acme"))
    await wait(worker, clock, until=8.5)
    await ingest_lines(worker, clock, late)

    known = {
        day: (await as_of(inspector, ACME, at(day))).organizations[0]
        for day in (-1, 0.6, 1.5, 3, 8.6, 9)
    }

    assert known[-1].creation is None
    assert [known[day].state for day in (0.6, 1.5, 3, 8.6)] == [
        State.ACTIVE,
        State.CANCELED,
        State.CONTROL_PLANE_LOSS,
        State.SUSPENDED,
    ]
    assert known[8.6].tier != known[9].tier
    assert known[9].tier is not None
    assert known[9].tier.value == "plus"
