"""Lists of organizations: their ids in order, by an index for each filter.  The SQL is in
listing.sql.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

import asyncpg

from marketplace_worker.documents import organization_from_json
from marketplace_worker.lifecycle.organization import Organization
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.vocabulary import EmailHash, Marketplace, OrganizationId
from marketplace_worker.store import organizations
from marketplace_worker.store.database import Connection
from marketplace_worker.store.queries import queries

SQL = queries("listing")

EARLIEST = datetime.min.replace(tzinfo=UTC)


class WaitsFor(StrEnum):
    """What keeps an organization from its next step or its reinstatement, beside its deadlines and
    holds: a sign-in or Support completes its reinstatement; the guard withholds its step; a feed
    was silent or may hide its use; an operator must judge, after a restore, whether it is closed.
    """

    SIGN_IN = "sign_in"
    SUPPORT = "support"
    GUARD = "guard"
    FEED = "feed"
    JUDGEMENT = "judgement"


@dataclass(frozen=True, slots=True)
class Filters:
    """Which organizations to list; None: all."""

    state: State | None = None
    marketplace: Marketplace | None = None
    held: bool = False
    waits_for: WaitsFor | None = None
    due_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Position:
    """The place of an organization in a list: in the order of ids, or of due times and ids."""

    organization: OrganizationId
    due_at: datetime | None = None


START = Position(OrganizationId(""))
"""Before the first organization, in either order."""


@dataclass(frozen=True, slots=True)
class ListedOrganization:
    """A row of a list.

    `due_at`: when something happens next, of one on its way down or with a notice of inactivity.
    `marketplaces`: those of all subscriptions that were ever linked to it.
    """

    organization: Organization
    due_at: datetime | None
    marketplaces: Sequence[Marketplace]
    waits_for: WaitsFor | None

    @property
    def since(self) -> datetime | None:
        """When its state was entered."""
        entered_at, creation = self.organization.entered_at, self.organization.creation
        return entered_at or (creation.occurred_at if creation else None)


async def created(conn: Connection, after: Position, limit: int) -> Sequence[Position]:
    """All of them."""
    ids = await organizations.page(conn, after=after.organization, limit=limit)
    return [Position(each) for each in ids]


async def in_state(
    conn: Connection, state: State, after: Position, limit: int
) -> Sequence[Position]:
    """Organizations in a state."""
    return _positions(await conn.fetch(SQL["in_state"], state.value, after.organization, limit))


async def of_marketplace(
    conn: Connection, marketplace: Marketplace, after: Position, limit: int
) -> Sequence[Position]:
    """Those to which a subscription of a marketplace was ever linked."""
    rows = await conn.fetch(SQL["of_marketplace"], marketplace.value, after.organization, limit)
    return _positions(rows)


async def held(conn: Connection, after: Position, limit: int) -> Sequence[Position]:
    """Those with a hold."""
    return _positions(await conn.fetch(SQL["held"], after.organization, limit))


async def waiting(
    conn: Connection, waits_for: WaitsFor, after: Position, limit: int
) -> Sequence[Position]:
    """Those that wait for this."""
    return _positions(await conn.fetch(SQL["waiting"], waits_for.value, after.organization, limit))


async def due(conn: Connection, until: datetime, after: Position, limit: int) -> Sequence[Position]:
    """Those on their way down, or with a notice of inactivity, by when something happens next."""
    due_at = after.due_at or EARLIEST
    rows = await conn.fetch(SQL["due"], until, due_at, after.organization, limit)
    return [Position(OrganizationId(row["organization_id"]), row["next_due_at"]) for row in rows]


async def of_subscription(
    conn: Connection, marketplaces: Collection[Marketplace], subscription_id: str
) -> set[OrganizationId]:
    """Those to which a subscription, or one that it continues, was ever linked."""
    rows = await conn.fetch(SQL["of_subscription"], list(marketplaces), subscription_id)
    return {OrganizationId(row["organization_id"]) for row in rows}


async def of_account(
    conn: Connection, marketplaces: Collection[Marketplace], billing_account: str
) -> set[OrganizationId]:
    """The same of all subscriptions of a billing account."""
    rows = await conn.fetch(SQL["of_account"], list(marketplaces), billing_account)
    return {OrganizationId(row["organization_id"]) for row in rows}


async def of_email(conn: Connection, email: EmailHash) -> set[OrganizationId]:
    """Those whose owner has an email, and those whose deactivation locked it."""
    rows = await conn.fetch(SQL["of_email"], email)
    return {OrganizationId(row["organization_id"]) for row in rows}


async def in_order(
    conn: Connection, ids: Collection[OrganizationId], after: Position, limit: int
) -> Sequence[Position]:
    """The ones among `ids` after a position."""
    return _positions(await conn.fetch(SQL["in_order"], list(ids), after.organization, limit))


async def passing(
    conn: Connection, ids: Collection[OrganizationId], filters: Filters
) -> set[OrganizationId]:
    """The created ones among `ids` that pass all filters."""
    found = await conn.fetch(
        SQL["passing"],
        list(ids),
        filters.state,
        filters.marketplace,
        filters.held,
        filters.waits_for,
        filters.due_until,
    )
    return {OrganizationId(row["organization_id"]) for row in found}


async def rows(
    conn: Connection, ids: Collection[OrganizationId]
) -> dict[OrganizationId, ListedOrganization]:
    """The known ones among `ids`."""
    found = await conn.fetch(SQL["rows"], list(ids))
    return {OrganizationId(row["organization_id"]): _listed(row) for row in found}


def _listed(row: asyncpg.Record) -> ListedOrganization:
    waits_for = row["waits_for"]
    return ListedOrganization(
        organization_from_json(row["document"]),
        row["due_at"],
        [Marketplace(each) for each in row["marketplaces"]],
        WaitsFor(waits_for) if waits_for else None,
    )


def _positions(found: Sequence[asyncpg.Record]) -> Sequence[Position]:
    return [Position(OrganizationId(row["organization_id"])) for row in found]
