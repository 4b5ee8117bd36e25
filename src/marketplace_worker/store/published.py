"""Compares what the topics hold with what the database holds, after a restore or a failover.

Also stores for which start of the server this was done.  The SQL is in published.sql.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from marketplace_worker.contract.published import PublishedSummary
from marketplace_worker.documents import published_from_json, published_to_json
from marketplace_worker.errors import Unavailable
from marketplace_worker.lifecycle.events import WORKER
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.vocabulary import OrganizationId
from marketplace_worker.store.database import Connection
from marketplace_worker.store.queries import queries

SQL = queries("published")


@dataclass(frozen=True, slots=True)
class Gap:
    """An organization for which the topics and the database differ.

    `summary`: from the topics.  `state`, `sequence`, `revision` and `erased`: from the database; no
    state: the organization is unknown.  `lost`: it was deactivated or erased, and the database has
    no record of that.  `in_doubt`: this is recorded already, and waits for an operator's judgement.
    """

    summary: PublishedSummary
    state: State | None
    sequence: int
    revision: int
    erased: bool
    lost: bool
    in_doubt: bool

    @property
    def is_behind(self) -> bool:
        """Whether the database must be corrected."""
        behind = self.summary.sequence > self.sequence or self.summary.revision > self.revision
        return behind or (self.lost and not self.in_doubt)

    @property
    def stands_otherwise(self) -> bool:
        """Whether the published state differs from the stored one."""
        summary = self.summary
        erased = summary.erased and not self.erased
        return (
            erased or self.lost or (summary.state is not None and summary.state is not self.state)
        )


async def gather(conn: Connection, summaries: Iterable[PublishedSummary]) -> None:
    """Merge published records, in their order, into the ones gathered before."""
    by_id: dict[OrganizationId, list[PublishedSummary]] = {}
    for each in summaries:
        by_id.setdefault(each.organization, []).append(each)
    ids = sorted(by_id)
    known = {each.organization: each for each in await _read(conn, ids)}
    merged = []
    for id_ in ids:
        before = known.get(id_, PublishedSummary(id_))
        for each in by_id[id_]:
            before = before.with_later(each)
        merged.append(before)
    await conn.execute(
        SQL["save"],
        ids,
        [each.sequence for each in merged],
        [each.revision for each in merged],
        [published_to_json(each) for each in merged],
    )


async def _read(conn: Connection, ids: Collection[OrganizationId]) -> list[PublishedSummary]:
    rows = await conn.fetch(SQL["read"], sorted(ids))
    return [published_from_json(row["document"]) for row in rows]


async def of_the_worker(conn: Connection) -> int:
    """The sequence number of the newest event with the subject `worker`; 0: none."""
    return max((each.sequence for each in await _read(conn, [WORKER])), default=0)


async def count(conn: Connection) -> int:
    """The number of organizations for which the topics hold records."""
    return int(await conn.fetchval(SQL["count"]))


async def gaps(
    conn: Connection, *, after: OrganizationId | None = None, limit: int
) -> Sequence[Gap]:
    """The differences, in the database's order, at most `limit` after `after`."""
    return [_gap(row) for row in await conn.fetch(SQL["page"], after or "", limit)]


def _gap(row: asyncpg.Record) -> Gap:
    return Gap(
        summary=published_from_json(row["document"]),
        state=State(row["state"]) if row["created"] else None,
        sequence=row["sequence"],
        revision=row["revision"],
        erased=row["erased"],
        lost=row["lost"],
        in_doubt=row["in_doubt"],
    )


async def forget(conn: Connection) -> None:
    """Delete the gathered records."""
    await conn.execute(SQL["forget"])


async def beyond(conn: Connection, summaries: Collection[PublishedSummary]) -> list[OrganizationId]:
    """The organizations with published numbers above the stored ones, in order of id."""
    rows = await conn.fetch(
        SQL["beyond"],
        [each.organization for each in summaries],
        [each.sequence for each in summaries],
        [each.revision for each in summaries],
    )
    return [OrganizationId(row["organization_id"]) for row in rows]


async def server_started_at(conn: Connection) -> datetime:
    """When the connected server was started; differs after a restart, a restore or a failover."""
    started_at: datetime = await conn.fetchval(SQL["server_started_at"])
    return started_at


async def require_compared(conn: Connection) -> None:
    """Refuse to decide on destructive steps if the database may have been set back.

    Raises:
        Unavailable: since its start it was not compared with the published records.
    """
    if not await conn.fetchval(SQL["is_compared"]):
        raise Unavailable(
            "Postgres was restarted: no step is taken until a worker with the loop relay has "
            "compared it with what was published"
        )


async def compared(conn: Connection, server_started_at: datetime) -> None:
    """Store that the comparison was done for this start of the server."""
    await conn.execute(SQL["compared"], server_started_at)
