"""Detects a restored or lagging database: the topics hold more than it does.

Each incarnation of a server is compared once before any destructive step: a server that was
restored, or promoted although it lagged, is another incarnation.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime

import structlog

from marketplace_worker.contract.published import PublishedSummary, read_published
from marketplace_worker.errors import Unavailable
from marketplace_worker.lifecycle.events import WORKER
from marketplace_worker.lifecycle.vocabulary import OrganizationId
from marketplace_worker.operations import metrics
from marketplace_worker.record import Record
from marketplace_worker.runtime.worker import Worker
from marketplace_worker.steps import recovering
from marketplace_worker.store import published, safeguards
from marketplace_worker.store.database import transaction
from marketplace_worker.streams.reading_back import ReadBack

NEWEST = 1_000
"""How many records of each partition are read: the newest were published last."""

RECOVER = "marketplace-worker recover --from-restore"

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Comparison:
    """What one worker has compared so far: the server's incarnation, and since when it runs."""

    worker: Worker
    read_back: ReadBack
    _server_started_at: datetime | None = None

    async def compare(self) -> int:
        """Compare, unless this worker has done so since the server runs.  No event is published.

        If the database is set back, that holds for all workers until it is recovered: no
        destructive step, no requested deactivation, and no release of the guard.  Everything else
        continues, so the numbers of the affected organizations are raised at once.

        Raises:
            Unavailable: Postgres or Kafka is away.
        """
        async with transaction(self.worker.pool) as conn:
            started_at = await published.server_started_at(conn)
        if started_at == self._server_started_at:
            return 0
        latest: dict[OrganizationId, PublishedSummary] = {}
        async for records in self.read_back(NEWEST):
            _gather(latest, records)
        beyond = await self._beyond(latest)
        if beyond:
            log.error("database_set_back", organizations=len(beyond), first=beyond[0], do=RECOVER)
            await self._raise([latest[each] for each in beyond], f"noticed at {started_at}")
        else:
            log.info("published_compared", organizations=len(latest))
        await recovering.forget(self.worker)
        async with transaction(self.worker.pool) as conn:
            await published.compared(conn, started_at)
        self._server_started_at = started_at
        return 0

    async def _beyond(
        self, latest: Mapping[OrganizationId, PublishedSummary]
    ) -> list[OrganizationId]:
        """The organizations of which more was published than is stored; their existence is
        recorded.
        """
        async with transaction(self.worker.pool) as conn:
            beyond = await published.beyond(conn, latest.values())
            stands = await safeguards.lock(conn)
            if beyond:
                own = latest.get(WORKER, PublishedSummary(WORKER)).sequence
                stands = replace(
                    stands,
                    set_back_at=stands.set_back_at or await self.worker.clock(conn),
                    sequence=max(stands.sequence, own),
                )
                await safeguards.save(conn, stands)
        metrics.show_guard(stands)
        return beyond

    async def _raise(self, latest: Sequence[PublishedSummary], cause: str) -> None:
        async with transaction(self.worker.pool) as conn:
            await published.gather(conn, latest)
        async for page in recovering.pages(self.worker):
            if behind := [each for each in page if each.is_behind]:
                await recovering.raise_numbers(self.worker, behind, cause)


async def restore_check(worker: Worker, read_back: ReadBack) -> Callable[[], Awaitable[int]]:
    """Check once, before anything is done, whether the database holds what was published; returns
    the function that checks again.  If that is impossible now, no destructive step is taken until
    it is possible.
    """
    compare = Comparison(worker, read_back).compare
    with suppress(Unavailable):
        await compare()
    return compare


def _gather(latest: dict[OrganizationId, PublishedSummary], records: Iterable[Record]) -> None:
    for record in records:
        each = read_published(record)
        if each is not None:
            before = latest.get(each.organization, PublishedSummary(each.organization))
            latest[each.organization] = before.with_later(each)
