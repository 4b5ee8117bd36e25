"""The console as a server: where it listens, and how it stops."""

import asyncio
import re
import socket

import pytest
from pydantic import SecretStr

from acceptance.stage import PATIENCE_S, until
from marketplace_worker.console import serve
from marketplace_worker.errors import Misconfigured
from marketplace_worker.lifecycle.policy import Policy
from marketplace_worker.settings import Console, ConsoleSettings, Postgres


def settings_of(dsn: str, **console: object) -> ConsoleSettings:
    """Settings of a console on this database."""
    given = Console.model_validate(console)
    return ConsoleSettings(postgres=Postgres(dsn=SecretStr(dsn)), console=given)


def free_port() -> int:
    """A port that nobody uses now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


async def test_it_stops_although_a_browser_keeps_its_connection(postgres_dsn: str) -> None:
    """A browser keeps it open for a minute; and another console cannot share the port."""
    settings, stop = settings_of(postgres_dsn, port=free_port()), asyncio.Event()
    serving = asyncio.create_task(serve(settings, Policy(), stop=stop))
    streams: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def connected() -> bool:
        try:
            streams.append(await asyncio.open_connection("127.0.0.1", settings.console.port))
        except OSError:
            return False
        return True

    await until(connected)
    ((reader, writer),) = streams
    writer.write(
        f"GET /policy HTTP/1.1\r\nHost: 127.0.0.1:{settings.console.port}\r\n\r\n".encode()
    )
    assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
    with pytest.raises(Misconfigured, match=r"console\.port: .*Address already in use"):
        await serve(settings, Policy(), stop=asyncio.Event())
    stop.set()
    async with asyncio.timeout(PATIENCE_S):
        await serving
    writer.close()


@pytest.mark.parametrize("address", ["192.0.2.1", "::2"])
async def test_an_address_of_another_machine_is_refused(postgres_dsn: str, address: str) -> None:
    """Before the database is asked."""
    settings = settings_of(
        postgres_dsn, address=address, token="sixteen characters", url="https://console.example"
    )
    with pytest.raises(Misconfigured, match=re.escape(f"console.port: {address}, 8600: ")):
        await serve(settings, Policy(), stop=asyncio.Event())
