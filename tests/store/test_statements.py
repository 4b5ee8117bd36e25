"""Every statement is one that this schema can run, by an index where it must be fast."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from marketplace_worker.store.database import Pool
from marketplace_worker.store.queries import queries

TABLES = ("activity", "dead_letters", "journal", "migrations", "organizations", "outbox",
          "subscriptions")  # fmt: skip

HOT = {
    "organizations.claim_due": ("$1", "'2026-01-01'", "$2", "500"),
    "outbox.next_batch": ("$1", "3", "$2", "500"),
    "subscriptions.linked_to": ("$1", "ARRAY['org-77']"),
    "subscriptions.holders": ("$1", "ARRAY['aws']", "$2", "ARRAY['agmt-77']"),
    "subscriptions.family": ("$1", "ARRAY['aws']", "$2", "ARRAY['agmt-77']"),
    "journal.known": ("$1", "ARRAY['aws']", "$2", "ARRAY['m-77']"),
}
"""What runs for every batch or tick, with values that a few of many rows match."""

ROWS_THROWN_AWAY_MAX = 50


@pytest.mark.parametrize("table", TABLES)
async def test_every_statement_can_be_prepared(pool: Pool, table: str) -> None:
    """A misspelt column or a wrong type is found here, not at night."""
    async with pool.acquire() as conn:
        for statement in queries(table).values():
            await conn.prepare(statement)


async def test_hot_statements_read_about_as_many_rows_as_they_return(pool: Pool) -> None:
    """With 20,000 rows in every table, no plan may read a table and throw most of it away."""
    await _fill(pool)
    for name, (*replacements,) in HOT.items():
        table, statement = name.split(".")
        sql = queries(table)[statement].rstrip(";").removesuffix("FOR UPDATE SKIP LOCKED")
        for parameter, value in zip(replacements[::2], replacements[1::2], strict=True):
            sql = sql.replace(parameter, value)
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


async def _fill(pool: Pool) -> None:
    await pool.execute("""
        INSERT INTO organizations (organization_id, document, state, sequence, next_due_at)
        SELECT 'org-' || n, '{}', 'active', 0,
               CASE WHEN n % 50 = 0 THEN timestamptz '2025-12-01' + n * interval '1 hour' END
        FROM generate_series(1, 20000) AS n;
        INSERT INTO subscriptions (marketplace, subscription_id, predecessor_id, document)
        SELECT 'aws', 'agmt-' || n, CASE WHEN n % 9 = 0 THEN 'agmt-' || n - 1 END, '{}'
        FROM generate_series(1, 20000) AS n;
        INSERT INTO links SELECT 'org-' || n, 'aws', 'agmt-' || n FROM generate_series(1, 20000) n;
        INSERT INTO journal (source, message_id, kind, occurred_at, decided_at, policy_version,
                             outcome, fact)
        SELECT 'aws', 'm-' || n, 'k', now(), now(), 'v', 'applied', '{}'
        FROM generate_series(1, 20000) AS n;
        INSERT INTO outbox (shard, topic, headers, written_at)
        SELECT n % 16, 't', '[]', now() FROM generate_series(1, 20000) AS n;
    """)
    await pool.execute("ANALYZE")
