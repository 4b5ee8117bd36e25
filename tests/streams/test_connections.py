"""A client's connection that breaks just before a request."""

import asyncio

import pytest
import uvloop
from aiokafka.client import AIOKafkaClient, ConnectionGroup
from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.metadata import MetadataRequest

from marketplace_worker.streams.mends import connections

pytestmark = pytest.mark.broker


def test_a_connection_that_breaks_just_before_a_request_is_a_kafka_error(
    kafka_bootstrap: str,
) -> None:
    """Otherwise, under uvloop, the fetch task ends and the consumer never reads again."""

    async def break_and_send() -> None:
        connections.install()
        client = AIOKafkaClient(bootstrap_servers=kafka_bootstrap)
        await client.bootstrap()
        node = next(iter(client.cluster.brokers())).nodeId
        try:
            assert await client.ready(node)
            await _send_as_it_breaks(client._conns[node, ConnectionGroup.DEFAULT])
            assert await client.send(node, MetadataRequest([])), "it reconnects"
        finally:
            await client.close()

    uvloop.run(asyncio.wait_for(break_and_send(), 20))


async def _send_as_it_breaks(connection: AIOKafkaConnection) -> None:
    """Send when the transport is closed and the reader has not been notified yet."""
    sent: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    on_connection_lost = connection._protocol.connection_lost

    def send() -> None:
        assert connection.connected(), "from the client's point of view"
        try:
            connection.send(MetadataRequest([]))
        except Exception as error:  # noqa: BLE001 - asserted below
            sent.set_exception(error)

    def lost(reason: Exception) -> None:
        asyncio.get_running_loop().call_soon(send)
        on_connection_lost(reason)

    connection._protocol.connection_lost = lost
    connection._writer.transport._force_close(ConnectionResetError())
    with pytest.raises(KafkaConnectionError, match="is gone"):
        await sent
