"""The migration of a database of commit c03285b changes only what it corrects."""

import json
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from pydantic import SecretStr

import servers
from marketplace_worker.documents import organization_from_json, subscription_from_json
from marketplace_worker.inspection.fleet_view import Inspector
from marketplace_worker.inspection.replaying import Verification, verify
from marketplace_worker.lifecycle.notes import Progress
from marketplace_worker.lifecycle.organization import Reported
from marketplace_worker.lifecycle.policy import Policy
from marketplace_worker.lifecycle.safeguards import Safeguards
from marketplace_worker.lifecycle.subscription import Subscription
from marketplace_worker.lifecycle.vocabulary import Marketplace, SubscriptionKey, marketplace_id
from marketplace_worker.settings import Postgres
from marketplace_worker.store import safeguards
from marketplace_worker.store.database import Pool, connecting, transaction
from marketplace_worker.store.migrations import migrate
from marketplace_worker.store.policies import PolicyBook
from store.fixtures import ENDED_AT, load_c03285b

Documents = dict[str, dict[str, Any]]


@pytest.fixture
def postgres_template() -> str:
    """Nothing: each test here migrates a database from an earlier schema."""
    return servers.EMPTY


@pytest.fixture
async def migrated(owner: Pool, left: Documents, postgres_dsn: str) -> AsyncIterator[Pool]:
    """The worker's connections to that database, with the current schema."""
    assert left
    await migrate(owner)
    async with connecting(Postgres(dsn=SecretStr(postgres_dsn))) as pool:
        yield pool


@pytest.fixture
def inspector(migrated: Pool) -> Inspector:
    """An inspector at the time of the database's last change."""
    return Inspector(migrated, PolicyBook(Policy()), ENDED_AT)


@pytest.fixture
async def left(owner: Pool) -> Documents:
    """The stored registers, by marketplace and original id."""
    await load_c03285b(owner)
    rows = await owner.fetch("SELECT * FROM subscriptions")
    return {
        f"{row['marketplace']}:{row['subscription_id']}": json.loads(row["document"])
        for row in rows
    }


async def verified(inspector: Inspector) -> list[Verification]:
    """What `replay --verify` finds."""
    return [page async for page in verify(inspector)]


async def test_replaying_the_journal_gives_what_is_stored(inspector: Inspector) -> None:
    """Invariant 8, over the update too."""
    found = await verified(inspector)

    assert [each for page in found for each in page.differences] == []
    assert sum(page.organizations for page in found) > 40


# --- migration 0008 -------------------------------------------------------------------------------


def one_each(left: Documents) -> dict[SubscriptionKey, Subscription]:
    """The registers that would be there if each id had always been spelled in one way."""
    merged: dict[SubscriptionKey, Subscription] = {}
    for document in left.values():
        subscription = subscription_from_json(json.dumps(document))
        one = merged.get(subscription.key, Subscription(subscription.key))
        for note in subscription.notes:
            one = one.with_note(note)
        for link in subscription.links:
            one = one.with_link(link)
        merged[subscription.key] = one
    return merged


def without_operations(subscription: Subscription) -> Subscription:
    """As `left` is: what an operation is was not written down."""
    notes = tuple(
        replace(note, operation=None, progress=Progress.SUCCEEDED) for note in subscription.notes
    )
    return replace(subscription, notes=notes)


async def test_two_spellings_of_a_subscription_are_one(migrated: Pool, left: Documents) -> None:
    """With all notes and links of both, in the order of the fold."""
    spelled_twice = {key for key in left if key.lower() in left and key != key.lower()}
    assert len(spelled_twice) > 8

    rows = await migrated.fetch("SELECT * FROM subscriptions")

    stored = {each.key: each for each in (subscription_from_json(r["document"]) for r in rows)}
    expected = one_each(left)
    assert {key: without_operations(each) for key, each in stored.items()} == expected
    for row in rows:
        register = subscription_from_json(row["document"])
        assert (row["marketplace"], row["subscription_id"]) == (
            register.key.marketplace,
            register.key.subscription_id,
        )
        predecessor = register.predecessor
        assert row["predecessor_id"] == (predecessor.subscription_id if predecessor else None)


def ids_in(value: object) -> Iterator[str]:
    """Every subscription's id in a document."""
    if isinstance(value, dict):
        spelling = value.get("subscription_id")
        yield from [spelling] if isinstance(spelling, str) else []
    members = value.values() if isinstance(value, dict) else value
    if isinstance(members, Iterable) and not isinstance(members, str):
        for each in members:
            yield from ids_in(each)


async def test_no_other_spelling_is_left_where_it_is_compared(migrated: Pool) -> None:
    """Only in the journal and the history, which are unchanged, and in the outbox."""
    ids: list[str] = []
    for table in ("organizations", "subscriptions", "checkpoints"):
        rows = await migrated.fetch(f"SELECT document FROM {table}")
        ids += (id_ for row in rows for id_ in ids_in(json.loads(row["document"])))
    for column in (
        "subscription_id FROM subscriptions",
        "predecessor_id FROM subscriptions WHERE predecessor_id IS NOT NULL",
        "subscription_id FROM links",
        "subscription_id FROM billing_accounts",
        "billing_account FROM billing_accounts",
        "id FROM checkpoints WHERE marketplace <> ''",
    ):
        ids += (row[0] for row in await migrated.fetch(f"SELECT {column}"))

    assert len(ids) > 300
    assert [each for each in ids if each != marketplace_id(each)] == []
    rows_read = await migrated.fetch(
        "SELECT subscription_id FROM journal WHERE organization_id IS NULL"
    )
    assert any(row[0] and row[0] != marketplace_id(row[0]) for row in rows_read)


async def test_links_and_accounts_are_those_of_the_registers(
    migrated: Pool, left: Documents
) -> None:
    """Also for unlinked subscriptions, and for ids with a single spelling."""
    links = await migrated.fetch("SELECT marketplace, subscription_id, organization_id FROM links")
    accounts = await migrated.fetch(
        "SELECT marketplace, subscription_id, billing_account FROM billing_accounts"
    )

    spellings = one_each(left).values()
    assert {tuple(each) for each in links} >= {
        (each.key.marketplace, each.key.subscription_id, link.organization)
        for each in spellings
        for link in each.links
    }
    assert {tuple(each) for each in accounts} == {
        (each.key.marketplace, each.key.subscription_id, account)
        for each in spellings
        for _, account in each.accounts
    }


async def test_which_operation_an_azure_note_reports_is_read_from_its_id(migrated: Pool) -> None:
    """So a report that is delivered again under its new identity is a duplicate; failed operations
    do not count.
    """
    rows = await migrated.fetch("SELECT document FROM subscriptions WHERE marketplace = 'azure'")

    registers = [subscription_from_json(row["document"]) for row in rows]
    notes = [note for each in registers for note in each.notes]
    assert {note.operation for note in notes} == {note.id for note in notes}
    failed = {note.id.split(" ", 1)[1] for note in notes if note.progress is Progress.FAILED}
    assert failed == {"Suspend 41 Failed:Suspend"}


@pytest.mark.parametrize(
    ("spelling", "operation"),
    [
        ("9C0A3B0E-0000-4000-8000-00000000000A:Suspend", "9c0a3b0e-0000-4000-8000-00000000000a"),
        ("00000000-0000-0000-0000-000000000000:Suspend", None),
        ("marketplace.azure.notifications/0/17@2026-01-01T00:00:00+00:00", None),
        ("a:b:Suspend", "a:b"),
    ],
)
async def test_an_id_that_is_none_names_no_operation(
    owner: Pool, spelling: str, operation: str | None
) -> None:
    """As for new notifications."""
    await load_c03285b(owner)
    await owner.execute(
        "UPDATE subscriptions"
        " SET document = jsonb_set(document, '{notes,0,id}', to_jsonb($1::text))"
        " WHERE subscription_id = 'a0000000-aaaa-4bbb-8ccc-d00dfeedbeef'",
        spelling,
    )

    await migrate(owner)

    document = await owner.fetchval(
        "SELECT document FROM subscriptions"
        " WHERE subscription_id = 'a0000000-aaaa-4bbb-8ccc-d00dfeedbeef'"
    )
    note = subscription_from_json(document).notes[0]
    assert note.operation == (operation and f"{operation}:Suspend")


async def test_ends_of_before_are_not_called_for_at_google_and_azure(migrated: Pool) -> None:
    """Earlier versions knew a final usage report only at AWS; those reports stay as they are."""
    document = await migrated.fetchval(
        "SELECT document FROM organizations WHERE organization_id = 'google-unpaid'"
    )
    key = SubscriptionKey(Marketplace.GCP, "ent-2")
    assert organization_from_json(document).reported == (Reported(key, ends=1),)
    document = await migrated.fetchval(
        "SELECT document FROM organizations WHERE organization_id = 'gone'"
    )
    (reported,) = organization_from_json(document).reported
    assert reported.ends == 0
    assert reported.closed_at


@pytest.mark.parametrize(("count", "crowded"), [(100, False), (101, True)])
async def test_accounts_of_more_than_a_hundred_organizations_prove_nothing_from_now_on(
    owner: Pool, count: int, crowded: bool
) -> None:
    """No match is searched in them, so they need no index rows."""
    await load_c03285b(owner)
    await owner.execute(
        f"""INSERT INTO links
            SELECT 'customer-' || n, 'aws', 'agmt-' || n FROM generate_series(1, {count}) AS n;
            INSERT INTO billing_accounts
            SELECT 'aws', 'a reseller', 'agmt-' || n FROM generate_series(1, {count}) AS n"""
    )

    await migrate(owner)

    found = await owner.fetch("SELECT marketplace, billing_account FROM crowded_accounts")
    assert [tuple(each) for each in found] == [("aws", "a reseller")] * crowded
    left = "SELECT count(*) FROM billing_accounts WHERE billing_account = 'a reseller'"
    assert await owner.fetchval(left) == (0 if crowded else count)


# --- migration 0009 -------------------------------------------------------------------------------


async def stored_safeguards(pool: Pool) -> Safeguards:
    """The safeguards after the migration."""
    async with transaction(pool) as conn:
        return await safeguards.read(conn)


async def test_a_trip_by_the_limit_still_stops_steps_alone(migrated: Pool) -> None:
    """The event of the trip is known, so that a second trip refers to it."""
    found = await stored_safeguards(migrated)
    journal_count = await migrated.fetchval(
        """SELECT events -> 0 ->> 'id' FROM decisions
           WHERE organization_id = 'worker' AND events -> 0 ->> 'kind' = 'guard.tripped'
           ORDER BY id DESC LIMIT 1"""
    )

    assert found.trip is not None
    assert (found.trip.by, str(found.trip.event)) == (None, journal_count)
    assert found.requests_trip is None


async def test_a_trip_by_hand_stops_requests_as_well(owner: Pool) -> None:
    """It was meant for all destructive steps and requests; its partial releases concerned steps."""
    await load_c03285b(owner)
    await owner.execute(
        """UPDATE safeguards SET document = jsonb_set(document, '{trip}',
           '{"at": "2026-02-01T00:00:00Z", "by": "Olga", "reason": "x", "allowance": 3}')"""
    )
    await migrate(owner)

    found = await stored_safeguards(owner)
    assert found.trip is not None
    assert found.requests_trip == replace(found.trip, allowance=0)
    assert found.trip.allowance == 3
