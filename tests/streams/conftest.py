"""Fixtures: each test's own topics and settings on the run's broker."""

from collections.abc import AsyncIterator

import pytest
from aiokafka import AIOKafkaProducer

import servers
from marketplace_worker.settings import Ingest, Relay, Settings, Topics
from marketplace_worker.streams.topics import create_topics


@pytest.fixture
def settings(pytestconfig: pytest.Config, kafka_bootstrap: str, topic_prefix: str) -> Settings:
    """This test's settings, with short pauses and without a database."""
    choice = pytestconfig.stash[servers.CHOICE]
    usual = servers.settings(choice, kafka_bootstrap, "postgresql://nobody", topic_prefix)
    timeouts = {"rebalance_timeout_ms": 6_000, "request_timeout_ms": 8_000}
    return usual.model_copy(
        update={
            "kafka": usual.kafka.model_copy(update=timeouts),
            "ingest": Ingest(batch_rows_max=100, retry_pause_min_ms=50, retry_pause_max_ms=60_000),
            "relay": Relay(acknowledge_timeout_ms=5_000),
            "stop_timeout_ms": 3_000,
        }
    )


@pytest.fixture
async def topics(settings: Settings) -> Topics:
    """The topics of this test, created with two partitions each."""
    await create_topics(settings.kafka, settings.topics, partitions=2, replication_factor=1)
    return settings.topics


@pytest.fixture
async def writer(kafka_bootstrap: str) -> AsyncIterator[AIOKafkaProducer]:
    """A producer such as an upstream service has."""
    producer = AIOKafkaProducer(bootstrap_servers=kafka_bootstrap, acks="all")
    await producer.start()
    yield producer
    await producer.stop()
