"""What the naive contenders share: what a competent engineer writes in an afternoon.

FastStream, pydantic, asyncpg: one message, one handler, one transaction with a statement a row, the
events published one by one, each waited for, then the acknowledgement.  Its tables are simple, and
its own.  Nothing of it is made slow on purpose; nothing is batched.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import asyncpg
from faststream.kafka import KafkaBroker
from pydantic import BaseModel

from benchmarks.floor import DecisionClock, Job

if TYPE_CHECKING:  # the naive has nothing of the product
    from benchmarks.stage import Connection
    from marketplace_worker.settings import Settings

SCHEMA = """
CREATE TABLE customers (
    organization_id text PRIMARY KEY,
    state text NOT NULL,
    reason text,
    canceled_at timestamptz,
    due_at timestamptz,
    sequence bigint NOT NULL DEFAULT 0
);
CREATE INDEX customers_due ON customers (due_at) WHERE due_at IS NOT NULL;
CREATE TABLE plans (
    marketplace text NOT NULL,
    subscription_id text NOT NULL,
    organization_id text NOT NULL,
    status text NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (marketplace, subscription_id)
);
CREATE TABLE usage (
    organization_id text PRIMARY KEY,
    last_request_at timestamptz,
    requests bigint NOT NULL DEFAULT 0
);
CREATE TABLE history (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    message_id text UNIQUE,
    organization_id text NOT NULL,
    state_before text NOT NULL,
    state text NOT NULL,
    happened_at timestamptz NOT NULL,
    body jsonb
);
"""


class Event(BaseModel):
    """What is published: a CloudEvent."""

    specversion: str = "1.0"
    id: str
    source: str = "/naive"
    type: str
    subject: str
    time: datetime
    datacontenttype: str = "application/json"
    data: dict[str, Any]


def events(
    kinds: tuple[str, ...], organization: str, at: datetime, row: dict[str, Any]
) -> list[Event]:
    """One of each kind, each with how the organization stands."""
    return [
        Event(id=str(uuid4()), type=f"naive.{kind}.v1", subject=organization, time=at, data=row)
        for kind in kinds
    ]


class Finish:
    """Counts what is done, and tells when it is enough."""

    def __init__(self, count: int) -> None:
        self.clock = DecisionClock()
        self._count = count
        self._reached = asyncio.Event()

    def step(self) -> None:
        """One more is done."""
        self.clock.done += 1
        if self.clock.done == self._count:
            self.result = self.clock.result()
            self._reached.set()

    async def reached(self) -> dict[str, Any]:
        """Wait until enough is done; returns what was measured."""
        await self._reached.wait()
        return self.result


def broker(job: Job) -> KafkaBroker:
    """As its documentation begins; what it publishes is compressed as ours."""
    return KafkaBroker(
        job["kafka"],
        compression_type=job["compression"],
        logger=logging.getLogger("naive"),
        log_level=logging.DEBUG,
    )


def subscription(job: Job) -> dict[str, Any]:
    """The arguments of a subscriber that loses nothing."""
    return {
        "group_id": job["group"],
        "auto_offset_reset": "earliest",
        "session_timeout_ms": job["session_timeout_ms"],
    }


@asynccontextmanager
async def pooled(job: Job) -> AsyncIterator["asyncpg.Pool[asyncpg.Record]"]:
    """The job's database."""
    async with asyncpg.create_pool(job["dsn"], min_size=1, max_size=4) as pool:
        yield pool


async def fill(
    connection: "Connection", _: "Settings", *, organizations: int, due: bool = False
) -> None:
    """Its tables, with a fleet: each organization has a plan on each marketplace."""
    await connection.execute(SCHEMA)
    await connection.execute(
        "INSERT INTO customers (organization_id, state, due_at)"
        " SELECT '6f1c2a7e-3b54-4d0a-8c1e-0000' || lpad(n::text, 8, '0'), 'active',"
        " CASE WHEN $2 THEN now() - interval '1 day' END"
        " FROM generate_series(0, $1 - 1) AS n",
        organizations,
        due,
    )
    await connection.execute(
        "INSERT INTO usage (organization_id) SELECT organization_id FROM customers"
    )
    await connection.execute(
        "INSERT INTO plans SELECT plan.marketplace, plan.begins || right(organization_id, 8),"
        " organization_id, 'active', now() FROM customers, (VALUES"
        " ('aws', 'agmt-2nehijlqfz9g7f2v6'), ('aws', 'n0123examplecode/X01EXAMPLE'),"
        " ('gcp', 'd3c52313-c65f-43b7-987a-0000'), ('azure', 'c0ffee11-2b3c-4d5e-8f90-0000')"
        ") AS plan (marketplace, begins)"
    )
