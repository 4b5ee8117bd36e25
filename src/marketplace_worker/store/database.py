"""Connections, transactions, the clock, and which of Postgres's refusals mean "try it again"."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import asyncpg

from marketplace_worker.errors import Misconfigured, TookTooLong, Unavailable
from marketplace_worker.settings import Postgres, SslMode

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Connection = PoolConnectionProxy[asyncpg.Record] | asyncpg.Connection[asyncpg.Record]
    Pool = asyncpg.Pool[asyncpg.Record]
else:
    Connection = Pool = Any

Clock = Callable[[Connection], Awaitable[datetime]]
"""Tells the moment (UTC) at which a transaction decides."""

CONNECT_TIMEOUT_S = 10.0

CLOSE_TIMEOUT_S = 0.5
"""Who opens the pool closes it when all that uses it has ended, or was given up."""

IDLE_IN_TRANSACTION_MS = 300_000
"""Longer than the relay can wait for Kafka: it leads its shard by an open transaction."""

APPLICATION_ROLE = "marketplace_worker_app"
"""Whom every connection works as; the migrations make it and say what it may do."""

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
    try:
        pool = await asyncpg.create_pool(
            connect=partial(_connect, postgres),
            min_size=1,
            max_size=postgres.pool_connections_max,
            timeout=CONNECT_TIMEOUT_S,
            command_timeout=postgres.statement_timeout_ms / 1000 + 5,
            init=_assume_role,
            reset=_keep,
            server_settings={
                "application_name": "marketplace-worker",
                "statement_timeout": str(postgres.statement_timeout_ms),
                "lock_timeout": str(_lock_timeout_ms(postgres)),
                "idle_in_transaction_session_timeout": str(IDLE_IN_TRANSACTION_MS),
                "timezone": "UTC",
            },
        )
    except (
        asyncpg.InvalidAuthorizationSpecificationError,
        asyncpg.InvalidCatalogNameError,
        asyncpg.ClientConfigurationError,
    ) as error:
        raise Misconfigured(f"postgres.dsn: {error}") from error
    except asyncpg.InsufficientPrivilegeError as error:
        raise Misconfigured(
            f"postgres.dsn: {error}: its user must be a member of {APPLICATION_ROLE} "
            f"(GRANT {APPLICATION_ROLE} TO …)"
        ) from error
    except ValueError:
        # Its message may hold a part of the password.
        raise Misconfigured("postgres.dsn is no valid URL (is a / or # in it escaped?)") from None
    except _PASSING as error:
        raise Unavailable(f"Postgres: {type(error).__name__}: {error}") from error
    try:
        yield pool
    finally:
        await _close(pool)


async def _connect(
    postgres: Postgres,
    *_: object,
    **arguments: Any,  # noqa: ANN401 - asyncpg's own
) -> "asyncpg.Connection[asyncpg.Record]":
    """A connection by what the files of the settings hold now."""
    current = {"dsn": postgres.dsn.get_secret_value(), "ssl": _tls(postgres)}
    return await asyncpg.connect(**arguments | current)


async def renew_connections(pool: Pool, postgres: Postgres) -> None:
    """Have all connections made anew; where what the files hold now opens none, the old ones stay.

    Raises:
        Unavailable: it opens none.
    """
    try:
        connection = await _connect(postgres, timeout=CONNECT_TIMEOUT_S)
        await connection.close(timeout=CLOSE_TIMEOUT_S)
    except (ValueError, Misconfigured, *_PASSING) as error:
        # Its message may hold a part of the password.
        raise Unavailable(
            f"Postgres: what its settings' files hold now opens no connection: "
            f"{type(error).__name__}"
        ) from None
    await pool.expire_connections()


def _lock_timeout_ms(postgres: Postgres) -> int:
    """So that what waits for a lock is told from what is slow itself."""
    return postgres.statement_timeout_ms * 9 // 10


async def _assume_role(connection: Connection) -> None:
    """Before the first migration there is no such role, nor anything to be done as it."""
    await connection.execute(
        "SELECT set_config('role', $1, false) WHERE to_regrole($1) IS NOT NULL", APPLICATION_ROLE
    )


async def _close(pool: Pool) -> None:
    """Close the connections; one that is still in use then is cut off, and Postgres rolls back."""
    try:
        async with asyncio.timeout(CLOSE_TIMEOUT_S):
            await pool.close()
    except (TimeoutError, asyncpg.InterfaceError):  # the latter: terminated meanwhile
        pool.terminate()


async def _keep(_: Connection) -> None:
    """Keep a released connection as it is: no session state is used, so a round trip is saved."""


def _tls(postgres: Postgres) -> ssl.SSLContext | SslMode | None:
    root = postgres.ssl_root_cert_file
    if root is None:
        return postgres.sslmode
    return _context(root, hostname=postgres.sslmode == "verify-full")


def _context(root: Path, *, hostname: bool) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=str(root))
    except ssl.SSLError as error:
        raise Misconfigured(f"postgres.ssl_root_cert_file: {error}") from error
    context.check_hostname = hostname
    return context


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
