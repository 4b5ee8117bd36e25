"""How a connection is encrypted and logs in, in the words of aiokafka and of FastStream."""

import contextlib
import ssl
from typing import Any

from aiokafka.conn import create_conn
from aiokafka.errors import BrokerResponseError, KafkaError
from faststream.security import BaseSecurity, SASLPlaintext, SASLScram256, SASLScram512

from marketplace_worker.errors import Misconfigured
from marketplace_worker.settings import Kafka

LOGIN_TIMEOUT_MS = 5_000
"""How long a broker that does not answer is asked why it lets nobody log in."""


def client_arguments(kafka: Kafka) -> dict[str, Any]:
    """The arguments that every aiokafka client takes.

    Raises:
        Misconfigured: a certificate or key file cannot be used.
    """
    arguments: dict[str, Any] = {
        "bootstrap_servers": servers(kafka),
        "client_id": kafka.client_id,
        "security_protocol": kafka.security_protocol,
        "ssl_context": ssl_context(kafka),
    }
    if kafka.sasl_mechanism is not None and kafka.sasl_password is not None:
        arguments |= {
            "sasl_mechanism": kafka.sasl_mechanism,
            "sasl_plain_username": kafka.sasl_username,
            "sasl_plain_password": kafka.sasl_password.get_secret_value(),
        }
    return arguments


def security(kafka: Kafka) -> BaseSecurity:
    """The same for FastStream.  Raises `Misconfigured` as `client_arguments` does."""
    context = ssl_context(kafka)
    use_ssl = context is not None
    if kafka.sasl_mechanism is None:
        return BaseSecurity(ssl_context=context, use_ssl=use_ssl)
    assert kafka.sasl_username is not None
    assert kafka.sasl_password is not None
    kinds = {
        "PLAIN": SASLPlaintext,
        "SCRAM-SHA-256": SASLScram256,
        "SCRAM-SHA-512": SASLScram512,
    }
    return kinds[kafka.sasl_mechanism](
        username=kafka.sasl_username,
        password=kafka.sasl_password.get_secret_value(),
        ssl_context=context,
        use_ssl=use_ssl,
    )


async def refused_login(kafka: Kafka) -> str:
    """Why Kafka does not let us log in, in words; empty where that is not what is wrong.

    Ask where a client could not start: of all that went wrong it only says that it reached nobody.
    """
    arguments = client_arguments(kafka)
    for server in arguments.pop("bootstrap_servers"):
        host, _, port = server.rpartition(":")
        with contextlib.suppress(KafkaError, OSError):
            try:
                connection = await create_conn(
                    host.strip("[]"),
                    int(port),
                    request_timeout_ms=min(kafka.request_timeout_ms, LOGIN_TIMEOUT_MS),
                    **arguments,
                )
            except BrokerResponseError as refusal:
                who = kafka.sasl_username or "us"
                return (
                    f"Kafka at {server} does not let {who} log in ({refusal}): set kafka."
                    "security_protocol, kafka.sasl_mechanism, kafka.sasl_username and "
                    "kafka.sasl_password as it wants them"
                )
            connection.close()
    return ""


def servers(kafka: Kafka) -> list[str]:
    """The brokers to ask first, each `host:port`."""
    # Split here: FastStream takes a string for one server, commas and all.
    return kafka.bootstrap_servers.split(",")


def ssl_context(kafka: Kafka) -> ssl.SSLContext | None:
    """Whom to trust and who we are; None where connections are not encrypted."""
    if not kafka.security_protocol.endswith("SSL"):
        return None
    try:
        context = ssl.create_default_context(cafile=kafka.ssl_ca_file)
    except (OSError, ssl.SSLError) as error:
        raise Misconfigured(f"kafka.ssl_ca_file: {error}") from error
    if kafka.ssl_cert_file is not None:
        try:
            # With an empty password, an encrypted key fails instead of asking the terminal.
            context.load_cert_chain(kafka.ssl_cert_file, kafka.ssl_key_file, password="")
        except (OSError, ssl.SSLError) as error:
            raise Misconfigured(f"kafka.ssl_cert_file, kafka.ssl_key_file: {error}") from error
    return context
