"""Every statement is one that this schema can run, by an index where it must be fast."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from marketplace_worker.store.database import Pool
from marketplace_worker.store.queries import queries

TABLES = ("activity", "dead_letters", "decisions", "intake", "journal", "migrations",
          "organizations", "outbox", "policies", "safeguards", "subscriptions")  # fmt: skip

HOT = {
    "activity.feeds": ("'2026-01-01'", "ARRAY['logins', 'api_requests']"),
    "activity.read": ("ARRAY['org-77']",),
    "dead_letters.groups": (),
    "dead_letters.knows_group": ("'group-7'",),
    "dead_letters.page": ("'waiting'", "15000", "20"),
    "dead_letters.page_of_group": ("'redriven'", "15000", "20", "'group-8'"),
    "dead_letters.waiting": (),
    "dead_letters.waiting_of_group": ("'group-7'",),
    "journal.history": ("'org-77'", "ARRAY['aws']", "ARRAY['agmt-77']", "0", "100"),
    "journal.known": ("ARRAY['aws']", "ARRAY['m-77']"),
    "organizations.claim_due": ("'2026-01-01'", "500"),
    "organizations.due_until": ("'2025-12-03'", "'org-77'", "100"),
    "organizations.meeting": (
        "ARRAY['email-77', 'email-78']", "ARRAY['org-77']", "ARRAY['email-79']"
    ),
    "organizations.watching": ("ARRAY(SELECT 'org-' || n FROM generate_series(1, 500) AS n)",),
    "outbox.next_batch": ("3", "500"),
    "subscriptions.family": (
        "ARRAY['aws']", "ARRAY['agmt-77']", "ARRAY['aws']", "ARRAY['account-99']"
    ),
    "subscriptions.holders": ("ARRAY['aws']", "ARRAY['agmt-77']"),
    "subscriptions.linked_to": ("ARRAY['org-77']",),
}  # fmt: skip
"""What runs for every batch or tick, or while a person waits, with values for its parameters that a
few of many rows match."""

ROWS_THROWN_AWAY_MAX = 50


@pytest.mark.parametrize("table", TABLES)
async def test_every_statement_can_be_prepared(pool: Pool, table: str) -> None:
    """A misspelt column or a wrong type is found here, not at night."""
    async with pool.acquire() as conn:
        for statement in queries(table).values():
            await conn.prepare(statement)


async def test_hot_statements_read_about_as_many_rows_as_they_return(
    owner: Pool, pool: Pool
) -> None:
    """With 20,000 rows in every table, no plan may read a table and throw most of it away."""
    await _fill(owner)
    for name, values in HOT.items():
        table, statement = name.split(".")
        sql = queries(table)[statement].rstrip(";").removesuffix("FOR UPDATE SKIP LOCKED")
        for number, value in enumerate(values, start=1):
            sql = sql.replace(f"${number}", value)
        plan = json.loads(await pool.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}"))
        nodes = list(_nodes(plan[0]["Plan"]))
        scanned = {node["Node Type"] for node in nodes if "Relation Name" in node}
        thrown_away = sum(node.get("Rows Removed by Filter", 0) for node in nodes)
        assert "Seq Scan" not in scanned, f"{name}: {plan}"
        assert thrown_away < ROWS_THROWN_AWAY_MAX, f"{name}: {plan}"


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for each in node.get("Plans", []):
        yield from _nodes(each)


async def _fill(owner: Pool) -> None:
    await owner.execute("""
        INSERT INTO organizations (organization_id, document, state, sequence, next_due_at, created,
                                   owner_email, locked_email, watches_activity, withheld)
        SELECT 'org-' || n, '{}', CASE WHEN n % 3 = 0 THEN 'deactivated' ELSE 'active' END, 0,
               CASE WHEN n % 50 = 1 AND n % 3 <> 0
                    THEN timestamptz '2025-12-01' + n * interval '1 hour' END,
               true, 'email-' || n, CASE WHEN n % 3 = 0 THEN 'email-' || n END,
               n % 1000 = 1 AND n % 3 <> 0, n % 2000 = 2 AND n % 3 <> 0
        FROM generate_series(1, 20000) AS n;
        INSERT INTO subscriptions (marketplace, subscription_id, predecessor_id, document)
        SELECT 'aws', 'agmt-' || n, CASE WHEN n % 9 = 0 THEN 'agmt-' || n - 1 END, '{}'
        FROM generate_series(1, 20000) AS n;
        INSERT INTO billing_accounts
        SELECT 'aws', 'account-' || n / 3, 'agmt-' || n FROM generate_series(1, 20000) n;
        INSERT INTO links SELECT 'org-' || n, 'aws', 'agmt-' || n FROM generate_series(1, 20000) n;
        INSERT INTO activity
        SELECT 'org-' || n, now(), now(), 1, 1 FROM generate_series(1, 20000) AS n;
        INSERT INTO feed_days
        SELECT feed, date '2026-02-01' - n, partition, '2026-01-01', '2026-01-01'
        FROM unnest(ARRAY['logins', 'api_requests']) AS feed, generate_series(1, 800) AS n,
             generate_series(0, 11) AS partition;
        INSERT INTO journal (source, message_id, kind, occurred_at, decided_at, policy_version,
                             organization_id, marketplace, subscription_id, outcome, fact, salt,
                             content_hash, previous_hash, hash)
        SELECT 'aws', 'm-' || n, 'k', now(), now(), 'v', CASE WHEN n % 2 = 1 THEN 'org-' || n END,
               'aws', 'agmt-' || n, 'applied', '{}', '', '', '', ''
        FROM generate_series(1, 20000) AS n;
        INSERT INTO decisions (source, message_id, organization_id, decided_at, policy_version,
                               events)
        SELECT 'aws', 'm-' || n, 'org-' || n, now(), 'v', '[]'
        FROM generate_series(1, 20000) AS n;
        INSERT INTO dead_letters (topic, partition, "offset", part, recorded_at, refused_at, reason,
                                  field, headers, group_id, status, acted_by, acted_because,
                                  acted_at)
        SELECT 't', 0, n, 0, now(), now(), 'r', 'f', '[]', 'group-' || n % 1000,
               CASE WHEN n % 200 = 7 THEN 'waiting' ELSE 'redriven' END, 'b', 'b', now()
        FROM generate_series(1, 20000) AS n;
        INSERT INTO outbox (shard, topic, headers, written_at)
        SELECT n % 16, 't', '[]', now() FROM generate_series(1, 20000) AS n;
    """)
    await owner.execute("ANALYZE")
