"""Reads a DSN with libpq's parameters; asyncpg knows only some of them.

asyncpg sends unknown parameters to the server as settings, and the server refuses them.  Therefore
each parameter of libpq is passed on, applied here, dropped if asyncpg behaves so anyway, or refused
by name.
"""

import socket
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

from marketplace_worker.errors import Misconfigured
from marketplace_worker.settings import Postgres

CONNECT_TIMEOUT_S = 10.0

_WITHOUT_EFFECT: Mapping[str, Sequence[str]] = {
    "application_name": (),  # the worker sets its own
    "fallback_application_name": (),
    "channel_binding": ("disable", "prefer"),
    "gssencmode": ("disable", "prefer"),
    "gssdelegation": ("0",),
    "load_balance_hosts": ("disable", "random"),  # all hosts are tried until the primary is found
    "client_encoding": ("utf8", "utf-8", "auto"),
    "sslcompression": ("0",),
    "sslcertmode": ("allow",),
    "sslsni": ("1",),
    "replication": ("false", "off", "no", "0"),
    "min_protocol_version": ("3.0",),
    "max_protocol_version": ("3.0", "3.2", "latest"),
}
"""libpq's parameters and those of their values that can be dropped, because asyncpg behaves the
same; empty: any value.
"""

_NOT_KEPT = (
    "hostaddr", "oauth_client_id", "oauth_client_secret", "oauth_issuer", "oauth_scope",
    "require_auth", "requirepeer", "requiressl", "scram_client_key", "scram_server_key",
    "sslcrldir", "sslkeylogfile", "servicefile",
)  # fmt: skip

_KEEPALIVES: Mapping[str, tuple[str, int]] = {
    "keepalives_idle": ("TCP_KEEPIDLE", 1),
    "keepalives_interval": ("TCP_KEEPINTVL", 1),
    "keepalives_count": ("TCP_KEEPCNT", 1),
    "tcp_user_timeout": ("TCP_USER_TIMEOUT", 1),
}


class ConnectionRefused(Misconfigured):
    """Postgres refuses the worker, or the worker its settings, until a person changes something."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where and how to connect.

    Args:
        dsn: in asyncpg's form; contains the password.
        hosts: for messages.
        connect_timeout_s: for each connection.
        socket_options: for its socket; level, name and value.
    """

    dsn: str
    hosts: str
    connect_timeout_s: float
    socket_options: tuple[tuple[int, int, int], ...]


def read_target(postgres: Postgres) -> Target:
    """Read the settings and the present contents of their files.

    Raises:
        ConnectionRefused: the DSN has an unsupported parameter, or cannot be read.
        Unavailable: the file that holds it cannot be read.
    """
    try:
        parts = urlsplit(postgres.dsn.get_secret_value())
        given = dict(
            parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
        )
        hosts = parts.netloc.rpartition("@")[2] or given.get("host", "")
    except ValueError:
        # The error's message may contain a part of the password.
        raise unreadable() from None
    kept = {name: value for name, value in given.items() if not _is_dropped(name, value)}
    timeout_s = _seconds(kept.pop("connect_timeout", None))
    options = tuple(_socket_options(kept))
    kept |= _tls(postgres, kept)
    return Target(parts._replace(query=urlencode(kept)).geturl(), hosts, timeout_s, options)


def name_of_database(postgres: Postgres) -> str:
    """The database's name and hosts, for people; without user and password.

    Raises as `read_target`.
    """
    target = read_target(postgres)
    return f"{urlsplit(target.dsn).path.lstrip('/') or 'postgres'} at {target.hosts}"


def unreadable() -> ConnectionRefused:
    """The error for an invalid DSN."""
    return ConnectionRefused(
        "postgres.dsn is not a valid URL (a / or # in the password must be escaped)"
    )


def _is_dropped(name: str, value: str) -> bool:
    """Whether the parameter can be dropped; raises if asyncpg does not support its value."""
    if name in _NOT_KEPT:
        raise _refused(name, value)
    if name not in _WITHOUT_EFFECT:
        return False
    good = _WITHOUT_EFFECT[name]
    if good and value.lower() not in good:
        raise _refused(name, value)
    return True


def _refused(name: str, value: str) -> ConnectionRefused:
    if name == "channel_binding":
        return ConnectionRefused(
            f"postgres.dsn: channel_binding={value} is not supported by asyncpg: remove it and set "
            "sslmode=verify-full, which also prevents man-in-the-middle attacks"
        )
    shown = "" if name.startswith(("oauth_", "scram_")) else f"={value}"
    return ConnectionRefused(f"postgres.dsn: {name}{shown} is not supported by asyncpg: remove it")


def _seconds(value: str | None) -> float:
    """The connect timeout; libpq's 0 (no limit) becomes our default."""
    try:
        return float(value or 0) if float(value or 0) > 0 else CONNECT_TIMEOUT_S
    except ValueError:
        raise ConnectionRefused(
            "postgres.dsn: connect_timeout must be a number of seconds"
        ) from None


def _socket_options(kept: dict[str, str]) -> Sequence[tuple[int, int, int]]:
    """Socket options; removes their parameters from `kept`."""
    named = {name: kept.pop(name) for name in ("keepalives", *_KEEPALIVES) if name in kept}
    try:
        numbers = {name: int(value) for name, value in named.items()}
    except ValueError:
        raise ConnectionRefused(f"postgres.dsn: {', '.join(named)} must be whole numbers") from None
    options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, int(numbers.pop("keepalives", 1) != 0))]
    for name, number in numbers.items():
        option = getattr(socket, _KEEPALIVES[name][0], None)
        if number > 0 and option is not None:  # 0 is the system's own
            options.append((socket.IPPROTO_TCP, option, number))
    return options


def _tls(postgres: Postgres, given: Mapping[str, str]) -> Mapping[str, str]:
    """TLS parameters from the settings, which take precedence over the DSN."""
    ours = {
        "sslmode": postgres.sslmode,
        "sslrootcert": postgres.ssl_root_cert_file,
        "sslcert": postgres.ssl_cert_file,
        "sslkey": postgres.ssl_key_file,
    }
    said = {name: str(value) for name, value in ours.items() if value is not None}
    if said.get("sslrootcert", given.get("sslrootcert")) == "system":
        system = ssl.get_default_verify_paths().cafile
        if system is None:
            raise ConnectionRefused(
                "postgres.dsn: sslrootcert=system: this system has no CA file; "
                "set postgres.ssl_root_cert_file"
            )
        said |= {"sslrootcert": system, "sslmode": "verify-full"}
    for name in ("sslrootcert", "sslcert", "sslkey"):
        path = said.get(name, given.get(name))
        if path is not None and not Path(path).is_file():
            raise ConnectionRefused(f"postgres.dsn: {name}: there is no file {path}")
    return said
