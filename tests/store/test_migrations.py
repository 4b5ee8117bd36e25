"""The schema: applied once, by one process, and never to a database that is not ours."""

import asyncio
import json
from datetime import UTC, datetime
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from pydantic import SecretStr

import servers
from marketplace_worker.documents import organization_from_json, subscription_from_json
from marketplace_worker.errors import Malformed, Misconfigured, Unavailable
from marketplace_worker.lifecycle.inactivity import LastSeen
from marketplace_worker.lifecycle.safeguards import Safeguards
from marketplace_worker.lifecycle.vocabulary import OrganizationId
from marketplace_worker.settings import Postgres
from marketplace_worker.store import activity, safeguards
from marketplace_worker.store.database import Pool, connecting, transaction
from marketplace_worker.store.dead_letters import group_of
from marketplace_worker.store.migrations import migrate, migrations, require_current_schema

DEACTIVATED = """
{"id": "gone",
 "creation": {"occurred_at": "2026-01-01T00:00:00Z", "id": "c",
              "billing_cycle_anchor": "2026-01-01T00:00:00Z"},
 "tier": {"occurred_at": "2026-01-01T00:00:00Z", "id": "c", "value": "free"},
 "owner": {"occurred_at": "2026-01-01T00:00:00Z", "id": "c", "value": "eeee"},
 "commitments": [], "state": "deactivated", "previous_state": "suspended",
 "entered_at": "2026-02-08T00:00:00Z", "reason": "customer", "initiator": "customer",
 "plan_type": "payg",
 "cancellation": {"canceled_at": "2026-01-02T00:00:00Z", "policy_version": "default",
                  "correlation_id": "2389214d-9434-5800-aea2-66464c8cc2b0"},
 "notice": null, "deactivation_cause": "marketplace_cancellation",
 "reported": [{"subscription": {"marketplace": "aws", "subscription_id": "agmt-1"}, "ends": 1}],
 "sequence": 19, "revision": 7}
"""
ACTIVE = """
{"id": "active",
 "creation": {"occurred_at": "2026-01-01T00:00:00Z", "id": "c2",
              "billing_cycle_anchor": "2026-01-01T00:00:00Z"},
 "tier": {"occurred_at": "2026-01-01T00:00:00Z", "id": "c2", "value": "free"},
 "owner": {"occurred_at": "2026-01-01T00:00:00Z", "id": "c2", "value": "aaaa"},
 "commitments": [], "state": "active", "previous_state": null, "entered_at": null, "reason": null,
 "initiator": null, "plan_type": null, "cancellation": null, "notice": null,
 "deactivation_cause": null, "reported": [], "sequence": 0, "revision": 1}
"""
CANCELED = """
{"id": "canceled",
 "creation": {"occurred_at": "2026-01-01T00:00:00Z", "id": "c3",
              "billing_cycle_anchor": "2026-01-01T00:00:00Z"},
 "tier": {"occurred_at": "2026-01-01T00:00:00Z", "id": "c3", "value": "free"},
 "owner": {"occurred_at": "2026-01-01T00:00:00Z", "id": "c3", "value": "cccc"},
 "commitments": [], "state": "canceled", "previous_state": "active",
 "entered_at": "2026-01-02T00:00:00Z", "reason": "customer", "initiator": "customer",
 "plan_type": "payg",
 "cancellation": {"canceled_at": "2026-01-02T00:00:00Z", "policy_version": "default",
                  "correlation_id": "2389214d-9434-5800-aea2-66464c8cc2b0"},
 "notice": null, "deactivation_cause": null, "reported": [], "sequence": 1, "revision": 2}
"""
UNHEARD_OF = """
{"id": "unheard of", "creation": null, "tier": null, "owner": null, "commitments": [],
 "state": "active", "previous_state": null, "entered_at": null, "reason": null, "initiator": null,
 "plan_type": null, "cancellation": null, "notice": null, "deactivation_cause": null,
 "reported": [], "sequence": 0, "revision": 0}
"""
SUBSCRIPTION = """
{"key": {"marketplace": "aws", "subscription_id": "agmt-1"},
 "notes": [
   {"occurred_at": "2026-01-01T00:00:00Z", "rank": 1, "id": "n", "change": {"kind": "activated"},
    "plan_type": null, "plan_type_settled": false, "billing_account": "told first",
    "term_ends_at": null, "auto_renews": null},
   {"occurred_at": "2026-01-02T00:00:00Z", "rank": 1, "id": "m", "change": {"kind": "activated"},
    "plan_type": null, "plan_type_settled": false, "billing_account": "told last",
    "term_ends_at": null, "auto_renews": null},
   {"occurred_at": "2026-01-03T00:00:00Z", "rank": 1, "id": "e",
    "change": {"reason": "customer", "initiator": "customer", "terminal": true, "kind": "ended"},
    "plan_type": null, "plan_type_settled": false, "billing_account": null, "term_ends_at": null,
    "auto_renews": null}],
 "links": [{"occurred_at": "2026-01-01T00:00:00Z", "id": "l", "organization": "gone",
            "plan_type": "payg", "billing_account": null}]}
"""
"""As version 0.1 wrote them."""


@pytest.fixture
def postgres_template(request: pytest.FixtureRequest, schema_template: str) -> str:
    """Nothing: most tests here migrate a database from an earlier schema, or from none."""
    return schema_template if "pool" in request.fixturenames else servers.EMPTY


@pytest.fixture
async def of_0_1(owner: Pool, monkeypatch: pytest.MonkeyPatch) -> Pool:
    """A database that version 0.1 worked with, and what it left there."""
    with monkeypatch.context() as patched:
        patched.setattr("marketplace_worker.store.migrations.migrations", lambda: migrations()[:1])
        await migrate(owner)
    for document in (DEACTIVATED, ACTIVE, CANCELED, UNHEARD_OF):
        await owner.execute(
            """INSERT INTO organizations (organization_id, document, state, sequence)
               VALUES ($1, $2::text::jsonb, $3, 0)""",
            json.loads(document)["id"],
            document,
            json.loads(document)["state"],
        )
    linked = json.dumps({**json.loads(SUBSCRIPTION), "notes": []}).replace("null}", '"linked"}')
    for id_, document in (("agmt-1", SUBSCRIPTION), ("agmt-2", linked)):
        await owner.execute(
            """INSERT INTO subscriptions (marketplace, subscription_id, document)
               VALUES ('aws', $1, $2::text::jsonb)""",
            id_,
            document,
        )
    await owner.execute(
        """INSERT INTO journal (source, message_id, kind, occurred_at, decided_at, policy_version,
                                outcome, fact)
           VALUES ('/support', 'r-1', 'support_requested', now(), now(), 'default',
                   'not_supported', '{}'),
                  ('aws', 'm-1', 'notified', now(), now(), 'default', 'applied', '{}')"""
    )
    return owner


async def test_rows_of_0_1_can_be_looked_up(of_0_1: Pool) -> None:
    """Organizations, emails and billing accounts are in its documents."""
    await migrate(of_0_1)

    rows = await of_0_1.fetch("SELECT * FROM organizations ORDER BY organization_id")
    assert [(r["organization_id"], r["created"], r["owner_email"]) for r in rows] == [
        ("active", True, "aaaa"),
        ("canceled", True, "cccc"),
        ("gone", True, "eeee"),
        ("unheard of", False, None),
    ]
    accounts = await of_0_1.fetch("SELECT * FROM billing_accounts ORDER BY billing_account")
    assert [tuple(row) for row in accounts] == [
        ("aws", "linked", "agmt-2"),
        ("aws", "told first", "agmt-1"),
        ("aws", "told last", "agmt-1"),
    ]


async def test_the_columns_agree_with_the_documents(of_0_1: Pool) -> None:
    """A register without later notifications is never written again."""
    await migrate(of_0_1)

    for row in await of_0_1.fetch("SELECT * FROM organizations"):
        organization = organization_from_json(row["document"])
        assert row["locked_email"] == organization.locked_email
        assert row["watches_activity"] == organization.watches_activity
        assert row["withheld"] == (organization.withheld_at is not None)
    for row in await of_0_1.fetch("SELECT * FROM subscriptions"):
        accounts = await of_0_1.fetch(
            "SELECT billing_account FROM billing_accounts WHERE subscription_id = $1",
            row["subscription_id"],
        )
        known_accounts = {
            account for _, account in subscription_from_json(row["document"]).accounts
        }
        assert {each["billing_account"] for each in accounts} == known_accounts


async def test_an_email_that_0_1_locked_can_be_unlocked(of_0_1: Pool) -> None:
    """It had published `email.locked`, but not stored the email."""
    await migrate(of_0_1)

    row = await of_0_1.fetchrow("SELECT * FROM organizations WHERE locked_email = 'eeee'")
    assert row is not None
    assert organization_from_json(row["document"]).locked_email == "eeee"


async def test_every_organization_is_due_for_a_recheck_at_once(of_0_1: Pool) -> None:
    """A free organization may be inactive, and version 0.1 stored no deadline for it."""
    await migrate(of_0_1)

    due = await of_0_1.fetch(
        "SELECT organization_id FROM organizations WHERE next_due_at <= now() ORDER BY 1"
    )
    assert [row["organization_id"] for row in due] == ["active", "canceled"]


async def test_a_request_that_0_1_did_not_answer_can_be_sent_again(of_0_1: Pool) -> None:
    """Its identity is removed from the journal; all others stay."""
    await migrate(of_0_1)

    rows = await of_0_1.fetch("SELECT source FROM journal")
    assert [row["source"] for row in rows] == ["aws"]


async def test_nothing_is_withheld_at_first(pool: Pool) -> None:
    """The one row of the safeguards is there from the beginning."""
    async with pool.acquire() as conn:
        assert await safeguards.read(conn) == Safeguards()


async def test_old_dead_letters_wait_in_the_groups_of_new_ones(of_0_1: Pool) -> None:
    """The migration writes in SQL what the worker computes."""
    topic, reason = "marketplace.aws.notifications", "müssen Text sein"
    fields = ["", "detail.agreement.id", "Records.1.body.2.x3", "0", "a.17", "headers[3]", "a[b3]"]
    await of_0_1.executemany(
        """INSERT INTO dead_letters (topic, partition, "offset", part, recorded_at, refused_at,
                                     reason, field, headers)
           VALUES ($1, 0, $2, 0, now(), now(), $3, $4, '[]')""",
        [(topic, place, reason, field) for place, field in enumerate(fields)],
    )

    await migrate(of_0_1)

    rows = await of_0_1.fetch("SELECT group_id, status, attempts FROM dead_letters ORDER BY id")
    assert [tuple(row) for row in rows] == [
        (group_of(topic, Malformed(reason, field=field)), "waiting", 1) for field in fields
    ]


async def test_migrating_twice_applies_everything_once(owner: Pool) -> None:
    """An operator may repeat the command."""
    assert [each.name for each in await migrate(owner)] == [each.name for each in migrations()]
    assert await migrate(owner) == []


async def test_several_processes_that_migrate_at_once_take_turns(owner: Pool) -> None:
    """A rollout may start the migration several times."""
    applied = await asyncio.gather(*(migrate(owner) for _ in range(4)))

    assert sorted(map(len, applied)) == [0, 0, 0, len(migrations())]


async def test_an_old_schema_is_refused_with_what_to_type(owner: Pool) -> None:
    """`run` never migrates by itself: several workers of different versions may be starting."""
    with pytest.raises(Misconfigured, match=r"0001_first\.sql.*`marketplace-worker migrate`"):
        await require_current_schema(owner)


async def test_a_current_schema_is_accepted(pool: Pool) -> None:
    """Nothing is raised."""
    await require_current_schema(pool)


async def test_a_migration_that_was_changed_after_it_was_applied_is_refused(owner: Pool) -> None:
    """Otherwise two databases with the same version could differ."""
    await migrate(owner)
    await owner.execute("UPDATE schema_migrations SET checksum = 'another'")

    with pytest.raises(Misconfigured, match=r"0001_first\.sql differs from the one applied"):
        await migrate(owner)


async def test_a_database_of_a_newer_version_is_refused(owner: Pool) -> None:
    """An old worker does not know what a newer schema means."""
    await migrate(owner)
    await owner.execute("INSERT INTO schema_migrations VALUES (9999, '9999_later.sql', 'x')")

    with pytest.raises(Misconfigured, match=r"9999_later\.sql.*run a newer version"):
        await require_current_schema(owner)


async def test_a_database_that_does_not_answer_is_unavailable_and_a_wrong_one_misconfigured(
    postgres_dsn: str,
) -> None:
    """Waiting helps in the first case; the second needs a change of settings."""
    nobody = Postgres(dsn=SecretStr("postgresql://u:p@127.0.0.1:1/none"))
    wrong = Postgres(dsn=SecretStr(postgres_dsn.rsplit("/", 1)[0] + "/no-such-database"))

    with pytest.raises(Unavailable):
        async with connecting(nobody):
            pass
    with pytest.raises(Misconfigured, match=r"postgres\.dsn.*no-such-database"):
        async with connecting(wrong):
            pass


async def test_the_newest_login_is_the_first_of_the_logins_by_day(
    owner: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Earlier versions stored only the newest login; days are UTC in any time zone."""
    with monkeypatch.context() as patched:
        patched.setattr("marketplace_worker.store.migrations.migrations", lambda: migrations()[:6])
        await migrate(owner)
    await owner.execute(
        """INSERT INTO activity VALUES
               ('acme', '2026-03-01T23:30:00Z', now(), 5, 1), ('beta', NULL, now(), 0, 1)"""
    )
    await owner.execute("SET TIME ZONE 'Asia/Tokyo'")

    await migrate(owner)

    (row,) = await owner.fetch("SELECT * FROM login_days")
    at = datetime(2026, 3, 1, 23, 30, tzinfo=UTC)
    assert tuple(row) == ("acme", at.date(), at, at)
    async with transaction(owner) as conn:
        seen = await activity.read(conn, {OrganizationId("acme")})
    assert seen == {"acme": LastSeen(at, seen[OrganizationId("acme")].request_at, (at,))}


async def test_what_could_not_be_read_before_counts_for_whom_its_key_names(
    owner: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records per day were not counted, so those without an organization are ignored."""
    with monkeypatch.context() as patched:
        patched.setattr("marketplace_worker.store.migrations.migrations", lambda: migrations()[:6])
        await migrate(owner)
    at = datetime(2026, 3, 1, 12, tzinfo=UTC)
    for offset, (topic, part, key, status) in enumerate(
        [
            ("identity.logins", 0, b"acme", "waiting"),
            ("identity.logins", 0, b'"beta"', "discarded"),
            ("usage.api-requests", 0, b"acme", "waiting"),
            ("usage.api-requests", 0, b'"', "waiting"),
            ("identity.logins", 0, b"gone", "redriven"),
            ("identity.logins", 0, None, "waiting"),
            ("identity.logins", 0, b"\xff", "waiting"),
            ("identity.logins", 0, b"", "waiting"),
            ("support.requests", 0, b"acme", "waiting"),
        ]
    ):
        await owner.execute(
            """INSERT INTO dead_letters
                   (topic, partition, "offset", part, recorded_at, refused_at, reason, field,
                    headers, group_id, key, status, acted_by, acted_because, acted_at)
               VALUES ($1, 0, $2, $3, $4, $4, 'r', 'f', '[]', 'g', $5, $6, 'o', 'b', $4)""",
            topic, offset, part, at, key, status,
        )  # fmt: skip

    await migrate(owner)

    rows = await owner.fetch("SELECT * FROM possible_use ORDER BY feed DESC, organization_id")
    assert [(row["feed"], row["organization_id"], row["used_at"]) for row in rows] == [
        ("logins", "acme", at),
        ("logins", "beta", at),
        ("api_requests", '"', at),
        ("api_requests", "acme", at),
    ]
    assert await owner.fetchval("SELECT count(*) FROM topic_days") == 0


async def test_a_database_that_cannot_hold_every_text_is_refused(
    owner: Pool, postgres_dsn: str
) -> None:
    """It would refuse valid records for a character, and they would be parked."""
    name = f"latin_{uuid4().hex}"
    await owner.execute(f"CREATE DATABASE {name} ENCODING LATIN1 LOCALE 'C' TEMPLATE template0")
    url = urlsplit(postgres_dsn)._replace(path=f"/{name}").geturl()
    try:
        async with connecting(Postgres(dsn=SecretStr(url))) as latin:
            for start in (migrate, require_current_schema):
                with pytest.raises(Misconfigured, match="the encoding LATIN1, and UTF8 is needed"):
                    await start(latin)
    finally:
        await owner.execute(f"DROP DATABASE {name} WITH (FORCE)")
