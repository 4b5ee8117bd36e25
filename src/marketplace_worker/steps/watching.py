"""Looks at what the worker needs, and ends a worker that hangs: nobody restarts what looks alive.

What hangs is told from what waits by its sign: a loop whose server is away gives one at each turn.
"""

import asyncio
from collections.abc import Iterator
from types import CoroutineType, FrameType
from typing import Protocol

import structlog

from marketplace_worker.errors import CannotGoOn, Misconfigured, Unavailable
from marketplace_worker.operations import metrics
from marketplace_worker.operations.health import Health, Sign
from marketplace_worker.operations.stop import Stop
from marketplace_worker.settings import Postgres, Settings
from marketplace_worker.settings.credentials import Credentials
from marketplace_worker.store import outbox
from marketplace_worker.store.database import Pool, renew_connections, transaction
from marketplace_worker.store.floors import Floors
from marketplace_worker.store.migrations import require_current_schema
from marketplace_worker.store.snapshots import oldest_xmin_age

LOOK_EVERY_S = 2.0
TICK_S = 0.5

EVENT_LOOP = "event loop"

log = structlog.get_logger(__name__)


def silence_max_s(settings: Settings) -> float:
    """How long one turn of a loop may rightly take: the waits that it may have, one after another.

    To find Kafka anew, for a rebalance, for acknowledgements (and for those of a second producer),
    and for a statement.
    """
    kafka, relay = settings.kafka, settings.relay
    waits_ms = (
        kafka.request_timeout_ms
        + kafka.rebalance_timeout_ms
        + 2 * relay.acknowledge_timeout_ms
        + settings.postgres.statement_timeout_ms
    )
    return waits_ms / 1000


async def watch(health: Health, stop: Stop) -> None:
    """Give the event loop's sign; end the worker when anything has hung for twice what is allowed.

    An event loop that is blocked cannot end itself, so the process ends unless this goes on; also
    after a SIGSTOP or a frozen container of that length, which loses nothing.  A stop has a bound
    of its own.

    Raises:
        CannotGoOn: a loop hangs though the event loop turns; where each task stands is logged.
    """
    sign = health.sign(EVENT_LOOP)
    hung_after_s = 2 * health.silence_max_s
    while not stop.ordered.is_set():
        sign.give(rest_s=TICK_S)
        stop.end_process_unless_told_again(within_s=hung_after_s)
        for loop, silent_s in health.silences().items():
            if silent_s > hung_after_s:
                log.error("loop_hangs", loop=loop, silent_s=round(silent_s), tasks=_tasks())
                raise CannotGoOn(f"the loop {loop} gave no sign for {silent_s:.0f} s")
        await asyncio.sleep(TICK_S)


def _tasks() -> dict[str, list[str]]:
    """Where each task waits, from the outermost call inwards."""
    return {task.get_name(): list(_awaits(task.get_coro())) for task in asyncio.all_tasks()}


def _awaits(awaited: object) -> Iterator[str]:
    while isinstance(awaited, CoroutineType):
        frame: FrameType | None = awaited.cr_frame
        if frame is not None:
            code = frame.f_code
            yield f"{code.co_filename}:{frame.f_lineno} {code.co_qualname}"
        awaited = awaited.cr_await


async def probe_postgres(pool: Pool, health: Health, floors: Floors) -> int:
    """See whether Postgres answers and has our schema, and how the promises stand there."""
    try:
        await require_current_schema(pool)
        async with transaction(pool) as conn:
            metrics.OUTBOX_AGE.set(await outbox.oldest_s(conn, floors))
            metrics.OUTBOX_REFUSED.set(await outbox.held(conn))
            metrics.OLDEST_XMIN_AGE.set(await oldest_xmin_age(conn))
    except Unavailable:
        health.looked_at("Postgres", lacks="does not answer, or has no connection free")
    except Misconfigured as error:
        health.looked_at("schema", lacks=str(error))
    else:
        health.looked_at("Postgres")
        health.looked_at("schema")
    return 0


async def keep_connections_current(pool: Pool, postgres: Postgres, credentials: Credentials) -> int:
    """Have Postgres's connections made anew where its credentials were renewed.

    Raises:
        Unavailable: what they are now opens no connection; the old ones stay.
    """
    if credentials.changed:
        await renew_connections(pool, postgres)
        credentials.use()
        log.info("credentials_renewed", client="postgres")
    return 0


class Reader(Protocol):
    """What is asked of a consumer: plain values, without a request."""

    @property
    def name(self) -> str:
        """What it reads."""

    @property
    def lacks(self) -> str:
        """Why it cannot read now; empty if it can, or has nothing to read."""

    @property
    def waits_for_kafka(self) -> bool:
        """Whether it can do nothing, not even turn, until Kafka is there again."""

    @property
    def lag(self) -> int:
        """How many records are waiting for it."""

    async def ask_why(self) -> str:
        """Why it does not reach Kafka, as Kafka answers now; empty where it is not known."""


def reading_sign(health: Health, reader: str) -> Sign:
    """The sign of a consumer, by its name: given at each turn."""
    return health.sign(f"ingest {reader}")


async def look_at_reader(reader: Reader, health: Health) -> int:
    """See whether a consumer is a member of its group and hears from Kafka, and how far behind."""
    if reader.waits_for_kafka:
        reading_sign(health, reader.name).give()
    lacks = reader.lacks
    if lacks and (why := await reader.ask_why()):
        lacks += f" ({why})"
    health.looked_at(f"consumer {reader.name}", lacks=lacks)
    metrics.LAG.labels(reader.name).set(reader.lag)
    return 0
