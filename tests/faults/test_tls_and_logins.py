"""Apache Kafka with TLS and logins: trusted certificates, mechanisms, messages of refusals."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from pydantic import SecretStr

import servers
from acceptance.probed_worker import ask
from acceptance.scenario import created
from acceptance.stage import command, until, worker_process
from certificates import Authority, Certificate
from faults.token_server import CLIENT, SECRET, TokenServer, token_server
from faults.workers import CONSUMERS, lines
from marketplace_worker.app import run
from marketplace_worker.embedded import apache_kafka, process
from marketplace_worker.errors import Misconfigured, Unavailable
from marketplace_worker.record import Outgoing
from marketplace_worker.settings import Kafka, SecretFile, Settings
from marketplace_worker.store.database import connecting
from marketplace_worker.store.migrations import migrate
from marketplace_worker.streams.producer import producing
from marketplace_worker.streams.rights import to_read
from marketplace_worker.streams.topics import create_topics, require_access

pytestmark = pytest.mark.faults

USER = "worker"
PASSWORDS = {each: f"right-{each}" for each in ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")}
"""Each mechanism has its own password, so that they cannot be confused."""

ROTATED = "rotated"
"""A user whose password is changed."""

LOGIN_AGAIN_MS = 4_000
"""The broker drops a connection this long after its login, and each client reconnects."""


@dataclass(frozen=True)
class Guarded:
    """A broker with a listener of each kind, and settings of a worker for it."""

    plain: str
    ports: apache_kafka.Secured
    authority: Authority
    stranger: Authority
    client: Certificate
    tokens: TokenServer
    settings: Settings

    def kafka(self, port: int, protocol: str, **changes: Any) -> Kafka:  # noqa: ANN401 - settings
        """Validated settings for one of the listeners."""
        own: dict[str, Any] = {"bootstrap_servers": f"{process.LOOPBACK}:{port}"}
        if protocol.endswith("SSL"):
            own["ssl_ca_file"] = self.authority.certificate
        theirs = self.settings.kafka.model_dump(exclude_unset=True)
        return Kafka(**{**theirs, **own, "security_protocol": protocol, **changes})

    def tls(self, **changes: Any) -> Kafka:  # noqa: ANN401 - settings
        """With a certificate of the worker's own."""
        own = {"ssl_cert_file": self.client.certificate, "ssl_key_file": self.client.key}
        return self.kafka(self.ports.tls_port, "SSL", **{**own, **changes})

    def login(self, mechanism: str, **changes: Any) -> Kafka:  # noqa: ANN401 - settings
        """With a login."""
        own: dict[str, Any]
        if mechanism in PASSWORDS:
            password = SecretStr(PASSWORDS[mechanism])
            own = {"sasl_username": USER, "sasl_password": password}
        else:
            own = {
                "oauth_token_url": self.tokens.url,
                "oauth_client_id": CLIENT,
                "oauth_client_secret": SecretStr(SECRET),
                "oauth_scope": "kafka",
                "oauth_extensions": "logicalCluster=lkc-1,identityPoolId=pool-2",
            }
        return self.kafka(
            self.ports.login_port, "SASL_SSL", **{"sasl_mechanism": mechanism, **own, **changes}
        )

    def worker(self, kafka: Kafka) -> Settings:
        """The settings of a worker with these Kafka settings."""
        return self.settings.model_copy(update={"kafka": kafka, "http_port": process.free_port()})

    async def refused(self, kafka: Kafka) -> str:
        """The message of a start that only an operator can fix."""
        with pytest.raises(Misconfigured) as error:
            await require_access(kafka, to_read(kafka, self.settings.topics))
        with pytest.raises(Misconfigured) as second_error:
            async with producing(kafka, self.settings.relay):
                pass
        assert str(error.value) == str(second_error.value)
        return str(error.value)


@pytest.fixture(scope="module")
async def guarded(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory, postgres_server: str
) -> AsyncIterator[Guarded]:
    """One broker for all tests."""
    folder = tmp_path_factory.mktemp("tls")
    authority, stranger = Authority(folder / "ours"), Authority(folder / "strangers")
    second = apache_kafka.Secured(
        tls_port=process.free_port(),
        login_port=process.free_port(),
        expired_port=process.free_port(),
        login_again_ms=LOGIN_AGAIN_MS,
        server=authority.issue("kafka", process.LOOPBACK).both,
        expired=authority.issue("expired", process.LOOPBACK, expired=True).both,
        authority=authority.certificate,
        passwords={
            mechanism: {USER: password, ROTATED: password}
            for mechanism, password in PASSWORDS.items()
        },
    )
    choice = replace(pytestconfig.stash[servers.CHOICE], broker=servers.Broker.APACHE)
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        tokens = stack.enter_context(token_server())
        own = await enter(servers.own_folder(tmp_path_factory.mktemp("secured")))
        plain = await enter(apache_kafka.broker(servers.JARS, own, second=second))
        dsn = await enter(servers.fresh_database(postgres_server, f"tls_{uuid4().hex}"))
        settings = servers.settings(choice, plain, dsn, "tls.")
        await create_topics(settings.kafka, settings.topics, partitions=2, replication_factor=1)
        async with connecting(settings.postgres) as pool:
            await migrate(pool)
        yield Guarded(
            plain, second, authority, stranger, authority.issue("client"), tokens, settings
        )


# --- accepted -------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["TLS", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"])
async def test_a_worker_works_with_each_login_mechanism(guarded: Guarded, way: str) -> None:
    """All its clients: admin, consumers, producers."""
    kafka = guarded.tls() if way == "TLS" else guarded.login(way)
    settings, stop = guarded.worker(kafka), asyncio.Event()
    settings = settings.model_copy(
        update={"kafka": kafka.model_copy(update={"group_prefix": f"tls.{way}"})}
    )
    work = asyncio.create_task(run(settings, stop=stop))
    try:
        await until(partial(_reports, settings, 200))
        if way == "OAUTHBEARER":
            fields = {"grant_type": ["client_credentials"], "scope": ["kafka"]}
            assert fields in guarded.tokens.asked
        async with producing(kafka, settings.relay) as publisher:
            messages = [Outgoing(settings.topics.dead_letters, b"k", way.encode(), ())]
            assert await publisher.publish(messages) == [None]
    finally:
        stop.set()
        await work


# --- refused --------------------------------------------------------------------------------------


async def test_a_certificate_of_another_authority_is_reported(guarded: Guarded) -> None:
    """Another CA than the configured one has signed it."""
    sentence = await guarded.refused(guarded.tls(ssl_ca_file=guarded.stranger.certificate))
    assert sentence.endswith(
        "its certificate was issued by an authority that is not in kafka.ssl_ca_file"
    )


async def test_a_certificate_for_another_host_is_reported(guarded: Guarded) -> None:
    """The broker's is for 127.0.0.1 only."""
    sentence = await guarded.refused(
        guarded.tls(bootstrap_servers=f"localhost:{guarded.ports.tls_port}")
    )
    assert "its certificate is for another host name: set kafka.bootstrap_servers" in sentence


async def test_an_expired_certificate_is_reported(guarded: Guarded) -> None:
    """Only Kafka's administrator can fix it."""
    sentence = await guarded.refused(guarded.kafka(guarded.ports.expired_port, "SSL"))
    assert sentence.endswith("its certificate has expired")


@pytest.mark.parametrize("whose", ["nobody's", "a stranger's", "an expired one"])
async def test_a_refused_client_certificate_is_reported(guarded: Guarded, whose: str) -> None:
    """The broker refuses it only after our side of the handshake has succeeded."""
    own: dict[str, Any] = {"ssl_cert_file": None, "ssl_key_file": None}
    if whose != "nobody's":
        authority = guarded.stranger if whose == "a stranger's" else guarded.authority
        shown = authority.issue("shown", expired=whose == "an expired one")
        own = {"ssl_cert_file": shown.certificate, "ssl_key_file": shown.key}
    sentence = await guarded.refused(guarded.tls(**own))
    assert "does not accept our certificate, kafka.ssl_cert_file" in sentence


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
async def test_a_wrong_password_is_reported(guarded: Guarded, mechanism: str) -> None:
    """The message does not contain it."""
    sentence = await guarded.refused(guarded.login(mechanism, sasl_password=SecretStr("no-such")))
    assert f"does not accept the login of {USER}" in sentence
    assert "check kafka.sasl_username and kafka.sasl_password" in sentence
    assert "no-such" not in sentence


async def test_a_token_that_is_not_issued_or_refused_is_reported(guarded: Guarded) -> None:
    """One is refused by the token server, the other by Kafka."""
    wrong = guarded.login("OAUTHBEARER", oauth_client_secret=SecretStr("no-such"))
    sentence = await guarded.refused(wrong)
    assert f"{guarded.tokens.url} issues no token to {CLIENT} (invalid_client)" in sentence
    assert "no-such" not in sentence
    guarded.tokens.subject, before = "", guarded.tokens.subject
    try:
        sentence = await guarded.refused(guarded.login("OAUTHBEARER"))
        assert "does not accept our token" in sentence
    finally:
        guarded.tokens.subject = before
    nowhere = guarded.login("OAUTHBEARER", oauth_token_url="http://127.0.0.1:1/token")
    with pytest.raises(Unavailable, match=r"http://127\.0\.0\.1:1/token: .*refused"):
        await require_access(nowhere, to_read(nowhere, guarded.settings.topics))


async def test_a_wrong_protocol_is_reported_with_the_right_one(guarded: Guarded) -> None:
    """In all combinations; clients only see closed connections or time-outs."""
    plain = int(guarded.plain.rpartition(":")[2])
    login = {"sasl_mechanism": "PLAIN", "sasl_username": USER, "sasl_password": SecretStr("any")}
    ports = guarded.ports
    for port, protocol, changes, wanted in (
        (plain, "SSL", {}, "PLAINTEXT"),
        (plain, "SASL_PLAINTEXT", login, "PLAINTEXT"),
        (ports.login_port, "PLAINTEXT", {}, "SASL_SSL"),
        (ports.login_port, "SSL", {}, "SASL_SSL"),
        (ports.login_port, "SASL_PLAINTEXT", login, "SASL_SSL"),
        (ports.tls_port, "PLAINTEXT", {}, "SSL or SASL_SSL"),
    ):
        sentence = await guarded.refused(guarded.kafka(port, protocol, **changes))
        assert f"expects {wanted}, but kafka.security_protocol is {protocol}" in sentence


async def test_the_command_prints_the_message_and_exits_with_2(guarded: Guarded) -> None:
    """A supervisor can see that a restart does not help."""
    kafka = guarded.login("SCRAM-SHA-512", sasl_password=SecretStr("no-such"))
    async with command("run", settings=guarded.worker(kafka)) as child:
        output, _ = await child.communicate()
    assert child.returncode == 2
    (last,) = output.decode().strip().splitlines()[-1:]
    assert last.startswith(f"marketplace-worker: Kafka at {process.LOOPBACK}:")
    assert "check kafka.sasl_username and kafka.sasl_password" in last


async def test_an_unknown_host_and_a_closed_port_are_reported(
    guarded: Guarded,
) -> None:
    """Both may be temporary."""
    for servers_set, words in (
        ("no-such-host.invalid:9092", "the host name cannot be resolved"),
        (f"{process.LOOPBACK}:1", "connection refused: nothing listens on that port"),
    ):
        kafka = guarded.tls(bootstrap_servers=servers_set)
        with pytest.raises(Unavailable, match=f"Kafka at {servers_set}: {words}"):
            await require_access(kafka, to_read(kafka, guarded.settings.topics))


# --- renewed while a worker runs ------------------------------------------------------------------


async def test_a_rotated_password_is_read_from_its_file(guarded: Guarded, tmp_path: Path) -> None:
    """With the old password in the file, the worker reports why it waits."""
    file = tmp_path / "password"
    file.write_text(PASSWORDS["SCRAM-SHA-512"] + "\n")
    kafka = guarded.login("SCRAM-SHA-512", sasl_username=ROTATED, sasl_password=SecretFile(file))
    settings = guarded.worker(kafka)
    reports = partial(_reports, settings)
    async with worker_process(settings, tmp_path / "log"):
        await until(partial(reports, 200))
        await _rotate(guarded, "renewed")
        await _send(guarded, created(0, "before"))
        await until(partial(reports, 503, "check kafka.sasl_username and kafka.sasl_password"))
        file.write_text("renewed\n")
        await until(partial(reports, 200))
        await _send(guarded, created(0, "after"))
        async with connecting(settings.postgres) as pool:

            async def both_are_known() -> bool:
                known = "SELECT count(*) FROM organizations WHERE organization_id = ANY($1)"
                return bool(await pool.fetchval(known, ["before", "after"]) == 2)

            await until(both_are_known)


async def test_a_renewed_client_certificate_is_read_from_its_file(
    guarded: Guarded, tmp_path: Path
) -> None:
    """A client runs for months, and its certificate is valid for weeks."""
    ours = guarded.authority.issue("renewed")
    strange = guarded.stranger.issue("strange")
    files = {"ssl_cert_file": tmp_path / "certificate", "ssl_key_file": tmp_path / "key"}
    kept = {"ssl_cert_file": strange.certificate, "ssl_key_file": strange.key}
    for name, file in files.items():
        file.write_bytes(kept[name].read_bytes())
    kafka = guarded.tls(**files)
    async with contextlib.AsyncExitStack() as stack:
        with pytest.raises(Misconfigured, match="does not accept our certificate"):
            await stack.enter_async_context(producing(kafka, guarded.settings.relay))
        files["ssl_cert_file"].write_bytes(ours.certificate.read_bytes())
        files["ssl_key_file"].write_bytes(ours.key.read_bytes())
        await stack.enter_async_context(producing(kafka, guarded.settings.relay))


async def test_clients_reconnect_with_a_renewed_certificate(
    guarded: Guarded, tmp_path: Path
) -> None:
    """Until Kafka accepts the new one, the old connections stay, and /readyz reports it."""
    files = {"ssl_cert_file": tmp_path / "certificate", "ssl_key_file": tmp_path / "key"}

    def write(issued: Certificate) -> None:
        files["ssl_cert_file"].write_bytes(issued.certificate.read_bytes())
        files["ssl_key_file"].write_bytes(issued.key.read_bytes())

    write(guarded.authority.issue("first"))
    settings, log = guarded.worker(guarded.tls(**files)), tmp_path / "log"
    reports = partial(_reports, settings)
    async with worker_process(settings, log):
        await until(partial(reports, 200))
        write(guarded.stranger.issue("strange"))
        await until(
            partial(reports, 503, "check of Kafka for facts-1: ", "does not accept our cert")
        )
        assert not lines(log, "partitions_revoked", "consumer_renewed")
        write(guarded.authority.issue("second"))
        await until(partial(reports, 200))
    renewed = lines(log, "consumer_renewed")
    assert {line["consumer"] for line in renewed} == CONSUMERS
    assert {line["reason"] for line in renewed} == {"the credentials have changed"}


async def _rotate(guarded: Guarded, password: str) -> None:
    """Change a user's password with Kafka's own tool."""
    program = [
        *apache_kafka.java(servers.JARS), "org.apache.kafka.tools.ConfigCommand",
        "--bootstrap-server", guarded.plain, "--alter", "--entity-type", "users",
        "--entity-name", ROTATED, "--add-config", f"SCRAM-SHA-512=[password={password}]",
    ]  # fmt: skip
    child = await asyncio.create_subprocess_exec(
        *program, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    sentence, _ = await child.communicate()
    assert child.returncode == 0, sentence.decode()


async def _send(guarded: Guarded, line: dict[str, Any]) -> None:
    """Write a line of a scenario through the listener without login."""
    topic = "tls." + line["topic"]
    async with producing(guarded.settings.kafka, guarded.settings.relay) as publisher:
        message = Outgoing(topic, line["key"].encode(), json.dumps(line["value"]).encode(), ())
        assert await publisher.publish([message]) == [None]


async def _reports(settings: Settings, status: int, *words: str) -> bool:
    """Whether a worker's `/readyz` has this status and these words."""
    answer = await asyncio.to_thread(ask, settings.http_port or 0, "/readyz")
    return answer[0] == status and all(word in answer[1] for word in words)
