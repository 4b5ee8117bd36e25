"""An Apache Kafka for one test, which it can kill, restart and damage."""

import asyncio
import os
import shutil
import signal
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

import servers
from faults.proxy import Proxy, proxying
from marketplace_worker.embedded import apache_kafka, process
from marketplace_worker.embedded.apache_kafka import Proxied
from marketplace_worker.embedded.process import Command

ALTER_CLIENT_QUOTAS = 49
FETCH_RATE = b"consumer_byte_rate"


class KafkaServer:
    """One broker; made by `kafka_server`.

    `address`: a direct connection, for the test.  `proxied_address`: through `proxy`, for workers.
    """

    def __init__(self, folder: Path, proxy: Proxy) -> None:
        self.proxy = proxy
        self.folder = folder
        self._port = process.free_port()
        proxy.target = process.free_port()
        self._running = AsyncExitStack()

    @property
    def address(self) -> str:
        """`host:port` of the broker itself."""
        return f"{process.LOOPBACK}:{self._port}"

    @property
    def proxied_address(self) -> str:
        """`host:port` of the proxy."""
        return f"{process.LOOPBACK}:{self.proxy.port}"

    async def start(self) -> None:
        """Start it with its previous data and ports; returns when it answers."""
        await self._running.enter_async_context(
            apache_kafka.broker(
                servers.JARS,
                self.folder,
                port=self._port,
                second=Proxied(self.proxy.target, self.proxy.port),
            )
        )

    async def kill(self) -> None:
        """SIGKILL."""
        os.kill(int((self.folder / "pid").read_text()), signal.SIGKILL)
        await self.stop()

    async def move(self, proxy: Proxy) -> None:
        """Kill it and restart it with another proxy, and so another address for workers."""
        await self.kill()
        self.proxy, proxy.target = proxy, process.free_port()
        await self.start()

    async def stop(self) -> None:
        """Stop it cleanly, if it runs."""
        await self._running.aclose()

    def lose_offsets(self) -> int:
        """Delete the offsets topic from a stopped broker's disk; returns how many partitions."""
        lost = list((self.folder / "data").glob("__consumer_offsets-*"))
        for partition in lost:
            shutil.rmtree(partition)
        return len(lost)

    def cut_off(self, topic: str, partition: int, *, batches: int) -> None:
        """Delete the last record batches of a partition from a stopped broker's disk."""
        folder = self.folder / "data" / f"{topic}-{partition}"
        (log,) = folder.glob("*.log")
        raw, ends = log.read_bytes(), [0]
        while ends[-1] < len(raw) and (size := _size_of_batch(raw, ends[-1])):
            ends.append(ends[-1] + size)
        log.write_bytes(raw[: ends[-1 - batches]])
        for index in (*folder.glob("*.index"), *folder.glob("*.timeindex")):
            index.unlink()

    async def refuse(self, topic: str) -> None:
        """Make a topic refuse all records; `accept` undoes it."""
        await self._configure(topic, {"max.message.bytes": "1"})

    async def accept(self, topic: str) -> None:
        """Make a topic accept records again."""
        await self._configure(topic, {})

    async def _configure(self, topic: str, configuration: dict[str, str]) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.address)
        await admin.start()
        try:
            await admin.alter_configs(
                [ConfigResource(ConfigResourceType.TOPIC, topic, configuration)]
            )
        finally:
            await admin.close()

    async def members(self, group: str, count: int) -> bool:
        """Whether a group has `count` members."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.address)
        await admin.start()
        try:
            (answer,) = await admin.describe_consumer_groups([group])
            ((_error, _group, _state, _type, _protocol, members, *_),) = answer.groups
            return len(members) == count
        finally:
            await admin.close()

    async def throttle_fetches(self, client_id: str, bytes_per_s: float | None) -> None:
        """Set the broker's quota for fetches of a client; None removes it."""
        await asyncio.to_thread(_alter_quota, self._port, client_id.encode(), bytes_per_s)


@asynccontextmanager
async def kafka_server(folder: Path) -> AsyncIterator[KafkaServer]:
    """Run a broker with its proxy until the block is left; its data is removed."""
    async with proxying() as proxy:
        server = KafkaServer(folder, proxy)
        try:
            await server.start()
            yield server
        finally:
            await server.stop()
            shutil.rmtree(folder, ignore_errors=True)


class SecondBroker:
    """A second broker in the cluster of a `KafkaServer`, without controller role and proxy; made by
    `second_broker`.
    """

    def __init__(self, first: Path, folder: Path) -> None:
        self._first, self._folder = first, folder
        self._port = process.free_port()
        self._running = AsyncExitStack()

    async def start(self) -> None:
        """Start it with its previous data and port; returns when it answers."""
        self._write_properties()
        program = apache_kafka.java(servers.JARS)
        properties = str(self._folder / "server.properties")
        if not (self._folder / "data" / "meta.properties").exists():
            cluster = f"--cluster-id={apache_kafka.CLUSTER_ID}"
            storage = ("kafka.tools.StorageTool", "format", cluster, f"--config={properties}")
            await process.finished(
                self._command([*program, *storage]),
                within_seconds=apache_kafka.FORMAT_SECONDS_MAX,
            )
        await self._running.enter_async_context(
            process.running(
                self._command([*program, "kafka.Kafka", properties]),
                partial(process.answers_kafka, process.LOOPBACK, self._port),
                ready_seconds=apache_kafka.READY_SECONDS_MAX,
            )
        )

    async def kill(self) -> None:
        """SIGKILL."""
        os.kill(int((self._folder / "pid").read_text()), signal.SIGKILL)
        await self.stop()

    async def stop(self) -> None:
        """Stop it cleanly, if it runs."""
        await self._running.aclose()

    def _command(self, program: list[str]) -> Command:
        return Command(
            name="the second Apache Kafka",
            program=program,
            folder=self._folder,
            stop_signals=(signal.SIGTERM,),
            stop_seconds=20.0,
        )

    def _write_properties(self) -> None:
        """Write its properties, with the controller of the first broker, whose port may change."""
        of_first = (self._first / "server.properties").read_text().splitlines()
        here = f"PLAINTEXT://{process.LOOPBACK}:{self._port}"
        properties = dict(line.split("=", 1) for line in of_first) | {
            "process.roles": "broker",
            "node.id": "2",
            "listeners": here,
            "advertised.listeners": here,
            "log.dirs": str(self._folder / "data"),
        }
        text = "".join(f"{name}={value}\n" for name, value in properties.items())
        (self._folder / "server.properties").write_text(text)


@asynccontextmanager
async def second_broker(first: KafkaServer) -> AsyncIterator[SecondBroker]:
    """Run a second broker in the same cluster until the block is left; its data is removed."""
    folder = first.folder.with_name(f"{first.folder.name}-2")
    folder.mkdir()
    second = SecondBroker(first.folder, folder)
    try:
        await second.start()
        yield second
    finally:
        await second.stop()
        shutil.rmtree(folder, ignore_errors=True)


@asynccontextmanager
async def open_transaction(address: str, topic: str, value: bytes) -> AsyncIterator[int]:
    """Write a record in an open transaction, which is aborted on leaving; yields the partition.

    Consumers with `read_committed` wait at this record; other partitions are not affected.
    """
    producer = AIOKafkaProducer(
        bootstrap_servers=address, transactional_id=f"open-{topic}", transaction_timeout_ms=60_000
    )
    await producer.start()
    try:
        await producer.begin_transaction()
        sent = await producer.send_and_wait(topic, value, key=b"open")
        yield sent.partition
        await producer.abort_transaction()
    finally:
        await producer.stop()


def _alter_quota(port: int, client_id: bytes, bytes_per_s: float | None) -> None:
    """AlterClientQuotas, version 0, which no Python client supports."""
    operation = _text(FETCH_RATE) + struct.pack(">d?", bytes_per_s or 0.0, bytes_per_s is None)
    entity = _text(b"client-id") + _text(client_id)
    entry = _one(entity) + _one(operation)
    header = struct.pack(">hhi", ALTER_CLIENT_QUOTAS, 0, 1) + _text(b"tests")
    request = header + _one(entry) + struct.pack(">?", False)
    with socket.create_connection((process.LOOPBACK, port), timeout=10) as broker:
        broker.sendall(struct.pack(">i", len(request)) + request)
        with broker.makefile("rb") as answers:
            (size,) = struct.unpack(">i", answers.read(4))
            answer = answers.read(size)
    _correlation, _throttled_ms, _entries, error = struct.unpack_from(">iiih", answer)
    assert error == 0, answer


def _text(value: bytes) -> bytes:
    return struct.pack(">h", len(value)) + value


def _one(element: bytes) -> bytes:
    """An array of the protocol with one element."""
    return struct.pack(">i", 1) + element


def _size_of_batch(raw: bytes, begin: int) -> int:
    """Size of the record batch at `begin`; 0 after the last one, where the file may be padded."""
    _offset, length = struct.unpack_from(">qi", raw.ljust(begin + 12, b"\0"), begin)
    return 12 + length if length else 0
