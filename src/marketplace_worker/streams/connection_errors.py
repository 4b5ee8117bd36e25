"""Finds out why Kafka cannot be reached: aiokafka's clients report only that no broker answered.

Connects to each configured broker as a client does; if that is not conclusive, connects without
credentials, to find its protocol and its login mechanisms.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass

from aiokafka import conn
from aiokafka.errors import (
    BrokerResponseError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.admin import SaslHandShakeRequest
from aiokafka.protocol.metadata import MetadataRequest

from marketplace_worker import tls
from marketplace_worker.errors import Misconfigured, Unavailable
from marketplace_worker.settings import Kafka
from marketplace_worker.streams.security import NAMES, client_arguments, servers

REQUEST_TIMEOUT_MS = 3_000
ALL_TIMEOUT_S = 10.0
"""The time limit for finding out why brokers do not answer."""


@dataclass(frozen=True, slots=True)
class _Spoken:
    """A broker's protocol.

    Args:
        encrypted: whether it requires TLS.
        mechanisms: its login mechanisms; empty without logins, None if it did not answer.
    """

    encrypted: bool
    mechanisms: tuple[str, ...] | None

    def protocols(self) -> tuple[str, ...]:
        """The values of `kafka.security_protocol` that fit it."""
        bare = "SSL" if self.encrypted else "PLAINTEXT"
        match self.mechanisms:
            case None:
                return (bare, f"SASL_{bare}")
            case ():
                return (bare,)
            case _:
                return (f"SASL_{bare}",)


async def connection_error(kafka: Kafka, error: BaseException) -> Misconfigured | Unavailable:
    """The exception for a client that could not start: the cause, or else its error in words."""
    found = await find_connection_error(kafka)
    return found or Unavailable(f"Kafka at {kafka.bootstrap_servers}: {_words(error)}")


async def find_connection_error(kafka: Kafka) -> Misconfigured | Unavailable | None:
    """Why none of the brokers can be used; None if one can, or if none answers in time.

    `Misconfigured` if waiting does not help, because only an operator can fix it.
    """
    try:
        async with asyncio.timeout(ALL_TIMEOUT_S):
            asked = (_ask(kafka, *_address(server)) for server in servers(kafka))
            found = [each for each in await asyncio.gather(*asked) if each is not None]
    except TimeoutError:
        return None
    if len(found) < len(servers(kafka)):
        return None
    return next((each for each in found if isinstance(each, Misconfigured)), found[0])


def _address(server: str) -> tuple[str, int]:
    host, _, port = server.rpartition(":")
    return host.strip("[]"), int(port)


async def _ask(kafka: Kafka, host: str, port: int) -> Misconfigured | Unavailable | None:
    """Why this broker cannot be used; None where it can."""
    arguments = client_arguments(kafka) | {"request_timeout_ms": REQUEST_TIMEOUT_MS}
    del arguments["bootstrap_servers"]
    try:
        connection = await conn.create_conn(host, port, **arguments)
        try:
            await connection.send(MetadataRequest([]))
        finally:
            connection.close()
    except (KafkaError, OSError, TimeoutError) as error:
        return await _reason(kafka, host, port, error)
    return None


async def _reason(
    kafka: Kafka, host: str, port: int, error: BaseException
) -> Misconfigured | Unavailable:
    where = f"Kafka at {host}:{port}"
    for cause in _causes(error):
        match cause:
            case Misconfigured():
                return cause
            case Unavailable():
                return Unavailable(f"{where}: {cause}")
            case socket.gaierror():
                return Unavailable(f"{where}: the host name cannot be resolved ({cause.strerror})")
            case ConnectionRefusedError():
                return Unavailable(f"{where}: connection refused: nothing listens on that port")
            case SaslAuthenticationFailed():
                return Misconfigured(f"{where} {_login_refused(kafka, cause)}")
            case _:
                pass
    if distrust := tls.refusal_of(error, NAMES):
        return Misconfigured(f"{where}: {distrust}")
    spoken = await _spoken(host, port)
    if spoken is not None:
        if kafka.security_protocol not in spoken.protocols():
            wanted = " or ".join(spoken.protocols())
            return Misconfigured(
                f"{where} expects {wanted}, but kafka.security_protocol is "
                f"{kafka.security_protocol}: change it{_ways(spoken)}"
            )
        if isinstance(error, UnsupportedSaslMechanismError) or (
            spoken.mechanisms
            and client_arguments(kafka).get("sasl_mechanism") not in spoken.mechanisms
        ):
            return Misconfigured(
                f"{where} does not support {kafka.sasl_mechanism}: change "
                f"kafka.sasl_mechanism{_ways(spoken)}"
            )
    if isinstance(error, BrokerResponseError) and not error.retriable:
        return Misconfigured(f"{where}: {_words(error)}")
    return Unavailable(f"{where}: {_words(error)}")


def _login_refused(kafka: Kafka, refused: SaslAuthenticationFailed) -> str:
    if kafka.sasl_mechanism in {"OAUTHBEARER", "AWS_MSK_IAM"}:
        return f"does not accept our token ({refused})"
    return (
        f"does not accept the login of {kafka.sasl_username} ({refused}): "
        "check kafka.sasl_username and kafka.sasl_password"
    )


def _ways(spoken: _Spoken) -> str:
    return f"; the broker supports {', '.join(spoken.mechanisms)}" if spoken.mechanisms else ""


async def _spoken(host: str, port: int) -> _Spoken | None:
    """The protocol of the broker; None if the server is not a Kafka broker."""
    encrypted = await _encrypts(host, port)
    connection = conn.AIOKafkaConnection(
        host,
        port,
        request_timeout_ms=REQUEST_TIMEOUT_MS,
        security_protocol="SSL" if encrypted else "PLAINTEXT",
        ssl_context=_anybody() if encrypted else None,
    )
    try:
        await connection.connect()
        answer = await connection.send(SaslHandShakeRequest(""))
    except (KafkaError, OSError, TimeoutError):
        return _Spoken(encrypted=True, mechanisms=None) if encrypted else None
    finally:
        connection.close()
    return _Spoken(encrypted, tuple(answer.enabled_mechanisms))


async def _encrypts(host: str, port: int) -> bool:
    """Whether the server answers a TLS handshake."""
    try:
        async with asyncio.timeout(REQUEST_TIMEOUT_MS / 1000):
            _, writer = await asyncio.open_connection(host, port, ssl=_anybody())
    except ssl.SSLError as error:
        return "ALERT" in (error.reason or "")
    except (OSError, TimeoutError):
        return False
    writer.close()
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(REQUEST_TIMEOUT_MS / 1000):
            await writer.wait_closed()
    return True


def _anybody() -> ssl.SSLContext:
    """Trusts any server: no secret is sent on such a connection."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and its causes."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__


def _words(error: BaseException) -> str:
    return str(error) or ("no answer in time" if isinstance(error, TimeoutError) else repr(error))
