"""Moves all brokers to new addresses; only the bootstrap server keeps its own.

python tests/attacks/brokers_that_moved.py
"""

import asyncio
import contextlib
import time

from aiokafka import AIOKafkaProducer
from outsider import JARS, Outsider, example, repeat, until

from marketplace_worker.embedded import apache_kafka

TOPIC = "organizations.changes"
WITHIN_S = 60.0


class Bootstrap:
    """A load balancer in front of the brokers, which forwards to their current address."""

    def __init__(self) -> None:
        self.port = 0
        self.target = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward one connection."""
        with contextlib.suppress(OSError):
            there, back = await asyncio.open_connection("127.0.0.1", self.target)
            await asyncio.gather(_carry(reader, back), _carry(there, writer))


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while chunk := await reader.read(65_536):
            writer.write(chunk)
            await writer.drain()
    writer.close()


async def attack(outsider: Outsider) -> None:
    """The worker must find the brokers again, to read and to write, without a restart."""
    bootstrap = Bootstrap()
    server = await asyncio.start_server(bootstrap.serve, "127.0.0.1", 0)
    bootstrap.port = server.sockets[0].getsockname()[1]
    way = {"MARKETPLACE_WORKER_KAFKA__BOOTSTRAP_SERVERS": f"127.0.0.1:{bootstrap.port}"}
    async with contextlib.AsyncExitStack() as stack:
        running = contextlib.AsyncExitStack()
        stack.push_async_callback(running.aclose)

        async def start_broker() -> str:
            server = apache_kafka.broker(JARS, outsider.folder / "moving")
            address: str = await running.enter_async_context(server)
            bootstrap.target = int(address.rpartition(":")[2])
            return address

        async def send(address: str, organization: str) -> None:
            async with AIOKafkaProducer(bootstrap_servers=address) as producer:
                event = example("organization.created", organization)
                await producer.send_and_wait(TOPIC, event, key=organization.encode())

        before = await start_broker()
        create = ("topics", "create", "--partitions", "3", "--replication-factor", "1")
        await outsider.succeed(*create, **way)
        worker = await stack.enter_async_context(outsider.worker(**way))
        await send(before, "before")
        await until(lambda: worker.lines("batch_ingested"))
        await running.aclose()
        after = await start_broker()
        print(f"all brokers moved from {before} to {after}", flush=True)
        await send(after, "after")
        began = time.monotonic()
        found = await until(lambda: len(worker.lines("batch_ingested")) > 1, WITHIN_S)
        outsider.require(found, f"the worker reads there, after {time.monotonic() - began:.0f} s")

        async def unsent() -> int:
            return int((await outsider.rows("SELECT count(*) FROM outbox"))[0][0])

        while await unsent() and time.monotonic() - began < WITHIN_S:  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.2)
        outsider.require(not await unsent(), "and writes there")
        outsider.require(worker.process.returncode is None, "it was not restarted")


if __name__ == "__main__":
    repeat(attack)
