"""Shared code of the naive contenders: what a competent engineer writes in an afternoon.

With FastStream, pydantic and asyncpg: one message, one handler, one transaction with a statement
for each row; then the events are published one by one, waiting for each; then the message is
acknowledged.  It has its own simple tables.  Nothing is slow on purpose; nothing is batched.
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

from benchmarks.floor import Job, Stopwatch

if TYPE_CHECKING:  # the naive contenders import nothing of the product
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
    """A published CloudEvent."""

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
    """One event of each kind, each with the organization's state."""
    return [
        Event(id=str(uuid4()), type=f"naive.{kind}.v1", subject=organization, time=at, data=row)
        for kind in kinds
    ]


class Finish:
    """Counts finished pieces of work up to the job's number, and measures the time."""

    def __init__(self, count: int) -> None:
        self.clock = Stopwatch()
        self._count = count
        self._reached = asyncio.Event()

    def step(self) -> None:
        """Count one finished piece of work."""
        self.clock.done += 1
        if self.clock.done == self._count:
            self.result = self.clock.result()
            self._reached.set()

    async def reached(self) -> dict[str, Any]:
        """Wait until the number is reached; returns the measured times."""
        await self._reached.wait()
        return self.result


def broker(job: Job) -> KafkaBroker:
    """A broker as in FastStream's documentation, with the same compression as `ours`."""
    return KafkaBroker(
        job["kafka"],
        compression_type=job["compression"],
        logger=logging.getLogger("naive"),
        log_level=logging.DEBUG,
    )


def subscription(job: Job) -> dict[str, Any]:
    """The arguments of a subscriber that loses no messages."""
    return {
        "group_id": job["group"],
        "auto_offset_reset": "earliest",
        "session_timeout_ms": job["session_timeout_ms"],
    }


@asynccontextmanager
async def pooled(job: Job) -> AsyncIterator["asyncpg.Pool[asyncpg.Record]"]:
    """A pool of connections to the job's database."""
    async with asyncpg.create_pool(job["dsn"], min_size=1, max_size=4) as pool:
        yield pool


async def fill(
    connection: "Connection", _: "Settings", *, organizations: int, due: bool = False
) -> None:
    """Create its tables and a fleet, in which each organization has a plan on each marketplace."""
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
