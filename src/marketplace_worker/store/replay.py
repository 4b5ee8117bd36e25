"""Replays the journal of some organizations and all that belongs to them, from their checkpoints.

A journal row has all inputs of its decision, so nothing but the journal is read (lifecycle.md
section 10).  The SQL is in replay.sql.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import takewhile

import asyncpg

from marketplace_worker.documents import (
    organization_from_json,
    organization_to_json,
    subscription_from_json,
    subscription_to_json,
)
from marketplace_worker.journal.chain import BEGINNING
from marketplace_worker.journal.replay import (
    Checkpoint,
    RecordedDecision,
    ReplayResult,
    StoredEntry,
    replay_rows,
)
from marketplace_worker.journal.rows import Chain, JournalRow, as_text
from marketplace_worker.lifecycle.families import ReplayGroup
from marketplace_worker.lifecycle.organization import Organization
from marketplace_worker.lifecycle.subscription import Subscription
from marketplace_worker.lifecycle.vocabulary import (
    Identity,
    Marketplace,
    OrganizationId,
    SubscriptionKey,
)
from marketplace_worker.store import policies
from marketplace_worker.store.database import Connection
from marketplace_worker.store.queries import queries

SQL = queries("replay")

EVER = datetime.max.replace(tzinfo=UTC)


def chains_of(group: ReplayGroup) -> list[Chain]:
    """The hash chains of a group's rows."""
    keys = ((key.marketplace.value, key.subscription_id) for key in group.subscriptions)
    return sorted([*(("", id_) for id_ in group.organizations), *keys])


async def group_of(
    conn: Connection,
    organizations: Collection[OrganizationId],
    subscriptions: Collection[SubscriptionKey] = (),
) -> ReplayGroup:
    """The replay group of some organizations and subscriptions.

    The same as `lifecycle.families.replay_group`, computed by a query.
    """
    keys = sorted(subscriptions)
    marketplaces = [key.marketplace.value for key in keys]
    ids = [key.subscription_id for key in keys]
    rows = await conn.fetch(SQL["group"], sorted(organizations), marketplaces, ids)
    return ReplayGroup(
        frozenset(OrganizationId(row["id"]) for row in rows if row["what"] == "organization"),
        frozenset(
            SubscriptionKey(Marketplace(row["marketplace"]), row["id"])
            for row in rows
            if row["what"] == "subscription"
        ),
    )


async def read(
    conn: Connection, group: ReplayGroup, *, until: datetime = EVER, limit: int | None = None
) -> list[StoredEntry]:
    """The first rows of a group, at most `limit`, up to the first one decided after `until`.

    The result has no gaps: after a clock jumped back, later rows dated before `until` are left out.
    """
    keys = sorted(group.subscriptions)
    rows = await conn.fetch(
        SQL["rows"],
        sorted(group.organizations),
        [key.marketplace.value for key in keys],
        [key.subscription_id for key in keys],
        limit,
    )
    return list(takewhile(lambda each: each.decided_at <= until, map(_entry, rows)))


async def read_alone(conn: Connection, *, after: int, limit: int) -> list[StoredEntry]:
    """Rows that name neither an organization nor a subscription, after the id `after`."""
    return [_entry(row) for row in await conn.fetch(SQL["alone"], after, limit)]


def _entry(row: asyncpg.Record) -> StoredEntry:
    return StoredEntry(
        id=row["id"],
        row=JournalRow(
            source=row["source"],
            message_id=row["message_id"],
            kind=row["kind"],
            organization=row["organization_id"],
            marketplace=row["marketplace"],
            subscription_id=row["subscription_id"],
            occurred_at=as_text(row["occurred_at"]),
            decided_at=as_text(row["decided_at"]),
            policy_version=row["policy_version"],
            outcome=row["outcome"],
            position=row["position"],
            readings=row["readings"],
            fact=row["fact"],
        ),
        decided_at=row["decided_at"],
        salt=row["salt"],
        content_hash=row["content_hash"],
        previous_hash=row["previous_hash"],
        hash=row["hash"],
    )


async def checkpoints(conn: Connection, group: ReplayGroup) -> list[Checkpoint]:
    """The checkpoints of a group, from which its replay starts."""
    chains = chains_of(group)
    rows = await conn.fetch(
        SQL["checkpoints"], [marketplace for marketplace, _ in chains], [id_ for _, id_ in chains]
    )
    return [
        Checkpoint(
            (row["marketplace"], row["id"]),
            row["journal_id"],
            row["decided_at"],
            (subscription_from_json if row["marketplace"] else organization_from_json)(
                row["document"]
            ),
            row["head"],
        )
        for row in rows
    ]


async def save_checkpoints(
    conn: Connection,
    values: Iterable[Organization | Subscription],
    heads: Mapping[Chain, bytes],
    *,
    journal_id: int,
    decided_at: datetime,
) -> None:
    """Save checkpoints, so that replays of a whole group start after a row."""
    in_order = sorted((_chain(each), each) for each in values)
    await conn.execute(
        SQL["save_checkpoints"],
        [marketplace for (marketplace, _), _ in in_order],
        [id_ for (_, id_), _ in in_order],
        [
            organization_to_json(each)
            if isinstance(each, Organization)
            else subscription_to_json(each)
            for _, each in in_order
        ],
        [heads.get(chain, BEGINNING) for chain, _ in in_order],
        journal_id,
        decided_at,
    )


def _chain(value: Organization | Subscription) -> Chain:
    match value:
        case Organization(id=id_):
            return ("", id_)
        case Subscription(key=key):
            return (key.marketplace.value, key.subscription_id)


async def retire(conn: Connection, ids: Collection[int]) -> None:
    """Delete rows that are folded into checkpoints or have no subject, and their decisions."""
    await conn.execute(SQL["retire"], sorted(ids))


@dataclass(frozen=True, slots=True)
class Seed:
    """An old row, and the organization and subscription that it names."""

    id: int
    organization: OrganizationId | None
    subscription: SubscriptionKey | None


async def oldest(conn: Connection, *, before: datetime, limit: int) -> list[Seed]:
    """The oldest rows decided before a moment, at most `limit`."""
    return [
        Seed(
            row["id"],
            None if row["organization_id"] is None else OrganizationId(row["organization_id"]),
            None
            if row["subscription_id"] is None
            else SubscriptionKey(Marketplace(row["marketplace"]), row["subscription_id"]),
        )
        for row in await conn.fetch(SQL["oldest"], before, limit)
    ]


async def lead(conn: Connection) -> bool:
    """Try to become the only transaction that retires rows; False if another one is."""
    return bool(await conn.fetchval(SQL["lead"]))


async def last_row(conn: Connection) -> int:
    """The id of the newest row; no row of a locked organization can be newer."""
    return int(await conn.fetchval(SQL["last_row"]))


async def rows_about(conn: Connection) -> int | None:
    """Postgres's estimate of the number of rows; None: there is no estimate yet."""
    estimate = int(await conn.fetchval(SQL["rows_about"]))
    return estimate if estimate > 0 else None


async def own(conn: Connection, organization: OrganizationId) -> set[SubscriptionKey]:
    """The subscriptions that belonged to an organization, and never to another one."""
    return {
        SubscriptionKey(Marketplace(row["marketplace"]), row["subscription_id"])
        for row in await conn.fetch(SQL["own"], organization)
    }


async def erase(
    conn: Connection, organization: OrganizationId, own: Collection[SubscriptionKey]
) -> None:
    """Empty the journal rows of an erased organization and of its own subscriptions, and delete
    what is stored about them besides their documents.
    """
    keys = sorted(own)
    await conn.execute(SQL["erase"], organization)
    await conn.execute(
        SQL["forget_beside"],
        organization,
        [organization.encode(), json.dumps(organization, ensure_ascii=False).encode()],
        [key.marketplace.value for key in keys],
        [key.subscription_id for key in keys],
    )


async def replay(
    conn: Connection, group: ReplayGroup, *, until: datetime = EVER, limit: int | None = None
) -> ReplayResult:
    """Replay the rows of a group, up to a moment and a number of rows."""
    began = await checkpoints(conn, group)
    entries = await read(conn, group, until=until, limit=limit)
    versions = {entry.row.policy_version for entry in entries}
    known = await policies.read_all(conn) if versions else {}
    return replay_rows(began, entries, known)


async def decided(
    conn: Connection, organizations: Collection[OrganizationId]
) -> dict[tuple[Identity, OrganizationId], RecordedDecision]:
    """The recorded decisions on some organizations."""
    rows = await conn.fetch(SQL["decided"], sorted(organizations))
    return {
        (Identity(row["source"], row["message_id"]), OrganizationId(row["organization_id"])): (
            row["state_before"],
            row["state"],
            json.loads(row["events"]),
        )
        for row in rows
    }
