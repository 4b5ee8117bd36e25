"""Detects a restored or lagging database: the topics hold more than it does.

Each life of a server is compared once before anything harmful is done on it: one that was restored,
or promoted though it lagged, is another than the one that went.
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
"""How many records of each partition are read: what was lost was published last."""

RECOVER = "marketplace-worker recover --from-restore"

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Comparison:
    """What one worker has compared by now: the life of the server, since when it runs."""

    worker: Worker
    read_back: ReadBack
    _server_started_at: datetime | None = None

    async def compare(self) -> int:
        """Compare, where this worker has not yet since the server runs.  No event is published.

        Found set back, it stays so for all workers until it is recovered: no harmful step, no
        requested deactivation, and no release of the guard.  All else goes on, so the numbers of
        those that were found are raised at once.

        Raises:
            Unavailable: Postgres or Kafka is away.
        """
        async with transaction(self.worker.pool) as conn:
            started_at = await published.server_started_at(conn)
        if started_at == self._server_started_at:
            return 0
        told: dict[OrganizationId, PublishedSummary] = {}
        async for records in self.read_back(NEWEST):
            _gather(told, records)
        beyond = await self._beyond(told)
        if beyond:
            log.error("database_set_back", organizations=len(beyond), first=beyond[0], do=RECOVER)
            await self._raise([told[each] for each in beyond], f"noticed at {started_at}")
        else:
            log.info("published_compared", organizations=len(told))
        await recovering.forget(self.worker)
        async with transaction(self.worker.pool) as conn:
            await published.compared(conn, started_at)
        self._server_started_at = started_at
        return 0

    async def _beyond(
        self, told: Mapping[OrganizationId, PublishedSummary]
    ) -> list[OrganizationId]:
        """Those of which more was published than is stored; it is written down that there are."""
        async with transaction(self.worker.pool) as conn:
            beyond = await published.beyond(conn, told.values())
            stands = await safeguards.lock(conn)
            if beyond:
                own = told.get(WORKER, PublishedSummary(WORKER)).sequence
                stands = replace(
                    stands,
                    set_back_at=stands.set_back_at or await self.worker.clock(conn),
                    sequence=max(stands.sequence, own),
                )
                await safeguards.save(conn, stands)
        metrics.show_guard(stands)
        return beyond

    async def _raise(self, told: Sequence[PublishedSummary], cause: str) -> None:
        async with transaction(self.worker.pool) as conn:
            await published.gather(conn, told)
        async for page in recovering.pages(self.worker):
            if behind := [each for each in page if each.is_behind]:
                await recovering.raise_numbers(self.worker, behind, cause)


async def restore_check(worker: Worker, read_back: ReadBack) -> Callable[[], Awaitable[int]]:
    """Look once, before anything is done, whether the database holds what was published; returns
    what looks again.  Where that cannot be seen now, no harm is done until it can.
    """
    compare = Comparison(worker, read_back).compare
    with suppress(Unavailable):
        await compare()
    return compare


def _gather(told: dict[OrganizationId, PublishedSummary], records: Iterable[Record]) -> None:
    for record in records:
        each = read_published(record)
        if each is not None:
            before = told.get(each.organization, PublishedSummary(each.organization))
            told[each.organization] = before.with_later(each)
