"""Each setting of TLS and logins takes effect on connections.

The handshakes happen in memory, with the contexts that connections use.
"""

import ssl
from pathlib import Path
from typing import Any

import pytest
from faststream.kafka.security import parse_security
from pydantic import SecretStr

from certificates import Authority
from marketplace_worker.settings import Kafka
from marketplace_worker.streams.security import broker_arguments, client_arguments

BROKERS = "kafka-1:9092,kafka-2:9093"


def kafka(**settings: Any) -> Kafka:  # noqa: ANN401 - of any setting's type
    """Settings with these changes."""
    return Kafka(bootstrap_servers=BROKERS, **settings)


def logging_in(mechanism: str, **settings: Any) -> Kafka:  # noqa: ANN401 - likewise
    """Settings of a cluster with a password login."""
    return kafka(
        sasl_mechanism=mechanism,
        sasl_username="worker",
        sasl_password=SecretStr("a secret"),
        **{"security_protocol": "SASL_PLAINTEXT", **settings},
    )


# --- logging in -----------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["SASL_PLAINTEXT", "SASL_SSL"])
@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_all_clients_log_in_with_the_configured_mechanism_and_name(
    mechanism: str, protocol: str
) -> None:
    """The clients of aiokafka and those of FastStream."""
    settings = logging_in(mechanism, security_protocol=protocol)
    direct = client_arguments(settings)
    theirs = parse_security(broker_arguments(settings)["security"])
    for arguments in (direct, theirs):
        assert arguments["sasl_mechanism"] == mechanism
        assert arguments["security_protocol"] == protocol
        assert arguments["sasl_plain_username"] == "worker"
        assert arguments["sasl_plain_password"]() == "a secret"
    assert direct["bootstrap_servers"] == ["kafka-1:9092", "kafka-2:9093"]


@pytest.mark.parametrize("protocol", ["PLAINTEXT", "SSL"])
def test_without_a_mechanism_nobody_logs_in(protocol: str) -> None:
    """Connections are encrypted only if that is set."""
    settings = kafka(security_protocol=protocol)
    direct = client_arguments(settings)
    theirs = parse_security(broker_arguments(settings)["security"])
    for arguments in (direct, theirs):
        assert "sasl_mechanism" not in arguments
        assert arguments["security_protocol"] == protocol
        assert (arguments["ssl_context"] is not None) is (protocol == "SSL")


# --- certificates ---------------------------------------------------------------------------------


def handshake(client: ssl.SSLContext, server: ssl.SSLContext, host: str) -> str | None:
    """Connect to a server by a host name; returns why the client refused it, or the name in the
    client's certificate (None: it sent none).
    """
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server, server_hostname=host)
    theirs = server.wrap_bio(to_server, to_client, server_side=True)
    pending = [ours, theirs]
    for _ in range(10):
        for each in list(pending):
            try:
                each.do_handshake()
                pending.remove(each)
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError as refused:
                return refused.verify_message
    assert not pending, "the handshake did not end"
    shown: dict[str, Any] = theirs.getpeercert() or {}
    names = dict(pair for pairs in shown.get("subject", ()) for pair in pairs)
    return names.get("commonName")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """The CA of the brokers."""
    return Authority(tmp_path / "ours")


@pytest.fixture
def server(authority: Authority) -> ssl.SSLContext:
    """A broker's context, which requests a client certificate of its own CA."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority.certificate)
    broker = authority.issue("kafka-1", "kafka-1")
    context.load_cert_chain(broker.certificate, broker.key)
    context.verify_mode = ssl.CERT_OPTIONAL
    return context


def contexts(settings: Kafka) -> list[ssl.SSLContext]:
    """The TLS contexts of aiokafka's clients and of FastStream's."""
    arguments = (client_arguments(settings), parse_security(broker_arguments(settings)["security"]))
    return [each["ssl_context"]() for each in arguments]


@pytest.mark.parametrize("protocol", ["SSL", "SASL_SSL"])
def test_only_the_configured_authority_is_trusted(
    authority: Authority, server: ssl.SSLContext, tmp_path: Path, protocol: str
) -> None:
    """Neither another CA nor, if a file is set, the system's CAs are trusted."""
    stranger = Authority(tmp_path / "strangers")
    login = {} if protocol == "SSL" else {"sasl_mechanism": "PLAIN", "sasl_username": "worker"}
    more = login | ({"sasl_password": SecretStr("x")} if login else {})
    for file, refused in ((authority, False), (stranger, True)):
        settings = kafka(security_protocol=protocol, ssl_ca_file=file.certificate, **more)
        for context in contexts(settings):
            assert (handshake(context, server, "kafka-1") is not None) is refused
            assert len(context.get_ca_certs()) == 1
    for context in contexts(kafka(security_protocol=protocol, **more)):
        assert handshake(context, server, "kafka-1") is not None


def test_a_brokers_certificate_must_have_its_host_name(
    authority: Authority, server: ssl.SSLContext
) -> None:
    """Otherwise any certificate of the CA would be accepted for any broker."""
    settings = kafka(security_protocol="SSL", ssl_ca_file=authority.certificate)
    for context in contexts(settings):
        assert "Hostname mismatch" in str(handshake(context, server, "kafka-2"))


def test_the_configured_client_certificate_is_presented(
    authority: Authority, server: ssl.SSLContext
) -> None:
    """The broker identifies the worker by it."""
    worker = authority.issue("worker")
    settings = kafka(
        security_protocol="SSL",
        ssl_ca_file=authority.certificate,
        ssl_cert_file=worker.certificate,
        ssl_key_file=worker.key,
    )
    for context in contexts(settings):
        assert handshake(context, server, "kafka-1") == "worker"
