"""Builds and sends unusual record batches that our clients do not write."""

import asyncio
from collections.abc import Sequence

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import (
    NotLeaderForPartitionError,
    UnknownTopicOrPartitionError,
    for_code,
)
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy

PLAIN, GZIP = 0, 1
"""Codecs, by their numbers in the protocol."""

LEADS_WITHIN_S = 30.0
NOT_YET = {NotLeaderForPartitionError.errno, UnknownTopicOrPartitionError.errno}
"""Error codes of a broker that does not lead the partition yet."""

_CHECKSUM_AT = 17
_CODEC_AT = 22


class _Name(str):
    """A header's name that is encoded to the bytes from which it was decoded."""

    __slots__ = ()

    def encode(self, encoding: str = "utf-8", errors: str = "surrogateescape") -> bytes:
        return super().encode(encoding, errors)


def batch(values: Sequence[tuple[bytes, bytes | None]], codec: int = PLAIN) -> bytes:
    """Values, each with the name of its only header, which need not be UTF-8."""
    builder = _DefaultRecordBatchBuilderPy(2, codec, 0, -1, -1, -1, 1 << 20)
    for offset, (value, name) in enumerate(values):
        headers = [] if name is None else [(_Name(name.decode(errors="surrogateescape")), b"x")]
        builder.append(offset, 1_764_000_000_000, b"key", value, headers)
    return bytes(builder.build())


def damaged(raw: bytes) -> bytes:
    """The batch with a wrong checksum."""
    spoiled = bytearray(raw)
    spoiled[_CHECKSUM_AT] ^= 0xFF
    return bytes(spoiled)


async def send(writer: AIOKafkaProducer, topic: str, partition: int, raw: bytes) -> None:
    """Send a batch unchanged; raise the broker's error.

    A broker may not lead the partitions of a new topic yet, so this is tried again.
    """
    async with asyncio.timeout(LEADS_WITHIN_S):
        while (code := await _send_once(writer, topic, partition, raw)) in NOT_YET:  # noqa: ASYNC110 - a broker sets no event
            await asyncio.sleep(0.1)
    if code:
        raise for_code(code)


async def _send_once(writer: AIOKafkaProducer, topic: str, partition: int, raw: bytes) -> int:
    """The broker's error code, 0 for none."""
    await writer.partitions_for(topic)
    leader = writer.client.cluster.leader_for_partition(TopicPartition(topic, partition))
    request = ProduceRequest(None, -1, 5_000, [(topic, [(partition, raw)])])
    response = await writer.client.send(leader, request)
    ((_, ((_, code, *_),)),) = response.topics
    return int(code)


async def codec_of_first(writer: AIOKafkaProducer, topic: str, partition: int) -> int:
    """The codec of a partition's first batch, as the broker stores it."""
    await writer.partitions_for(topic)
    leader = writer.client.cluster.leader_for_partition(TopicPartition(topic, partition))
    request = FetchRequest(1_000, 1, 1 << 20, 0, [(topic, [(partition, 0, 1 << 20)])])
    response = await writer.client.send(leader, request)
    ((_, ((*_, raw),)),) = response.topics
    return int(raw[_CODEC_AT]) & 0x07
