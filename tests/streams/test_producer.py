"""The producer reports the result of each message; a network fault is not an answer."""

import asyncio
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.transaction import InitProducerIdRequest
from structlog.testing import capture_logs

from marketplace_worker.embedded import kafka as embedded_kafka
from marketplace_worker.errors import MessageRefused, Unavailable
from marketplace_worker.record import Outgoing
from marketplace_worker.settings import Settings, Topics
from marketplace_worker.streams.producer import NotSent, producing
from marketplace_worker.streams.topics import create_topics
from streams import raw_batches
from streams.recording_handler import read_all

pytestmark = pytest.mark.broker


async def supports_idempotence(bootstrap: str) -> bool:
    """Whether the broker supports idempotent producers, by asking it."""
    client = AIOKafkaClient(bootstrap_servers=bootstrap)
    await client.bootstrap()
    try:
        request = InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=1_000)
        answer = await client.send(client.get_random_node(), request)
    finally:
        await client.close()
    return bool(answer.error_code == 0)


async def test_the_producer_is_idempotent_if_the_broker_supports_it(
    settings: Settings, topics: Topics
) -> None:
    """The broker's answer decides, and is logged."""
    with capture_logs() as logs:
        async with producing(settings.kafka, settings.relay) as publisher:
            assert await publisher.publish([Outgoing(topics.lifecycle, b"k", b"v")]) == [None]
    (line,) = [line for line in logs if line["event"] == "producer_started"]
    assert line["idempotent"] is await supports_idempotence(settings.kafka.bootstrap_servers)
    assert line["reason"]


async def test_a_broker_that_does_not_answer_is_not_mistaken_for_one_without_idempotence(
    settings: Settings,
) -> None:
    """A broker that accepts connections without answering, and one that is down."""

    async def answer_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()  # until the client gives up
        writer.close()

    silent = await asyncio.start_server(answer_nothing, "127.0.0.1")
    port = silent.sockets[0].getsockname()[1]
    async with silent:
        for servers in (f"127.0.0.1:{port}", "127.0.0.1:1"):
            kafka = settings.kafka.model_copy(
                update={"bootstrap_servers": servers, "request_timeout_ms": 1_000}
            )
            with capture_logs() as logs, pytest.raises(Unavailable):
                async with producing(kafka, settings.relay):
                    pass
            assert logs == []


async def test_a_lost_connection_does_not_disable_idempotence(settings: Settings) -> None:
    """The first connection fails and later ones work: the start fails nevertheless, and creates no
    second producer.
    """
    host, _, port = settings.kafka.bootstrap_servers.rpartition(":")
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        if connections > 1:
            upstream, downstream = await asyncio.open_connection(host, int(port))
            await asyncio.wait(
                {
                    asyncio.create_task(_pipe(reader, downstream)),
                    asyncio.create_task(_pipe(upstream, writer)),
                },
            )
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1") as proxy:
        address = f"127.0.0.1:{proxy.sockets[0].getsockname()[1]}"
        kafka = settings.kafka.model_copy(update={"bootstrap_servers": address})
        with capture_logs() as logs, pytest.raises(Unavailable):
            async with producing(kafka, settings.relay):
                pass
    assert connections == 2  # the producer's, and the one that looks for the cause
    assert logs == []


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
    writer.close()


@pytest.mark.parametrize("compression", ["none", "gzip", "snappy", "lz4", "zstd"])
async def test_messages_arrive_in_order_and_unchanged(
    settings: Settings, topics: Topics, compression: str
) -> None:
    """Dead letters keep their bytes and headers, whatever these are."""
    relay = settings.relay.model_copy(update={"compression": compression})
    messages = [
        Outgoing(topics.dead_letters, b"k", b"\xff" * 10, (("why", b"\xfe"), ("null", None))),
        Outgoing(topics.dead_letters, b"k", None),
        *(Outgoing(topics.dead_letters, b"k", str(number).encode()) for number in range(2_000)),
    ]
    async with producing(settings.kafka, relay) as publisher:
        assert await publisher.publish(messages) == [None] * len(messages)
        assert await publisher.publish([]) == []
        assert await publisher.publish([Outgoing(topics.lifecycle, None, None)]) == [None]
    read = await read_all(settings.kafka.bootstrap_servers, topics.dead_letters, len(messages))
    assert [(each.key, each.value, tuple(each.headers)) for each in read] == [
        (each.key, each.value, each.headers) for each in messages
    ]


async def test_records_are_compressed_with_gzip_by_default(
    settings: Settings, topics: Topics, writer: AIOKafkaProducer
) -> None:
    """As stored by the broker; subscribers whose clients have no other codec can read them."""
    async with producing(settings.kafka, settings.relay) as publisher:
        messages = [Outgoing(topics.lifecycle, bytes([n]), b"x" * 2_000) for n in range(20)]
        assert await publisher.publish(messages) == [None] * len(messages)
    for partition in (0, 1):
        codec = await raw_batches.codec_of_first(writer, topics.lifecycle, partition)
        assert codec == raw_batches.GZIP


async def test_each_message_has_its_own_result_and_a_key_stays_in_order(
    settings: Settings, topics: Topics
) -> None:
    """Messages after a failed one of the same key are not sent before it; other keys are sent."""
    messages = [
        Outgoing(topics.lifecycle, b"a", b"1"),
        Outgoing(topics.lifecycle, b"b", b"x" * 20_000_000),
        Outgoing(topics.lifecycle, b"b", b"2"),
        Outgoing(topics.lifecycle, b"a", b"3"),
    ]
    async with producing(settings.kafka, settings.relay) as publisher:
        first, large, behind, last = await publisher.publish(messages)
        assert (first, last) == (None, None)
        assert isinstance(large, MessageRefused), "no retry can help"
        assert behind is large
        assert await publisher.publish([messages[2]]) == [None]


async def test_a_missing_topic_does_not_delay_others(settings: Settings, topics: Topics) -> None:
    """If a topic was deleted, messages to other topics are sent by the same producer."""
    missing = f"{topics.lifecycle}.not\x00there"
    async with producing(settings.kafka, settings.relay) as publisher:
        with capture_logs() as logs:
            lost, sent = await publisher.publish(
                [Outgoing(missing, b"k", b"v"), Outgoing(topics.lifecycle, b"k", b"v")]
            )
    assert isinstance(lost, NotSent)
    assert sent is None
    assert "producer_given_up" not in [line["event"] for line in logs]


async def test_a_publisher_survives_a_restart_of_its_broker(
    settings: Settings, tmp_path: Path
) -> None:
    """While the broker is down nothing counts as sent; when it is back, sending continues."""
    relay = settings.relay.model_copy(update={"acknowledge_timeout_ms": 1_000})
    message = Outgoing(settings.topics.lifecycle, b"k", b"v")
    async with embedded_kafka.broker(tmp_path) as address:
        kafka = settings.kafka.model_copy(
            update={"bootstrap_servers": address, "request_timeout_ms": 1_000}
        )
        await create_topics(kafka, settings.topics, partitions=1, replication_factor=1)
        before = producing(kafka, relay)
        publisher = await before.__aenter__()
        assert await publisher.publish([message]) == [None]
    try:
        with capture_logs() as logs:
            (result,) = await publisher.publish([message])
        assert result is not None
        assert "producer_given_up" in [line["event"] for line in logs]
        with pytest.raises(Unavailable):
            await publisher.publish([message])
        port = int(address.rpartition(":")[2])
        async with embedded_kafka.broker(tmp_path, port=port):
            await create_topics(kafka, settings.topics, partitions=1, replication_factor=1)
            assert await publisher.publish([message]) == [None]
    finally:
        await before.__aexit__(None, None, None)


JAVAS_HASHES = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"abc": 479470107,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
}
"""murmur2 of some keys, from Kafka's own test (UtilsTest.testMurmur2)."""


async def test_a_key_has_the_partition_of_the_java_client(
    settings: Settings, topics: Topics
) -> None:
    """So that subscribers can join our topics with their own."""
    messages = [Outgoing(topics.lifecycle, key, b"v") for key in JAVAS_HASHES]
    async with producing(settings.kafka, settings.relay) as publisher:
        assert await publisher.publish(messages) == [None] * len(messages)
    records = await read_all(
        settings.kafka.bootstrap_servers, topics.lifecycle, count=len(messages)
    )
    partitions = {record.key: record.partition for record in records}
    assert partitions == {key: (each & 0x7FFFFFFF) % 2 for key, each in JAVAS_HASHES.items()}
    assert set(partitions.values()) == {0, 1}
