"""Frequent and interactive queries read about as many rows as they return.

Postgres's own plans are checked, on tables with more rows than any plan may read, with custom and
with generic plans of prepared statements.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from marketplace_worker.store.database import Connection, Pool
from marketplace_worker.store.queries import queries

ROWS = 20_000
BATCH = 250
"""How many keys a batch asks for, spread over the whole table: as many as make other plans look
good that go through all of it."""

READ_TOO_MUCH_MAX = 50

STATE_CHANGES = ROWS // 20

MODES = ("force_custom_plan", "force_generic_plan")
"""The second for what one connection asks so often that Postgres may cease to look at the values;
a person's command has a connection of its own."""


def _array(values: Iterable[str]) -> str:
    return "{" + ",".join(values) + "}"


def _keys(beginning: str, *, first: int = 1) -> str:
    """An array of a batch's keys."""
    step = ROWS // BATCH
    return _array(f"{beginning}{first + n * step}" for n in range(BATCH))


def _repeated(value: str) -> str:
    """An array with one value, repeated for each key of a batch."""
    return _array([value] * BATCH)


@dataclass(frozen=True)
class Asked:
    """A statement with values for its parameters, and its expected number of rows.

    `rows` is for what returns nothing, or may need a row of several tables for each that it
    returns.  `index_only`: the table itself need not be read.
    """

    values: tuple[str, ...] = ()
    rows: int = 1
    index_only: bool = False


ORGANIZATIONS = _keys("org-")
NEW_ORGANIZATIONS = _keys("new-")
AGREEMENTS = _keys("agmt-")
AWS = _repeated("aws")
MOMENTS = _repeated("2026-01-01")
NUMBERS = _repeated("1")
DOCUMENTS = _repeated('"{}"')

FACTS = {
    "journal.known": Asked((AWS, _keys("m-")), BATCH, index_only=True),
    "journal.heads": Asked((ORGANIZATIONS, AWS, AGREEMENTS), 3 * BATCH),
    "organizations.ensure": Asked((NEW_ORGANIZATIONS, "{}"), BATCH),
    "organizations.lock": Asked((ORGANIZATIONS,), BATCH),
    "organizations.read": Asked((ORGANIZATIONS,), BATCH),
    "organizations.save": Asked(
        (
            ORGANIZATIONS, DOCUMENTS, MOMENTS, _repeated("active"), NUMBERS, _repeated("t"),
            _repeated("f"), _repeated("f"), _keys("email-"), _repeated("NULL"),
        ),
        BATCH,
    ),
    "organizations.meeting": Asked(
        ("{email-77,email-78}", "{org-77}", "{email-79}"), 5
    ),
    "subscriptions.ensure": Asked((AWS, _keys("new-"), "{}"), BATCH),
    "subscriptions.family": Asked(
        (AWS, AGREEMENTS, AWS, _keys("account-"), AWS, AGREEMENTS, AWS, _keys("account-")),
        30 * BATCH,
    ),
    "subscriptions.crowded": Asked((AWS, _keys("crowded-")), BATCH, index_only=True),
    "subscriptions.lock": Asked((AWS, AGREEMENTS), BATCH),
    "subscriptions.read": Asked((AWS, AGREEMENTS), BATCH),
    "subscriptions.holders": Asked((AWS, AGREEMENTS), BATCH, index_only=True),
    "subscriptions.links_of": Asked((AWS, AGREEMENTS), BATCH, index_only=True),
    "subscriptions.linked_to": Asked((ORGANIZATIONS,), BATCH, index_only=True),
    "subscriptions.save": Asked((AWS, AGREEMENTS, _repeated("NULL"), DOCUMENTS), BATCH),
}  # fmt: skip
"""For every batch of facts; some of it for every tick."""

ACTIVITY = {
    "activity.count": Asked((ORGANIZATIONS, MOMENTS, MOMENTS, NUMBERS, NUMBERS), BATCH),
    "activity.count_logins": Asked(
        (ORGANIZATIONS, MOMENTS, MOMENTS, MOMENTS, "45 days"), 4 * BATCH
    ),
    "activity.logins": Asked((ORGANIZATIONS, MOMENTS), 3 * BATCH),
    "possible_use.count": Asked(("{logins}", "{2026-01-01}", "{0}", "{1}"), 1),
    "possible_use.add": Asked(
        (
            _repeated("t"),
            _repeated("0"),
            _array(f"{n}" for n in range(BATCH)),
            MOMENTS,
            _repeated("logins"),
            MOMENTS,
            ORGANIZATIONS,
            _repeated("1"),
        ),
        3 * BATCH,
    ),
    "possible_use.named": Asked((ORGANIZATIONS, "2026-01-01"), BATCH),
    "possible_use.days": Asked(("2026-01-01", "{logins,api_requests}"), 31 * 12 * 2),
    "activity.ensure": Asked((NEW_ORGANIZATIONS,), BATCH),
    "activity.feeds": Asked(("2026-01-01", "{logins,api_requests}"), 31 * 12 * 2),
    "activity.lock": Asked((ORGANIZATIONS,), BATCH),
    "activity.read": Asked((ORGANIZATIONS,), BATCH),
    "organizations.watching": Asked((ORGANIZATIONS,), BATCH, index_only=True),
}
"""For every batch of logins and API usage."""

TICKS = {
    "organizations.claim_due": Asked(("2025-01-01", "2026-01-01", str(BATCH)), BATCH),
    "organizations.population": Asked(
        rows=ROWS, index_only=True
    ),  # counts the fleet: no less will do
    "organizations.postpone": Asked(("org-77", "2026-01-01", "2026-01-02")),
    "organizations.lock_withheld": Asked(rows=15),
    "organizations.wake_withheld": Asked(("2026-01-01",), 15),
    "outbox.topics": Asked(rows=ROWS // 10),  # all that is held: there should be nothing
    "outbox.waiting": Asked(("t", _array("0" * 16), str(BATCH)), BATCH + 1, index_only=True),
    "outbox.next_batch": Asked(("t", "{3}", "{0}", str(BATCH), str(BATCH)), BATCH),
    "outbox.due": Asked(("refusing", "{3}", "20"), 60),
    "outbox.hold": Asked((_keys(""), NUMBERS, NUMBERS), BATCH),
    "outbox.hold_behind": Asked((_keys(""),), BATCH),
    "outbox.release": Asked(("{11}",), 5),
    "outbox.forget": Asked((_keys(""),), BATCH),
    "outbox.oldest": Asked(("0",)),
    "outbox.held": Asked(rows=ROWS // 20),
}
"""For every turn of a loop, whether there is anything to do or not."""

OPERATORS = {
    "dead_letters.groups": Asked(rows=ROWS // 200),
    "dead_letters.knows_group": Asked(("group-7",), index_only=True),
    "dead_letters.page": Asked(("waiting", "15000", "20"), 20),
    "dead_letters.page_of_group": Asked(("redriven", "15000", "20", "group-8"), 20),
    "dead_letters.waiting": Asked(rows=ROWS // 200, index_only=True),
    "dead_letters.waiting_of_group": Asked(("group-7",), ROWS // 200, index_only=True),
    "state_counts.unmerged": Asked(("100",), 100),
    "journal.decided": Asked(("org-77", "300"), 10),
    "journal.history": Asked(("org-77", "{aws}", "{agmt-77}", "0", "100"), 10),
    "journal.newest_of_history": Asked(("org-77", "{aws}", "{agmt-77}", "99999999", "50"), 10),
    "listing.in_state": Asked(("deactivated", "org-77", "51"), 51, index_only=True),
    "listing.of_marketplace": Asked(("gcp", "org-77", "51"), 51, index_only=True),
    "listing.held": Asked(("org-77", "51"), 51),
    "listing.waiting": Asked(("guard", "org-77", "51"), 51),
    "listing.due": Asked(("2027-01-01", "2025-12-03", "org-77", "51"), 51, index_only=True),
    "listing.of_subscription": Asked(("{aws,gcp,azure}", "agmt-9"), 10),
    "listing.of_account": Asked(("{aws,gcp,azure}", "account-9"), 30),
    "listing.of_email": Asked(("email-77",), 2),
    "listing.passing": Asked((ORGANIZATIONS, "active", "aws", "t", "guard", "2027-01-01"), BATCH),
    "listing.rows": Asked((ORGANIZATIONS,), 2 * BATCH),
    "organizations.page": Asked(("org-77", "51"), 51),
    "organizations.overdue": Asked(("2027-01-01", "30"), 30, index_only=True),
    "dead_letters.backlog": Asked(("30",), 31),
    "organizations.due_by_day": Asked(("2027-01-01", "50000"), 30, index_only=True),
    "organizations.due_until": Asked(("2025-12-03", "org-77", "100"), 100),
    "replay.decided": Asked((ORGANIZATIONS,), BATCH),
    "replay.group": Asked(("{org-77}", "{aws}", "{agmt-77}"), 50),
    "replay.oldest": Asked(("2099-01-01", "100"), 100),
    "replay.rows": Asked(("{org-77}", "{aws}", "{agmt-77}", "100"), 10),
}
"""While a person waits, and for retention."""


@pytest.fixture
async def filled(owner: Pool, pool: Pool) -> Pool:
    """The owner's connections to a database with so many rows in every table."""
    assert pool is not None, "it has made the schema"
    await owner.execute(FILL)
    await owner.execute("VACUUM (ANALYZE)")
    return owner


async def test_hot_statements_read_about_as_many_rows_as_they_need(filled: Pool) -> None:
    """No plan may read a table and throw most of it away: it would read more with each customer."""
    async with filled.acquire() as conn:
        found = [
            f"{name}, {mode}: {problem}"
            for names, modes in ((FACTS | ACTIVITY | TICKS, MODES), (OPERATORS, MODES[:1]))
            for name, asked in names.items()
            for mode in modes
            for problem in _problems(asked, await _plan(conn, name, asked, mode))
        ]
    assert not found, "\n".join(found)


async def test_the_numbers_by_state_are_sums_of_their_own_rows(filled: Pool) -> None:
    """No organization is read: there may be millions.  Each worker asks every half minute."""
    async with filled.acquire() as conn:
        for name in ("state_counts.numbers", "state_counts.history"):
            plan = await _plan(conn, name, Asked(), MODES[0])
            scans = [node for node in _nodes(plan) if "Relation Name" in node]
            assert {scan["Relation Name"] for scan in scans} == {"state_changes"}
            assert sum(map(_read, scans)) <= STATE_CHANGES


def _problems(asked: Asked, plan: dict[str, Any]) -> Iterator[str]:
    nodes = [node for node in _nodes(plan) if "Relation Name" in node]
    scans = [node for node in nodes if node["Node Type"].endswith("Scan")]
    for scan in scans:
        how = scan["Node Type"]
        if how == "Seq Scan" or (asked.index_only and how != "Index Only Scan"):
            yield f"{how} of {scan['Relation Name']}"
    read = {f"{scan['Alias']} ({scan['Node Type']})": _read(scan) for scan in scans}
    if sum(read.values()) > asked.rows + READ_TOO_MUCH_MAX:
        yield f"read {read}, where {asked.rows} rows are asked for"


async def _plan(conn: Connection, name: str, asked: Asked, mode: str) -> dict[str, Any]:
    """The plan with its actual row counts; its changes are rolled back."""
    table, statement = name.split(".")
    transaction = conn.transaction()
    await transaction.start()
    try:
        await conn.execute(f"SET LOCAL plan_cache_mode = {mode}")
        await conn.execute(f"PREPARE asked AS {queries(table)[statement]}")
        values = ", ".join(f"'{value}'" for value in asked.values)
        execute = f"EXECUTE asked ({values})" if values else "EXECUTE asked"
        explained = await conn.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {execute}")
        await conn.execute("DEALLOCATE asked")
    finally:
        await transaction.rollback()
    plan: dict[str, Any] = json.loads(explained)[0]["Plan"]
    return plan


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for each in node.get("Plans", []):
        yield from _nodes(each)


def _read(scan: dict[str, Any]) -> float:
    """The number of rows read from a table or an index, filtered ones included."""
    thrown_away = sum(
        scan.get(name, 0) for name in ("Rows Removed by Filter", "Rows Removed by Index Recheck")
    )
    rows: float = (scan["Actual Rows"] + thrown_away) * scan["Actual Loops"]
    return rows


DOCUMENT = "jsonb_build_object('id', n, 'told', repeat('x', 800))"
"""As long as real ones: what goes through a table of short rows is cheap, and would pass."""

FILL = """
INSERT INTO organizations (organization_id, document, state, sequence, next_due_at, created,
                           owner_email, locked_email, watches_activity, withheld)
SELECT 'org-' || n,
       $document
       || CASE n % 200 WHEN 2 THEN jsonb '{"holds": [{}], "withheld_at": ""}' ELSE '{}' END,
       CASE WHEN n % 3 = 0 THEN 'deactivated' ELSE 'active' END, 0,
       CASE WHEN n % 50 = 1 AND n % 3 <> 0
            THEN timestamptz '2025-12-01' + n * interval '1 hour' END,
       true, 'email-' || n, CASE WHEN n % 3 = 0 THEN 'email-' || n END,
       n % 1000 = 1 AND n % 3 <> 0, n % 2000 = 2 AND n % 3 <> 0
FROM generate_series(1, $rows) AS n;
INSERT INTO subscriptions (marketplace, subscription_id, predecessor_id, document)
SELECT 'aws', 'agmt-' || n, CASE WHEN n % 9 = 0 THEN 'agmt-' || n - 1 END, $document
FROM generate_series(1, $rows) AS n;
INSERT INTO billing_accounts
SELECT 'aws', 'account-' || n / 3, 'agmt-' || n FROM generate_series(1, $rows) AS n;
INSERT INTO links
SELECT 'org-' || n, 'aws', 'agmt-' || n FROM generate_series(1, 4 * $rows) AS n;
INSERT INTO links
SELECT 'org-' || n, 'gcp', 'agmt-' || n FROM generate_series(200, $rows, 200) AS n;
INSERT INTO activity
SELECT 'org-' || n, now(), now(), 1, 1 FROM generate_series(1, 4 * $rows) AS n;
INSERT INTO login_days
SELECT 'org-' || n, date '2026-01-03' - day, now(), now()
FROM generate_series(1, 4 * $rows) AS n, generate_series(0, 2) AS day;
INSERT INTO feed_days
SELECT feed, date '2026-02-01' - n, partition, '2026-01-01', '2026-01-01'
FROM unnest(ARRAY['logins', 'api_requests']) AS feed, generate_series(1, 800) AS n,
     generate_series(0, 11) AS partition;
INSERT INTO topic_days
SELECT feed, date '2026-02-01' - n, partition, 1000, n % 2
FROM unnest(ARRAY['logins', 'api_requests']) AS feed, generate_series(1, 800) AS n,
     generate_series(0, 11) AS partition;
INSERT INTO possible_use
SELECT 't', 1, n, '2026-01-02', 'logins', '2026-01-02', 'org-' || n, false, 1
FROM generate_series(1, 4 * $rows) AS n;
INSERT INTO journal (source, message_id, kind, occurred_at, decided_at, policy_version,
                     organization_id, marketplace, subscription_id, outcome, fact, salt,
                     content_hash, previous_hash, hash)
SELECT 'aws', 'm-' || n, 'k', now(), now(), 'v', CASE WHEN n % 2 = 1 THEN 'org-' || n END,
       'aws', 'agmt-' || n, 'applied', '{}', '', '', '', ''
FROM generate_series(1, $rows) AS n;
INSERT INTO crowded_accounts
SELECT 'aws', 'crowded-' || n FROM generate_series(1, $rows) AS n;
INSERT INTO checkpoints
SELECT 'aws', 'agmt-' || n, n, now(), '{}', '' FROM generate_series(1, $rows) AS n;
INSERT INTO decisions (source, message_id, organization_id, decided_at, policy_version, events)
SELECT 'aws', 'm-' || n, 'org-' || n, now(), 'v', '[]'
FROM generate_series(1, $rows) AS n;
INSERT INTO dead_letters (topic, partition, "offset", part, recorded_at, refused_at, reason,
                          field, headers, group_id, status, acted_by, acted_because, acted_at)
SELECT 't', 0, n, 0, now(), now(), 'r', 'f', '[]', 'group-' || n % 1000,
       CASE WHEN n % 200 = 7 THEN 'waiting' ELSE 'redriven' END, 'b', 'b', now()
FROM generate_series(1, $rows) AS n;
INSERT INTO state_changes (day, state, change)
SELECT date '2026-01-01' - n, 'active', 1 FROM generate_series(1, $rows / 20) AS n;
INSERT INTO outbox (shard, topic, headers, written_at)
SELECT n % 16, 't', '[]', now() FROM generate_series(1, $rows) AS n;
INSERT INTO outbox (shard, topic, key, headers, written_at, refusals, held_until)
SELECT n % 16, 'refusing', int4send(n / 2), '[]', now(), 1 - n % 2,
       CASE WHEN n % 2 = 1 THEN timestamptz 'infinity' ELSE now() + n * interval '1 s' END
FROM generate_series(1, $rows / 10) AS n;
""".replace("$rows", str(ROWS)).replace("$document", DOCUMENT)
