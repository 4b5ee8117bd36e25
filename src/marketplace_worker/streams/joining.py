"""The options with which a consumer connects and joins its group."""

import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from aiokafka import ConsumerRebalanceListener
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from faststream import AckPolicy, BaseMiddleware
from faststream.kafka import KafkaBroker
from faststream.kafka.message import KafkaAckableMessage
from faststream.kafka.subscriber.usecase import BatchSubscriber

from marketplace_worker.settings import Kafka, Settings
from marketplace_worker.streams.failure_detection import FrameworkLog
from marketplace_worker.streams.security import METADATA_AGE_MS, broker_arguments, servers

IDLE_WAIT_MS = 50
"""How long to wait for a record before checking for a stop, and the pause after that."""

PARTITION_FETCH_BYTES_MAX = 1024 * 1024
"""The maximum fetched from one partition at once; a larger record is fetched alone."""


def member(
    broker: KafkaBroker,
    topics: Iterable[str],
    group: str,
    settings: Settings,
    *,
    records_max: int,
    listener: ConsumerRebalanceListener,
    parser: Callable[[Any], Awaitable[KafkaAckableMessage]],
) -> BatchSubscriber:
    """A member of a group, which joins it when the client is started."""
    kafka, ingest = settings.kafka, settings.ingest
    return broker.subscriber(
        *sorted(topics),
        batch=True,
        group_id=group,
        ack_policy=AckPolicy.NACK_ON_ERROR,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        max_records=records_max,
        batch_timeout_ms=IDLE_WAIT_MS,
        fetch_max_wait_ms=ingest.fetch_wait_ms,
        fetch_max_bytes=ingest.fetch_bytes_max,
        max_partition_fetch_bytes=PARTITION_FETCH_BYTES_MAX,
        # Sticky ones may assign all of the busy topic to one member, because they balance only the
        # total.
        partition_assignment_strategy=(RoundRobinPartitionAssignor,),
        session_timeout_ms=kafka.session_timeout_ms,
        heartbeat_interval_ms=min(3_000, kafka.session_timeout_ms // 3),
        rebalance_timeout_ms=kafka.rebalance_timeout_ms,
        listener=listener,
        parser=parser,
        decoder=_undecoded,
    )


def client(
    kafka: Kafka, framework_log: FrameworkLog, middleware: Callable[..., BaseMiddleware[Any, Any]]
) -> KafkaBroker:
    """A client that only consumes, with the credentials that hold now.

    Raises:
        Misconfigured: a certificate or key file cannot be used.
    """
    return KafkaBroker(
        servers(kafka),
        client_id=kafka.client_id,
        **broker_arguments(kafka),
        request_timeout_ms=kafka.request_timeout_ms,
        metadata_max_age_ms=METADATA_AGE_MS,
        consumer_only=True,
        allow_auto_create_topics=False,
        graceful_timeout=None,
        apply_types=False,
        middlewares=(middleware,),
        logger=framework_log,
        log_level=logging.DEBUG,
    )


async def _undecoded(message: KafkaAckableMessage) -> Any:  # noqa: ANN401 - FastStream's type
    return message.body
