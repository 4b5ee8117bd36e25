"""The subscriptions and links tables.  The SQL is in subscriptions.sql."""

from collections.abc import Collection, Iterable, Sequence

import asyncpg

from marketplace_worker.contract.documents import subscription_from_json, subscription_to_json
from marketplace_worker.lifecycle.plans import Subscription
from marketplace_worker.lifecycle.vocabulary import Marketplace, OrganizationId, SubscriptionKey
from marketplace_worker.store.database import Connection
from marketplace_worker.store.queries import queries

SQL = queries("subscriptions")


async def lock_families(
    conn: Connection, keys: Collection[SubscriptionKey]
) -> Sequence[Subscription]:
    """Lock these and all that they continue or that continue them, and read them.

    Those never heard of begin now.  A family may grow while its locks are waited for; it cannot
    once all are held, so it is looked at again until it is whole.
    """
    blank = [subscription_to_json(Subscription(key)) for key in sorted(keys)]
    await conn.execute(SQL["ensure"], *_columns(keys), blank)
    locked: set[SubscriptionKey] = set()
    rows: Sequence[asyncpg.Record] = ()
    while (family := await _family(conn, keys)) != locked:
        rows = await conn.fetch(SQL["lock"], *_columns(family))
        locked = family
    return [subscription_from_json(row["document"]) for row in rows]


async def read_families(
    conn: Connection, keys: Collection[SubscriptionKey]
) -> Sequence[Subscription]:
    """Read these and all that they continue or that continue them, without a lock."""
    family = await _family(conn, keys)
    rows = await conn.fetch(SQL["read"], *_columns(family))
    return [subscription_from_json(row["document"]) for row in rows]


async def _family(conn: Connection, keys: Collection[SubscriptionKey]) -> set[SubscriptionKey]:
    return _keys(await conn.fetch(SQL["family"], *_columns(keys)))


async def holders(conn: Connection, keys: Collection[SubscriptionKey]) -> set[OrganizationId]:
    """The organizations to which any of these was ever linked."""
    rows = await conn.fetch(SQL["holders"], *_columns(keys))
    return {OrganizationId(row["organization_id"]) for row in rows}


async def linked_to(
    conn: Connection, organizations: Collection[OrganizationId]
) -> set[SubscriptionKey]:
    """The subscriptions that were ever linked to any of these."""
    return _keys(await conn.fetch(SQL["linked_to"], sorted(organizations)))


async def save(conn: Connection, subscriptions: Iterable[Subscription]) -> None:
    """Write registers that this transaction has locked, and their links."""
    rows = sorted(subscriptions, key=lambda each: each.key)
    predecessors = [each.predecessor for each in rows]
    await conn.execute(
        SQL["save"],
        *_columns([each.key for each in rows]),
        [each.subscription_id if each else None for each in predecessors],
        [subscription_to_json(each) for each in rows],
    )
    links = sorted({(link.organization, each.key) for each in rows for link in each.links})
    if links:
        organizations = [organization for organization, _ in links]
        marketplaces = [key.marketplace.value for _, key in links]
        ids = [key.subscription_id for _, key in links]
        await conn.execute(SQL["link"], organizations, marketplaces, ids)


def _columns(keys: Collection[SubscriptionKey]) -> tuple[list[str], list[str]]:
    in_order = sorted(keys)
    return [key.marketplace.value for key in in_order], [key.subscription_id for key in in_order]


def _keys(rows: Iterable[asyncpg.Record]) -> set[SubscriptionKey]:
    return {
        SubscriptionKey(Marketplace(row["marketplace"]), row["subscription_id"]) for row in rows
    }
