"""The ACLs of docs/security.md on a real Kafka that enforces them: sufficient for every user, and
no more than necessary.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import TopicAuthorizationFailedError
from pydantic import SecretStr

import acls
import servers
from acceptance.acl_requests import Acls, acls_of_broker
from acceptance.probed_worker import ask
from acceptance.scenario import created, eventbridge, linked, login, requested, support
from acceptance.stage import PATIENCE_S, command, until, worker_process
from acls import Acl
from marketplace_worker import app
from marketplace_worker.contract.published import numbered_topics
from marketplace_worker.embedded import apache_kafka, process
from marketplace_worker.errors import Misconfigured, Unavailable
from marketplace_worker.record import Outgoing
from marketplace_worker.settings import Kafka, Settings
from marketplace_worker.store.database import connecting
from marketplace_worker.store.migrations import migrate
from marketplace_worker.streams import renewing
from marketplace_worker.streams.authorized import ask as ask_for_rights
from marketplace_worker.streams.consuming import consuming
from marketplace_worker.streams.producer import producing
from marketplace_worker.streams.reading_back import read_back
from marketplace_worker.streams.rights import Operation, Resource, Right, to_read, to_write
from marketplace_worker.streams.topics import Presence, create_topics, require_access
from streams.recording_handler import NO_OVERSIGHT

if not any(servers.JARS.glob("kafka-tools-*.jar")):
    pytest.skip("no Apache Kafka: `make test-kafka` fetches it", allow_module_level=True)

pytestmark = pytest.mark.apache

PASSWORD = "secret"
WORKERS_ACLS = acls.acls_of(acls.WORKER)
REVOCABLE = ("revocable-1", "revocable-2")
"""Workers that have all rights, until a test revokes some."""


def without(acl: Acl) -> str:
    """The user name of a worker without this one right."""
    return f"without-{WORKERS_ACLS.index(acl)}"


@dataclass(frozen=True)
class Guarded:
    """A broker with the ACLs of the page, and topics that its `topic-creator` created."""

    broker: Acls
    settings: Settings

    def kafka(self, user: str) -> Kafka:
        """The Kafka settings with which a user logs in."""
        return self.settings.kafka.model_copy(update={"sasl_username": user})

    def worker(self, user: str = acls.WORKER) -> Settings:
        """The settings of a worker that logs in as a user."""
        return self.settings.model_copy(
            update={"kafka": self.kafka(user), "http_port": process.free_port()}
        )

    @asynccontextmanager
    async def producer(self, user: str) -> AsyncIterator[AIOKafkaProducer]:
        """A producer of a user; idempotent, as most are."""
        producer = AIOKafkaProducer(**_login(self.kafka(user)), enable_idempotence=True)
        await producer.start()
        try:
            yield producer
        finally:
            await producer.stop()

    async def send(self, user: str, line: dict[str, Any]) -> None:
        """Have a user send a line of a scenario."""
        async with self.producer(user) as producer:
            await producer.send_and_wait(
                line["topic"],
                json.dumps(line["value"]).encode(),
                key=line["key"].encode() if "key" in line else None,
            )

    async def read(self, user: str, topic: str, *wanted: bytes) -> None:
        """Have a user read a topic, in a group of its name, until these bytes were read."""
        consumer = AIOKafkaConsumer(
            topic, **_login(self.kafka(user)), group_id=user, auto_offset_reset="earliest"
        )
        await consumer.start()
        try:
            async with asyncio.timeout(PATIENCE_S):
                missing = list(wanted)
                while missing:
                    value = (await consumer.getone()).value or b""
                    missing = [each for each in missing if each not in value]
            await consumer.commit()
        finally:
            await consumer.stop()

    async def revoke(self, acl: Acl) -> None:
        """Revoke a right; returns when the broker enforces it."""
        await self.broker.revoke(acl)
        await until(lambda: self._has(acl, wanted=False))

    async def grant(self, acl: Acl) -> None:
        """Grant a right; returns when the broker enforces it."""
        await self.broker.add(acl)
        await until(lambda: self._has(acl, wanted=True))

    async def _has(self, acl: Acl, *, wanted: bool) -> bool:
        return (acl in await self.broker.all()) is wanted


def _login(kafka: Kafka) -> dict[str, Any]:
    return {
        "bootstrap_servers": kafka.bootstrap_servers,
        "security_protocol": kafka.security_protocol,
        "sasl_mechanism": kafka.sasl_mechanism,
        "sasl_plain_username": kafka.sasl_username,
        "sasl_plain_password": PASSWORD,
    }


@pytest.fixture(scope="module")
async def guarded(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory, postgres_server: str
) -> AsyncIterator[Guarded]:
    """The page's commands were typed, with Kafka's own `kafka-acls.sh`."""
    choice = replace(pytestconfig.stash[servers.CHOICE], broker=servers.Broker.APACHE)
    fewer = [without(acl) for acl in WORKERS_ACLS]
    passwords = dict.fromkeys([*acls.users(), *fewer, *REVOCABLE], PASSWORD)
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        folder = await enter(servers.own_folder(tmp_path_factory.mktemp("guarded")))
        second = apache_kafka.Authorized(process.free_port(), passwords)
        straight = await enter(apache_kafka.broker(servers.JARS, folder, second=second))
        dsn = await enter(servers.fresh_database(postgres_server, f"acls_{uuid4().hex}"))
        await _type_the_page(folder, straight)
        broker = await enter(acls_of_broker(straight))
        await broker.add(
            *(replace(acl, user=user) for user in REVOCABLE for acl in WORKERS_ACLS),
            *(
                replace(acl, user=without(lacking))
                for lacking in WORKERS_ACLS
                for acl in WORKERS_ACLS
                if acl != lacking
            ),
        )
        settings = _settings(choice, f"{process.LOOPBACK}:{second.port}", dsn)
        guarded = Guarded(broker, settings)
        made = await create_topics(
            guarded.kafka(acls.CREATOR), settings.topics, partitions=2, replication_factor=1
        )
        assert {each.presence for each in made} == {Presence.CREATED}
        async with connecting(settings.postgres) as pool:
            await migrate(pool)
        yield guarded


async def _type_the_page(folder: Path, bootstrap: str) -> None:
    """Run the page's block in a shell that has `kafka-acls.sh`."""
    program = [*apache_kafka.java(servers.JARS), "org.apache.kafka.tools.AclCommand"]
    tool = folder / "kafka-acls.sh"
    tool.write_text("#!/bin/sh\nexec " + " ".join(f"'{word}'" for word in program) + ' "$@"\n')
    tool.chmod(0o755)
    (folder / "admin.properties").touch()
    shell = await asyncio.create_subprocess_exec(
        "sh", "-eu", "-c", acls.block(),
        env={"KAFKA": bootstrap, "PATH": f"{folder}:/usr/bin:/bin"},
        cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    printed, _ = await shell.communicate()
    assert shell.returncode == 0, printed.decode()


def _settings(choice: servers.Choice, bootstrap: str, dsn: str) -> Settings:
    """The default names, and a login that `Guarded.kafka` completes."""
    settings = servers.settings(choice, bootstrap, dsn, "")
    login = {
        "group_prefix": Kafka.model_fields["group_prefix"].default,
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "PLAIN",
        "sasl_username": "nobody",
        "sasl_password": SecretStr(PASSWORD),
    }
    return settings.model_copy(update={"kafka": settings.kafka.model_copy(update=login)})


async def _reports(settings: Settings, status: int, *words: str) -> bool:
    """Whether a worker's `/readyz` has this status and these words."""
    answer = await asyncio.to_thread(ask, settings.http_port or 0, "/readyz")
    return answer[0] == status and all(word in answer[1] for word in words)


async def test_kafka_has_the_acls_that_the_page_shows(guarded: Guarded) -> None:
    """Kafka has the ACLs of the page's text, on which all further tests are based."""
    found = {acl for acl in await guarded.broker.all() if acl.user in acls.users()}
    assert found == set(acls.acls())


# --- sufficient -----------------------------------------------------------------------------------


async def test_the_worker_works_with_exactly_the_acls_of_the_page(
    guarded: Guarded, tmp_path: Path
) -> None:
    """It ingests what all others send with their own rights, decides and publishes; subscribers
    read the events with theirs.
    """
    settings, log = guarded.worker(), tmp_path / "log"
    ready = partial(_reports, settings, 200)
    async with worker_process(settings, log):
        await until(ready)
        await guarded.send("sign-up", created(0, "acme"))
        await guarded.send("sign-up", linked(0.1, "acme", "aws", "agmt-1", "payg"))
        await guarded.send("login-service", login(1, "acme"))
        await guarded.send("api-gateway", requested(1, "acme"))
        await guarded.send("support-tool", support(1, "extend_grace", "acme", days=1))
        ended = {"id": "agmt-1", "status": "CANCELLED"}
        await guarded.send("aws-router", eventbridge(2, "Purchase Agreement Ended", ended))
        await guarded.send(
            "aws-router", eventbridge(2.01, "License Deprovisioned", {"id": "agmt-1"})
        )
        for marketplace in ("gcp", "azure"):
            topic = f"marketplace.{marketplace}.notifications"
            await guarded.send(f"{marketplace}-router", {"topic": topic, "value": marketplace})
            await guarded.read("alerts", "marketplace-worker.dead-letters", marketplace.encode())

        expected = (b"organization.canceled.v1", b"support_request.")
        await guarded.read("billing", "organizations.lifecycle", *expected)
        await guarded.read("cache", "organizations.state", b'"canceled"')
        async with connecting(settings.postgres) as pool:

            async def all_is_ingested_and_sent() -> bool:
                counted = "SELECT EXISTS (SELECT FROM activity WHERE organization_id = 'acme')"
                waits = "SELECT EXISTS (SELECT FROM outbox)"
                return await pool.fetchval(counted) and not await pool.fetchval(waits)

            await until(all_is_ingested_and_sent)
        await until(ready)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    producers = [line["idempotent"] for line in lines if line["event"] == "producer_started"]
    assert producers == [True] * 3, "one for each topic that we write"
    assert not [line for line in lines if line["level"] == "error"]


# --- no more than necessary -----------------------------------------------------------------------


@pytest.mark.parametrize("acl", WORKERS_ACLS, ids=str)
async def test_without_any_one_of_its_acls_the_worker_does_not_start_and_names_it(
    guarded: Guarded, acl: Acl
) -> None:
    """Not only for the worker's own check: Kafka refuses the worker's request, too."""
    settings = guarded.worker(without(acl))
    option = f"--operation {acl.operation} --{acl.resource} {acl.name}`"
    command = f"--add --allow-principal User:{without(acl)} {option}"
    with pytest.raises(Misconfigured) as error:
        await app.run(settings)
    assert command in str(error.value)
    assert str(error.value).count("--operation") == 1

    if acl.name in numbered_topics(settings.topics) and acl.operation == "Read":
        with pytest.raises(Unavailable) as read:
            _ = [records async for records in read_back(settings)]
        refusals = [str(read.value)]
    elif acl.operation == "Read":
        with pytest.raises(Misconfigured) as error:
            async with _reading(settings):
                pass
        refusals = [str(error.value)]
    else:
        refusals = [str(result) for result in await _publish(settings) if result is not None]
    assert len(refusals) == 1
    assert command in refusals[0]


async def test_a_worker_that_may_describe_but_not_join_its_group_exits_with_a_status(
    guarded: Guarded, tmp_path: Path
) -> None:
    """The check at the start describes the group; Kafka refuses the join only later."""
    (acl,) = (acl for acl in WORKERS_ACLS if acl.name.endswith(".activity"))
    user, log = without(acl), tmp_path / "log"
    await guarded.grant(Acl(user, "Describe", "group", acl.name))
    with log.open("ab") as output:
        async with command("run", settings=guarded.worker(user), output=output) as process:
            assert await asyncio.wait_for(process.wait(), timeout=PATIENCE_S) == 2
    command_ = f"--add --allow-principal User:{user} --operation Read --group {acl.name}`"
    assert command_ in log.read_text()
    await guarded.revoke(Acl(user, "Describe", "group", acl.name))


@asynccontextmanager
async def _reading(settings: Settings) -> AsyncIterator[None]:
    async def grants_lookup(_: object) -> frozenset[str]:
        return frozenset()

    async with consuming(
        settings, facts=[grants_lookup], activity=[grants_lookup], hooks=NO_OVERSIGHT
    ):
        yield


async def _publish(settings: Settings) -> Sequence[Exception | None]:
    async with producing(settings.kafka, settings.relay) as publisher:
        return await publisher.publish(
            [Outgoing(name, b"k", b"{}", ()) for name in settings.topics.outbound]
        )


@pytest.mark.parametrize("loop", [app.Loop.INGEST, app.Loop.RELAY])
async def test_a_worker_of_some_loops_needs_only_their_rights(
    guarded: Guarded, loop: app.Loop
) -> None:
    """So a worker that ingests needs no right to publish events."""
    other = Operation.WRITE if loop is app.Loop.INGEST else Operation.READ
    acl = next(acl for acl in WORKERS_ACLS if acl.operation == other)
    settings, stop = guarded.worker(without(acl)), asyncio.Event()
    work = asyncio.create_task(app.run(settings, [loop], stop=stop))
    try:
        await until(partial(_reports, settings, 200))
    finally:
        stop.set()
        await work


@pytest.mark.parametrize("user", acls.users())
async def test_no_user_may_do_more_than_the_page_lists(guarded: Guarded, user: str) -> None:
    """Every user with every topic and group, by Kafka's own answers."""
    topics = guarded.settings.topics
    named = {*topics.facts, *topics.activity, *topics.outbound}
    groups = {acl.name for acl in acls.acls() if acl.resource == "group"}
    asked = {
        *(
            Right(op, Resource.TOPIC, name)
            for op in (Operation.READ, Operation.WRITE)
            for name in named
        ),
        *(Right(Operation.READ, Resource.GROUP, name) for name in groups),
    }
    admin = AIOKafkaAdminClient(**_login(guarded.kafka(user)))
    await admin.start()
    try:
        answer = await ask_for_rights(admin, asked)
    finally:
        await admin.close()
    granted = {
        Right(Operation(acl.operation), Resource(acl.resource), acl.name)
        for acl in acls.acls_of(user)
    }
    assert set(answer.refused) == asked - granted
    assert answer.missing == ()


async def test_who_reports_logins_cannot_ask_for_a_deactivation(guarded: Guarded) -> None:
    """Kafka denies the topic; such a request on the logins topic is refused by the worker."""
    with pytest.raises(TopicAuthorizationFailedError):
        await guarded.send("login-service", support(1, "deactivate_organization", "acme"))


@pytest.mark.parametrize("user", ["billing", "cache", "alerts"])
async def test_a_subscriber_cannot_write(guarded: Guarded, user: str) -> None:
    """Nor to the topics that it reads: other subscribers would trust its events."""
    topic = next(acl.name for acl in acls.acls_of(user) if acl.resource == "topic")
    producer = AIOKafkaProducer(**_login(guarded.kafka(user)))
    await producer.start()
    try:
        with pytest.raises(TopicAuthorizationFailedError):
            await producer.send_and_wait(topic, b"{}")
    finally:
        await producer.stop()


@pytest.mark.parametrize(
    ("user", "arguments", "lacking"),
    [
        ("support-tool", ("send", "support", "deactivate-organization"), ""),
        ("support-tool", ("send", "login"), "--operation Write --topic identity.logins"),
        ("support-tool", ("tail",), "--operation Read --topic organizations.lifecycle"),
        ("alerts", ("send", "login"), "--operation Write --topic identity.logins"),
    ],
)
async def test_send_and_tail_need_the_rights_of_their_topics_alone(
    guarded: Guarded, user: str, arguments: tuple[str, ...], lacking: str
) -> None:
    """A missing one is named, with the command that grants it."""
    about = ("--organization", "nobody") if arguments[0] == "send" else ()
    async with command(*arguments, *about, settings=guarded.worker(user)) as process:
        out, _ = await process.communicate()
    assert process.returncode == (2 if lacking else 0), out
    assert lacking in out.decode()


async def test_a_missing_right_to_create_topics_is_reported_with_the_command(
    guarded: Guarded,
) -> None:
    """One command for all ten topics."""
    topics = guarded.settings.topics
    with pytest.raises(Misconfigured) as error:
        await create_topics(guarded.kafka("billing"), topics, partitions=1, replication_factor=1)
    named = sorted({*topics.facts, *topics.activity, *topics.outbound})
    options = " ".join(f"--topic {name}" for name in named)
    command = f"--add --allow-principal User:billing --operation Create {options}`"
    assert command in str(error.value)


# --- revoked rights and failed logins -------------------------------------------------------------


async def test_a_revoked_right_to_write_is_named_and_nothing_is_lost(
    guarded: Guarded, tmp_path: Path
) -> None:
    """The messages wait in the outbox, and are sent when the right is granted again."""
    settings = guarded.worker(REVOCABLE[0])
    acl = Acl(REVOCABLE[0], "Write", "topic", settings.topics.lifecycle)
    has = partial(_reports, settings)

    async with worker_process(settings, tmp_path / "log"):
        await until(partial(has, 200))
        await guarded.revoke(acl)
        await guarded.send("support-tool", support(1, "extend_grace", "nobody", days=1))
        await until(partial(has, 503, f"relay {acl.name}: failed", "--operation Write", acl.name))
        await guarded.grant(acl)
        await guarded.read("billing", acl.name, b'"nobody"')
        await until(partial(has, 200))


async def test_a_revoked_right_to_read_one_topic_pauses_that_topic_alone(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is named with the command that grants it; then the waiting records are ingested."""
    monkeypatch.setattr(renewing, "SURVEY_EVERY_S", 0.5)
    monkeypatch.setattr(renewing, "SURVEY_AGAIN_S", 0.5)
    settings, stop = guarded.worker(REVOCABLE[0]), asyncio.Event()
    acl = Acl(REVOCABLE[0], "Read", "topic", settings.topics.logins)
    has = partial(_reports, settings)
    work = asyncio.create_task(app.run(settings, stop=stop))
    async with connecting(settings.postgres) as pool:

        async def known(organization: str) -> bool:
            query = "SELECT EXISTS (SELECT FROM activity WHERE organization_id = $1)"
            return bool(await pool.fetchval(query, organization))

        try:
            await until(partial(has, 200))
            await guarded.revoke(acl)
            named = ("consumer activity", "--operation Read", acl.name)
            await until(partial(has, 503, *named))
            await guarded.send("login-service", login(1, "waits"))
            await guarded.send("api-gateway", requested(1, "goes-on"))
            await until(lambda: known("goes-on"))
            await until(partial(has, 503, *named))
            assert not await known("waits")
            await guarded.grant(acl)
            await until(lambda: known("waits"))
            await until(partial(has, 200))
        finally:
            stop.set()
            await work


async def test_a_revoked_right_to_read_the_group_ends_the_worker(
    guarded: Guarded,
) -> None:
    """With a message: nothing can be read without it, and a start is refused, too."""
    settings = guarded.worker(REVOCABLE[1])
    acl = Acl(REVOCABLE[1], "Read", "group", guarded.kafka("").activity_group)
    work = asyncio.create_task(app.run(settings))
    try:
        await until(partial(_reports, settings, 200))
        await guarded.revoke(acl)
        with pytest.raises(Misconfigured, match=f"--operation Read --group {acl.name}"):
            await asyncio.wait_for(work, timeout=PATIENCE_S)
    finally:
        work.cancel()


async def test_a_wrong_password_is_reported(guarded: Guarded) -> None:
    """Kafka's clients report only that they could not connect."""
    kafka = guarded.kafka(acls.WORKER).model_copy(update={"sasl_password": SecretStr("wrong")})
    rights = [*to_read(kafka, guarded.settings.topics), *to_write(guarded.settings.topics)]
    with pytest.raises(
        Misconfigured, match=r"does not accept the login of marketplace-worker .*password"
    ):
        await require_access(kafka, rights)


async def test_an_unsupported_login_mechanism_is_reported_with_the_supported_ones(
    guarded: Guarded,
) -> None:
    """A broker that requires a login is reported, too."""
    rights = to_read(guarded.settings.kafka, guarded.settings.topics)
    kafka = guarded.kafka(acls.WORKER).model_copy(update={"sasl_mechanism": "SCRAM-SHA-512"})
    with pytest.raises(Misconfigured) as error:
        await require_access(kafka, rights)
    assert "does not support SCRAM-SHA-512: change kafka.sasl_mech" in str(error.value)
    assert str(error.value).endswith("the broker supports PLAIN")
    kafka = Kafka(bootstrap_servers=kafka.bootstrap_servers)
    with pytest.raises(Misconfigured, match=r"expects SASL_PLAINTEXT, .* is PLAINTEXT.* PLAIN$"):
        await require_access(kafka, rights)
