"""Connections, transactions, the clock, and which of Postgres's refusals mean "try it again"."""

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
from marketplace_worker.store.sessions import open_session, require_own_sessions

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Connection = PoolConnectionProxy[asyncpg.Record] | asyncpg.Connection[asyncpg.Record]
    Pool = asyncpg.Pool[asyncpg.Record]
else:
    Connection = Pool = Any

DecisionClock = Callable[[Connection], Awaitable[datetime]]
"""Tells the moment (UTC) at which a transaction decides."""

CONNECT_TIMEOUT_S = 10.0

CLOSE_TIMEOUT_S = 0.5
"""Who opens the pool closes it when all that uses it has ended, or was given up."""

_OURS = (
    asyncpg.CardinalityViolationError,
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.TriggeredDataChangeViolationError,
    asyncpg.WithCheckOptionViolationError,
    asyncpg.ProgramLimitExceededError,
    asyncpg.PLPGSQLError,
)
"""What only the values that we write can cause; the program's limit is one of an index."""

_PASSING = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    MemoryError,
)
"""Everything else passes by itself, or when somebody mends the server, the schema or a grant.

An internal error of the client is one of the connection: a server that goes while nobody asks it
anything leaves asyncpg in a state that it does not expect.
"""


@asynccontextmanager
async def connecting(postgres: Postgres) -> AsyncIterator[Pool]:
    """Open a pool of connections, each of which works as `APPLICATION_ROLE`.

    Raises:
        Unavailable: Postgres does not answer.
        Misconfigured: it refuses who we are or what we ask for.
    """
    await require_own_sessions(postgres)
    pool = await asyncpg.create_pool(
        min_size=1,
        max_size=postgres.pool_connections_max,
        command_timeout=postgres.statement_timeout_ms / 1000 + 5,
        connect=partial(_open, postgres),
        reset=_keep,
    )
    try:
        yield pool
    finally:
        await _close(pool)


async def renew_connections(pool: Pool, postgres: Postgres) -> None:
    """Have all connections made anew; where what the files hold now opens none, the old ones stay.

    Raises:
        Unavailable: it opens none.
    """
    try:
        connection = await open_session(postgres)
    except (ConnectionRefused, Unavailable) as error:
        raise Unavailable(
            f"the renewed credentials do not open a connection to Postgres: {error}"
        ) from error
    await connection.close(timeout=CLOSE_TIMEOUT_S)
    await pool.expire_connections()


async def _open(postgres: Postgres, *_: object, **arguments: Any) -> Any:  # noqa: ANN401 - asyncpg's
    """What the pool connects by; its own idea of where to is not asked."""
    return await open_session(postgres, **arguments)


async def _close(pool: Pool) -> None:
    """Close the connections; one that is still in use then is cut off, and Postgres rolls back."""
    try:
        async with asyncio.timeout(CLOSE_TIMEOUT_S):
            await pool.close()
    except (TimeoutError, asyncpg.InterfaceError):  # the latter: terminated meanwhile
        pool.terminate()


async def _keep(_: Connection) -> None:
    """Keep a released connection as it is: no session state is used, so a round trip is saved."""


@asynccontextmanager
async def transaction(pool: Pool) -> AsyncIterator[Connection]:
    """One transaction on a connection of the pool: all of it, or nothing.

    Raises:
        Unavailable: Postgres is away, overloaded or being changed; the same may be tried again.
        Exception: what the block raised, but for Postgres's refusals; and those of what we write.
    """
    async with _transaction(pool) as connection:
        yield connection


@asynccontextmanager
async def one_moment(pool: Pool) -> AsyncIterator[Connection]:
    """Reads of which all see the database as it is at one moment; raises as `transaction` does."""
    async with _transaction(pool, isolation="repeatable_read", readonly=True) as connection:
        yield connection


@asynccontextmanager
async def _transaction(
    pool: Pool,
    *,
    isolation: Literal["repeatable_read"] | None = None,
    readonly: bool = False,
) -> AsyncIterator[Connection]:
    """What goes wrong before the block and after it is never the fault of what the block does."""
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
        # Who was let in before may be again: passwords and certificates are renewed on disk.
        raise Unavailable(str(error)) from error
    except asyncpg.UniqueViolationError as error:
        # Another worker took the same message at the same moment; the journal knows it now.
        raise Unavailable(f"Postgres: {error}") from error
    except asyncpg.QueryCanceledError as error:
        raise TookTooLong(f"Postgres: {type(error).__name__}: {error}") from error
    except asyncpg.ReadOnlySQLTransactionError as error:
        # This server was made a standby: where the DSN names several, another is the primary now,
        # and only a new connection asks which.
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
    """The time by the clock that all workers share: the database's (docs/delivery.md, clocks)."""
    now: datetime = await conn.fetchval("SELECT clock_timestamp()")
    return now
