"""Requests that `AIOKafkaAdminClient` of aiokafka 0.14 does not send, or sends too early.

- Its metadata request (version 5 at most) does not request our rights.  This module has the wire
  format of version 8 (https://kafka.apache.org/protocol, read 2026-11-30).
- It sends to the controller although a broker that has just started knows none, and fails.

Upstream: no issue found (searched 2026-11-30).  Remove when aiokafka's admin client returns
`authorized_operations`, and waits for a controller.
"""
# ruff: noqa: SLF001 - there is no public way

import asyncio
from collections.abc import Collection
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import BrokerNotAvailableError
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.metadata import MetadataRequest_v4
from aiokafka.protocol.types import Array, Boolean, Int16, Int32, Schema, String

CONTROLLER_POLL_S = 0.1


async def describe_topics_with_rights(
    admin: AIOKafkaAdminClient, topics: Collection[str]
) -> dict[str, dict[str, Any]]:
    """Kafka's answer for each of these topics, by name; with `authorized_operations`, a bit set,
    where the broker knows it (Kafka 2.3 and later).  Raises `KafkaError` if Kafka does not answer.
    """
    client = admin._client
    request = _MetadataRequest(sorted(topics))
    response = (await client.send(client.get_random_node(), request)).to_object()
    return {topic["topic"]: topic for topic in response["topics"]}


async def wait_for_controller(admin: AIOKafkaAdminClient, *, within_s: float) -> None:
    """Wait until Kafka knows its controller: a broker that has just started does not.

    Raises:
        BrokerNotAvailableError: it knows none within `within_s` seconds.
    """
    client = admin._client
    try:
        async with asyncio.timeout(within_s):
            while client.cluster.controller is None:
                await asyncio.sleep(CONTROLLER_POLL_S)
                await client.force_metadata_update()
    except TimeoutError:
        raise BrokerNotAvailableError("it has no controller") from None


class _MetadataResponse_v8(Response):  # type: ignore[misc]  # noqa: N801 - aiokafka's manner
    API_KEY = 3
    API_VERSION = 8
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            Array(
                ("node_id", Int32),
                ("host", String("utf-8")),
                ("port", Int32),
                ("rack", String("utf-8")),
            ),
        ),
        ("cluster_id", String("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            Array(
                ("error_code", Int16),
                ("topic", String("utf-8")),
                ("is_internal", Boolean),
                (
                    "partitions",
                    Array(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", Array(Int32)),
                        ("isr", Array(Int32)),
                        ("offline_replicas", Array(Int32)),
                    ),
                ),
                ("authorized_operations", Int32),
            ),
        ),
        ("cluster_authorized_operations", Int32),
    )


class _MetadataRequest_v8(RequestStruct):  # type: ignore[misc]  # noqa: N801 - likewise
    API_KEY = 3
    API_VERSION = 8
    RESPONSE_TYPE = _MetadataResponse_v8
    SCHEMA = Schema(
        ("topics", Array(String("utf-8"))),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
    )


class _MetadataRequest(Request[MetadataRequest_v4 | _MetadataRequest_v8]):  # type: ignore[misc]
    """Topics by name, which are not created by the request; the answers of older brokers (before
    Kafka 2.3) have no rights.
    """

    API_KEY = 3

    def __init__(self, topics: list[str]) -> None:
        self._topics = topics

    def build(self, struct: type[RequestStruct]) -> RequestStruct:
        if struct is _MetadataRequest_v8:
            return struct(self._topics, False, False, True)  # noqa: FBT003 - aiokafka's manner
        return struct(self._topics, False)  # noqa: FBT003 - likewise
