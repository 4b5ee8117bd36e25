"""Opens connections to Postgres with the present contents of the files, and prepares them.

If that fails, an exception names the reason.
"""

import asyncio
import contextlib
import re
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import Enum
from typing import TYPE_CHECKING, Any

import asyncpg

from marketplace_worker import tls
from marketplace_worker.errors import Misconfigured, Unavailable
from marketplace_worker.settings import Postgres
from marketplace_worker.store.dsn import ConnectionRefused, Target, read_target, unreadable
from marketplace_worker.store.queries import queries

if TYPE_CHECKING:
    Session = asyncpg.Connection[asyncpg.Record]
else:
    Session = Any

SQL = queries("sessions")

APPLICATION_ROLE = "marketplace_worker_app"
"""The role of every connection that may write.  The migrations create it and grant its rights."""


class Access(Enum):
    """What a session is for.

    `WORK`: with the role `APPLICATION_ROLE`.  `READ`: with the rights of the login, and only in
    transactions that cannot write.
    """

    WORK = "work"
    READ = "read"


IDLE_IN_TRANSACTION_MS = 300_000
"""Longer than the relay can wait for Kafka: it leads its shards by an open transaction."""

CLOSE_TIMEOUT_S = 1.0

POOLER_ROUNDS = 5
POOLER_TIMEOUT_S = 5.0
"""How long to wait for a second session; a pooler in session mode may have no free connection."""

NAMES = tls.Names(
    ca="postgres.ssl_root_cert_file", certificate="postgres.ssl_cert_file", host="postgres.dsn"
)

_ONLY_A_PERSON = (
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.ClientConfigurationError,
    asyncpg.InsufficientPrivilegeError,
    asyncpg.UndefinedObjectError,
    asyncpg.InvalidParameterValueError,
    asyncpg.CantChangeRuntimeParamError,
)
"""Errors that waiting does not solve; from the fourth on, errors about the server's settings."""

_AWAY = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)

_POOLERS_REFUSAL = re.compile(r"unsupported startup parameter|no such (database|user)")
"""PgBouncer's messages for such errors; it uses the same code for servers that are down."""


async def open_session(
    postgres: Postgres,
    access: Access = Access.WORK,
    **arguments: Any,  # noqa: ANN401 - asyncpg's
) -> Session:
    """Open a connection with the worker's timeouts.

    Raises:
        Unavailable: Postgres does not answer, or a file of the settings cannot be read now.
        ConnectionRefused: it refuses the login or the settings of the session, or ignores them.
    """
    connection = await _connect(postgres, **arguments)
    try:
        await _make_ready(postgres, access, connection)
    except BaseException:
        connection.terminate()
        raise
    return connection


async def require_own_sessions(postgres: Postgres) -> None:
    """Refuse a pooler in transaction mode: clients would share role, timeouts and session locks.

    There is a pooler if the server process that answers is not the one that accepted the
    connection; it shares sessions if one server process answers two open connections.  Raises as
    `open_session` does.
    """
    async with _session(postgres) as first:
        if await _answering(first) == first.get_server_pid():
            return
        try:
            async with asyncio.timeout(POOLER_TIMEOUT_S), _session(postgres) as second:
                shared = await _share(first, second)
        except (TimeoutError, Unavailable):
            return
    if shared:
        raise _pooled()


@asynccontextmanager
async def _session(postgres: Postgres) -> AsyncIterator[Session]:
    connection = await _connect(postgres)
    try:
        yield connection
    except (asyncpg.InvalidSQLStatementNameError, asyncpg.DuplicatePreparedStatementError):
        raise _pooled() from None  # a statement prepared in one process, executed in another
    except _AWAY as error:
        raise Unavailable(f"Postgres: {type(error).__name__}: {error}") from error
    finally:
        with contextlib.suppress(*_AWAY):
            await connection.close(timeout=CLOSE_TIMEOUT_S)


async def _answering(session: Session) -> int:
    return int(await session.fetchval(SQL["server_process"]))


async def _share(first: Session, second: Session) -> bool:
    for _ in range(POOLER_ROUNDS):
        before = await _answering(first)
        try:
            async with second.transaction():
                if before == await _answering(second) or before != await _answering(first):
                    return True
        except asyncpg.PostgresError as error:
            if "statement pooling" in str(error):
                return True
            raise
    return False


def _pooled() -> ConnectionRefused:
    return ConnectionRefused(
        "postgres.dsn points to a pooler in transaction mode (PgBouncer: pool_mode=transaction), "
        "but the worker needs sessions: set pool_mode=session for its database or user, or "
        "connect to Postgres directly"
    )


async def _connect(postgres: Postgres, **arguments: Any) -> Session:  # noqa: ANN401 - asyncpg's
    target = read_target(postgres)
    try:
        connection: Session = await asyncpg.connect(
            **{**arguments, "dsn": target.dsn, "timeout": target.connect_timeout_s}
        )
    except Exception as error:
        raise _named(target, error) from error
    # asyncpg has no public access to the socket; nothing else of the transport is used.
    transport: asyncio.Transport = connection._transport  # type: ignore[attr-defined]  # noqa: SLF001 - as said above
    link = transport.get_extra_info("socket")
    if link is not None and link.family != socket.AF_UNIX:
        for level, option, value in target.socket_options:
            link.setsockopt(level, option, value)
    return connection


def _lock_timeout_ms(postgres: Postgres) -> int:
    """Below the statement timeout, to distinguish waiting for a lock from a slow statement."""
    return postgres.statement_timeout_ms * 9 // 10


async def _make_ready(postgres: Postgres, access: Access, connection: Session) -> None:
    wanted_ms = (postgres.statement_timeout_ms, _lock_timeout_ms(postgres), IDLE_IN_TRANSACTION_MS)
    try:
        match access:
            case Access.WORK:
                await connection.execute(SQL["begin"], *map(str, wanted_ms), APPLICATION_ROLE)
            case Access.READ:
                await connection.execute(SQL["begin_reading"], *map(str, wanted_ms))
        found = await connection.fetchrow(SQL["read_back"], APPLICATION_ROLE)
    except asyncpg.InsufficientPrivilegeError as error:
        raise ConnectionRefused(
            f"postgres.dsn: {error}: its user must be a member of {APPLICATION_ROLE} "
            f"(GRANT {APPLICATION_ROLE} TO …)"
        ) from error
    except _AWAY as error:
        raise Unavailable(f"Postgres: {type(error).__name__}: {error}") from error
    assert found is not None
    _require_kept(wanted_ms, access, found)
    if access is Access.WORK:
        _require_worker(found)


def _require_kept(wanted_ms: tuple[int, ...], access: Access, found: asyncpg.Record) -> None:
    kept = (
        found["statement_timeout_ms"],
        found["lock_timeout_ms"],
        found["idle_in_transaction_ms"],
    )
    reads_only = found["reads_only"] or access is not Access.READ
    if kept != wanted_ms or found["timezone"] != "UTC" or not reads_only:
        raise ConnectionRefused(
            "postgres.dsn: a pooler or proxy does not preserve the session's settings "
            f"(statement_timeout is {kept[0]} ms, lock_timeout {kept[1]} ms, "
            f"idle_in_transaction_session_timeout {kept[2]} ms, timezone {found['timezone']}): "
            "connect to Postgres directly"
        )


def _require_worker(found: asyncpg.Record) -> None:
    if found["works_as"] not in {None, APPLICATION_ROLE}:
        raise ConnectionRefused(
            f"postgres.dsn: the session's role is {found['works_as']} instead of "
            f"{APPLICATION_ROLE}: connect to Postgres directly"
        )
    if found["synchronous_commit"] == "off":
        raise ConnectionRefused(
            "postgres.dsn: synchronous_commit is off, so a crash of Postgres could lose batches "
            "whose offsets are committed: ALTER ROLE … SET synchronous_commit = on"
        )


def _named(target: Target, error: Exception) -> Misconfigured | Unavailable:
    """The exception, with a message, for a failed connection."""
    where = f"Postgres at {target.hosts}"
    named = f"{where} (postgres.dsn)"
    if distrust := tls.refusal_of(error, NAMES):
        return ConnectionRefused(f"{where}: {distrust}")
    match error:
        case ssl.SSLError() if error.library != "SSL":
            return ConnectionRefused(
                f"{NAMES.ca}, {NAMES.certificate} or its key cannot be used ({error.reason})"
            )
        case ssl.SSLError():
            return Unavailable(f"{where}: {type(error).__name__}: {error}")
        case asyncpg.PostgresError() if "client certificate" in str(error):
            return ConnectionRefused(
                f"{named}: {error}: set postgres.ssl_cert_file and ssl_key_file"
            )
        case asyncpg.InsufficientPrivilegeError():
            return ConnectionRefused(f"{named}: {error}: GRANT CONNECT ON DATABASE … TO its user")
        case asyncpg.ProtocolViolationError() if _POOLERS_REFUSAL.search(str(error)):
            return ConnectionRefused(f"{named}: {error} (reported by PgBouncer)")
        case _ if isinstance(error, _ONLY_A_PERSON):
            return ConnectionRefused(f"{named}: {error}")
        case ConnectionError() if "rejected SSL upgrade" in str(error):
            return ConnectionRefused(
                f"{where} does not support TLS: enable it there, or change postgres.sslmode"
            )
        case ValueError():
            return unreadable()
        case _:
            return Unavailable(f"{where}: {_unreached(error)}")


def _unreached(error: Exception) -> str:
    match error:
        case socket.gaierror():
            return f"no address is known for that name ({error.strerror})"
        case ConnectionRefusedError():
            return "ConnectionRefusedError: nothing listens on that port"
        case asyncpg.ConnectionDoesNotExistError() | ConnectionResetError():
            # With TLS 1.3 the server refuses a certificate after the handshake; the alert may be
            # lost.
            return (
                f"{type(error).__name__}: it closed the connection: it is ending, or it asks for "
                f"certificates and does not accept our certificate, {NAMES.certificate}"
            )
        case _:
            return f"{type(error).__name__}: {error}"
