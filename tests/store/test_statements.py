"""Every statement is one that this schema can run, by an index where it must be fast."""

import json

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


@pytest.mark.parametrize("table", TABLES)
async def test_every_statement_can_be_prepared(pool: Pool, table: str) -> None:
    """A misspelt column or a wrong type is found here, not at night."""
    async with pool.acquire() as conn:
        for statement in queries(table).values():
            await conn.prepare(statement)


async def test_hot_statements_read_about_as_many_rows_as_they_return(pool: Pool) -> None:
    """With 20,000 rows in every table, no plan may read a table from one end to the other."""
    await _fill(pool)
    for name, (*replacements,) in HOT.items():
        table, statement = name.split(".")
        sql = queries(table)[statement].rstrip(";").removesuffix("FOR UPDATE SKIP LOCKED")
        for parameter, value in zip(replacements[::2], replacements[1::2], strict=True):
            sql = sql.replace(parameter, value)
        plan = json.loads(await pool.fetchval(f"EXPLAIN (FORMAT JSON) {sql}"))
        assert "Seq Scan" not in _node_types(plan[0]["Plan"], on_tables_only=True), (
            f"{name}: {plan}"
        )


def _node_types(node: dict[str, object], *, on_tables_only: bool) -> set[str]:
    own = {str(node["Node Type"])} if "Relation Name" in node or not on_tables_only else set()
    inner = node.get("Plans", [])
    assert isinstance(inner, list)
    return own.union(*(_node_types(each, on_tables_only=on_tables_only) for each in inner))


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
