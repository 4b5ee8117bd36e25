"""A journal of any length: the history of one organization, decided by the worker, copied many
times.

Each copy has its own ids everywhere and its own chain, so it folds to what is stored.
"""

import json
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

import asyncpg

from acceptance.scenario import created, event, leaves_the_free_tier
from acceptance.stage import MovableClock
from marketplace_worker.journal.chain import BEGINNING, SALT_BYTES, seal
from marketplace_worker.journal.rows import Chain, JournalRow, as_text
from marketplace_worker.lifecycle.events import EventKind, event_id
from marketplace_worker.lifecycle.vocabulary import OrganizationId
from marketplace_worker.runtime.worker import Worker
from steps.story_beginnings import Line, day_of, ended, ingest_lines, linked, wait

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]
else:
    Connection = Any

MOLD = "0000000"
"""Part of every id of the original; each copy has another number in its place."""

ORGANIZATION = f"org-{MOLD}"
OWNER = f"owner@{ORGANIZATION}.example"
TABLES = ("organizations", "subscriptions", "links", "billing_accounts", "activity", "decisions")
COPIES_AT_ONCE = 200

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


async def one_history(worker: Worker, clock: MovableClock, *, rows: int) -> None:
    """Canceled, suspended, reinstated, then changes of the tier: about so many rows."""
    tiers = [
        event(20 + n / 100, "organization.tier_changed", ORGANIZATION, {"tier": tier})
        for n, tier in zip(range(rows - 14), ["plus", "enterprise"] * rows, strict=False)
    ]
    lines: list[Line] = [
        created(0, ORGANIZATION, owner=OWNER),
        leaves_the_free_tier(0.1, ORGANIZATION),
        linked(0.5, ORGANIZATION, f"agmt-{MOLD}", f"account {MOLD}"),
        ended(1, f"agmt-{MOLD}", f"account {MOLD}"),
    ]
    await ingest_lines(worker, clock, *lines)
    await wait(worker, clock, 15)
    await ingest_lines(worker, clock, linked(15, ORGANIZATION, f"agmt-{MOLD}-2"))
    await ingest_lines(worker, clock, *sorted(tiers, key=day_of))


async def copy(worker: Worker, conn: Connection, first: int, last: int) -> int:
    """Copy the history with these numbers; return the number of journal rows written."""
    mold = {table: await _rows(conn, table) for table in TABLES}
    journal = await _rows(conn, "journal", "ORDER BY id")
    events = [e for row in mold["decisions"] for e in json.loads(row["events"])]
    for begin in range(first, last, COPIES_AT_ONCE):
        numbers = [f"{n:07}" for n in range(begin, min(begin + COPIES_AT_ONCE, last))]
        names = [(number, _names(worker, events, number)) for number in numbers]
        for table in TABLES:
            await _insert(conn, table, [_of(row, *each) for each in names for row in mold[table]])
        rows = [row for each in names for row in _sealed([_of(row, *each) for row in journal])]
        await _insert(conn, "journal", rows)
    return len(journal) * (last - first)


async def _rows(conn: Connection, table: str, order: str = "") -> Sequence[Mapping[str, Any]]:
    rows = await conn.fetch(f"SELECT * FROM {table} WHERE {_own(table)} {order}")
    return [dict(row) for row in rows]


def _own(table: str) -> str:
    return {
        "organizations": "organization_id",
        "links": "organization_id",
        "activity": "organization_id",
        "decisions": "organization_id",
        "subscriptions": "subscription_id",
        "billing_accounts": "subscription_id",
        "journal": "coalesce(organization_id, subscription_id)",
    }[table] + f" LIKE '%{MOLD}%'"


def _names(worker: Worker, events: Sequence[Mapping[str, Any]], number: str) -> dict[str, str]:
    """Replacements in a copy: the ids of its events, and the hash of its owner's email."""
    subject = OrganizationId(ORGANIZATION.replace(MOLD, number))
    names = {
        each["id"]: str(event_id(subject, each["sequence"], EventKind(each["kind"])))
        for each in events
    }
    return names | {worker.hash_email(OWNER): worker.hash_email(OWNER.replace(MOLD, number))}


def _of(row: Mapping[str, Any], number: str, names: Mapping[str, str]) -> dict[str, Any]:
    def renamed(value: object) -> object:
        if isinstance(value, UUID):
            return UUID(names.get(str(value), str(value)))
        if not isinstance(value, str):
            return value
        text = value.replace(MOLD, number)
        text = _UUID.sub(lambda found: names.get(found[0], found[0]), text)
        return re.sub(r"[0-9a-f]{64}", lambda found: names.get(found[0], found[0]), text)

    return {name: renamed(value) for name, value in row.items() if name != "id"}


def _sealed(rows: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
    """The rows with the hash chains of the copy."""
    heads: dict[Chain | None, bytes] = {}
    for row in rows:
        journal_row = JournalRow(
            row["source"], row["message_id"], row["kind"], row["organization_id"],
            row["marketplace"], row["subscription_id"], as_text(row["occurred_at"]),
            as_text(row["decided_at"]), row["policy_version"], row["outcome"], row["position"],
            row["readings"], row["fact"],
        )  # fmt: skip
        salt, before = secrets.token_bytes(SALT_BYTES), heads.get(journal_row.chain, BEGINNING)
        sealed = seal(row["fact"], journal_row.lasting, before, salt)
        heads[journal_row.chain] = sealed.hash
        row |= {
            "salt": sealed.salt,
            "content_hash": sealed.content_hash,
            "previous_hash": sealed.previous_hash,
            "hash": sealed.hash,
        }
    return rows


async def _insert(conn: Connection, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
    if rows:
        columns = list(rows[0])
        records = [tuple(row.values()) for row in rows]
        await conn.copy_records_to_table(table, records=records, columns=columns)
