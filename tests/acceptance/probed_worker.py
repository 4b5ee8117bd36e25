"""A worker whose probes a test reads, on servers that the test can stall."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest
from pydantic import SecretStr

import servers
from acceptance.stage import Stage, until
from faults.proxy import Proxy, proxying
from marketplace_worker.embedded import kafka, process
from marketplace_worker.settings import Settings
from marketplace_worker.store.database import connecting
from marketplace_worker.store.migrations import migrate
from marketplace_worker.streams.topics import create_topics

STOP_S_MAX = 10.0
"""The documented limit for a stop."""


@dataclass(frozen=True)
class ProbedStage:
    """A stage whose Postgres is behind a proxy for the worker, and whose broker is its own."""

    stage: Stage
    postgres: Proxy
    broker_pid: int

    @property
    def settings(self) -> Settings:
        """The worker's settings; the test itself connects to the servers directly."""
        return self.stage.settings

    @contextmanager
    def silent_broker(self) -> Iterator[None]:
        """While inside, the broker does not answer; connections stay open."""
        os.kill(self.broker_pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.broker_pid, signal.SIGCONT)

    @contextmanager
    def silent_postgres(self) -> Iterator[None]:
        """While inside, Postgres does not answer the worker; connections stay open."""
        self.postgres.stall()
        try:
            yield
        finally:
            self.postgres.flow()

    async def status(self, path: str) -> int:
        """The status of the worker's answer; 0 without an answer."""
        return (await self.get(path))[0]

    async def get(self, path: str) -> tuple[int, str]:
        """The status and text of the worker's answer; status 0 without an answer."""
        return await asyncio.to_thread(ask, self.settings.http_port or 0, path)

    async def answered(self, path: str) -> int:
        """The status of the worker's first answer, without a time limit."""
        status = 0

        async def has_answered() -> bool:
            nonlocal status
            status = await self.status(path)
            return status != 0

        await until(has_answered)
        return status

    async def ready(self) -> bool:
        """Whether the worker reports that it is ready."""
        return await self.status("/readyz") == 200

    async def replies(self, path: str, *words: str) -> bool:
        """Whether the worker answers 503 there, with these words."""
        status, text = await self.get(path)
        return status == 503 and all(word in text for word in words)


def ask(port: int, path: str) -> tuple[int, str]:
    """GET; status and text, or (0, ...) without a complete answer."""
    try:
        try:
            answer = urlopen(f"http://127.0.0.1:{port}{path}", timeout=5)
        except HTTPError as refusal:
            answer = refusal
        with answer:
            return answer.status, answer.read().decode()
    except (OSError, HTTPException) as error:
        return 0, str(error)


@dataclass(frozen=True)
class OwnBroker:
    """A broker for the tests of one module."""

    bootstrap: str
    pid: int


@pytest.fixture(scope="module")
async def own_broker(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[OwnBroker]:
    """A broker of the run's kind if that is a child process, else Tansu."""
    choice = pytestconfig.stash[servers.CHOICE]
    async with servers.own_folder(tmp_path_factory.mktemp("own-broker")) as folder:
        apache = choice.broker is servers.Broker.APACHE
        server = servers.start_broker(choice, folder) if apache else kafka.broker(folder)
        async with server as bootstrap:
            yield OwnBroker(bootstrap, int((folder / "pid").read_text()))


@pytest.fixture
async def probed(
    pytestconfig: pytest.Config, own_broker: OwnBroker, postgres_dsn: str, topic_prefix: str
) -> AsyncIterator[ProbedStage]:
    """Topics of one partition each, the schema, and a port for the worker."""
    choice = pytestconfig.stash[servers.CHOICE]
    if choice.broker is not servers.Broker.APACHE:
        choice = replace(choice, broker=servers.Broker.TANSU)
    url = urlsplit(postgres_dsn)
    assert url.port is not None
    async with proxying(url.port) as proxy:
        straight = servers.settings(choice, own_broker.bootstrap, postgres_dsn, topic_prefix)
        through = url._replace(netloc=url.netloc.replace(f":{url.port}", f":{proxy.port}")).geturl()
        settings = straight.model_copy(
            update={
                "postgres": straight.postgres.model_copy(update={"dsn": SecretStr(through)}),
                "http_port": process.free_port(),
            }
        )
        await create_topics(settings.kafka, settings.topics, partitions=1, replication_factor=1)
        async with (
            connecting(straight.postgres) as pool,
            Stage.of(settings, pool) as stage,
        ):
            await migrate(pool)
            yield ProbedStage(stage, proxy, own_broker.pid)


async def stopped(worker: asyncio.subprocess.Process) -> int:
    """Send SIGTERM; returns the exit status, and fails after ten seconds."""
    began = time.monotonic()
    worker.send_signal(signal.SIGTERM)
    status = await asyncio.wait_for(worker.wait(), timeout=STOP_S_MAX)
    print(f"stopped in {time.monotonic() - began:.1f} s")
    return status
