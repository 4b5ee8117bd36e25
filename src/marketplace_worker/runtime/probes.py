"""Probes: report to health what Postgres, the schema and each consumer are like now."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Protocol

import structlog

from marketplace_worker.errors import Misconfigured, Unavailable
from marketplace_worker.operations import metrics
from marketplace_worker.operations.health import Health, Heartbeat
from marketplace_worker.settings import Postgres
from marketplace_worker.settings.credentials import Credentials
from marketplace_worker.store import dead_letters, outbox, state_counts
from marketplace_worker.store.database import Pool, renew_connections, transaction
from marketplace_worker.store.floors import Floors
from marketplace_worker.store.migrations import require_current_schema
from marketplace_worker.store.snapshots import oldest_xmin_age

PROBE_EVERY_S = 2.0

STATES_EVERY_S = 30.0
"""Less often: a sum over a few rows for each day, and over those that are not merged yet."""

log = structlog.get_logger(__name__)


async def probe_postgres(pool: Pool, health: Health, floors: Floors) -> int:
    """Report whether Postgres answers and has our schema, and measure what it holds."""
    try:
        await require_current_schema(pool)
        async with transaction(pool) as conn:
            metrics.OUTBOX_AGE.set(await outbox.oldest_s(conn, floors))
            metrics.OUTBOX_REFUSED.set(await outbox.held(conn))
            metrics.OLDEST_XMIN_AGE.set(await oldest_xmin_age(conn))
            waiting, _ = await dead_letters.backlog(conn, limit=dead_letters.COUNTED_MAX)
            metrics.DEAD_LETTERS_WAITING.set(waiting)
    except Unavailable:
        health.report("Postgres", not_ready_reason="does not answer, or has no free connection")
    except Misconfigured as error:
        health.report("schema", not_ready_reason=str(error))
    else:
        health.report("Postgres")
        health.report("schema")
    return 0


async def probe_states(pool: Pool) -> int:
    """Show how many organizations are in each state.

    Where Postgres is away the numbers stay what they were; `probe_postgres` reports it.
    """
    with suppress(Unavailable):
        async with transaction(pool) as conn:
            metrics.show_states(await state_counts.numbers(conn))
    return 0


async def keep_connections_current(pool: Pool, postgres: Postgres, credentials: Credentials) -> int:
    """Replace the connections to Postgres if its credentials were rotated.

    Raises:
        Unavailable: what they are now opens no connection; the old ones stay.
    """
    if credentials.changed:
        await renew_connections(pool, postgres)
        credentials.use()
        log.info("credentials_renewed", client="postgres")
    return 0


class ConsumerProbe(Protocol):
    """What a probe reads of a consumer: plain values, without a request."""

    @property
    def name(self) -> str:
        """What it reads."""

    @property
    def not_ready_reason(self) -> str:
        """Why it cannot read now; empty if it can."""

    @property
    def waits_for_kafka(self) -> bool:
        """Whether it can do nothing, not even turn, until Kafka is there again."""

    async def ask_why(self) -> str:
        """Why it does not reach Kafka, as Kafka answers now; empty where it is not known."""


def ingest_heartbeat(health: Health, reader: str) -> Heartbeat:
    """The heartbeat of a consumer, by its name: it beats at each turn."""
    return health.heartbeat(f"ingest {reader}")


async def probe_consumer(reader: ConsumerProbe, health: Health) -> int:
    """Report whether a consumer is a member of its group and receives from Kafka."""
    if reader.waits_for_kafka:
        ingest_heartbeat(health, reader.name).beat()
    not_ready_reason = reader.not_ready_reason
    if not_ready_reason and (why := await reader.ask_why()):
        not_ready_reason += f" ({why})"
    health.report(f"consumer {reader.name}", not_ready_reason=not_ready_reason)
    return 0


async def probe_lag(lag: Callable[[], Mapping[str, Mapping[str, int]]]) -> int:
    """Show the lag of each group."""
    for group, by_topic in lag().items():
        metrics.LAG.labels(group).set(sum(by_topic.values()))
    return 0
