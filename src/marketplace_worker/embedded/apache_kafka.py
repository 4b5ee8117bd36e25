"""Runs Apache Kafka from a folder of jars: one broker in KRaft mode, on Java 17 or newer.

For tests, benchmarks and drills; `make test-kafka` fetches the jars.  The data stays in the folder,
so that a killed broker can be restarted on the same port with its data.
"""

import contextlib
import os
import shutil
import signal
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from marketplace_worker.embedded import process
from marketplace_worker.embedded.process import Command
from marketplace_worker.errors import Misconfigured

FORMAT_SECONDS_MAX = 60.0
READY_SECONDS_MAX = 90.0
JAVA_OPTIONS = (
    "-Xms256m",
    "-Xmx512m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",  # starts faster; enough for a broker that runs for minutes
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
)
CLUSTER_ID = "bWFya2V0cGxhY2V3cms1Mg"


@dataclass(frozen=True, slots=True)
class Proxied:
    """A second listener, on `port`, which advertises the port of a proxy (`advertised_port`).

    Kafka's clients connect to the advertised address, so they would bypass a proxy otherwise.
    """

    port: int
    advertised_port: int


@dataclass(frozen=True, slots=True)
class Authorized:
    """A second listener, on `port`, whose clients log in with SASL/PLAIN and are subject to ACLs.

    Clients of the first listener are anonymous and may do everything.

    Args:
        port: to listen on.
        passwords: by user name; both consist of letters, digits, `-`, `_` and `.`.
    """

    port: int
    passwords: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Secured:
    """Three more listeners, all with TLS.

    Args:
        tls_port: requires a client certificate.
        login_port: requires a login with SASL, by any mechanism that the worker supports (tokens of
            OAUTHBEARER need no signature).
        expired_port: its server certificate has expired.
        login_again_ms: clients of `login_port` that have not logged in again within this time are
            disconnected; 0 for never.
        server: PEM file of the broker's key (PKCS#8) and certificates.
        expired: the same with a certificate that has expired.
        authority: PEM file of the authorities whose client certificates are accepted.
        passwords: for `PLAIN` and both `SCRAM-…`, by user name; characters as in `Authorized`.
    """

    tls_port: int
    login_port: int
    expired_port: int
    login_again_ms: int
    server: Path
    expired: Path
    authority: Path
    passwords: Mapping[str, Mapping[str, str]]


Second = Proxied | Authorized | Secured


@contextlib.asynccontextmanager
async def broker(
    jars: Path,
    folder: Path,
    *,
    port: int | None = None,
    second: Second | None = None,
) -> AsyncIterator[str]:
    """Run a broker until the block is left; yields its `host:port` on the loopback address.

    Args:
        jars: the folder of `kafka_2.13` and its dependencies.
        folder: for data and log; created if missing, otherwise reused.
        port: to listen on; None for a free one.
        second: further listeners.

    Raises:
        Misconfigured: no Java, no jars, or another process uses the folder.
        Unavailable: the broker did not start; the message ends with the last lines of its log.
    """
    with process.alone_in(folder) as home:
        program = java(jars)
        if not (home / "data" / "meta.properties").exists():
            _write_properties(home, process.free_port(), process.free_port(), None)
            await process.finished(
                _format(program, home, second), within_seconds=FORMAT_SECONDS_MAX
            )
        async with process.listening(
            partial(_server, program, home, second),
            partial(process.answers_kafka, process.LOOPBACK),
            port=port,
            ready_seconds=READY_SECONDS_MAX,
        ) as chosen:
            yield f"{process.LOOPBACK}:{chosen}"


def java(jars: Path) -> list[str]:
    """The first arguments of a command line that runs one of Kafka's classes.

    Raises:
        Misconfigured: no Java, or no jars.
    """
    if not any(jars.glob("kafka_2.13-*.jar")):
        raise Misconfigured(f"no Apache Kafka in {jars}: `make test-kafka` fetches it with mvn")
    home = os.environ.get("JAVA_HOME")
    found = shutil.which("java", path=f"{home}/bin" if home else None)
    if found is None:
        raise Misconfigured("Apache Kafka needs Java 17 or newer: no `java` was found")
    return [found, *JAVA_OPTIONS, "-cp", f"{jars.resolve()}/*"]


def _server(program: list[str], folder: Path, second: Second | None, port: int) -> Command:
    _write_properties(folder, port, process.free_port(), second)
    return Command(
        name="Apache Kafka",
        program=[*program, "kafka.Kafka", str(folder / "server.properties")],
        folder=folder,
        stop_signals=(signal.SIGTERM,),
        stop_seconds=20.0,
    )


def _format(program: list[str], folder: Path, second: Second | None) -> Command:
    return Command(
        name="Kafka's StorageTool",
        program=[
            *program,
            "kafka.tools.StorageTool",
            "format",
            f"--cluster-id={CLUSTER_ID}",
            f"--config={folder / 'server.properties'}",
            *(_scram_users(second.passwords) if isinstance(second, Secured) else ()),
        ],
        folder=folder,
        stop_signals=(signal.SIGTERM,),
    )


@dataclass(frozen=True, slots=True)
class _Listener:
    """One listener; `advertised` is the port that clients connect to."""

    name: str
    port: int
    advertised_port: int
    protocol: str


def _listeners(port: int, second: Second | None) -> list[_Listener]:
    plain = _Listener("PLAINTEXT", port, port, "PLAINTEXT")
    match second:
        case Proxied():
            return [plain, _Listener("PROXIED", second.port, second.advertised_port, "PLAINTEXT")]
        case Authorized():
            return [plain, _Listener("AUTHORIZED", second.port, second.port, "SASL_PLAINTEXT")]
        case Secured():
            return [
                plain,
                _Listener("TLS", second.tls_port, second.tls_port, "SSL"),
                _Listener("LOGIN", second.login_port, second.login_port, "SASL_SSL"),
                _Listener("EXPIRED", second.expired_port, second.expired_port, "SSL"),
            ]
        case None:
            return [plain]


def _write_properties(folder: Path, port: int, controller_port: int, second: Second | None) -> None:
    host, listeners = process.LOOPBACK, _listeners(port, second)
    at = [f"{each.name}://{host}:{each.port}" for each in listeners]
    advertised = [f"{each.name}://{host}:{each.advertised_port}" for each in listeners]
    protocols = [f"{each.name}:{each.protocol}" for each in listeners]
    properties = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@{host}:{controller_port}",
        "listeners": ",".join([*at, f"CONTROLLER://{host}:{controller_port}"]),
        "advertised.listeners": ",".join(advertised),
        "listener.security.protocol.map": ",".join([*protocols, "CONTROLLER:PLAINTEXT"]),
        "controller.listener.names": "CONTROLLER",
        "log.dirs": str(folder / "data"),
        **_FOR_TESTS,
        **_security(second),
    }
    text = "".join(f"{name}={value}\n" for name, value in properties.items())
    (folder / "server.properties").write_text(text)


def _security(second: Second | None) -> dict[str, str]:
    match second:
        case Authorized():
            return _authorizing(second.passwords)
        case Secured():
            return _securing(second)
        case _:
            return {}


_FOR_TESTS = {
    # With one broker there can be no second replica.
    "default.replication.factor": "1",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    # Records have timestamps of a test's clock and must not expire at once.
    "log.retention.ms": "-1",
    # A killed broker that is restarted waits until its previous session has expired.
    "broker.heartbeat.interval.ms": "500",
    "broker.session.timeout.ms": "2000",
    # So that a group detects a killed member soon.
    "group.min.session.timeout.ms": "1000",
    # Long enough for all members of one worker to join at once; they need a second round otherwise.
    "group.initial.rebalance.delay.ms": "200",
}
"""Settings that do not depend on the listeners."""


def _authorizing(passwords: Mapping[str, str]) -> dict[str, str]:
    return {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        # Clients that do not log in: the tests themselves, and the broker.
        "super.users": "User:ANONYMOUS",
        "sasl.enabled.mechanisms": "PLAIN",
        "listener.name.authorized.plain.sasl.jaas.config": _plain(passwords),
    }


def _securing(second: Secured) -> dict[str, str]:
    security = "org.apache.kafka.common.security"
    token = f"{security}.oauthbearer.OAuthBearerLoginModule required"
    scram = f"{security}.scram.ScramLoginModule required;"
    login = "listener.name.login"
    return {
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(second.server),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(second.authority),
        "listener.name.tls.ssl.client.auth": "required",
        "listener.name.expired.ssl.keystore.location": str(second.expired),
        "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER",
        f"{login}.plain.sasl.jaas.config": _plain(second.passwords["PLAIN"]),
        f"{login}.scram-sha-256.sasl.jaas.config": scram,
        f"{login}.scram-sha-512.sasl.jaas.config": scram,
        f"{login}.oauthbearer.sasl.jaas.config": f'{token} unsecuredLoginStringClaim_sub="b";',
        f"{login}.connections.max.reauth.ms": str(second.login_again_ms),
    }


def _plain(passwords: Mapping[str, str]) -> str:
    users = " ".join(f'user_{name}="{password}"' for name, password in passwords.items())
    return f"org.apache.kafka.common.security.plain.PlainLoginModule required {users};"


def _scram_users(passwords: Mapping[str, Mapping[str, str]]) -> list[str]:
    return [
        f"--add-scram={mechanism}=[name={name},password={password}]"
        for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512")
        for name, password in passwords[mechanism].items()
    ]
