"""The organizations table.  The SQL is in organizations.sql."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import asyncpg

from marketplace_worker.documents import organization_from_json, organization_to_json
from marketplace_worker.lifecycle.organization import Organization
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.vocabulary import EmailHash, Marketplace, OrganizationId
from marketplace_worker.store.database import Connection
from marketplace_worker.store.queries import queries

SQL = queries("organizations")

COLUMNS = (
    "state", "sequence", "created", "watches_activity", "withheld", "owner_email", "locked_email"
)  # fmt: skip
"""The columns besides the document, in the order of `save`."""

_BLANK = organization_to_json(Organization(OrganizationId("")))
"""The document of an unknown organization, without its id."""


async def lock(conn: Connection, ids: Collection[OrganizationId]) -> Sequence[Organization]:
    """Lock organizations until the transaction ends, and read them; unknown ones get a row.

    The rows are locked in the order of their ids, so that two transactions cannot deadlock here.
    """
    in_order = sorted(ids)
    await conn.execute(SQL["ensure"], in_order, _BLANK)
    rows = await conn.fetch(SQL["lock"], in_order)
    return [organization_from_json(row["document"]) for row in rows]


async def read(conn: Connection, ids: Collection[OrganizationId]) -> Sequence[Organization]:
    """The known ones among `ids`, without a lock."""
    rows = await conn.fetch(SQL["read"], sorted(ids))
    return [organization_from_json(row["document"]) for row in rows]


async def watching(conn: Connection, ids: Collection[OrganizationId]) -> set[OrganizationId]:
    """Which of these may change at once when a login or an API request arrives."""
    return _ids(await conn.fetch(SQL["watching"], sorted(ids)))


async def erased(conn: Connection, ids: Collection[OrganizationId]) -> set[OrganizationId]:
    """Which of these were erased."""
    return _ids(await conn.fetch(SQL["erased"], sorted(ids)))


async def meeting(
    conn: Connection,
    locked_emails: Collection[EmailHash],
    reactivated: Collection[OrganizationId],
    owner_emails: Collection[EmailHash],
) -> set[OrganizationId]:
    """The organizations with a part in the given emails.

    These are the organizations whose deactivation locked one of the emails, those with the same
    owner as one that is to be reactivated, and those with one of the given owners.
    """
    emails = (sorted(locked_emails), sorted(reactivated), sorted(owner_emails))
    return _ids(await conn.fetch(SQL["meeting"], *emails))


async def population(conn: Connection) -> int:
    """How many organizations the guard's limit counts (lifecycle.md section 8)."""
    return int(await conn.fetchval(SQL["population"]))


async def lock_withheld(conn: Connection) -> None:
    """Lock the organizations with a withheld step; call it before locking the safeguards."""
    await conn.execute(SQL["lock_withheld"])


async def wake_withheld(conn: Connection, *, now: datetime) -> None:
    """Make the organizations with a withheld step due now; the caller has locked the safeguards."""
    await conn.execute(SQL["wake_withheld"], now)


async def page(
    conn: Connection, *, after: OrganizationId | None = None, limit: int
) -> Sequence[OrganizationId]:
    """The ids of created organizations, in the database's order, at most `limit` after `after`."""
    rows = await conn.fetch(SQL["page"], after or "", limit)
    return [OrganizationId(row["organization_id"]) for row in rows]


async def every_known(
    conn: Connection, *, after: OrganizationId | None = None, limit: int
) -> Sequence[OrganizationId]:
    """The ids of all known organizations, in the database's order, at most `limit` after `after`.

    Also of those that were only mentioned and not created yet.
    """
    rows = await conn.fetch(SQL["every_known"], after or "", limit)
    return [OrganizationId(row["organization_id"]) for row in rows]


async def columns(
    conn: Connection, ids: Collection[OrganizationId]
) -> dict[OrganizationId, dict[str, Any]]:
    """The columns besides the document, by id and name."""
    rows = await conn.fetch(SQL["columns"], sorted(ids))
    return {OrganizationId(row["organization_id"]): dict(row) for row in rows}


def columns_of(organization: Organization) -> dict[str, Any]:
    """The column values that follow from a document."""
    return {
        "state": organization.state.value,
        "sequence": organization.sequence,
        "created": organization.creation is not None,
        "watches_activity": organization.watches_activity,
        "withheld": organization.withheld_at is not None,
        "owner_email": organization.owner.value if organization.owner else None,
        "locked_email": organization.locked_email,
    }


async def due_until(
    conn: Connection, until: datetime, *, after: OrganizationId | None = None, limit: int
) -> Sequence[OrganizationId]:
    """The organizations due up to a moment, and those with a withheld step.

    In the database's order, at most `limit` after `after`.  What happens to each, if anything, is
    for the lifecycle to derive.
    """
    rows = await conn.fetch(SQL["due_until"], until, after or "", limit)
    return [OrganizationId(row["organization_id"]) for row in rows]


async def overdue(conn: Connection, before: datetime, *, limit: int) -> tuple[int, datetime | None]:
    """How many organizations were due before a moment, counted up to `limit`, and the first's."""
    row = await conn.fetchrow(SQL["overdue"], before, limit)
    assert row is not None
    return row["organizations"], row["since"]


@dataclass(frozen=True, slots=True)
class DueOnDay:
    """How many organizations in a state are due on a UTC day.

    `marketplace`: of their subscriptions; None if they have none, or of several marketplaces.
    """

    day: date
    state: State
    marketplace: Marketplace | None
    organizations: int


async def due_by_day(conn: Connection, until: datetime, *, limit: int) -> Sequence[DueOnDay]:
    """When something happens next to those on their way down, or with a notice of inactivity.

    Overdue ones are included.  Only the first `limit` organizations are counted.
    """
    return [
        DueOnDay(
            row["day"],
            State(row["state"]),
            Marketplace(row["marketplace"]) if row["marketplace"] in list(Marketplace) else None,
            row["organizations"],
        )
        for row in await conn.fetch(SQL["due_by_day"], until, limit)
    ]


async def decided_from(
    conn: Connection, since: datetime, *, after: OrganizationId | None = None, limit: int
) -> Sequence[Organization]:
    """The organizations with a decision or a due time at `since` or later, without a lock.

    In the database's order, at most `limit` after `after`.
    """
    rows = await conn.fetch(SQL["decided_from"], since, after or "", limit)
    return [organization_from_json(row["document"]) for row in rows]


async def recheck_now(
    conn: Connection, ids: Collection[OrganizationId], *, since: datetime, now: datetime
) -> None:
    """Make due now the ones among `ids` that are due at `since` or later."""
    await conn.execute(SQL["recheck_now"], sorted(ids), since, now)


@dataclass(frozen=True, slots=True)
class DueOrganization:
    """A due organization, locked; `read` may fail if its document is damaged."""

    id: OrganizationId
    document: str
    due_at: datetime

    def read(self) -> Organization:
        """Read the organization from its document."""
        return organization_from_json(self.document)


async def claim_due(
    conn: Connection, *, since: datetime, now: datetime, limit: int
) -> Sequence[DueOrganization]:
    """Lock organizations that became due at `since` or later, skipping those that another worker
    has locked; at most `limit`, the longest due first.
    """
    rows = await conn.fetch(SQL["claim_due"], since, now, limit)
    return [
        DueOrganization(OrganizationId(row["organization_id"]), row["document"], row["next_due_at"])
        for row in rows
    ]


async def postpone(
    conn: Connection, organization: OrganizationId, *, now: datetime, until: datetime
) -> None:
    """Postpone an organization if it is still due."""
    await conn.execute(SQL["postpone"], organization, now, until)


async def save(
    conn: Connection,
    organizations: Collection[Organization],
    due_at: Mapping[OrganizationId, datetime | None],
) -> None:
    """Write organizations that this transaction has locked, with their next due times."""
    rows = sorted(organizations, key=lambda each: each.id)
    beside = [columns_of(each) for each in rows]
    await conn.execute(
        SQL["save"],
        [each.id for each in rows],
        [organization_to_json(each) for each in rows],
        [due_at[each.id] for each in rows],
        *([columns[name] for columns in beside] for name in COLUMNS),
    )


def _ids(rows: Iterable[asyncpg.Record]) -> set[OrganizationId]:
    return {OrganizationId(row["organization_id"]) for row in rows}
