"""A TCP proxy between a worker and a server, on the loopback address, with injectable faults.

It can delay, stall, refuse, cut and redirect connections.  For each request of the client a
function can decide to pass it, or to cut the connection before the server receives the request or
after the server has answered.
"""

import asyncio
import enum
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

CHUNK_BYTES = 64 * 1024


class Fate(enum.Enum):
    """How a client's request is handled."""

    PASS = enum.auto()
    CUT_BEFORE = enum.auto()
    """The connection is cut before the server receives the request."""
    CUT_AFTER = enum.auto()
    """The server executes the request, and its answer is lost with the connection."""


Judge = Callable[[bytes], Fate]


def _pass(_: bytes) -> Fate:
    return Fate.PASS


class Proxy:
    """One listening port; made by `proxying`.

    `target`: the port for new connections.  `latency_s`: added to every chunk, in each direction.
    `bytes_per_s`: limit of each connection, in each direction.  While `refusing`, new connections
    are closed at once.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self.latency_s = 0.0
        self.bytes_per_s: float | None = None
        self.refusing = False
        self.judge: Judge = _pass
        self.accepted = 0
        self.cuts = 0
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._links: set[_Link] = set()

    @property
    def connections(self) -> int:
        """The number of open connections."""
        return len(self._links)

    def stall(self) -> None:
        """Stop forwarding silently: connections stay open, and new ones are accepted."""
        self._flowing.clear()

    def flow(self) -> None:
        """Undo `stall`."""
        self._flowing.set()

    def cut(self) -> int:
        """Reset every connection; returns how many there were."""
        links = list(self._links)
        for link in links:
            link.cut()
        return len(links)

    def cut_one(self, chance: random.Random) -> bool:
        """Reset one connection; False where there is none."""
        links = sorted(self._links, key=lambda link: link.number)
        if links:
            chance.choice(links).cut()
        return bool(links)

    def heal(self) -> None:
        """Remove all faults; connections stay open."""
        self.latency_s, self.bytes_per_s, self.refusing, self.judge = 0.0, None, False, _pass
        self.flow()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client's connection until it ends."""
        if self.refusing:
            writer.transport.abort()
            return
        self.accepted += 1
        link = _Link(self, self.accepted, writer)
        self._links.add(link)
        try:
            await self._flowing.wait()
            await link.carry(reader)
        except OSError:
            pass  # the server is down, or one side has closed; the other one is closed below
        finally:
            self._links.discard(link)
            link.close()

    async def _pace(self, size: int) -> None:
        pause_s = self.latency_s + (size / self.bytes_per_s if self.bytes_per_s else 0.0)
        if pause_s:
            await asyncio.sleep(pause_s)
        await self._flowing.wait()


class _Link:
    """A client's connection and its connection to the server."""

    def __init__(self, proxy: Proxy, number: int, client: asyncio.StreamWriter) -> None:
        self.number = number
        self._proxy = proxy
        self._client = client
        self._server: asyncio.StreamWriter | None = None
        self._answer_lost = False

    async def carry(self, from_client: asyncio.StreamReader) -> None:
        from_server, self._server = await asyncio.open_connection("127.0.0.1", self._proxy.target)
        ways = {
            asyncio.create_task(self._to_server(from_client, self._server)),
            asyncio.create_task(self._to_client(from_server)),
        }
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _to_server(self, reader: asyncio.StreamReader, server: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(CHUNK_BYTES):
            await self._proxy._pace(len(chunk))
            fate = self._proxy.judge(chunk)
            if fate is Fate.CUT_BEFORE:
                self._proxy.cuts += 1
                self.cut()
                return
            self._answer_lost |= fate is Fate.CUT_AFTER
            server.write(chunk)
            await server.drain()

    async def _to_client(self, reader: asyncio.StreamReader) -> None:
        while chunk := await reader.read(CHUNK_BYTES):
            if self._answer_lost:
                self._proxy.cuts += 1
                self.cut()
                return
            await self._proxy._pace(len(chunk))
            self._client.write(chunk)
            await self._client.drain()

    def cut(self) -> None:
        """Reset both connections.  Idempotent."""
        for half in self._halves():
            half.transport.abort()

    def close(self) -> None:
        """Close both connections after forwarding what was received.  Idempotent."""
        for half in self._halves():
            half.close()

    def _halves(self) -> list[asyncio.StreamWriter]:
        return [self._client] if self._server is None else [self._client, self._server]


@asynccontextmanager
async def proxying(target: int = 0, *, port: int = 0) -> AsyncIterator[Proxy]:
    """Run a proxy to a port of the loopback address; on a free port if `port` is 0."""
    proxy = Proxy(target)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", port)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        proxy.flow()
        proxy.cut()
        with suppress(TimeoutError):
            async with asyncio.timeout(5):
                await server.wait_closed()
