"""How connections are encrypted and log in, in terms of aiokafka and of FastStream.

Files are read again for each connection (`mends/connections.py`).
"""

import ssl
from functools import partial
from typing import Any

from faststream.security import (
    BaseSecurity,
    SASLOAuthBearer,
    SASLPlaintext,
    SASLScram256,
    SASLScram512,
)

from marketplace_worker import tls
from marketplace_worker.settings import Kafka
from marketplace_worker.streams.mends import connections
from marketplace_worker.streams.tokens import token_provider

NAMES = tls.Names(
    ca="kafka.ssl_ca_file", certificate="kafka.ssl_cert_file", host="kafka.bootstrap_servers"
)


METADATA_AGE_MS = 30_000
"""How often a client refreshes its metadata: topics, partitions and brokers."""


def client_arguments(kafka: Kafka) -> dict[str, Any]:
    """The arguments of every aiokafka client.

    Raises:
        Misconfigured: a certificate or key file cannot be used.
    """
    connections.install()
    ssl_context(kafka)
    arguments: dict[str, Any] = {
        "bootstrap_servers": servers(kafka),
        "client_id": kafka.client_id,
        "security_protocol": kafka.security_protocol,
        "ssl_context": partial(ssl_context, kafka) if _encrypts(kafka) else None,
    }
    if provider := token_provider(kafka):
        arguments |= {"sasl_mechanism": "OAUTHBEARER", "sasl_oauth_token_provider": provider}
    elif kafka.sasl_mechanism is not None and kafka.sasl_password is not None:
        arguments |= {
            "sasl_mechanism": kafka.sasl_mechanism,
            "sasl_plain_username": kafka.sasl_username,
            "sasl_plain_password": kafka.sasl_password.get_secret_value,
        }
    return arguments


def broker_arguments(kafka: Kafka) -> dict[str, Any]:
    """The same for FastStream's broker.  Raises `Misconfigured` as `client_arguments` does."""
    theirs = client_arguments(kafka)
    tls_arguments = {"ssl_context": theirs["ssl_context"], "use_ssl": _encrypts(kafka)}
    security: BaseSecurity
    match theirs.get("sasl_mechanism"):
        case None:
            security = BaseSecurity(**tls_arguments)
        case "OAUTHBEARER":
            security = SASLOAuthBearer(**tls_arguments)
            return {
                "security": security,
                "sasl_oauth_token_provider": theirs["sasl_oauth_token_provider"],
            }
        case mechanism:
            kinds = {
                "PLAIN": SASLPlaintext,
                "SCRAM-SHA-256": SASLScram256,
                "SCRAM-SHA-512": SASLScram512,
            }
            security = kinds[mechanism](
                username=theirs["sasl_plain_username"],
                password=theirs["sasl_plain_password"],
                **tls_arguments,
            )
    return {"security": security}


def servers(kafka: Kafka) -> list[str]:
    """The bootstrap servers, each `host:port`."""
    # Split here: FastStream takes a string for a single server, including commas.
    return kafka.bootstrap_servers.split(",")


def ssl_context(kafka: Kafka) -> ssl.SSLContext | None:
    """The trusted CAs and our certificate, from the current files; None if connections are not
    encrypted.  Raises `Misconfigured` if a file cannot be used.
    """
    if not _encrypts(kafka):
        return None
    return tls.client_context(
        NAMES, ca=kafka.ssl_ca_file, certificate=kafka.ssl_cert_file, key=kafka.ssl_key_file
    )


def _encrypts(kafka: Kafka) -> bool:
    return kafka.security_protocol.endswith("SSL")
