"""The tables of subscriptions: registers, links and billing accounts, and locks on them.

The SQL is in subscriptions.sql.
"""

from collections.abc import Collection, Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from zlib import crc32

import asyncpg

from marketplace_worker.documents import subscription_from_json, subscription_to_json
from marketplace_worker.lifecycle.index import BillingAccount
from marketplace_worker.lifecycle.scope import FamilySeeds
from marketplace_worker.lifecycle.subscription import Subscription
from marketplace_worker.lifecycle.vocabulary import (
    Marketplace,
    OrganizationId,
    SubscriptionKey,
    by_key,
)
from marketplace_worker.store.database import Connection
from marketplace_worker.store.queries import queries

SQL = queries("subscriptions")

_BLANK = subscription_to_json(Subscription(SubscriptionKey(Marketplace.AWS, "")))
"""The document of an unknown subscription, without its key."""


@dataclass(frozen=True, slots=True)
class Families:
    """Families of subscriptions: the keys of all members, and the registers of existing ones."""

    keys: AbstractSet[SubscriptionKey]
    registers: Sequence[Subscription]


async def lock_families(conn: Connection, named: FamilySeeds) -> Families:
    """Lock and read the families of some seeds (`lifecycle.families.family`).

    Each named subscription without a row gets an empty one, so that there is a row to lock.
    Billing accounts are locked too, unless they are crowded: until the transaction ends no other
    adds a subscription to them.

    A family may grow while this waits for its locks, but not once all of them are held.  So it is
    read again until it no longer changes.
    """
    if named.accounts:
        numbers = [_number(each) for each in sorted(named.accounts)]
        await conn.execute(SQL["lock_accounts"], numbers, *_account_columns(named.accounts))
    await conn.execute(SQL["ensure"], *_columns(named.keys), _BLANK)
    locked: set[SubscriptionKey] = set()
    rows: Sequence[asyncpg.Record] = ()
    while (family := await _family(conn, named)) != locked:
        rows = await conn.fetch(SQL["lock"], *_columns(family))
        locked = family
    return Families(locked, [subscription_from_json(row["document"]) for row in rows])


def _number(account: BillingAccount) -> int:
    """The account's row in `account_locks`, a signed 32-bit number.

    Two accounts may share a row; then their transactions wait for each other, which is harmless.
    """
    marketplace, name = account
    return crc32(f"{marketplace}:{name}".encode()) - 2**31


async def read_families(conn: Connection, keys: AbstractSet[SubscriptionKey]) -> Families:
    """Read subscriptions with their families, without a lock."""
    family = await _family(conn, FamilySeeds(keys))
    rows = await conn.fetch(SQL["read"], *_columns(family))
    return Families(family, [subscription_from_json(row["document"]) for row in rows])


async def read(conn: Connection, keys: Collection[SubscriptionKey]) -> Sequence[Subscription]:
    """The existing ones among `keys`, without a lock."""
    rows = await conn.fetch(SQL["read"], *_columns(keys))
    return [subscription_from_json(row["document"]) for row in rows]


async def page(
    conn: Connection, *, after: SubscriptionKey | None = None, limit: int
) -> Sequence[SubscriptionKey]:
    """The keys of all subscriptions, in the database's order, at most `limit` after `after`."""
    last = (after.marketplace.value, after.subscription_id) if after else ("", "")
    rows = await conn.fetch(SQL["page"], *last, limit)
    return [
        SubscriptionKey(Marketplace(row["marketplace"]), row["subscription_id"]) for row in rows
    ]


async def links_of(
    conn: Connection, keys: Collection[SubscriptionKey]
) -> set[tuple[OrganizationId, SubscriptionKey]]:
    """All links and proofs that these subscriptions ever had."""
    rows = await conn.fetch(SQL["links_of"], *_columns(keys))
    return {
        (
            OrganizationId(row["organization_id"]),
            SubscriptionKey(Marketplace(row["marketplace"]), row["subscription_id"]),
        )
        for row in rows
    }


async def crowded(conn: Connection, accounts: Collection[BillingAccount]) -> set[BillingAccount]:
    """The ones among `accounts` that are recorded as crowded (`ownership.is_crowded`)."""
    if not accounts:
        return set()
    return _accounts(await conn.fetch(SQL["crowded"], *_account_columns(accounts)))


async def record_crowded(
    conn: Connection, accounts: Collection[BillingAccount]
) -> set[BillingAccount]:
    """Record accounts as crowded; returns the new ones.  Their subscriptions are locked."""
    return _accounts(await conn.fetch(SQL["record_crowded"], *_account_columns(accounts)))


async def _family(conn: Connection, named: FamilySeeds) -> set[SubscriptionKey]:
    rows = await conn.fetch(
        SQL["family"],
        *_columns(named.keys),
        *_account_columns(named.accounts),
        *_columns(named.attached),
        *_account_columns(named.accounts_of_attached),
    )
    return _keys(rows)


async def holders(conn: Connection, keys: Collection[SubscriptionKey]) -> set[OrganizationId]:
    """The organizations to which any of these was ever linked, by a sign-up or a proof."""
    rows = await conn.fetch(SQL["holders"], *_columns(keys))
    return {OrganizationId(row["organization_id"]) for row in rows}


async def linked_to(
    conn: Connection, organizations: Collection[OrganizationId]
) -> set[SubscriptionKey]:
    """The subscriptions that were ever linked to any of these."""
    return _keys(await conn.fetch(SQL["linked_to"], sorted(organizations)))


async def save(conn: Connection, subscriptions: Iterable[Subscription]) -> None:
    """Write subscriptions that this transaction has locked, with links and billing accounts."""
    rows = sorted(subscriptions, key=lambda each: by_key(each.key))
    predecessors = [each.predecessor for each in rows]
    await conn.execute(
        SQL["save"],
        *_columns([each.key for each in rows]),
        [each.subscription_id if each else None for each in predecessors],
        [subscription_to_json(each) for each in rows],
    )
    await link(conn, {(link.organization, each.key) for each in rows for link in each.links})
    accounts = sorted({(account, each.key) for each in rows for _, account in each.accounts})
    if accounts:
        await conn.execute(
            SQL["save_accounts"],
            [key.marketplace.value for _, key in accounts],
            [account for account, _ in accounts],
            [key.subscription_id for _, key in accounts],
        )


async def link(conn: Connection, links: Collection[tuple[OrganizationId, SubscriptionKey]]) -> None:
    """Record links or proofs; the caller has locked the organizations or the subscriptions."""
    if links:
        in_order = sorted(links)
        organizations = [organization for organization, _ in in_order]
        marketplaces = [key.marketplace.value for _, key in in_order]
        ids = [key.subscription_id for _, key in in_order]
        await conn.execute(SQL["link"], organizations, marketplaces, ids)


def _columns(keys: Collection[SubscriptionKey]) -> tuple[list[str], list[str]]:
    in_order = sorted(keys, key=by_key)  # the keys' own order, without a call for each comparison
    return [key.marketplace.value for key in in_order], [key.subscription_id for key in in_order]


def _account_columns(accounts: Collection[BillingAccount]) -> tuple[list[str], list[str]]:
    in_order = sorted(accounts)
    return [marketplace.value for marketplace, _ in in_order], [name for _, name in in_order]


def _accounts(rows: Iterable[asyncpg.Record]) -> set[BillingAccount]:
    return {(Marketplace(row["marketplace"]), row["billing_account"]) for row in rows}


def _keys(rows: Iterable[asyncpg.Record]) -> set[SubscriptionKey]:
    return {
        SubscriptionKey(Marketplace(row["marketplace"]), row["subscription_id"]) for row in rows
    }
