"""Fixtures for the fault tests: real servers, and a stage whose topics several workers share."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import servers
from acceptance.probed_worker import own_broker, probed  # noqa: F401 - fixtures
from faults.fork_server import ForkServer
from faults.kafka_faults import KafkaServer, kafka_server
from faults.workers import ClockFile, FaultStage
from marketplace_worker.settings import Settings
from marketplace_worker.store.database import connecting
from marketplace_worker.store.migrations import migrate
from marketplace_worker.streams.topics import create_topics

PARTITIONS = 4

NO_LIMIT = """\
version = "no-limit"
[guard]
minimum = 1000000
"""
"""The guard counts per hour of the test's clock, which jumps by days: it would withhold
every step.
"""


Figures = list[str]
_FIGURES = pytest.StashKey[Figures]()


@pytest.fixture
def figures(pytestconfig: pytest.Config) -> Figures:
    """Collects measurements for the end of the run."""
    return pytestconfig.stash.setdefault(_FIGURES, [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the measurements."""
    for line in terminalreporter.config.stash.get(_FIGURES, []):
        terminalreporter.write_line(line)


@pytest.fixture(scope="session")
async def fork_server() -> AsyncIterator[ForkServer]:
    """A fork server, which starts workers and steps to be killed without delay."""
    async with ForkServer.opened() as fork_server:
        yield fork_server


@pytest.fixture(scope="module")
async def broker(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[KafkaServer]:
    """A Kafka broker of the module."""
    async with kafka_server(tmp_path_factory.mktemp("own") / "kafka") as broker:
        yield broker


@pytest.fixture
def settings(
    pytestconfig: pytest.Config,
    kafka_bootstrap: str,
    postgres_dsn: str,
    topic_prefix: str,
    tmp_path: Path,
) -> Settings:
    """Settings for the workers of this test."""
    policy = tmp_path / "policy.toml"
    policy.write_text(NO_LIMIT)
    choice = pytestconfig.stash[servers.CHOICE]
    made = servers.settings(choice, kafka_bootstrap, postgres_dsn, topic_prefix)
    return made.model_copy(update={"policy_file": policy})


@pytest.fixture
async def stage(settings: Settings, tmp_path: Path) -> AsyncIterator[FaultStage]:
    """A database with the schema, topics of four partitions, and helpers for them."""
    await create_topics(
        settings.kafka, settings.topics, partitions=PARTITIONS, replication_factor=1
    )
    async with connecting(settings.postgres) as pool:
        await migrate(pool)
        async with FaultStage.of(settings, pool) as stage:
            stage.clock_file = ClockFile(tmp_path / "clock")
            yield stage
