"""The organizations table.  The SQL is in organizations.sql."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from marketplace_worker.contract.documents import organization_from_json, organization_to_json
from marketplace_worker.lifecycle.organization import Organization
from marketplace_worker.lifecycle.vocabulary import OrganizationId
from marketplace_worker.store.database import Connection
from marketplace_worker.store.queries import queries

SQL = queries("organizations")


async def lock(conn: Connection, ids: Collection[OrganizationId]) -> Sequence[Organization]:
    """Lock these until the transaction ends, and read them; those never heard of begin now."""
    in_order = sorted(ids)
    blank = [organization_to_json(Organization(each)) for each in in_order]
    await conn.execute(SQL["ensure"], in_order, blank)
    rows = await conn.fetch(SQL["lock"], in_order)
    return [organization_from_json(row["document"]) for row in rows]


@dataclass(frozen=True, slots=True)
class Due:
    """An organization whose moment has come, locked; `read` may fail on what is stored."""

    id: OrganizationId
    document: str

    def read(self) -> Organization:
        """The organization as it was saved."""
        return organization_from_json(self.document)


async def claim_due(conn: Connection, *, now: datetime, limit: int) -> Sequence[Due]:
    """Lock organizations whose moment has come and that no other worker has; at most `limit`."""
    rows = await conn.fetch(SQL["claim_due"], now, limit)
    return [Due(OrganizationId(row["organization_id"]), row["document"]) for row in rows]


async def postpone(
    conn: Connection, organization: OrganizationId, *, now: datetime, until: datetime
) -> None:
    """Have an organization that is still due looked at again at that time."""
    await conn.execute(SQL["postpone"], organization, now, until)


async def save(
    conn: Connection,
    organizations: Collection[Organization],
    due_at: Mapping[OrganizationId, datetime | None],
) -> None:
    """Write organizations that this transaction has locked, and when each is due next."""
    rows = sorted(organizations, key=lambda each: each.id)
    await conn.execute(
        SQL["save"],
        [each.id for each in rows],
        [organization_to_json(each) for each in rows],
        [each.state.value for each in rows],
        [each.sequence for each in rows],
        [due_at[each.id] for each in rows],
    )
