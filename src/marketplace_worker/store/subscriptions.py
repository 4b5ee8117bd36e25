"""The tables of subscriptions: their registers, links, billing accounts, and the locks of these.

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
from marketplace_worker.lifecycle.vocabulary import Marketplace, OrganizationId, SubscriptionKey
from marketplace_worker.store.database import Connection
from marketplace_worker.store.queries import queries

SQL = queries("subscriptions")


@dataclass(frozen=True, slots=True)
class Families:
    """Families of subscriptions: the keys of all members, and the registers of those that exist."""

    keys: AbstractSet[SubscriptionKey]
    registers: Sequence[Subscription]


async def lock_families(conn: Connection, named: FamilySeeds) -> Families:
    """Lock these, and those of the billing accounts, with their families, and read them.

    A family is all that they continue, that continues them or that shares a billing account with
    them, which somebody holds.  Those never heard of begin now.  Nobody else can tell of the
    accounts until the transaction ends, but of crowded ones.  A family may grow while its locks are
    waited for; it cannot once all are held, so it is looked at again until it is whole.
    """
    if named.accounts:
        numbers = [_number(each) for each in sorted(named.accounts)]
        await conn.execute(SQL["lock_accounts"], numbers, *_account_columns(named.accounts))
    blank = [subscription_to_json(Subscription(key)) for key in sorted(named.keys)]
    await conn.execute(SQL["ensure"], *_columns(named.keys), blank)
    locked: set[SubscriptionKey] = set()
    rows: Sequence[asyncpg.Record] = ()
    while (family := await _family(conn, named)) != locked:
        rows = await conn.fetch(SQL["lock"], *_columns(family))
        locked = family
    return Families(locked, [subscription_from_json(row["document"]) for row in rows])


def _number(account: BillingAccount) -> int:
    """What stands for it in `account_locks`, signed 32 bits; two that share one wait in vain."""
    marketplace, name = account
    return crc32(f"{marketplace}:{name}".encode()) - 2**31


async def read_families(conn: Connection, keys: AbstractSet[SubscriptionKey]) -> Families:
    """Read these with their families, without a lock."""
    family = await _family(conn, FamilySeeds(keys))
    rows = await conn.fetch(SQL["read"], *_columns(family))
    return Families(family, [subscription_from_json(row["document"]) for row in rows])


async def read(conn: Connection, keys: Collection[SubscriptionKey]) -> Sequence[Subscription]:
    """Those of these that were ever heard of, without a lock."""
    rows = await conn.fetch(SQL["read"], *_columns(keys))
    return [subscription_from_json(row["document"]) for row in rows]


async def page(
    conn: Connection, *, after: SubscriptionKey | None = None, limit: int
) -> Sequence[SubscriptionKey]:
    """All that were ever heard of, in the order of the database, at most `limit` after one."""
    last = (after.marketplace.value, after.subscription_id) if after else ("", "")
    rows = await conn.fetch(SQL["page"], *last, limit)
    return [
        SubscriptionKey(Marketplace(row["marketplace"]), row["subscription_id"]) for row in rows
    ]


async def links_of(
    conn: Connection, keys: Collection[SubscriptionKey]
) -> set[tuple[OrganizationId, SubscriptionKey]]:
    """To whom these were ever linked."""
    rows = await conn.fetch(SQL["links_of"], *_columns(keys))
    return {
        (
            OrganizationId(row["organization_id"]),
            SubscriptionKey(Marketplace(row["marketplace"]), row["subscription_id"]),
        )
        for row in rows
    }


async def crowded(conn: Connection, accounts: Collection[BillingAccount]) -> set[BillingAccount]:
    """Those of these that are known to be crowded (`Fleet.is_crowded`)."""
    if not accounts:
        return set()
    return _accounts(await conn.fetch(SQL["crowded"], *_account_columns(accounts)))


async def record_crowded(
    conn: Connection, accounts: Collection[BillingAccount]
) -> set[BillingAccount]:
    """Let these be known to be crowded; returns those that were not.  Their subscriptions are
    locked.
    """
    return _accounts(await conn.fetch(SQL["crowd"], *_account_columns(accounts)))


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
    """The organizations to which any of these was ever linked, by a sign-up or by a proof."""
    rows = await conn.fetch(SQL["holders"], *_columns(keys))
    return {OrganizationId(row["organization_id"]) for row in rows}


async def linked_to(
    conn: Connection, organizations: Collection[OrganizationId]
) -> set[SubscriptionKey]:
    """The subscriptions that were ever linked to any of these."""
    return _keys(await conn.fetch(SQL["linked_to"], sorted(organizations)))


async def save(conn: Connection, subscriptions: Iterable[Subscription]) -> None:
    """Write registers that this transaction has locked, their links and their accounts."""
    rows = sorted(subscriptions, key=lambda each: each.key)
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
            SQL["tell_accounts"],
            [key.marketplace.value for _, key in accounts],
            [account for account, _ in accounts],
            [key.subscription_id for _, key in accounts],
        )


async def link(conn: Connection, links: Collection[tuple[OrganizationId, SubscriptionKey]]) -> None:
    """Write down who holds what; the organizations or the subscriptions are locked."""
    if links:
        in_order = sorted(links)
        organizations = [organization for organization, _ in in_order]
        marketplaces = [key.marketplace.value for _, key in in_order]
        ids = [key.subscription_id for _, key in in_order]
        await conn.execute(SQL["link"], organizations, marketplaces, ids)


def _columns(keys: Collection[SubscriptionKey]) -> tuple[list[str], list[str]]:
    in_order = sorted(keys)
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
