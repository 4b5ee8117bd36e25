"""Connections, transactions, the database's clock, and which errors of Postgres can be retried."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import asyncpg

from marketplace_worker.errors import TookTooLong, Unavailable
from marketplace_worker.settings import Postgres
from marketplace_worker.store.dsn import ConnectionRefused
from marketplace_worker.store.sessions import Access, open_session, require_own_sessions

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Connection = PoolConnectionProxy[asyncpg.Record] | asyncpg.Connection[asyncpg.Record]
    Pool = asyncpg.Pool[asyncpg.Record]
else:
    Connection = Pool = Any

DecisionClock = Callable[[Connection], Awaitable[datetime]]
"""Returns the moment (UTC) with which a transaction's decisions are dated."""

CONNECT_TIMEOUT_S = 10.0

CLOSE_TIMEOUT_S = 0.5
"""Short: the pool is closed only after all its users have ended or were cancelled."""

_OURS = (
    asyncpg.CardinalityViolationError,
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.TriggeredDataChangeViolationError,
    asyncpg.WithCheckOptionViolationError,
    asyncpg.ProgramLimitExceededError,
    asyncpg.PLPGSQLError,
)
"""Errors that only the written values can cause (`ProgramLimitExceeded`: an index row's size)."""

_PASSING = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    MemoryError,
)
"""All other errors, which go away by themselves or when an operator repairs the server, the schema
or a grant.

`InternalClientError` means a lost connection: if the server goes away while a connection is idle,
asyncpg ends up in a state that it does not expect.
"""


@asynccontextmanager
async def connecting(postgres: Postgres, access: Access = Access.WORK) -> AsyncIterator[Pool]:
    """Open a pool of connections for one use of the database.

    Raises:
        Unavailable: Postgres does not answer.
        Misconfigured: it refuses the login or the settings of the session.
    """
    await require_own_sessions(postgres)
    pool = await asyncpg.create_pool(
        min_size=1,
        max_size=postgres.pool_connections_max,
        command_timeout=postgres.statement_timeout_ms / 1000 + 5,
        connect=partial(_open, postgres, access),
        reset=_keep,
    )
    try:
        yield pool
    finally:
        await _close(pool)


async def renew_connections(pool: Pool, postgres: Postgres) -> None:
    """Replace all connections, after a file with credentials or certificates has changed.

    The old connections stay if the new contents do not allow a connection.

    Raises:
        Unavailable: they do not.
    """
    try:
        connection = await open_session(postgres)
    except (ConnectionRefused, Unavailable) as error:
        raise Unavailable(
            f"the renewed credentials do not open a connection to Postgres: {error}"
        ) from error
    await connection.close(timeout=CLOSE_TIMEOUT_S)
    await pool.expire_connections()


async def _open(
    postgres: Postgres,
    access: Access,
    *_: object,
    **arguments: Any,  # noqa: ANN401 - asyncpg's
) -> Any:  # noqa: ANN401 - asyncpg's
    """Open a connection for the pool; the pool's own address arguments are ignored."""
    return await open_session(postgres, access, **arguments)


async def _close(pool: Pool) -> None:
    """Close the connections; those still in use are terminated, and Postgres rolls back."""
    try:
        async with asyncio.timeout(CLOSE_TIMEOUT_S):
            await pool.close()
    except (TimeoutError, asyncpg.InterfaceError):  # InterfaceError: terminated meanwhile
        pool.terminate()


async def _keep(_: Connection) -> None:
    """Do not reset a released connection: no session state is used, and this saves a round trip."""


@asynccontextmanager
async def transaction(pool: Pool) -> AsyncIterator[Connection]:
    """Run the block in one transaction, on a connection of the pool.

    Raises:
        Unavailable: Postgres is down, overloaded or being changed; the block may be retried.
        Exception: any other error of the block, among them errors caused by the written values.
    """
    async with _transaction(pool) as connection:
        yield connection


@asynccontextmanager
async def one_moment(pool: Pool) -> AsyncIterator[Connection]:
    """Run the block read-only, in one snapshot of the database; raises as `transaction` does."""
    async with _transaction(pool, isolation="repeatable_read", readonly=True) as connection:
        yield connection


@asynccontextmanager
async def _transaction(
    pool: Pool,
    *,
    isolation: Literal["repeatable_read"] | None = None,
    readonly: bool = False,
) -> AsyncIterator[Connection]:
    """An error before or after the block is never caused by what the block does: it is retried."""
    in_block = False
    try:
        async with (
            pool.acquire(timeout=CONNECT_TIMEOUT_S) as connection,
            connection.transaction(isolation=isolation, readonly=readonly),
        ):
            in_block = True
            yield connection
            in_block = False
    except ConnectionRefused as error:
        # It was accepted at the start and may be again: files with credentials are renewed.
        raise Unavailable(str(error)) from error
    except asyncpg.UniqueViolationError as error:
        # Another worker recorded the same message concurrently; a retry finds it in the journal.
        raise Unavailable(f"Postgres: {error}") from error
    except asyncpg.QueryCanceledError as error:
        raise TookTooLong(f"Postgres: {type(error).__name__}: {error}") from error
    except asyncpg.ReadOnlySQLTransactionError as error:
        # This server became a standby.  If the DSN names several servers, another one is now the
        # primary; only a new connection finds out which.
        await pool.expire_connections()
        raise Unavailable(f"Postgres: {type(error).__name__}: {error}") from error
    except _OURS as error:
        if isinstance(error, asyncpg.SequenceGeneratorLimitExceededError):
            raise Unavailable(f"Postgres: {error}") from error
        raise
    except Exception as error:
        if in_block and not isinstance(error, _PASSING):
            raise
        raise Unavailable(f"Postgres: {type(error).__name__}: {error}") from error


async def database_clock(conn: Connection) -> datetime:
    """The database's current time, which all workers share (docs/delivery.md, clocks)."""
    now: datetime = await conn.fetchval("SELECT clock_timestamp()")
    return now
