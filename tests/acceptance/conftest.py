"""Fixtures for the whole worker, with topics and a database for each test."""

from collections.abc import AsyncIterator

import pytest

import servers
from acceptance.probed_worker import own_broker, probed  # noqa: F401 - fixtures
from acceptance.stage import Stage
from marketplace_worker.settings import Settings
from marketplace_worker.store.database import connecting
from marketplace_worker.streams.topics import create_topics


@pytest.fixture
def postgres_template(schema_template: str) -> str:
    """Databases here have the current schema from the beginning."""
    return schema_template


@pytest.fixture
def settings(
    pytestconfig: pytest.Config, kafka_bootstrap: str, postgres_dsn: str, topic_prefix: str
) -> Settings:
    """Settings for a worker of this test's own."""
    choice = pytestconfig.stash[servers.CHOICE]
    return servers.settings(choice, kafka_bootstrap, postgres_dsn, topic_prefix)


@pytest.fixture
async def stage(settings: Settings) -> AsyncIterator[Stage]:
    """Topics of one partition, and the helpers of a test."""
    await create_topics(settings.kafka, settings.topics, partitions=1, replication_factor=1)
    async with connecting(settings.postgres) as pool, Stage.of(settings, pool) as stage:
        yield stage
