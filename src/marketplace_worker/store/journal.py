"""The journal table: every fact that was decided on, once.  The SQL is in journal.sql."""

import json
import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import repeat
from typing import Any

import asyncpg

from marketplace_worker.documents import (
    fact_from_json,
    fact_to_json,
    readings_from_json,
    readings_to_json,
)
from marketplace_worker.journal.chain import BEGINNING, SALT_BYTES, Seal, seal
from marketplace_worker.journal.rows import Chain, JournalRow, as_text
from marketplace_worker.lifecycle.decide import Outcome
from marketplace_worker.lifecycle.facts import (
    Fact,
)
from marketplace_worker.lifecycle.replay import Readings
from marketplace_worker.lifecycle.scope import named_organization, named_subscription
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.vocabulary import (
    HoldKind,
    Identity,
    OrganizationId,
    SubscriptionKey,
)
from marketplace_worker.store.database import Connection
from marketplace_worker.store.queries import queries

SQL = queries("journal")


@dataclass(frozen=True, slots=True)
class Entry:
    """A fact that was decided on, with its reading.  `position`: the record's place in Kafka.

    `is_late`: it is about an erased organization, so its content is not stored.
    """

    fact: Fact
    outcome: Outcome
    position: str
    readings: Readings
    is_late: bool = False


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One fact in the history of an organization, and its outcome for it.

    `id`: pass it as `after` to continue reading.  `fact` is None if it was erased.  Without a
    decision, `events` is empty and both states are None; otherwise `decided_by` is the version of
    the policy that was applied.  `events`: as written by `documents.events_to_json`.
    """

    id: int
    identity: Identity
    kind: str
    occurred_at: datetime
    fact: Fact | None
    outcome: Outcome
    decided_at: datetime
    policy_version: str
    position: str | None
    state_before: State | None
    state: State | None
    decided_by: str | None
    readings: Readings
    events: tuple[Mapping[str, Any], ...]


async def known(conn: Connection, identities: Collection[Identity]) -> set[Identity]:
    """The messages that were processed before.  The caller has locked their subjects."""
    if not identities:
        return set()
    rows = await conn.fetch(
        SQL["known"], [each.source for each in identities], [each.id for each in identities]
    )
    return {Identity(row["source"], row["message_id"]) for row in rows}


async def facts(conn: Connection, identities: Collection[Identity]) -> dict[Identity, str]:
    """The stored facts of these messages, as JSON; without erased ones."""
    rows = await conn.fetch(
        SQL["facts"], [each.source for each in identities], [each.id for each in identities]
    )
    return {Identity(row["source"], row["message_id"]): row["fact"] for row in rows}


async def append(
    conn: Connection, entries: Sequence[Entry], *, decided_at: datetime, policy_version: str
) -> None:
    """Append facts, in the given order; the caller has locked their subjects."""
    rows = [_row(entry, decided_at, policy_version) for entry in entries]
    seals = _seals(rows, await heads(conn, {row.chain for row in rows if row.chain is not None}))
    await conn.copy_records_to_table(
        "journal", columns=_COLUMNS, records=map(_columns, entries, rows, seals, repeat(decided_at))
    )


_COLUMNS = (
    "source", "message_id", "kind", "organization_id", "marketplace", "subscription_id",
    "occurred_at", "outcome", "position", "fact", "readings", "salt", "content_hash",
    "previous_hash", "hash", "decided_at", "policy_version",
)  # fmt: skip


def _columns(
    entry: Entry, row: JournalRow, sealed: Seal, decided_at: datetime
) -> tuple[object, ...]:
    """The values of a row, in the order of `_COLUMNS`."""
    return (
        row.source,
        row.message_id,
        row.kind,
        row.organization,
        row.marketplace,
        row.subscription_id,
        entry.fact.occurred_at,
        row.outcome,
        row.position,
        None if entry.is_late else row.fact,
        row.readings,
        None if entry.is_late else sealed.salt,
        sealed.content_hash,
        sealed.previous_hash,
        sealed.hash,
        decided_at,
        row.policy_version,
    )


def _row(entry: Entry, decided_at: datetime, policy_version: str) -> JournalRow:
    fact, key = entry.fact, named_subscription(entry.fact)
    return JournalRow(
        source=fact.identity.source,
        message_id=fact.identity.id,
        kind=fact.kind,
        organization=named_organization(fact),
        marketplace=key.marketplace.value if key else None,
        subscription_id=key.subscription_id if key else None,
        occurred_at=as_text(fact.occurred_at),
        decided_at=as_text(decided_at),
        policy_version=policy_version,
        outcome=entry.outcome.value,
        position=entry.position,
        readings=readings_to_json(entry.readings),
        fact=fact_to_json(fact),
    )


async def heads(conn: Connection, chains: Collection[Chain]) -> dict[Chain, bytes]:
    """The newest hash of each chain; empty chains are left out."""
    if not chains:
        return {}
    subscriptions = [(marketplace, id_) for marketplace, id_ in chains if marketplace]
    rows = await conn.fetch(
        SQL["heads"],
        [id_ for marketplace, id_ in chains if not marketplace],
        [marketplace for marketplace, _ in subscriptions],
        [id_ for _, id_ in subscriptions],
    )
    return {(row["marketplace"], row["id"]): row["hash"] for row in rows if row["hash"]}


def _seals(rows: Iterable[JournalRow], newest: dict[Chain, bytes]) -> list[Seal]:
    """A seal for each row; each chain continues from its newest hash."""
    seals = []
    for row in rows:
        assert row.fact is not None
        previous = newest.get(row.chain, BEGINNING) if row.chain is not None else BEGINNING
        salt = secrets.token_bytes(SALT_BYTES)
        seals.append(seal(row.fact, row.lasting, previous, salt))
        if row.chain is not None:
            newest[row.chain] = seals[-1].hash
    return seals


@dataclass(frozen=True, slots=True)
class EndedHold:
    """A hold that ended before its `expires_at`."""

    organization: OrganizationId
    kind: HoldKind
    expires_at: datetime


async def holds_ended(conn: Connection, *, after: datetime) -> Sequence[EndedHold]:
    """The holds that expire after a moment and are not in force, although they were not
    released.
    """
    return [
        EndedHold(OrganizationId(row["organization_id"]), HoldKind(row["hold"]), row["expires_at"])
        for row in await conn.fetch(SQL["holds_ended"], after)
    ]


async def history(
    conn: Connection,
    organization: OrganizationId,
    subscriptions: Collection[SubscriptionKey],
    *,
    after: int = 0,
    limit: int,
) -> Sequence[HistoryEntry]:
    """The facts about an organization or its given subscriptions, in the order of processing.

    At most `limit`, after the entry with the id `after`.
    """
    keys = sorted(subscriptions)
    marketplaces = [key.marketplace.value for key in keys]
    ids = [key.subscription_id for key in keys]
    rows = await conn.fetch(SQL["history"], organization, marketplaces, ids, after, limit)
    return [_chapter(row) for row in rows]


async def newest_of_history(
    conn: Connection,
    organization: OrganizationId,
    subscriptions: Collection[SubscriptionKey],
    *,
    before: int,
    limit: int,
) -> Sequence[HistoryEntry]:
    """The newest facts of the same history, at most `limit`, before the entry with the id
    `before`; in the order of processing.
    """
    keys = sorted(subscriptions)
    marketplaces = [key.marketplace.value for key in keys]
    ids = [key.subscription_id for key in keys]
    page = await conn.fetchrow(
        SQL["newest_of_history"], organization, marketplaces, ids, before, limit
    )
    assert page is not None, "an aggregate has a row"
    if not page["facts"]:
        return []
    first = page["first_id"]
    return await history(conn, organization, keys, after=first - 1, limit=page["facts"])


async def decided(
    conn: Connection, organization: OrganizationId, *, limit: int
) -> Sequence[HistoryEntry]:
    """The facts of the newest decisions on an organization, at most `limit`, in their order."""
    return [_chapter(row) for row in await conn.fetch(SQL["decided"], organization, limit)]


def _chapter(row: asyncpg.Record) -> HistoryEntry:
    return HistoryEntry(
        id=row["id"],
        identity=Identity(row["source"], row["message_id"]),
        kind=row["kind"],
        occurred_at=row["occurred_at"],
        fact=None if row["fact"] is None else fact_from_json(row["fact"]),
        outcome=Outcome(row["outcome"]),
        decided_at=row["decided_at"],
        policy_version=row["policy_version"],
        position=row["position"],
        state_before=_state(row["state_before"]),
        state=_state(row["state"]),
        decided_by=row["decided_by"],
        readings=readings_from_json(row["readings"]),
        events=tuple(json.loads(row["events"] or "[]")),
    )


def _state(value: str | None) -> State | None:
    return None if value is None else State(value)
